//! `larder daemon`: sync until stopped.

use larder_providers::Traffic;

use super::{
    Ended,
    args::{Args, DaemonArgs},
    error::CliError,
    sync::summary,
    ui::{Ui, duration},
    workplace::{Access, Workplace},
};
use crate::{
    clock::Clock,
    daemon::{self, Event},
};

/// Runs the command.
pub(super) async fn run(args: &Args, ui: &Ui, options: &DaemonArgs) -> Result<Ended, CliError> {
    let traffic = Traffic::new();
    let mut place = Workplace::find(args, Access::Change)?;
    let storage = place.storage(ui, &traffic)?;
    let stop = stop_signal()?;
    let clock = Clock::system();
    daemon::run(&mut place.engine, &storage, &traffic, options.interval, stop, |engine, event| {
        let at = clock.now();
        match event {
            Event::Turned(report) => {
                ui.object(&serde_json::json!({
                    "event": "turn", "at": at, "generation": report.generation,
                    "pulled": report.pulled, "pushed": report.pushed, "merged": report.merged,
                    "conflicts": report.conflicts, "requests": report.requests,
                }));
                let live = engine.store().live_count().unwrap_or(0);
                ui.line(format!("{at} {}", summary(ui, report, live)));
            }
            Event::Failed(error, pause) => {
                let millis = i64::try_from(pause.as_millis()).unwrap_or(i64::MAX);
                ui.object(&serde_json::json!({
                    "event": "failed", "at": at, "message": error.to_string(), "retryInMs": millis,
                }));
                ui.note(format!("{at} {error}; next try in {}", duration(millis)));
            }
        }
    })
    .await;
    ui.line(format!("{} stopped", clock.now()));
    Ok(Ended::Done)
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
