//! `larder compact`: folds what lies on the remote, and removes what no longer counts.

use larder_providers::Traffic;
use serde::Serialize;

use super::{
    Ended,
    args::{Args, CompactArgs},
    error::CliError,
    ui::{Ui, bytes, count},
    workplace::{Access, Workplace},
};
use crate::engine::{CompactOptions, CompactReport, Cost};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Told {
    generation: u64,
    deltas_folded: usize,
    packs_written: usize,
    packs_kept: usize,
    tombstones_dropped: usize,
    files_deleted: usize,
    bytes_before: u64,
    bytes_after: u64,
    #[serde(flatten)]
    cost: Cost,
}

/// Runs the command.
pub(super) async fn run(args: &Args, ui: &Ui, options: &CompactArgs) -> Result<Ended, CliError> {
    let traffic = Traffic::new();
    let mut place = Workplace::find(args, Access::Change)?;
    let storage = place.storage(options.of.chosen.as_deref(), ui, &traffic).await?;
    let wanted = CompactOptions { dry_run: options.dry_run, force: options.force };
    let progress = ui.progress();
    let report = place.engine.compact(&storage, &traffic, wanted, &progress).await;
    drop(progress);
    let report = report?;
    ui.object(&told(&report));
    let folded = count(report.deltas_folded as u64, "file", "files");
    let would = if options.dry_run { "would be " } else { "" };
    let packs = count(report.packs_written.max(1) as u64, "pack", "packs");
    let sizes = match (bytes(report.bytes_before), bytes(report.bytes_after)) {
        _ if options.dry_run => String::new(),
        (before, after) => format!(": {before} before, {after} now"),
    };
    ui.line(match (report.deltas_folded, report.packs_written) {
        (0, 0) => "Nothing to fold.".to_owned(),
        (0, _) => format!("{packs} {would}written anew{sizes}."),
        _ => format!("{folded} of changes {would}folded into {packs}{sizes}."),
    });
    if report.files_deleted > 0 {
        let files = count(report.files_deleted as u64, "file", "files");
        ui.line(format!("{files} that no longer count {would}removed."));
    }
    ui.line(ui.cost(&report.cost));
    Ok(Ended::Done)
}

fn told(report: &CompactReport) -> Told {
    Told {
        generation: report.generation,
        deltas_folded: report.deltas_folded,
        packs_written: report.packs_written,
        packs_kept: report.packs_kept,
        tombstones_dropped: report.tombstones_dropped,
        files_deleted: report.files_deleted,
        bytes_before: report.bytes_before,
        bytes_after: report.bytes_after,
        cost: report.cost,
    }
}
