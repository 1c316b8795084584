//! `larder daemon`: sync until stopped.

use std::{
    collections::{BTreeMap, BTreeSet},
    pin::pin,
    time::Duration,
};

use larder_providers::Traffic;
#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::{sync::oneshot, time::sleep};

use super::{
    Ended,
    args::{Args, DaemonArgs},
    error::{self, CliError, exit_code},
    prompt,
    sync::{Selection, summary, tell, ways as ways_of},
    ui::{Ui, duration, say},
    workplace::{Access, Workplace},
};
use crate::{
    clock::Clock,
    daemon::{self, Event},
    engine::{Engine, EngineError, Note, Report, Way},
    model::RemoteId,
};

/// What is done within this after the process was asked to stop needs no word about it.
const SILENT: Duration = Duration::from_millis(200);

/// Runs the command.
pub(super) async fn run(args: &Args, ui: &Ui, options: &DaemonArgs) -> Result<Ended, CliError> {
    let (traffic, interval) = (Traffic::new(), options.interval);
    let mut place = Workplace::find(args, Access::Change)?;
    let opened = open(&mut place, ui, &traffic).await?;
    let stop = stop_signal(ui)?;
    prompt::leave_signals();
    // From now on there may be a terminal, and nobody before it.
    ui.stop_asking();
    let with: Vec<String> = match opened.names.as_slice() {
        [_] if !place.has_several() => vec![place.remote_url()?.to_string()],
        several => several.iter().map(|(_, name)| name.clone()).collect(),
    };
    ui.line(format!(
        "Syncing {} with {} every {}; Ctrl-C stops.",
        place.root.display(),
        with.join(" and "),
        duration(millis(interval))
    ));
    let (clock, Opened { ways, names, failed }) = (Clock::system(), opened);
    let mut host = Host {
        ui,
        traffic: &traffic,
        clock,
        place,
        names,
        shut: Vec::new(),
        in_step: BTreeSet::new(),
        refused: BTreeSet::new(),
        notes: Notes::default(),
    };
    for (name, error) in failed {
        host.tell_shut(&name, &error, daemon::first_pause(interval));
        host.shut.push(name);
    }
    let ended = daemon::run(&mut host, ways, &traffic, interval, stop).await;
    ui.line(format!("{} stopped", host.clock.now()));
    ended?;
    Ok(Ended::Done)
}

type Names = Vec<(RemoteId, String)>;

/// What came of opening the remotes.
#[derive(Default)]
struct Opened {
    ways: Vec<Way>,
    /// What those are called.
    names: Names,
    /// What the others are called, and why they could not be opened.
    failed: Vec<(String, CliError)>,
}

/// Opens the remotes. That some of them cannot be opened holds up none of the others.
async fn open(place: &mut Workplace, ui: &Ui, traffic: &Traffic) -> Result<Opened, CliError> {
    let mut opened = Opened::default();
    for (name, way) in ways_of(place, ui, Selection::default(), traffic).await? {
        match way {
            Ok(way) => {
                opened.names.push((way.id.clone(), name));
                opened.ways.push(way);
            }
            Err(error) => {
                place.note_trouble(&name, &error)?;
                opened.failed.push((name, error));
            }
        }
    }
    if !opened.ways.is_empty() {
        return Ok(opened);
    }
    let last = opened.failed.pop();
    for (name, error) in &opened.failed {
        ui.failure(name, error);
    }
    Err(last.map_or_else(|| EngineError::NotConnected.into(), |(_, error)| error))
}

/// Whose turns are done: it opens what could not be opened, and tells what becomes of the turns.
struct Host<'a> {
    ui: &'a Ui,
    traffic: &'a Traffic,
    clock: Clock,
    place: Workplace,
    names: Names,
    /// The remotes that could not be opened yet.
    shut: Vec<String>,
    /// With which remotes the last turn went well. The first turn is told even if there was nothing to
    /// do, and so is the end of a trouble.
    in_step: BTreeSet<RemoteId>,
    /// Those that refused what they were opened with.
    refused: BTreeSet<RemoteId>,
    notes: Notes,
}

/// What the last turn with each remote noted.
#[derive(Default)]
struct Notes(BTreeMap<RemoteId, BTreeSet<Note>>);

impl Notes {
    /// What a turn noted that the one before had not. What is of the vault is told once, whichever remote it
    /// was noticed with.
    fn news(&mut self, way: &Way, report: &Report) -> Vec<Note> {
        let is_known = |note: &&Note| {
            let mut known = self.0.iter();
            known.any(|(id, notes)| {
                (*id == way.id || !tell::is_of_remote(note)) && notes.contains(note)
            })
        };
        let news = report.notes.iter().filter(|note| !is_known(note)).cloned().collect();
        self.0.insert(way.id.clone(), report.notes.iter().cloned().collect());
        news
    }
}

impl daemon::Host for Host<'_> {
    fn engine(&mut self) -> &mut Engine {
        &mut self.place.engine
    }

    fn tell(&mut self, event: Event<'_>) {
        match event {
            Event::Turned(way, report) => self.turned(way, report),
            Event::Failed(way, error, pause) => {
                let name = self.name_of(way).map(str::to_owned);
                if error::is_refusal(error) {
                    self.refused.insert(way.id.clone());
                }
                let refused = error::is_unauthorized(error);
                let refused = refused.then(|| self.ui.entries.hint(name.as_deref())).flatten();
                let hint = refused.or_else(|| error::hint(error, name.as_deref()));
                let message = error::message(error);
                self.failed(name.as_deref(), (error::code(error), &message, hint), pause);
                self.in_step.remove(&way.id);
            }
        }
    }

    fn lacks_any(&self) -> bool {
        !self.shut.is_empty()
    }

    async fn reopen(&mut self, way: &Way) -> Option<Way> {
        if !self.refused.remove(&way.id) {
            return None;
        }
        let (_, name) = self.names.iter().find(|(id, _)| *id == way.id)?.clone();
        // Why it cannot be opened its turn says.
        self.try_open(&name).await.ok()
    }

    async fn open(&mut self, pause: Duration) -> Vec<Way> {
        let mut ways = Vec::new();
        for name in std::mem::take(&mut self.shut) {
            match self.try_open(&name).await {
                Ok(way) => {
                    self.names.push((way.id.clone(), name));
                    ways.push(way);
                }
                Err(error) => {
                    // What cannot be kept is told all the same.
                    let _ = self.place.note_trouble(&name, &error);
                    self.tell_shut(&name, &error, pause);
                    self.shut.push(name);
                }
            }
        }
        ways
    }
}

impl Host<'_> {
    async fn try_open(&mut self, name: &str) -> Result<Way, CliError> {
        let remote = self.place.config.remote(Some(name))?.clone();
        self.place.way(&remote, self.ui, self.traffic).await
    }

    /// What a remote is called, where there are several.
    fn name_of(&self, way: &Way) -> Option<&str> {
        let mut named = self.names.iter().filter(|_| self.place.has_several());
        named.find(|(id, _)| *id == way.id).map(|(_, name)| name.as_str())
    }

    fn turned(&mut self, way: &Way, report: &Report) {
        let (ui, at, name) = (self.ui, self.clock.now(), self.name_of(way).map(str::to_owned));
        let name = name.as_deref();
        let news = self.notes.news(way, report);
        let about = |note| (name.filter(|_| tell::is_of_remote(note)), note);
        let news: Vec<tell::About<'_>> = news.iter().map(about).collect();
        let counts = self.place.engine.store().conflict_counts().unwrap_or_default();
        let stand = tell::Stand::of(&self.place).unwrap_or_default();
        let notes: Vec<_> = news.iter().copied().map(tell::ToldNote::new).collect();
        let mut told = serde_json::json!({
            "event": "turn", "at": at, "generation": report.generation,
            "pulled": report.pulled, "pushed": report.pushed, "merged": report.merged,
            "deleted": report.deleted, "renamed": report.renamed,
            "conflicts": report.conflicts, "conflictsWaiting": counts.0,
            "filesWaiting": stand.waiting, "requests": report.cost.requests, "notes": notes,
        });
        let prefix = name.map_or_else(String::new, |name| format!("{name}: "));
        if let (Some(name), Some(told)) = (name, told.as_object_mut()) {
            told.insert("remote".to_owned(), name.into());
        }
        ui.object(&told);
        if self.in_step.insert(way.id.clone()) || report.did_anything() || ui.verbose() {
            ui.line(format!("{at} {prefix}{}", summary(ui, report, &stand)));
        }
        tell::tell_notes(ui, &news);
        if report.conflicts > 0 {
            tell::tell_conflicts(ui, report, counts);
        }
    }

    /// Tells why a remote could not be opened.
    fn tell_shut(&self, name: &str, error: &CliError, pause: Duration) {
        let hint = self.ui.hint(error, Some(name));
        self.failed(Some(name), (error.code(), &error.message(), hint), pause);
    }

    /// What passes by itself needs no hint but for programs.
    fn failed(
        &self,
        name: Option<&str>,
        (code, message, hint): (u8, &str, Option<String>),
        pause: Duration,
    ) {
        let (ui, at, pause) = (self.ui, self.clock.now(), millis(pause));
        let mut told = serde_json::json!({
            "event": "failed", "at": at, "kind": error::kind(code), "code": code,
            "message": message, "hint": hint, "retryInMs": pause,
        });
        let about = name.map_or_else(String::new, |name| format!("{name}: "));
        if let (Some(name), Some(told)) = (name, told.as_object_mut()) {
            told.insert("remote".to_owned(), name.into());
        }
        ui.object(&told);
        ui.note(format!("{at} {about}{message}; next try in {}", duration(pause)));
        if let Some(hint) = hint.filter(|_| code != exit_code::UNREACHABLE) {
            ui.note(format!("  {hint}"));
        }
    }
}

fn millis(time: std::time::Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

/// Comes when the process is asked to stop. Asked once more it does not wait for the turn under way: a
/// turn may be cut at any place.
fn stop_signal(ui: &Ui) -> Result<impl Future<Output = ()>, CliError> {
    let (mut signals, is_quiet) = (Signals::new()?, ui.is_quiet());
    let (tell, told) = oneshot::channel();
    // A turn that is busy must not keep it from being heard.
    tokio::spawn(async move {
        signals.next().await;
        let _ = tell.send(());
        // A wrapper may pass on what the terminal has sent already.
        let mut silent = pin!(sleep(SILENT));
        loop {
            tokio::select! {
                () = &mut silent => break,
                _ = signals.next() => {}
            }
        }
        if !is_quiet {
            say("finishing the turn under way; Ctrl-C again stops at once");
        }
        prompt::end(signals.next().await);
    });
    Ok(async {
        let _ = told.await;
    })
}

/// The signals that ask a process to stop.
#[cfg(unix)]
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> std::io::Result<Self> {
        let (terminate, interrupt) = (SignalKind::terminate(), SignalKind::interrupt());
        Ok(Self { terminate: signal(terminate)?, interrupt: signal(interrupt)? })
    }

    /// Comes with the number of the next one.
    async fn next(&mut self) -> i32 {
        let kind = tokio::select! {
            _ = self.terminate.recv() => SignalKind::terminate(),
            _ = self.interrupt.recv() => SignalKind::interrupt(),
        };
        kind.as_raw_value()
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) -> i32 {
        let _ = tokio::signal::ctrl_c().await;
        2
    }
}
