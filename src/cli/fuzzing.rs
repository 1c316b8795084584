//! Doors for the fuzz targets to what the command line reads.

use super::{config::Config, remote_url::RemoteUrl};

/// Reads the settings of a vault and writes them again; or why those cannot be written so that they are
/// read again.
///
/// # Errors
/// In words, settings that are none.
pub fn settings(text: &str) -> Result<Result<String, String>, String> {
    let config = Config::parse(text).map_err(|error| error.message())?;
    Ok(config.to_text().map_err(|error| error.message()))
}

/// Reads the address of a remote: as it is kept, and the password that stood in it.
///
/// # Errors
/// In words, an address that cannot be used.
pub fn address(text: &str) -> Result<(String, Option<String>), String> {
    let (url, password) = RemoteUrl::parse(text).map_err(|error| error.message())?;
    Ok((url.to_string(), password.map(|password| password.expose().to_owned())))
}
