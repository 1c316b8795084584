//! The contract of the command line: codes, messages, JSON.

#[cfg(target_os = "linux")]
mod bombs;
mod conflicts;
mod daemon;
mod damage;
mod devices;
mod dropbox;
mod encryption;
#[cfg(all(feature = "keyring", target_os = "linux"))]
mod keyring;
mod keys;
mod limits;
mod looks;
mod mixed;
#[cfg(target_os = "linux")]
mod planted;
#[cfg(target_os = "linux")]
mod prompts;
mod remotes;
mod secrets;
mod tls;
#[cfg(target_os = "linux")]
mod unheard;
mod usage;
#[cfg(target_os = "linux")]
mod waiting;
