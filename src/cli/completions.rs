//! `larder completions` and `larder man`.

use std::io::Write;

use clap::CommandFactory;

use super::{Ended, args::Args, error::CliError};

/// Prints a completion script.
pub(super) fn completions(shell: clap_complete::Shell) -> Result<Ended, CliError> {
    let mut command = Args::command();
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, "larder", &mut script);
    print(&script)
}

/// Prints the manual page.
pub(super) fn man() -> Result<Ended, CliError> {
    let mut page = Vec::new();
    clap_mangen::Man::new(Args::command()).render(&mut page)?;
    // There is this one page only; `larder help COMMAND` tells of each command.
    let mut text = String::from_utf8_lossy(&page).into_owned();
    for command in Args::command().get_subcommands().map(clap::Command::get_name).chain(["help"]) {
        text = text.replace(&format!("larder\\-{command}(1)"), &format!("larder {command}"));
    }
    print(text.as_bytes())
}

/// A pipe that was closed at the other end is not larder's failure.
fn print(text: &[u8]) -> Result<Ended, CliError> {
    match std::io::stdout().lock().write_all(text) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(Ended::Done),
    }
}
