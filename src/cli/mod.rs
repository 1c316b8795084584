//! The command line: it parses, calls the engine, and talks. It decides nothing.

mod args;
#[cfg(feature = "object-stores")]
mod bucket_url;
mod change;
mod check;
mod compact;
mod completions;
mod config;
mod conflicts;
mod daemon;
mod demo;
mod devices;
mod dropbox_url;
mod env;
mod error;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod init;
mod list;
mod log;
mod login;
mod prompt;
mod rebuild;
mod redact;
mod remote;
mod remote_url;
mod secrets;
mod show;
mod status;
mod sync;
mod torture;
mod ui;
mod unlock;
mod workplace;

use std::process::ExitCode;

use clap::Parser;

use args::{Args, Command};
use error::{CliError, exit_code};
use ui::Ui;

/// How a command ended, if it did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// All is well.
    Done,
    /// All is done, and conflicts wait for a person.
    ConflictsWait,
    /// What was to be verified is not in order.
    Findings,
    /// With some remotes all is done and with others not, for which this code stands.
    Partly(u8),
}

/// Runs the program with the arguments it was called with.
#[must_use]
pub fn run() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => return ExitCode::from(refuse(&error)),
    };
    let ui = Ui::new(&args);
    // A second installation in one process is refused, and the first one serves as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime =
        match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => {
                ui.error(&CliError::from(anyhow::Error::from(error)));
                return ExitCode::from(exit_code::FAILED);
            }
        };
    let mut ended = runtime.block_on(dispatch(&args, &ui));
    if ended.as_ref().is_err_and(|error| rebuild::note_damage(&args, error)) {
        ended = runtime.block_on(dispatch(&args, &ui));
    }
    if ended.as_ref().is_err_and(|error| ui.doubt.arises(error, &ui)) {
        ended = runtime.block_on(dispatch(&args, &ui));
    }
    let code = match ended {
        Ok(Ended::Done) => exit_code::DONE,
        Ok(Ended::ConflictsWait) => exit_code::CONFLICTS_WAIT,
        Ok(Ended::Findings) => exit_code::FAILED,
        Ok(Ended::Partly(code)) => code,
        Err(error) => {
            ui.error(&error);
            error.code()
        }
    };
    ExitCode::from(ui.code_if_heard(code))
}

/// Says what is wrong with a command line, or the help that it asks for.
fn refuse(error: &clap::Error) -> u8 {
    if !error.use_stderr() {
        // Help holds examples of addresses, and nothing that was typed.
        let Err(why) = error.print() else { return exit_code::DONE };
        if why.kind() == std::io::ErrorKind::BrokenPipe {
            return exit_code::DONE;
        }
        ui::say(&format!("error: {}", ui::unwritten(why).message()));
        return exit_code::FAILED;
    }
    let text = error.render().to_string();
    let safe = redact::redacted(&text);
    if safe == text {
        // Nothing is left to do if even this cannot be printed.
        let _ = error.print();
    } else {
        ui::say(safe.trim_end());
    }
    exit_code::USAGE
}

async fn dispatch(args: &Args, ui: &Ui) -> Result<Ended, CliError> {
    match &args.command {
        Command::Init(options) => init::run(args, ui, options).await,
        Command::Sync(options) => sync::run(args, ui, options).await,
        Command::Status => status::run(args, ui),
        Command::List(options) => list::run(args, ui, options),
        Command::Show { record } => show::run(args, ui, record),
        Command::Put(options) => change::put(args, ui, options),
        Command::Rm { record } => change::remove(args, ui, record),
        Command::Restore(options) => change::restore(args, ui, options),
        Command::Conflicts { action } => conflicts::run(args, ui, action.as_ref()),
        Command::Log { record } => log::run(args, ui, record.as_deref()),
        Command::Compact(options) => compact::run(args, ui, options).await,
        Command::Check(options) => check::run(args, ui, options).await,
        Command::Daemon(options) => daemon::run(args, ui, options).await,
        Command::Remote { action, of } => remote::run(args, ui, action, of.chosen.as_deref()).await,
        Command::Devices { action, of } => {
            devices::run(args, ui, action.as_ref(), of.chosen.as_deref()).await
        }
        Command::Torture(options) => torture::run(ui, options).await,
        Command::Demo(options) => demo::run(ui, options).await,
        Command::Completions { shell } => completions::completions(*shell),
        Command::Man => completions::man(),
    }
}
