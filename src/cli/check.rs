//! `larder check`: verifies the remote, the replica and the vault.

use larder_providers::Traffic;
use serde::Serialize;

use super::{
    Ended,
    args::{Args, CheckArgs},
    error::{CliError, option},
    show::record_label,
    ui::{Ui, count},
    unlock,
    workplace::{Access, Workplace},
};
use crate::{
    engine::{CheckOptions, CheckReport, Finding, FindingKind, RepairOptions, Way},
    seal::KEYS,
};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Told<'a> {
    ok: bool,
    findings: &'a [Finding],
    #[serde(skip_serializing_if = "Option::is_none")]
    repaired: Option<&'a [String]>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    advice: &'a [String],
    files_read: u64,
    bytes_read: u64,
}

/// Runs the command.
pub(super) async fn run(args: &Args, ui: &Ui, options: &CheckArgs) -> Result<Ended, CliError> {
    let traffic = Traffic::new();
    let access = if options.repair { Access::Change } else { Access::Look };
    let mut place = Workplace::find(args, access)?;
    let remote = place.config.remote(options.of.chosen.as_deref())?.clone();
    let Way { id, storage } = place.way(&remote, ui, &traffic).await?;
    let mut lacks_key = false;
    if unlock::is_encrypted(&place.root, Some(&id))? {
        let raw = place.raw_storage(&remote, ui, &traffic).await?;
        unlock::assure_own(&raw, &id).await?;
        lacks_key = unlock::lacks_key(&raw, &id).await?;
    }
    let CheckArgs { read_data, repair, accept_loss, .. } = *options;
    let mut report = if repair {
        let progress = ui.progress();
        let wanted = RepairOptions { read_data, accept_loss };
        place.engine.repair(&storage, &traffic, wanted, &progress).await?
    } else {
        place.engine.check(&storage, &traffic, CheckOptions { read_data }).await?
    };
    if lacks_key {
        report.findings.push(lost_key(ui));
    }
    ui.object(&Told {
        ok: report.is_ok(),
        findings: &report.findings,
        repaired: repair.then_some(report.repaired.as_slice()),
        advice: &report.advice,
        files_read: report.files_read,
        bytes_read: report.bytes_read,
    });
    tell(&place, ui, &report, repair)?;
    Ok(if report.is_ok() { Ended::Done } else { Ended::Findings })
}

fn lost_key(ui: &Ui) -> Finding {
    let of = option("--remote", ui.about().as_deref());
    let detail = format!(
        "no key that a passphrase opens is left there: no new device can join, until `larder remote passphrase{of}` \
         writes one"
    );
    let file = Some(KEYS.to_owned());
    Finding { kind: FindingKind::Missing, file, entity_id: None, detail }
}

fn tell(
    place: &Workplace,
    ui: &Ui,
    report: &CheckReport,
    has_repaired: bool,
) -> Result<(), CliError> {
    for line in &report.repaired {
        ui.answer(format!("repaired: {line}"));
    }
    // Of many edits that wait nobody wants to read each here; `larder sync --dry-run` lists them.
    let is_quiet = |finding: &&Finding| finding.kind == FindingKind::Edited && !ui.verbose();
    let (quiet, told): (Vec<&Finding>, Vec<&Finding>) = report.findings.iter().partition(is_quiet);
    for finding in &told {
        let subject = match (&finding.file, &finding.entity_id) {
            (Some(file), _) => file.clone(),
            (None, Some(id)) => record_label(place, id)?,
            (None, None) => ui.the_remote(),
        };
        ui.answer(ui.warning(&format!("{subject}: {}", finding.detail)));
    }
    for line in &report.advice {
        ui.answer(line);
    }
    if !quiet.is_empty() {
        let files = count(quiet.len() as u64, "file differs", "files differ");
        ui.line(format!("{files} from the last sync, which the next one takes up: -v says which"));
    }
    let read = match report.files_read {
        0 => "all files of the remote are there (--read-data reads them too)".to_owned(),
        files => format!("{} of the remote read and whole", count(files, "file", "files")),
    };
    if report.is_ok() {
        ui.line(format!("All is well: {read}."));
        return Ok(());
    }
    ui.line(count(told.len() as u64, "finding.", "findings."));
    if !has_repaired && report.findings.iter().any(|finding| finding.kind.is_repairable()) {
        let of = option("--remote", ui.about().as_deref());
        let reads = report.read_option();
        ui.line(format!(
            "`larder check{reads} --repair{of}` sends again what this device has of it."
        ));
    }
    Ok(())
}
