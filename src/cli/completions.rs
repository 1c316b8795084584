//! `larder completions` and `larder man`.

use clap::CommandFactory;

use super::{Ended, args::Args, error::CliError};

/// Prints a completion script.
pub(super) fn completions(shell: clap_complete::Shell) -> Result<Ended, CliError> {
    let mut command = Args::command();
    clap_complete::generate(shell, &mut command, "larder", &mut std::io::stdout());
    Ok(Ended::Done)
}

/// Prints the manual page.
pub(super) fn man() -> Result<Ended, CliError> {
    clap_mangen::Man::new(Args::command()).render(&mut std::io::stdout())?;
    Ok(Ended::Done)
}
