//! The contract of the command line: codes, messages, JSON.

mod conflicts;
mod daemon;
mod damage;
mod devices;
mod dropbox;
mod encryption;
mod limits;
mod looks;
mod secrets;
mod usage;
