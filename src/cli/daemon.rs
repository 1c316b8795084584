//! `larder daemon`: sync until stopped.

use std::{collections::BTreeSet, time::Duration};

use larder_providers::Traffic;

use super::{
    Ended,
    args::{Args, DaemonArgs},
    error::{self, CliError},
    prompt,
    sync::{summary, ways as ways_of},
    ui::{Ui, duration},
    workplace::{Access, Workplace},
};
use crate::{
    clock::Clock,
    daemon::{self, Event},
    engine::{Engine, EngineError, Report, Way},
    model::RemoteId,
};

/// Runs the command.
pub(super) async fn run(args: &Args, ui: &Ui, options: &DaemonArgs) -> Result<Ended, CliError> {
    let traffic = Traffic::new();
    let mut place = Workplace::find(args, Access::Change)?;
    let (ways, names) = open(&mut place, ui, &traffic).await?;
    let stop = stop_signal()?;
    prompt::leave_signals();
    let clock = Clock::system();
    let with: Vec<String> = match names.as_slice() {
        [_] => vec![place.remote_url()?.to_string()],
        several => several.iter().map(|(_, name)| name.clone()).collect(),
    };
    ui.line(format!(
        "Syncing {} with {} every {}; Ctrl-C stops.",
        place.root.display(),
        with.join(" and "),
        duration(millis(options.interval))
    ));
    let mut teller = Teller { ui, clock: Clock::system(), names, in_step: BTreeSet::new() };
    let interval = options.interval;
    let ended =
        daemon::run(
            &mut place.engine,
            ways,
            &traffic,
            interval,
            stop,
            |engine, event| match event {
                Event::Turned(way, report) => teller.turned(engine, way, report),
                Event::Failed(way, error, pause) => teller.failed(way, error, pause),
            },
        )
        .await;
    ui.line(format!("{} stopped", clock.now()));
    ended?;
    Ok(Ended::Done)
}

type Names = Vec<(RemoteId, String)>;

/// The ways to the remotes, and what these are called. One that cannot be opened is told and left out,
/// unless that is all of them.
async fn open(
    place: &mut Workplace,
    ui: &Ui,
    traffic: &Traffic,
) -> Result<(Vec<Way>, Names), CliError> {
    let (mut ways, mut names, mut failed) = (Vec::new(), Vec::new(), None);
    for (name, way) in ways_of(place, ui, None, traffic).await? {
        match way {
            Ok(way) => {
                names.push((way.id.clone(), name));
                ways.push(way);
            }
            Err(error) => {
                if let Some((name, error)) = failed.replace((name, error)) {
                    ui.failure(&name, &error);
                }
            }
        }
    }
    match failed {
        Some((_, error)) if ways.is_empty() => return Err(error),
        Some((name, error)) => ui.failure(&name, &error),
        None if ways.is_empty() => return Err(EngineError::NotConnected.into()),
        None => {}
    }
    Ok((ways, names))
}

/// Tells what becomes of the turns.
struct Teller<'a> {
    ui: &'a Ui,
    clock: Clock,
    names: Names,
    /// With which remotes the last turn went well. The first turn is told even if there was nothing to
    /// do, and so is the end of a trouble.
    in_step: BTreeSet<RemoteId>,
}

impl Teller<'_> {
    /// What a remote is called, where there are several.
    fn name_of(&self, way: &Way) -> Option<&str> {
        let mut named = self.names.iter().filter(|_| self.names.len() > 1);
        named.find(|(id, _)| *id == way.id).map(|(_, name)| name.as_str())
    }

    fn turned(&mut self, engine: &Engine, way: &Way, report: &Report) {
        let (ui, at, name) = (self.ui, self.clock.now(), self.name_of(way));
        let mut told = serde_json::json!({
            "event": "turn", "at": at, "generation": report.generation,
            "pulled": report.pulled, "pushed": report.pushed, "merged": report.merged,
            "conflicts": report.conflicts, "requests": report.cost.requests,
        });
        let about = name.map_or_else(String::new, |name| format!("{name}: "));
        if let (Some(name), Some(told)) = (name, told.as_object_mut()) {
            told.insert("remote".to_owned(), name.into());
        }
        ui.object(&told);
        if self.in_step.insert(way.id.clone()) || report.did_anything() || ui.verbose() {
            let live = engine.store().live_count().unwrap_or(0);
            ui.line(format!("{at} {about}{}", summary(ui, report, live)));
        }
    }

    fn failed(&mut self, way: &Way, error: &EngineError, pause: Duration) {
        let (ui, at, name) = (self.ui, self.clock.now(), self.name_of(way));
        let (message, hint) = (error::message(error), error::hint(error, name));
        let pause = millis(pause);
        let mut told = serde_json::json!({
            "event": "failed", "at": at, "message": message, "hint": hint, "retryInMs": pause,
        });
        let about = name.map_or_else(String::new, |name| format!("{name}: "));
        if let (Some(name), Some(told)) = (name, told.as_object_mut()) {
            told.insert("remote".to_owned(), name.into());
        }
        ui.object(&told);
        ui.note(format!("{at} {about}{message}; next try in {}", duration(pause)));
        if let Some(hint) = hint.filter(|_| !error.is_temporary()) {
            ui.note(format!("  {hint}"));
        }
        self.in_step.remove(&way.id);
    }
}

fn millis(time: std::time::Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

/// Comes when the process is asked to stop.
#[cfg(unix)]
fn stop_signal() -> Result<impl Future<Output = ()>, CliError> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

#[cfg(not(unix))]
fn stop_signal() -> Result<impl Future<Output = ()>, CliError> {
    Ok(async {
        let _ = tokio::signal::ctrl_c().await;
    })
}
