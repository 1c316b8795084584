//! Real servers, each in a folder and on a port of its own.

use std::{
    fs, io,
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;
use tokio::sync::oneshot;
use url::Url;

use super::{dropbox::DropboxLike, in_process, install_crypto};
#[cfg(feature = "object-stores")]
use super::{emulators, google};
#[cfg(feature = "object-stores")]
use crate::{Bucket, BucketConfig, Traffic};
use crate::{SharedStorage, WebDav, WebDavConfig};

/// A server that runs until it is dropped.
#[derive(Debug)]
pub struct Server {
    kind: Kind,
    port: u16,
    dir: TempDir,
    child: Option<Child>,
    dropbox: Option<DropboxLike>,
    _stop: Option<oneshot::Sender<()>>,
}

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// dav-server in this process, one request at a time: a server that does everything right.
    DavServer,
    /// dav-server in this process as it is: conditions and writes that can be interrupted.
    DavServerBare,
    /// Apache with `mod_dav_fs`, open to all.
    Apache,
    /// Apache that wants Basic.
    ApacheBasic,
    /// Apache that wants Digest, with nonces that live for a second.
    ApacheDigest,
    /// lighttpd with `mod_webdav`.
    Lighttpd,
    /// nginx with the `dav-ext` module, which ignores all conditions.
    Nginx,
    /// `rclone serve webdav`.
    Rclone,
    /// wsgidav on cheroot.
    WsgiDav,
    /// sabre/dav, the engine of Nextcloud, on four workers of PHP's own server.
    Sabre,
    /// A server in this process that speaks like Dropbox.
    DropboxLike,
    /// moto, which speaks like S3, one request at a time.
    #[cfg(feature = "object-stores")]
    Moto,
    /// Azurite, Microsoft's emulator of Azure Blob Storage.
    #[cfg(feature = "object-stores")]
    Azurite,
    /// A server in this process that speaks like Google Cloud Storage.
    #[cfg(feature = "object-stores")]
    GoogleLike,
}

/// The account that a server wants: name and password.
pub type Account = (&'static str, &'static str);

const ACCOUNT: Account = ("ann", "secret");

/// How long a server may take to come up.
const START_MAX: Duration = Duration::from_secs(15);

impl Server {
    /// Starts a server over an empty folder. One that is not installed is nothing, and under CI a
    /// panic: a check that silently does not run is none.
    #[allow(
        clippy::disallowed_methods,
        clippy::print_stderr,
        reason = "test help: CI is told by the environment, and who runs the tests must see what was skipped"
    )]
    pub fn start(kind: Kind) -> Option<Self> {
        install_crypto();
        for _ in 0..3 {
            match Self::try_start(kind) {
                Ok(server) => return Some(server),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    let skipped = format!("skipped: {} is not installed", kind.program());
                    assert!(std::env::var("CI").as_deref() != Ok("true"), "{skipped}");
                    eprintln!("{skipped}");
                    return None;
                }
                Err(error) => eprintln!("{kind:?} did not start: {error}"),
            }
        }
        panic!("{kind:?} does not start");
    }

    /// The address of the served folder.
    pub fn url(&self) -> Url {
        Url::parse(&format!("http://127.0.0.1:{}/", self.port)).expect("a good address")
    }

    /// The served folder on disk, to look behind the server's back.
    pub fn dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// The account that it wants.
    pub fn account(&self) -> Option<Account> {
        matches!(self.kind, Kind::ApacheBasic | Kind::ApacheDigest).then_some(ACCOUNT)
    }

    /// Settings to reach it with.
    pub fn config(&self) -> WebDavConfig {
        let config = WebDavConfig::new(self.url());
        match self.account() {
            Some((user, password)) => config.with_account(user, password),
            None => config,
        }
    }

    /// Settings to reach its bucket with.
    #[cfg(feature = "object-stores")]
    pub fn bucket(&self) -> BucketConfig {
        emulators::config(self.kind, self.port)
    }

    /// The server that speaks like Dropbox, if it is that.
    pub fn dropbox(&self) -> Option<&DropboxLike> {
        self.dropbox.as_ref()
    }

    /// A client of it, whatever it is, in one of its folders.
    pub fn shared(&self, folder: &str) -> SharedStorage {
        if let Some(dropbox) = &self.dropbox {
            return Arc::new(dropbox.storage(&format!("/{folder}")));
        }
        #[cfg(feature = "object-stores")]
        if self.kind.is_object_store() {
            let config = BucketConfig { prefix: folder.to_owned(), ..self.bucket() };
            return Arc::new(Bucket::new(config, Traffic::new()).expect("good settings"));
        }
        let mut config = self.config();
        config.url = self.url().join(folder).expect("a good name");
        Arc::new(WebDav::new(config).expect("good settings"))
    }

    /// The address of one of its folders, as a user types it.
    pub fn address(&self, folder: &str) -> String {
        if self.kind == Kind::DropboxLike {
            return format!("dropbox:/{folder}");
        }
        #[cfg(feature = "object-stores")]
        if self.kind.is_object_store() {
            return emulators::address(self.kind, self.port, folder);
        }
        let mut url = self.url().join(folder).expect("a good name");
        if let Some((user, _)) = self.account() {
            url.set_username(user).expect("a place for a user");
        }
        url.to_string()
    }

    /// A client of it.
    pub fn storage(&self) -> WebDav {
        WebDav::new(self.config()).expect("good settings")
    }

    fn try_start(kind: Kind) -> io::Result<Self> {
        let dir = tempfile::Builder::new().prefix("larder-server-").tempdir()?;
        let data = dir.path().join("data");
        fs::create_dir(&data)?;
        if kind == Kind::DropboxLike {
            let dropbox = DropboxLike::start()?;
            let port = dropbox.url().port().unwrap_or_default();
            return Ok(Self { kind, port, dir, child: None, dropbox: Some(dropbox), _stop: None });
        }
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let port = listener.local_addr()?.port();
        if matches!(kind, Kind::DavServer | Kind::DavServerBare) {
            let stop = in_process::serve(listener, &data, kind == Kind::DavServer)?;
            return Ok(Self { kind, port, dir, child: None, dropbox: None, _stop: Some(stop) });
        }
        #[cfg(feature = "object-stores")]
        if kind == Kind::GoogleLike {
            let stop = google::serve(listener)?;
            return Ok(Self { kind, port, dir, child: None, dropbox: None, _stop: Some(stop) });
        }
        drop(listener);
        open_to_all(dir.path(), &data)?;
        let log = fs::File::create(dir.path().join("log"))?;
        let mut command = kind.command(dir.path(), port)?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let child = Some(command.spawn()?);
        let mut server = Self { kind, port, dir, child, dropbox: None, _stop: None };
        server.wait_until_up()?;
        #[cfg(feature = "object-stores")]
        if kind.is_object_store() {
            emulators::make_bucket(kind, port)?;
        }
        Ok(server)
    }

    fn wait_until_up(&mut self) -> io::Result<()> {
        let asked = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let child = self.child.as_mut().and_then(|child| child.try_wait().transpose());
            if child.is_some() || asked.elapsed() > START_MAX {
                let log = fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
                return Err(io::Error::other(format!("it did not come up: {log}")));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let Some(child) = &mut self.child else { return };
        // The whole group: workers outlive a parent that is killed.
        for signal in ["-TERM", "-KILL"] {
            let group = format!("-{}", child.id());
            let mut kill = Command::new("kill");
            let _ = kill.args([signal, "--", &group]).stderr(Stdio::null()).status();
            let asked = Instant::now();
            while asked.elapsed() < Duration::from_secs(3) {
                if matches!(child.try_wait(), Ok(Some(_))) {
                    return;
                }
                thread::sleep(Duration::from_millis(10));
            }
        }
    }
}

impl Kind {
    fn program(self) -> &'static str {
        match self {
            Self::DavServer | Self::DavServerBare => "dav-server",
            Self::Apache | Self::ApacheBasic | Self::ApacheDigest => "apache2",
            Self::Lighttpd => "lighttpd",
            Self::Nginx => "nginx",
            Self::Rclone => "rclone",
            Self::WsgiDav => "wsgidav",
            // What it needs besides is looked for in `command`.
            Self::Sabre => "php",
            Self::DropboxLike => "itself",
            #[cfg(feature = "object-stores")]
            Self::Moto => "moto_server",
            #[cfg(feature = "object-stores")]
            Self::Azurite => "azurite-blob",
            #[cfg(feature = "object-stores")]
            Self::GoogleLike => "itself",
        }
    }

    /// Whether it keeps files in a folder of this machine that can be looked into.
    pub fn keeps_a_folder(self) -> bool {
        #[cfg(feature = "object-stores")]
        if self.is_object_store() {
            return false;
        }
        self != Self::DropboxLike
    }

    /// Whether it keeps objects in a bucket.
    #[cfg(feature = "object-stores")]
    fn is_object_store(self) -> bool {
        matches!(self, Self::Moto | Self::Azurite | Self::GoogleLike)
    }

    fn command(self, dir: &Path, port: u16) -> io::Result<Command> {
        #[cfg(feature = "object-stores")]
        if self.is_object_store() {
            return emulators::command(self, port);
        }
        let mut command = Command::new(find(self.program())?);
        let conf = dir.join("conf");
        let text = match self {
            Self::Lighttpd => lighttpd(dir, port),
            Self::Nginx => nginx(dir, port),
            Self::Sabre => sabre(dir)?,
            _ => apache(self, dir, port),
        };
        save(&conf, &text)?;
        match self {
            Self::Lighttpd => command.arg("-D").arg("-f").arg(conf),
            Self::Nginx => {
                command.arg("-e").arg(dir.join("log"));
                command.arg("-p").arg(dir).arg("-c").arg(conf)
            }
            Self::Rclone => {
                command.env("RCLONE_CONFIG", dir.join("none"));
                command.args(["serve", "webdav", "--addr", &format!("127.0.0.1:{port}")]);
                command.arg(dir.join("data"))
            }
            Self::WsgiDav => {
                command.args(["--host", "127.0.0.1", "--port", &port.to_string()]);
                command.args(["--auth", "anonymous", "--quiet", "--no-config", "--root"]);
                command.arg(dir.join("data"))
            }
            Self::Sabre => {
                command.env("PHP_CLI_SERVER_WORKERS", "4");
                command.arg("-S").arg(format!("127.0.0.1:{port}")).arg(conf)
            }
            _ => {
                let digest = "ann:larder:829a1d865cd6c8803ec8a238a130f103\n";
                save(&dir.join("digest"), digest)?;
                save(&dir.join("basic"), "ann:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n")?;
                command.arg("-DFOREGROUND").arg("-f").arg(conf)
            }
        };
        Ok(command)
    }
}

fn apache(kind: Kind, dir: &Path, port: u16) -> String {
    let dir = dir.display();
    let modules =
        "mpm_event authn_core authn_file authz_core authz_user auth_basic auth_digest dav dav_fs";
    let load =
        |name: &str| format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n");
    let modules: String = modules.split(' ').map(load).collect();
    let user = if is_root() { "User www-data\nGroup www-data\n" } else { "" };
    let access = match kind {
        Kind::ApacheBasic => format!(
            "AuthType Basic\nAuthName larder\nAuthUserFile {dir}/basic\nRequire valid-user\n"
        ),
        Kind::ApacheDigest => format!(
            "AuthType Digest\nAuthName larder\nAuthDigestProvider file\n\
             AuthUserFile {dir}/digest\nAuthDigestNonceLifetime 1\nRequire valid-user\n"
        ),
        _ => "Require all granted\n".to_owned(),
    };
    format!(
        "ServerRoot {dir}\nServerName 127.0.0.1\nListen 127.0.0.1:{port}\nPidFile {dir}/pid\n\
         ErrorLog {dir}/log\nDefaultRuntimeDir {dir}\n{modules}{user}\
         DavLockDB {dir}/locks/db\nDocumentRoot {dir}/data\n\
         <Directory {dir}/data>\nDav On\n{access}</Directory>\n"
    )
}

/// Without a type for a name lighttpd sends no entity tag, so there is one for all.
fn lighttpd(dir: &Path, port: u16) -> String {
    let dir = dir.display();
    format!(
        "server.modules = (\"mod_webdav\")\nserver.bind = \"127.0.0.1\"\nserver.port = {port}\n\
         server.document-root = \"{dir}/data\"\nserver.upload-dirs = (\"{dir}\")\n\
         server.errorlog = \"{dir}/log\"\nwebdav.activate = \"enable\"\n\
         webdav.is-readonly = \"disable\"\n\
         mimetype.assign = (\"\" => \"application/octet-stream\")\n"
    )
}

fn nginx(dir: &Path, port: u16) -> String {
    let dir = dir.display();
    let user = if is_root() { "user root;" } else { "" };
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {dir}/tmp-{kind};\n"))
        .concat();
    format!(
        "load_module /usr/lib/nginx/modules/ngx_http_dav_ext_module.so;\n{user}\ndaemon off;\n\
         worker_processes 2;\npid {dir}/pid;\nevents {{}}\nhttp {{\naccess_log off;\n{temporary}\
         server {{\nlisten 127.0.0.1:{port};\nroot {dir}/data;\nclient_max_body_size 0;\n\
         location / {{\ndav_methods PUT DELETE MKCOL COPY MOVE;\n\
         dav_ext_methods PROPFIND OPTIONS;\ncreate_full_put_path off;\n}}\n}}\n}}\n"
    )
}

/// A script that serves the folder as it is. Deprecations of a newer PHP are not to stand in answers.
fn sabre(dir: &Path) -> io::Result<String> {
    let library = Path::new("/usr/share/php/Sabre/autoload.php");
    if !library.exists() {
        return Err(io::ErrorKind::NotFound.into());
    }
    Ok(format!(
        "<?php\nerror_reporting(0);\nrequire '{}';\n\
         $server = new Sabre\\DAV\\Server(new Sabre\\DAV\\FS\\Directory('{}'));\n\
         $server->setBaseUri('/');\n$server->exec();\n",
        library.display(),
        dir.join("data").display()
    ))
}

pub(super) fn find(program: &str) -> io::Result<PathBuf> {
    ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"]
        .iter()
        .map(|dir| Path::new(dir).join(program))
        .find(|path| path.exists())
        .ok_or_else(|| io::ErrorKind::NotFound.into())
}

fn save(path: &Path, text: &str) -> io::Result<()> {
    io::Write::write_all(&mut fs::File::create(path)?, text.as_bytes())
}

fn is_root() -> bool {
    let owner = Command::new("id").arg("-u").output();
    owner.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

/// Lets a server that gives up its rights write where it must.
fn open_to_all(dir: &Path, data: &Path) -> io::Result<()> {
    let locks = dir.join("locks");
    fs::create_dir(&locks)?;
    #[cfg(unix)]
    for (path, mode) in [(dir, 0o755), (data, 0o777), (locks.as_path(), 0o777)] {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    }
    Ok(())
}
