//! Places for a remote: a folder of this machine, or a real server.

use std::{path::PathBuf, sync::Arc};

use larder_providers::{
    Local, RemotePath, SharedStorage, WebDav,
    testing::{Kind, Server},
};
use tempfile::TempDir;

use super::tree;

/// What kind of place a remote lies at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// A folder of this machine.
    Folder,
    /// A folder that a program copies to other devices, as its marker says.
    Mirrored,
    /// A WebDAV server.
    Server(Kind),
}

impl Place {
    pub(crate) const DAV_SERVER: Self = Self::Server(Kind::DavServerBare);
    pub(crate) const APACHE: Self = Self::Server(Kind::Apache);
    pub(crate) const LIGHTTPD: Self = Self::Server(Kind::Lighttpd);
    pub(crate) const NGINX: Self = Self::Server(Kind::Nginx);
    pub(crate) const RCLONE: Self = Self::Server(Kind::Rclone);
    pub(crate) const WSGIDAV: Self = Self::Server(Kind::WsgiDav);
    pub(crate) const SABRE: Self = Self::Server(Kind::Sabre);
}

/// A place for a remote, gone when nobody uses it any more.
#[derive(Debug, Clone)]
pub(crate) struct Remote {
    place: Place,
    url: String,
    dir: PathBuf,
    keep: Arc<Keep>,
}

#[derive(Debug)]
enum Keep {
    Folder { _dir: TempDir },
    Server { server: Server },
}

impl Remote {
    /// A place of this kind; nothing if the server is not installed.
    pub(crate) fn start(place: Place) -> Option<Self> {
        let (url, dir, keep) = match place {
            Place::Folder | Place::Mirrored => {
                let dir = tempfile::Builder::new().prefix("larder-remote-").tempdir().unwrap();
                if place == Place::Mirrored {
                    std::fs::create_dir(dir.path().join(".stfolder")).unwrap();
                }
                let path = dir.path().join("remote");
                (path.to_str().unwrap().to_owned(), path, Keep::Folder { _dir: dir })
            }
            Place::Server(kind) => {
                let server = Server::start(kind)?;
                let mut url = server.url().join("remote").unwrap();
                if let Some((user, _)) = server.account() {
                    url.set_username(user).unwrap();
                }
                (url.to_string(), server.dir().join("remote"), Keep::Server { server })
            }
        };
        Some(Self { place, url, dir, keep: Arc::new(keep) })
    }

    /// A folder of this machine.
    pub(crate) fn folder() -> Self {
        Self::start(Place::Folder).unwrap()
    }

    /// What kind of place it is.
    pub(crate) fn place(&self) -> Place {
        self.place
    }

    /// Its address, as a user types it.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Deletes every file in it, through the server: some remember what they served.
    pub(crate) fn empty(&self) {
        let storage: SharedStorage = match self.keep.as_ref() {
            Keep::Folder { .. } => Arc::new(Local::new(&self.dir)),
            Keep::Server { server } => {
                let mut config = server.config();
                config.url = server.url().join("remote/").unwrap();
                Arc::new(WebDav::new(config).unwrap())
            }
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            for file in tree(&self.dir).into_keys() {
                // What the storage keeps for itself has no name that can be asked for.
                if let Ok(path) = RemotePath::new(file) {
                    storage.delete(&path).await.unwrap();
                }
            }
        });
    }

    /// Where its files lie on this machine, to look behind the server's back.
    pub(crate) fn dir(&self) -> &std::path::Path {
        &self.dir
    }
}
