//! Secrets that the environment gives, and for which of several remotes.

use std::fs;

use anyhow::Context;
use larder_providers::Password;

use crate::cli::{
    env,
    error::CliError,
    ui::{About, Ui},
};

/// The variable that beats everything else.
const VARIABLE: &str = "LARDER_PASSWORD";

/// The variable that names a file with the password in its first line.
const FILE_VARIABLE: &str = "LARDER_PASSWORD_FILE";

/// A variable for one of several remotes.
pub(in crate::cli) fn named(variable: &str, remote: &str) -> String {
    format!("{variable}_{}", remote.to_ascii_uppercase().replace('-', "_"))
}

/// A variable for what is spoken of, if that is one of several remotes and has it for itself.
pub(in crate::cli) fn own_variable(variable: &str, ui: &Ui) -> Option<String> {
    let about = ui.one_of_several().filter(|about| !about.shares_variables)?;
    Some(named(variable, &about.name))
}

/// The variable that gives the password of what is spoken of.
pub(super) fn variable(ui: &Ui) -> String {
    match ui.one_of_several() {
        Some(About { name, takes_plain: false, shares_variables: true }) => {
            format!(
                "{} (once no other remote shares it: call one otherwise)",
                named(VARIABLE, &name)
            )
        }
        Some(About { name, takes_plain: false, .. }) => Some(named(VARIABLE, &name))
            .filter(|own| !is_of_file(own))
            .unwrap_or_else(|| named(FILE_VARIABLE, &name)),
        _ => VARIABLE.to_owned(),
    }
}

/// Whether a variable holds no password, but the name of a file: that of a remote that is called `file`.
fn is_of_file(variable: &str) -> bool {
    let rest = variable.strip_prefix(FILE_VARIABLE);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
}

/// The password that the environment gives, and the variable that gives it. One that is given without a
/// name goes only to the remotes that take a plain one ([`About`]).
pub(super) fn surrounding(ui: &Ui) -> Result<Option<(Password, String)>, CliError> {
    if let Some((own, file)) = own_variable(VARIABLE, ui).zip(own_variable(FILE_VARIABLE, ui)) {
        let password = by(&own, &file)?;
        if password.is_some() {
            return Ok(password);
        }
    }
    match ui.one_of_several() {
        Some(About { takes_plain: false, .. }) => Ok(None),
        _ => by(VARIABLE, FILE_VARIABLE),
    }
}

fn by(variable: &str, file_variable: &str) -> Result<Option<(Password, String)>, CliError> {
    if let Some(password) = env::var(variable).filter(|_| !is_of_file(variable)) {
        return Ok(Some((Password::new(password), variable.to_owned())));
    }
    let Some(file) = env::var(file_variable) else { return Ok(None) };
    let text = fs::read_to_string(&file).with_context(|| format!("{file_variable}: {file}"))?;
    match text.lines().next().filter(|line| !line.is_empty()) {
        Some(line) => Ok(Some((Password::new(line), file_variable.to_owned()))),
        None => Err(CliError::Usage(format!(
            "{file_variable}: {file} has no password in its first line"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_remote_has_variables_of_its_own() {
        assert_eq!(named(VARIABLE, "Back-up_2"), "LARDER_PASSWORD_BACK_UP_2");
        for (remote, is_file) in [("file", true), ("file-x", true), ("files", false), ("x", false)]
        {
            assert_eq!(is_of_file(&named(VARIABLE, remote)), is_file, "{remote}");
        }
        assert!(!is_of_file(VARIABLE));
    }
}
