//! `larder daemon`: sync until stopped.

use larder_providers::Traffic;

use super::{
    Ended,
    args::{Args, DaemonArgs},
    error::{self, CliError},
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
    let storage = place.storage(ui, &traffic).await?;
    let stop = stop_signal()?;
    let clock = Clock::system();
    ui.line(format!(
        "Syncing {} with {} every {}; Ctrl-C stops.",
        place.root.display(),
        place.remote_url()?,
        duration(millis(options.interval))
    ));
    // The first turn is told even if there was nothing to do, and so is the end of a trouble.
    let mut is_awaited = true;
    let interval = options.interval;
    let ended =
        daemon::run(&mut place.engine, &storage, &traffic, interval, stop, |engine, event| {
            let at = clock.now();
            match event {
                Event::Turned(report) => {
                    ui.object(&serde_json::json!({
                        "event": "turn", "at": at, "generation": report.generation,
                        "pulled": report.pulled, "pushed": report.pushed, "merged": report.merged,
                        "conflicts": report.conflicts, "requests": report.cost.requests,
                    }));
                    if report.did_anything() || is_awaited || ui.verbose() {
                        let live = engine.store().live_count().unwrap_or(0);
                        ui.line(format!("{at} {}", summary(ui, report, live)));
                    }
                    is_awaited = false;
                }
                Event::Failed(error, pause) => {
                    let (message, hint) = (error::message(error), error::hint(error));
                    let pause = millis(pause);
                    is_awaited = true;
                    ui.object(&serde_json::json!({
                        "event": "failed", "at": at, "message": message, "hint": hint,
                        "retryInMs": pause,
                    }));
                    ui.note(format!("{at} {message}; next try in {}", duration(pause)));
                    if let Some(hint) = hint.filter(|_| !error.is_temporary()) {
                        ui.note(format!("  {hint}"));
                    }
                }
            }
        })
        .await;
    ui.line(format!("{} stopped", clock.now()));
    ended?;
    Ok(Ended::Done)
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
