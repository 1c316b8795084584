//! `larder check`: verifies the remote, the replica and the vault.

use larder_providers::Traffic;
use serde::Serialize;

use super::{
    Ended,
    args::{Args, CheckArgs},
    error::CliError,
    ui::{Ui, count},
    workplace::{Access, Workplace},
};
use crate::engine::{CheckOptions, Finding};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Told<'a> {
    ok: bool,
    findings: &'a [Finding],
    files_read: u64,
    bytes_read: u64,
}

/// Runs the command.
pub(super) async fn run(args: &Args, ui: &Ui, options: CheckArgs) -> Result<Ended, CliError> {
    let traffic = Traffic::new();
    let mut place = Workplace::find(args, Access::Look)?;
    let storage = place.storage(ui, &traffic).await?;
    let wanted = CheckOptions { read_data: options.read_data };
    let report = place.engine.check(&storage, &traffic, wanted).await?;
    let (findings, files_read, bytes_read) =
        (&report.findings, report.files_read, report.bytes_read);
    ui.object(&Told { ok: report.is_ok(), findings, files_read, bytes_read });
    for finding in findings {
        let id = finding.entity_id.as_ref().map(|id| id.as_str());
        let subject = finding.file.as_deref().or(id).unwrap_or("remote");
        ui.answer(ui.warning(&format!("{subject}: {}", finding.detail)));
    }
    let read = match files_read {
        0 => "all files of the remote are there (--read-data reads them too)".to_owned(),
        files => format!("{} of the remote read and whole", count(files, "file", "files")),
    };
    if report.is_ok() {
        ui.line(format!("All is well: {read}."));
        return Ok(Ended::Done);
    }
    ui.line(count(findings.len() as u64, "finding.", "findings."));
    Ok(Ended::Findings)
}
