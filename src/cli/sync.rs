//! `larder sync`: one turn.

use larder_providers::Traffic;
use serde::Serialize;

use super::{
    Ended,
    args::{Args, SyncArgs},
    env,
    error::CliError,
    init, secrets,
    ui::{Ui, count, grouped},
    unlock,
    workplace::{Access, Workplace, is_vault},
};
use crate::engine::{Cost, NoteKind, Report, TurnOptions};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Told<'a> {
    generation: u64,
    pulled: usize,
    pushed: usize,
    merged: usize,
    conflicts: usize,
    deleted: usize,
    renamed: usize,
    skipped: usize,
    #[serde(flatten)]
    cost: Cost,
    raced: u32,
    conflicts_waiting: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    plan: Option<&'a [String]>,
    notes: Vec<ToldNote<'a>>,
}

#[derive(Serialize)]
struct ToldNote<'a> {
    kind: NoteKind,
    subject: &'a str,
    text: &'a str,
}

/// Runs the command.
pub(super) async fn run(args: &Args, ui: &Ui, options: &SyncArgs) -> Result<Ended, CliError> {
    let traffic = Traffic::new();
    let (mut place, storage) = open(args, ui, options, &traffic).await?;
    if options.recreate_remote && !options.dry_run && unlock::is_encrypted(&place)? {
        let raw = place.raw_storage(ui, &traffic).await?;
        unlock::recreate(&place, &raw, ui).await?;
    }
    let turn = TurnOptions {
        dry_run: options.dry_run,
        accept_deletes: options.accept_deletes,
        recreate_remote: options.recreate_remote,
    };
    let progress = ui.progress();
    let report = place.engine.turn(&storage, &traffic, turn, &progress).await;
    drop(progress);
    let report = report?;
    let (waiting, _) = place.engine.store().conflict_counts()?;
    ui.object(&told(&report, waiting, options.dry_run));
    if options.dry_run {
        tell_plan(ui, &report);
    } else {
        tell(ui, &report, &place)?;
    }
    Ok(if waiting > 0 && !options.dry_run { Ended::ConflictsWait } else { Ended::Done })
}

/// Opens the vault, and makes it one first if it is none yet and a remote was named.
async fn open(
    args: &Args,
    ui: &Ui,
    options: &SyncArgs,
    traffic: &Traffic,
) -> Result<(Workplace, larder_providers::SharedStorage), CliError> {
    let here = env::current_dir()?;
    let named = options.dir.as_ref().or(args.vault.as_ref());
    let named = named.map(|dir| env::folder(dir)).transpose()?;
    let root = named.or_else(|| crate::vault::Vault::discover(&here));
    let Some(remote) = &options.remote else {
        let mut place = match root {
            Some(root) => Workplace::open(&root, Access::Change)?,
            None => Workplace::find(args, Access::Change)?,
        };
        let storage = place.storage(ui, traffic).await?;
        return Ok((place, storage));
    };
    let root = root.unwrap_or(here);
    if !is_vault(&root) && options.dry_run {
        let text = "a dry run makes no vault; run `larder init` first, which moves no note";
        return Err(CliError::Usage(text.to_owned()));
    }
    let mut place = Workplace::make(&root, options.device.as_deref())?;
    if place.config.remote.is_some() {
        let (url, given) = init::take_address(remote, ui)?;
        if place.remote_url()? != url {
            return Err(CliError::Usage(format!(
                "this vault is connected to {} already; to point it at a new address of the same \
                 remote: `larder remote set {url}`",
                place.remote_url()?
            )));
        }
        let ca_file = place.ca_file();
        let raw = secrets::open(&url, given, ca_file.as_deref(), ui, traffic).await?;
        let storage = unlock::open(&mut place, &raw, ui).await?;
        if options.encrypt && !unlock::is_encrypted(&place)? {
            return Err(unlock::chosen_before());
        }
        return Ok((place, storage));
    }
    let wanted = init::Wanted { encrypt: options.encrypt, ..init::Wanted::default() };
    let (storage, _) = init::connect(&mut place, ui, remote, wanted, traffic).await?;
    Ok((place, storage))
}

fn told(report: &Report, conflicts_waiting: u64, dry_run: bool) -> Told<'_> {
    Told {
        generation: report.generation,
        pulled: report.pulled,
        pushed: report.pushed,
        merged: report.merged,
        conflicts: report.conflicts,
        deleted: report.deleted,
        renamed: report.renamed,
        skipped: report.skipped,
        cost: report.cost,
        raced: report.raced,
        conflicts_waiting,
        plan: dry_run.then_some(report.plan.as_slice()),
        notes: report
            .notes
            .iter()
            .map(|note| ToldNote { kind: note.kind, subject: &note.subject, text: &note.text })
            .collect(),
    }
}

/// One or two lines when all is well, the full story when not.
pub(super) fn tell(ui: &Ui, report: &Report, place: &Workplace) -> Result<(), CliError> {
    ui.line(summary(ui, report, place.engine.store().live_count()?));
    if ui.verbose() {
        for line in &report.plan {
            ui.line(format!("  {line}"));
        }
    }
    tell_notes(ui, report);
    let (waiting, decided) = place.engine.store().conflict_counts()?;
    if waiting > 0 {
        let waits = count(waiting, "conflict waits", "conflicts wait");
        ui.line(ui.warning(&format!("{waits} for you: larder conflicts")));
    } else if decided > 0 && report.conflicts > 0 {
        let news = count(report.conflicts as u64, "conflict was", "conflicts were");
        ui.line(format!("{news} decided by a rule; nothing is lost: larder conflicts"));
    }
    Ok(())
}

/// What a turn did, in one line.
pub(super) fn summary(ui: &Ui, report: &Report, live: u64) -> String {
    let cost = ui.cost(&report.cost);
    let parts: Vec<String> = [
        (report.pushed, "sent"),
        (report.pulled, "received"),
        (report.merged, "merged"),
        (report.renamed, "moved"),
        (report.deleted, "deleted"),
    ]
    .iter()
    .filter(|(number, _)| *number > 0)
    .map(|(number, verb)| format!("{} {verb}", grouped(*number as u64)))
    .collect();
    if parts.is_empty() {
        return format!("Nothing to do: {} in step. {cost}", count(live, "record", "records"));
    }
    format!("{}; {} in step. {cost}", parts.join(", "), count(live, "record", "records"))
}

/// What a person should know. Files that are merely left alone are counted, unless all is asked for.
fn tell_notes(ui: &Ui, report: &Report) {
    let is_quiet = |kind| matches!(kind, NoteKind::Skipped | NoteKind::Unparsed) && !ui.verbose();
    for note in report.notes.iter().filter(|note| !is_quiet(note.kind)) {
        let left = if note.kind == NoteKind::Skipped { "left alone, " } else { "" };
        ui.line(ui.warning(&format!("{}: {left}{}", note.subject, note.text)));
    }
    let of = |kind| report.notes.iter().filter(|note| note.kind == kind).count() as u64;
    let (skipped, unparsed) = (of(NoteKind::Skipped), of(NoteKind::Unparsed));
    if skipped > 0 && is_quiet(NoteKind::Skipped) {
        let files = count(skipped, "file is", "files are");
        ui.line(format!("{files} left alone: larder sync -v says which and why"));
    }
    if unparsed > 0 && is_quiet(NoteKind::Unparsed) {
        let files = count(unparsed, "file does", "files do");
        ui.line(format!("{files} not parse and are kept as plain text: larder sync -v says why"));
    }
}

fn tell_plan(ui: &Ui, report: &Report) {
    if report.plan.is_empty() {
        ui.answer("Nothing to do.");
    } else {
        ui.answer("A sync would:");
    }
    for line in &report.plan {
        ui.answer(format!("  {line}"));
    }
    tell_notes(ui, report);
}
