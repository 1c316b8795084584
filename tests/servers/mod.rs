//! What devices do to each other, on every kind of remote: each scenario is written once.

use larder_providers::testing::Kind;

use crate::common::{Place, Remote};

/// Makes a test of each scenario for each kind of remote.
macro_rules! on_every_remote {
    ($($scenario:ident),* $(,)?) => {
        mod folder { $crate::servers::on!(Place::Folder, $($scenario),*); }
        mod mirrored { $crate::servers::on!(Place::Mirrored, $($scenario),*); }
        mod dav_server { $crate::servers::on!(Place::DAV_SERVER, $($scenario),*); }
        mod apache { $crate::servers::on!(Place::APACHE, $($scenario),*); }
        mod lighttpd { $crate::servers::on!(Place::LIGHTTPD, $($scenario),*); }
        mod nginx { $crate::servers::on!(Place::NGINX, $($scenario),*); }
        mod rclone { $crate::servers::on!(Place::RCLONE, $($scenario),*); }
        mod wsgidav { $crate::servers::on!(Place::WSGIDAV, $($scenario),*); }
        mod sabre { $crate::servers::on!(Place::SABRE, $($scenario),*); }
        mod dropbox { $crate::servers::on!(Place::DROPBOX, $($scenario),*); }
        mod encrypted_folder { $crate::servers::on!(Place::EncryptedFolder, $($scenario),*); }
        mod encrypted_mirrored { $crate::servers::on!(Place::EncryptedMirror, $($scenario),*); }
        mod encrypted_dav_server { $crate::servers::on!(Place::EncryptedServer(Kind::DavServerBare), $($scenario),*); }
        mod encrypted_apache { $crate::servers::on!(Place::EncryptedServer(Kind::Apache), $($scenario),*); }
        mod encrypted_dropbox { $crate::servers::on!(Place::EncryptedServer(Kind::DropboxLike), $($scenario),*); }
        #[cfg(feature = "object-stores")]
        mod encrypted_moto { $crate::servers::on!(Place::EncryptedServer(Kind::Moto), $($scenario),*); }
        #[cfg(feature = "object-stores")]
        mod encrypted_azurite { $crate::servers::on!(Place::EncryptedServer(Kind::Azurite), $($scenario),*); }
        #[cfg(feature = "object-stores")]
        mod moto { $crate::servers::on!(Place::MOTO, $($scenario),*); }
        #[cfg(feature = "object-stores")]
        mod azurite { $crate::servers::on!(Place::AZURITE, $($scenario),*); }
        #[cfg(feature = "object-stores")]
        mod google_like { $crate::servers::on!(Place::GOOGLE_LIKE, $($scenario),*); }
    };
}

macro_rules! on {
    ($place:expr, $($scenario:ident),*) => {
        #[allow(unused_imports, reason = "not every place is a kind of server")]
        use $crate::servers::{Kind, Place, play};
        $(#[test] fn $scenario() { play($place, super::$scenario); })*
    };
}

use {on, on_every_remote};

mod contents;
mod cost;
mod edits;
mod files;
mod guards;
mod rivals;
mod rollback;
mod rules;
mod several;
mod thousand;

/// Plays a scenario on a fresh remote; a server that is not installed has said so.
fn play(place: Place, scenario: fn(&Remote)) {
    if let Some(remote) = Remote::start(place) {
        scenario(&remote);
    }
}
