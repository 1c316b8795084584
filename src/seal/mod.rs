//! End-to-end encryption: a storage that gives away neither contents nor names.
//!
//! [`Sealed`] wraps any storage. What is written through it is encrypted and authenticated on this
//! device, and what is read is believed only if it was written so for the same remote under the same
//! name. Nobody above it or below it knows of encryption. The format is docs/encryption.md.

mod chunks;
mod envelope;
mod error;
mod fit;
mod key;
mod key_file;
mod names;
mod storage;
#[cfg(test)]
mod tests;

pub use chunks::{plain_bytes, sealed_bytes};
pub use envelope::{Envelope, FORM, Inspected, inspect};
pub use error::{Result, SealError};
pub use fit::{Fit, fit};
pub use key::{DataKey, Passphrase, Sealer};
pub use key_file::{Cost, FOLDER as KEYS, KeyFile, KeyFiles, lock, lock_new};
pub use storage::{SEALED_FOLDERS, Sealed};
