//! `larder sync`: one turn.

use larder_providers::Traffic;
use serde::Serialize;

use super::{
    Ended,
    args::{Args, SyncArgs},
    env,
    error::{CliError, exit_code},
    init, secrets,
    ui::{Ui, count, grouped},
    unlock,
    workplace::{Access, Workplace, is_vault},
};
use crate::{
    engine::{Cost, EngineError, NoteKind, Progress, Report, TurnOptions, Way},
    model::RemoteId,
};

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

/// A remote, and what became of the turn with it.
pub(super) struct Gone {
    pub(super) name: String,
    id: Option<RemoteId>,
    pub(super) result: Result<Report, CliError>,
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
    let (mut place, mut ways) = open(args, ui, options, &traffic).await?;
    if options.recreate_remote && !options.dry_run {
        restore_keys(&place, &mut ways, ui, &traffic).await?;
    }
    let turn = TurnOptions {
        dry_run: options.dry_run,
        accept_deletes: options.accept_deletes,
        recreate_remote: options.recreate_remote,
    };
    let progress = ui.progress();
    let mut gone = go(&mut place, ways, &traffic, turn, &progress).await;
    drop(progress);
    let is_begun_anew = |error: &CliError| is_damage(error) || ui.doubt.would_arise(error, ui);
    if let Some(at) = gone.iter().position(|gone| gone.result.as_ref().is_err_and(is_begun_anew)) {
        gone.swap_remove(at).result?;
    }
    let (report, failed) = match gone.as_mut_slice() {
        [] => return Err(EngineError::NotConnected.into()),
        // Of an only remote all is told as if there could be no other.
        [_] => (gone.remove(0).result?, None),
        several => (sum(several), worst(several)),
    };
    let (waiting, _) = place.engine.store().conflict_counts()?;
    ui.object(&told(&place, &report, &gone, waiting, options.dry_run)?);
    if options.dry_run {
        tell_plan(ui, &report);
    } else {
        tell(ui, &report, &gone, &place)?;
    }
    tell_failures(ui, &gone);
    Ok(match failed {
        Some(code) => Ended::Partly(code),
        None if waiting > 0 && !options.dry_run => Ended::ConflictsWait,
        None => Ended::Done,
    })
}

/// A remote, and the way to it if there is one.
type NamedWay = (String, Result<Way, CliError>);

/// Puts the keys of encrypted remotes back that were emptied. One where that fails gets no turn.
async fn restore_keys(
    place: &Workplace,
    ways: &mut [NamedWay],
    ui: &Ui,
    traffic: &Traffic,
) -> Result<(), CliError> {
    for (name, way) in ways {
        let Ok(Way { id, .. }) = way else { continue };
        let restored = async {
            if unlock::is_encrypted(&place.root, Some(id))? {
                let raw = place.config.remote(Some(name))?;
                let raw = place.raw_storage(raw, ui, traffic).await?;
                unlock::recreate(place, &raw, id, ui).await?;
            }
            Ok(())
        };
        match restored.await {
            Ok(()) => {}
            Err(error @ CliError::Interrupted(_)) => return Err(error),
            Err(error) => *way = Err(error),
        }
    }
    Ok(())
}

/// Goes through these remotes in their order; those of which nothing comes back were not tried, as
/// what stopped another concerns the vault.
async fn go(
    place: &mut Workplace,
    named: Vec<NamedWay>,
    traffic: &Traffic,
    options: TurnOptions,
    progress: &dyn Progress,
) -> Vec<Gone> {
    let open: Vec<Way> = named.iter().filter_map(|(_, way)| way.as_ref().ok()).cloned().collect();
    let mut turned = place.engine.turns(&open, traffic, options, progress).await.into_iter();
    let gone = named.into_iter().filter_map(|(name, way)| match way {
        Err(error) => Some(Gone { name, id: None, result: Err(error) }),
        Ok(way) => {
            let turned = turned.next()?;
            Some(Gone { name, id: Some(way.id), result: turned.result.map_err(CliError::from) })
        }
    });
    gone.collect()
}

/// What was done with all remotes together; the generation is that of the default one.
fn sum(gone: &[Gone]) -> Report {
    let mut all = Report::default();
    let generation = gone.first().and_then(|gone| gone.result.as_ref().ok());
    let generation = generation.map_or(0, |report| report.generation);
    for gone in gone {
        let Ok(report) = &gone.result else { continue };
        let mut report = report.clone();
        report.plan.iter_mut().for_each(|line| *line = format!("{}: {line}", gone.name));
        all.add(report);
    }
    all.generation = generation;
    all
}

/// Whether it is the replica that failed, which then is made anew.
fn is_damage(error: &CliError) -> bool {
    let CliError::Engine(error) = error else { return false };
    matches!(error.as_ref(), EngineError::Store(error) if error.is_damage())
}

/// The code that stands for what went wrong: a brake before all else.
fn worst(gone: &[Gone]) -> Option<u8> {
    let codes = gone.iter().filter_map(|gone| gone.result.as_ref().err().map(CliError::code));
    codes.reduce(|worst, code| match (worst, code) {
        (exit_code::BRAKE, _) | (_, exit_code::BRAKE) => exit_code::BRAKE,
        // What passes by itself is less than what does not.
        (exit_code::UNREACHABLE, code) => code,
        (worst, _) => worst,
    })
}

fn tell_failures(ui: &Ui, gone: &[Gone]) {
    for (name, error) in gone.iter().filter_map(|g| Some((&g.name, g.result.as_ref().err()?))) {
        ui.failure(name, error);
    }
}

/// Opens the vault, and makes it one first if it is none yet and a remote was named.
async fn open(
    args: &Args,
    ui: &Ui,
    options: &SyncArgs,
    traffic: &Traffic,
) -> Result<(Workplace, Vec<NamedWay>), CliError> {
    let here = env::current_dir()?;
    let named = options.dir.as_ref().or(args.vault.as_ref());
    let named = named.map(|dir| env::folder(dir)).transpose()?;
    let root = named.or_else(|| crate::vault::Vault::discover(&here));
    let Some(remote) = &options.remote else {
        let mut place = match root {
            Some(root) => Workplace::open(&root, Access::Change)?,
            None => Workplace::find(args, Access::Change)?,
        };
        let ways = ways(&mut place, ui, options.only.as_deref(), traffic).await?;
        return Ok((place, ways));
    };
    let root = root.unwrap_or(here);
    if !is_vault(&root) && options.dry_run {
        let text = "a dry run makes no vault; run `larder init` first, which moves no note";
        return Err(CliError::Usage(text.to_owned()));
    }
    let mut place = Workplace::make(&root, options.device.as_deref())?;
    if !place.config.remotes.is_empty() {
        let (url, given) = init::take_address(remote, ui)?;
        if place.remote_url()? != url {
            return Err(CliError::Usage(format!(
                "this vault is connected to {} already; to point it at a new address of the same \
                 remote: `larder remote set {url}`",
                place.remote_url()?
            )));
        }
        // What it brings along of a password is kept.
        let ca_file = place.ca_file();
        secrets::open(&url, given, ca_file.as_deref(), ui, traffic).await?;
        let ways = ways(&mut place, ui, None, traffic).await?;
        if options.encrypt && !place.is_encrypted(place.config.remote(None)?)? {
            return Err(unlock::chosen_before());
        }
        return Ok((place, ways));
    }
    let wanted = init::Wanted { encrypt: options.encrypt, ..init::Wanted::default() };
    let (way, _) = init::connect(&mut place, ui, (None, remote), wanted, traffic).await?;
    let name = place.config.remote(None)?.name.clone();
    Ok((place, vec![(name, Ok(way))]))
}

/// The ways to all remotes, or to one of them. One that cannot be gone keeps from none of the others.
pub(super) async fn ways(
    place: &mut Workplace,
    ui: &Ui,
    only: Option<&str>,
    traffic: &Traffic,
) -> Result<Vec<NamedWay>, CliError> {
    let remotes = match only {
        Some(_) => vec![place.config.remote(only)?.clone()],
        None => place.config.remotes.clone(),
    };
    let mut ways = Vec::new();
    for remote in remotes {
        match place.way(&remote, ui, traffic).await {
            Err(error @ CliError::Interrupted(_)) => return Err(error),
            way => ways.push((remote.name, way)),
        }
    }
    Ok(ways)
}

fn told<'a>(
    place: &Workplace,
    report: &'a Report,
    gone: &'a [Gone],
    conflicts_waiting: u64,
    dry_run: bool,
) -> Result<Told<'a>, CliError> {
    let remotes = gone.iter().map(|gone| told_remote(place, gone));
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
        plan: dry_run.then_some(report.plan.as_slice()),
        notes: report
            .notes
            .iter()
            .map(|note| ToldNote { kind: note.kind, subject: &note.subject, text: &note.text })
            .collect(),
    })
}

fn told_remote<'a>(place: &Workplace, gone: &'a Gone) -> Result<ToldRemote<'a>, CliError> {
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
            hint: error.hint(),
        }),
    })
}

/// One or two lines when all is well, the full story when not.
fn tell(ui: &Ui, report: &Report, gone: &[Gone], place: &Workplace) -> Result<(), CliError> {
    let live = place.engine.store().live_count()?;
    match gone {
        [] => ui.line(summary(ui, report, live)),
        gone => ui.line(summary_of_all(ui, report, gone, live)),
    }
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
    let live = count(live, "record", "records");
    match deeds(report) {
        None => format!("Nothing to do: {live} in step. {cost}"),
        Some(deeds) => format!("{deeds}; {live} in step. {cost}"),
    }
}

/// What a turn through several remotes did, in one line.
fn summary_of_all(ui: &Ui, report: &Report, gone: &[Gone], live: u64) -> String {
    let cost = ui.cost(&report.cost);
    let well = || gone.iter().filter_map(|gone| Some((&gone.name, gone.result.as_ref().ok()?)));
    let parts: Vec<String> =
        well().filter_map(|(name, report)| Some(format!("{name}: {}", deeds(report)?))).collect();
    let names: Vec<&str> = well().map(|(name, _)| name.as_str()).collect();
    let live = count(live, "record", "records");
    match (names.as_slice(), parts.as_slice()) {
        ([], _) => format!("Nothing was synced. {cost}"),
        (names, []) => format!("Nothing to do: {live} in step with {}. {cost}", and(names)),
        (names, parts) => {
            format!("{}; {live} in step with {}. {cost}", parts.join("; "), and(names))
        }
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
    (!parts.is_empty()).then(|| parts.join(", "))
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
