//! `larder completions` and `larder man`.

use clap::CommandFactory;

use super::{
    Ended,
    args::Args,
    error::CliError,
    ui::{put_out, unwritten},
};

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

fn print(text: &[u8]) -> Result<Ended, CliError> {
    put_out(text).map_err(unwritten)?;
    Ok(Ended::Done)
}
