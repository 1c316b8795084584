//! Help for the tests of this crate and of those who use it.

mod dropbox;
#[cfg(feature = "object-stores")]
mod emulators;
#[cfg(feature = "object-stores")]
mod google;
mod in_process;
mod serve;
mod servers;

pub use dropbox::{DROPBOX_APP_KEY, DROPBOX_TOKEN, DropboxLike, Trouble};
#[cfg(feature = "object-stores")]
pub use emulators::{AZURE_KEY, GOOGLE_KEY};
pub use servers::{Account, Kind, Server};

/// The path that `text` spells.
#[cfg(test)]
pub(crate) fn path(text: &str) -> crate::RemotePath {
    crate::RemotePath::new(text).unwrap()
}

/// Chooses the cryptography that HTTP clients need, as `main` does; calling it again is fine.
pub fn install_crypto() {
    // An error says that somebody else was first, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
