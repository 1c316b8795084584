//! What a sync tells: to people in a line or two, to programs all of it.

use serde::Serialize;

use super::Gone;
use crate::{
    cli::{
        error::{CliError, option},
        ui::{Ui, count, grouped},
        workplace::Workplace,
    },
    engine::{Cost, Note, NoteKind, Report},
    model::RemoteId,
};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Told<'a> {
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
    files_waiting: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    plan: Option<&'a [String]>,
    notes: Vec<ToldNote<'a>>,
    /// Of several remotes, what became of each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    remotes: Vec<ToldRemote<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ToldRemote<'a> {
    name: &'a str,
    remote_id: Option<&'a RemoteId>,
    encrypted: bool,
    generation: Option<u64>,
    pulled: usize,
    pushed: usize,
    requests: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ToldError>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ToldError {
    kind: &'static str,
    code: u8,
    message: String,
    hint: Option<String>,
}

#[derive(Serialize)]
pub(in crate::cli) struct ToldNote<'a> {
    /// Of several remotes, that which it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    remote: Option<&'a str>,
    kind: NoteKind,
    subject: &'a str,
    text: &'a str,
}

impl<'a> ToldNote<'a> {
    pub(in crate::cli) fn new((remote, note): About<'a>) -> Self {
        Self { remote, kind: note.kind, subject: &note.subject, text: &note.text }
    }
}

/// A note, and the name of the remote that it is about, if it is about one of several.
pub(in crate::cli) type About<'a> = (Option<&'a str>, &'a Note);

pub(super) fn told<'a>(
    place: &Workplace,
    ui: &Ui,
    report: &'a Report,
    gone: &'a [Gone],
    conflicts_waiting: u64,
    dry_run: bool,
) -> Result<Told<'a>, CliError> {
    let remotes = gone.iter().map(|gone| told_remote(place, ui, gone));
    Ok(Told {
        remotes: remotes.collect::<Result<_, _>>()?,
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
        files_waiting: Stand::of(place)?.waiting,
        plan: dry_run.then_some(report.plan.as_slice()),
        notes: notes(report, gone).into_iter().map(ToldNote::new).collect(),
    })
}

fn told_remote<'a>(place: &Workplace, ui: &Ui, gone: &'a Gone) -> Result<ToldRemote<'a>, CliError> {
    let Gone { name, id, result } = gone;
    let report = result.as_ref().ok();
    let count = |count: fn(&Report) -> usize| report.map_or(0, count);
    Ok(ToldRemote {
        name,
        remote_id: id.as_ref(),
        encrypted: place.is_encrypted(place.config.remote(Some(name))?)?,
        generation: report.map(|report| report.generation),
        pulled: count(|report| report.pulled),
        pushed: count(|report| report.pushed),
        requests: report.map_or(0, |report| report.cost.requests),
        error: result.as_ref().err().map(|error| ToldError {
            kind: error.kind(),
            code: error.code(),
            message: error.message(),
            hint: ui.hint(error, Some(name)),
        }),
    })
}

/// One or two lines when all is well, the full story when not.
pub(super) fn tell(
    ui: &Ui,
    report: &Report,
    gone: &[Gone],
    place: &Workplace,
) -> Result<(), CliError> {
    let stand = Stand::of(place)?;
    match gone {
        [] => ui.line(summary(ui, report, &stand)),
        gone => ui.line(summary_of_all(ui, report, gone, &stand)),
    }
    if ui.verbose() {
        for line in &report.plan {
            ui.line(format!("  {line}"));
        }
    }
    tell_notes(ui, &notes(report, gone));
    tell_conflicts(ui, report, place.engine.store().conflict_counts()?);
    Ok(())
}

/// Says of which conflicts a person should know: of those that wait, or else of those that came up.
pub(in crate::cli) fn tell_conflicts(ui: &Ui, report: &Report, (waiting, decided): (u64, u64)) {
    if waiting > 0 {
        let waits = count(waiting, "conflict waits", "conflicts wait");
        ui.line(ui.warning(&format!("{waits} for you: larder conflicts")));
    } else if decided > 0 && report.conflicts > 0 {
        let news = count(report.conflicts as u64, "conflict was", "conflicts were");
        ui.line(format!("{news} decided by a rule; nothing is lost: larder conflicts"));
    }
}

/// How a vault stands after a turn.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::cli) struct Stand {
    live: u64,
    /// How many files are behind their records.
    pub(in crate::cli) waiting: u64,
}

impl Stand {
    pub(in crate::cli) fn of(place: &Workplace) -> Result<Self, CliError> {
        let live = place.engine.store().live_count()?;
        Ok(Self { live, waiting: place.engine.waiting_files()?.len() as u64 })
    }

    /// How many records are in step with what, and what is behind all the same.
    fn told(self, with: &str) -> String {
        let live = count(self.live, "record", "records");
        let but = match self.waiting {
            0 => String::new(),
            waiting => format!(", but {} here", count(waiting, "file waits", "files wait")),
        };
        format!("{live} in step{with}{but}")
    }
}

/// What a turn did, in one line.
pub(in crate::cli) fn summary(ui: &Ui, report: &Report, stand: &Stand) -> String {
    let (cost, stand) = (ui.cost(&report.cost), stand.told(""));
    match deeds(report) {
        None => format!("Nothing to do: {stand}. {cost}"),
        Some(deeds) => format!("{deeds}; {stand}. {cost}"),
    }
}

/// What a turn through several remotes did, in one line.
fn summary_of_all(ui: &Ui, report: &Report, gone: &[Gone], stand: &Stand) -> String {
    let cost = ui.cost(&report.cost);
    let well = || gone.iter().filter_map(|gone| Some((&gone.name, gone.result.as_ref().ok()?)));
    let parts: Vec<String> =
        well().filter_map(|(name, report)| Some(format!("{name}: {}", deeds(report)?))).collect();
    let names: Vec<&str> = well().map(|(name, _)| name.as_str()).collect();
    let stand = stand.told(&format!(" with {}", and(&names)));
    match (names.as_slice(), parts.as_slice()) {
        ([], _) => format!("Nothing was synced. {cost}"),
        (_, []) => format!("Nothing to do: {stand}. {cost}"),
        (_, parts) => format!("{}; {stand}. {cost}", parts.join("; ")),
    }
}

/// Names as they are said one after the other.
fn and(names: &[&str]) -> String {
    match names {
        [others @ .., last] if !others.is_empty() => format!("{} and {last}", others.join(", ")),
        names => names.concat(),
    }
}

/// What a turn did; nothing if that is nothing.
fn deeds(report: &Report) -> Option<String> {
    let mut parts: Vec<String> = [
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
    if report.caught_up > 0 {
        let files = count(report.caught_up as u64, "file", "files");
        parts.push(format!("{files} that waited brought up to date"));
    }
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// What there is to know, each with the remote that it is about if there are several. What the vault
/// has is told once, whichever of them it was noticed with.
fn notes<'a>(report: &'a Report, gone: &'a [Gone]) -> Vec<About<'a>> {
    let is_of_remote = |note: &&Note| !gone.is_empty() && is_of_remote(note);
    let mut notes: Vec<About<'_>> =
        report.notes.iter().filter(|note| !is_of_remote(note)).map(|note| (None, note)).collect();
    for Gone { name, result, .. } in gone {
        let own = result.iter().flat_map(|report| &report.notes).filter(is_of_remote);
        notes.extend(own.map(|note| (Some(name.as_str()), note)));
    }
    notes
}

/// Whether a note is about a remote, and not about the vault.
pub(in crate::cli) fn is_of_remote(note: &Note) -> bool {
    matches!(note.kind, NoteKind::Damaged | NoteKind::Healed | NoteKind::Waiting)
}

/// Of what a note speaks and what it says, with the name of the remote that it is about.
fn named(remote: Option<&str>, note: &Note) -> (String, String) {
    let (subject, text) = (&note.subject, &note.text);
    let Some(name) = remote else { return (subject.clone(), text.clone()) };
    let subject = match subject.as_str() {
        "the remote" => format!("the remote {name}"),
        file => format!("{name}: {file}"),
    };
    // The engine knows no names.
    let check = "`larder check --read-data";
    (subject, text.replace(check, &format!("{check}{}", option("--remote", remote))))
}

/// What a person should know. Files that are merely left alone are counted, unless all is asked for.
pub(in crate::cli) fn tell_notes(ui: &Ui, notes: &[About<'_>]) {
    let is_quiet = |kind| matches!(kind, NoteKind::Skipped | NoteKind::Unparsed) && !ui.verbose();
    for (remote, note) in notes {
        if is_quiet(note.kind) {
            continue;
        }
        let left = if note.kind == NoteKind::Skipped { "left alone, " } else { "" };
        let (subject, text) = named(*remote, note);
        ui.line(ui.warning(&format!("{subject}: {left}{text}")));
    }
    let needs_help = |note: &Note| {
        note.kind == NoteKind::Damaged && !note.text.contains("`larder check --read-data")
    };
    if let Some((remote, _)) = notes.iter().find(|(_, note)| needs_help(note)) {
        let of = option("--remote", *remote);
        let check = format!("`larder check --read-data --repair{of}`");
        ui.line(format!("{check} on a device that has what is damaged sends it again."));
    }
    let of = |kind| notes.iter().filter(|(_, note)| note.kind == kind).count() as u64;
    let (skipped, unparsed) = (of(NoteKind::Skipped), of(NoteKind::Unparsed));
    if skipped > 0 && is_quiet(NoteKind::Skipped) {
        let files = count(skipped, "file or folder is", "files or folders are");
        ui.line(format!("{files} left alone: larder sync -v says which and why"));
    }
    if unparsed > 0 && is_quiet(NoteKind::Unparsed) {
        let files = count(unparsed, "file does not parse and is", "files do not parse and are");
        // A later turn has nothing to say of it.
        ui.line(format!("{files} kept as plain text: larder check says why"));
    }
}

pub(super) fn tell_plan(ui: &Ui, report: &Report, gone: &[Gone]) {
    let is_planned = gone.is_empty() || gone.iter().any(|gone| gone.result.is_ok());
    if !is_planned {
        ui.answer("Nothing could be planned.");
    } else if report.plan.is_empty() {
        ui.answer("Nothing to do.");
    } else {
        ui.answer("A sync would:");
    }
    for line in &report.plan {
        ui.answer(format!("  {line}"));
    }
    tell_notes(ui, &notes(report, gone));
}

pub(super) fn tell_failures(ui: &Ui, gone: &[Gone]) {
    for (name, error) in gone.iter().filter_map(|g| Some((&g.name, g.result.as_ref().err()?))) {
        ui.failure(name, error);
    }
}
