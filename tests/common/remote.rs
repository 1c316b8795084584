//! Places for a remote: a folder of this machine, or a real server.

use std::{collections::BTreeMap, fs, path::PathBuf, sync::Arc};

use larder_providers::{
    Local, RemotePath, SharedStorage, Storage, StorageExt as _,
    testing::{DROPBOX_APP_KEY, DROPBOX_TOKEN, DropboxLike, Kind, Server},
};
use tempfile::TempDir;

use super::{Text, tree};

/// What kind of place a remote lies at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// A folder of this machine.
    Folder,
    /// A folder that a program copies to other devices, as its marker says.
    Mirrored,
    /// A WebDAV server, or an emulator of an object store.
    Server(Kind),
    /// A folder with an encrypted remote.
    EncryptedFolder,
    /// A mirrored folder with an encrypted remote.
    EncryptedMirror,
    /// A server with an encrypted remote.
    EncryptedServer(Kind),
}

impl Place {
    /// The same place, and whether the remote there is encrypted.
    fn split(self) -> (Self, bool) {
        match self {
            Self::EncryptedFolder => (Self::Folder, true),
            Self::EncryptedMirror => (Self::Mirrored, true),
            Self::EncryptedServer(kind) => (Self::Server(kind), true),
            plain => (plain, false),
        }
    }

    pub(crate) const DAV_SERVER: Self = Self::Server(Kind::DavServerBare);
    pub(crate) const APACHE: Self = Self::Server(Kind::Apache);
    pub(crate) const LIGHTTPD: Self = Self::Server(Kind::Lighttpd);
    pub(crate) const NGINX: Self = Self::Server(Kind::Nginx);
    pub(crate) const RCLONE: Self = Self::Server(Kind::Rclone);
    pub(crate) const WSGIDAV: Self = Self::Server(Kind::WsgiDav);
    pub(crate) const SABRE: Self = Self::Server(Kind::Sabre);
    pub(crate) const DROPBOX: Self = Self::Server(Kind::DropboxLike);
    #[cfg(feature = "object-stores")]
    pub(crate) const MOTO: Self = Self::Server(Kind::Moto);
    #[cfg(feature = "object-stores")]
    pub(crate) const AZURITE: Self = Self::Server(Kind::Azurite);
    #[cfg(feature = "object-stores")]
    pub(crate) const GOOGLE_LIKE: Self = Self::Server(Kind::GoogleLike);

    /// Whether its files lie in no folder of this machine.
    fn is_closed(self) -> bool {
        matches!(self, Self::Server(kind) if !kind.keeps_a_folder())
    }
}

/// Everything that lies on a remote.
pub(crate) type Files = BTreeMap<String, Text>;

/// A place for a remote, gone when nobody uses it any more.
#[derive(Debug, Clone)]
pub(crate) struct Remote {
    place: Place,
    is_encrypted: bool,
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
        let (place, is_encrypted) = place.split();
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
                (server.address("remote"), server.dir().join("remote"), Keep::Server { server })
            }
            encrypted => unreachable!("{encrypted:?} was split"),
        };
        Some(Self { place, is_encrypted, url, dir, keep: Arc::new(keep) })
    }

    /// A folder of this machine.
    pub(crate) fn folder() -> Self {
        Self::start(Place::Folder).unwrap()
    }

    /// What kind of place it is.
    pub(crate) fn place(&self) -> Place {
        self.place
    }

    /// What `init` is to be told besides.
    pub(crate) fn init_args(&self) -> &'static [&'static str] {
        if self.is_encrypted { &["--encrypt"] } else { &[] }
    }

    /// Its address, as a user types it.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// What has to be in the environment to reach it.
    pub(crate) fn way(&self) -> Vec<(&'static str, String)> {
        match self.dropbox() {
            Some(dropbox) => vec![
                ("LARDER_TEST_DROPBOX_URL", dropbox.url().to_string()),
                ("LARDER_DROPBOX_APP_KEY", DROPBOX_APP_KEY.to_owned()),
                ("LARDER_DROPBOX_TOKEN", DROPBOX_TOKEN.to_owned()),
            ],
            None => Vec::new(),
        }
    }

    /// The server that speaks like Dropbox, if it is that.
    pub(crate) fn dropbox(&self) -> Option<&DropboxLike> {
        match self.keep.as_ref() {
            Keep::Server { server } => server.dropbox(),
            Keep::Folder { .. } => None,
        }
    }

    /// Deletes every file in it, through the server: some remember what they served.
    pub(crate) fn empty(&self) {
        let storage = self.storage();
        let files = self.files().into_keys();
        block_on(async {
            for file in files {
                // What the storage keeps for itself has no name that can be asked for.
                if let Ok(path) = RemotePath::new(file) {
                    storage.delete(&path).await.unwrap();
                }
            }
        });
    }

    /// All files in it, behind the server's back where it keeps them in a folder.
    pub(crate) fn files(&self) -> Files {
        if self.place.is_closed() {
            return block_on(walk(&*self.storage()));
        }
        tree(&self.dir)
    }

    /// Writes a file, behind the server's back where it keeps them in a folder.
    pub(crate) fn insert(&self, file: &str, bytes: &[u8]) {
        if self.place.is_closed() {
            let (storage, path) = (self.storage(), RemotePath::new(file).unwrap());
            block_on(storage.write(&path, bytes.to_vec().into())).unwrap();
            return;
        }
        let path = self.dir.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// Removes a file, behind the server's back where it keeps them in a folder.
    pub(crate) fn remove(&self, file: &str) {
        if self.place.is_closed() {
            let path = RemotePath::new(file).unwrap();
            return block_on(self.storage().delete(&path)).unwrap();
        }
        fs::remove_file(self.dir.join(file)).unwrap();
    }

    fn storage(&self) -> SharedStorage {
        match self.keep.as_ref() {
            Keep::Folder { .. } => Arc::new(Local::new(&self.dir)),
            Keep::Server { server } => server.shared("remote"),
        }
    }

    /// Where its files lie on this machine, to look behind the server's back.
    pub(crate) fn dir(&self) -> &std::path::Path {
        &self.dir
    }
}

async fn walk(storage: &dyn Storage) -> Files {
    let mut files = Files::new();
    let mut open = vec![RemotePath::root()];
    while let Some(folder) = open.pop() {
        for entry in storage.list(&folder).await.unwrap().entries {
            if entry.is_folder {
                open.push(entry.path);
            } else {
                let (bytes, _) = storage.read(&entry.path, u64::MAX).await.unwrap();
                files.insert(entry.path.to_string(), Text(bytes.to_vec()));
            }
        }
    }
    files
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(work)
}
