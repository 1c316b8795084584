//! A device: a vault, a home, and the binary.

use std::{
    collections::BTreeMap,
    fmt, fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
};

use tempfile::TempDir;

use super::{Ran, Remote};

/// The password that every device has in its environment.
pub(crate) const PASSWORD: &str = "secret";

/// The passphrase that every device has in its environment.
pub(crate) const PASSPHRASE: &str = "correct horse battery";

/// A vault on a machine of its own, as far as the binary can tell.
#[derive(Debug)]
pub(crate) struct Device {
    name: String,
    dir: TempDir,
    /// What it was made to take part in, kept alive.
    _remote: Option<Remote>,
    /// What has to be in the environment to reach the remote.
    way: OnceLock<Vec<(&'static str, String)>>,
}

impl Device {
    /// A device whose vault is a plain folder.
    pub(crate) fn new(name: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("larder-device-").tempdir().unwrap();
        for folder in ["vault", "home"] {
            fs::create_dir(dir.path().join(folder)).unwrap();
        }
        Self { name: name.to_owned(), dir, _remote: None, way: OnceLock::new() }
    }

    /// A device that takes part in a remote.
    #[track_caller]
    pub(crate) fn joined(name: &str, remote: &Remote) -> Self {
        let device = Self { _remote: Some(remote.clone()), ..Self::new(name) };
        device.init(remote);
        device
    }

    /// This device with what it needs in its environment to reach a remote.
    pub(crate) fn facing(self, remote: &Remote) -> Self {
        self.way.get_or_init(|| remote.way());
        self
    }

    /// Connects the vault.
    #[track_caller]
    pub(crate) fn init(&self, remote: &Remote) -> Ran {
        self.try_init(remote).exits(0)
    }

    /// The same where it may fail.
    pub(crate) fn try_init(&self, remote: &Remote) -> Ran {
        self.way.get_or_init(|| remote.way());
        let args = ["init", "--remote", remote.url(), "--json"];
        self.run(&[&args, remote.init_args()].concat())
    }

    /// The vault's folder.
    pub(crate) fn root(&self) -> PathBuf {
        self.dir.path().join("vault")
    }

    /// The user's own folder.
    pub(crate) fn home(&self) -> PathBuf {
        self.dir.path().join("home")
    }

    /// The binary, in the vault, with nothing of the surroundings of the tests.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
        command.args(args).current_dir(self.root()).env_clear().stdin(Stdio::null());
        command.env("HOME", self.home()).env("XDG_STATE_HOME", self.home().join("state"));
        command.env("HOSTNAME", &self.name).env("LARDER_RETRIES", "0");
        command.env("LARDER_PASSWORD", PASSWORD).env("COLUMNS", "80");
        command.envs(self.way.get().into_iter().flatten().map(|(name, value)| (name, value)));
        command.env("LARDER_PASSPHRASE", PASSPHRASE).env("LARDER_TEST_CHEAP_KEYS", "1");
        // Keys that everybody knows, and that no other remote asks for.
        #[cfg(feature = "object-stores")]
        command
            .env("AZURE_STORAGE_ACCOUNT_KEY", larder_providers::testing::AZURE_KEY)
            .env("GOOGLE_SERVICE_ACCOUNT_KEY", larder_providers::testing::GOOGLE_KEY);
        command
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        Ran::new(args, self.command(args).output().unwrap())
    }

    /// Runs a command with variables of the environment set, or taken away.
    pub(crate) fn run_in(&self, env: &[(&str, Option<&str>)], args: &[&str]) -> Ran {
        let mut command = self.command(args);
        for (name, value) in env {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        Ran::new(args, command.output().unwrap())
    }

    /// Runs a command that is given something to read.
    pub(crate) fn run_with(&self, args: &[&str], input: &str) -> Ran {
        let mut command = self.command(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // It may end before it has read everything.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        Ran::new(args, child.wait_with_output().unwrap())
    }

    /// Starts a command and leaves it alone; what it says can be read from its pipes.
    pub(crate) fn start(&self, args: &[&str]) -> Child {
        let mut command = self.command(args);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// A turn that must go well; conflicts may wait.
    #[track_caller]
    pub(crate) fn sync(&self) -> Ran {
        let ran = self.run(&["sync", "--json"]);
        assert!([0, 3].contains(&ran.code), "{self}: {ran}");
        ran
    }

    /// Sees to it that a check of everything finds nothing.
    #[track_caller]
    pub(crate) fn is_sound(&self) {
        let check = self.run(&["check", "--read-data", "--json"]).exits(0).json();
        assert_eq!(check["ok"], true, "{self}: {check}");
    }

    /// What `status` calls the state of the vault.
    #[track_caller]
    pub(crate) fn state(&self) -> String {
        self.run(&["status", "--json"]).exits(0).json()["state"].as_str().unwrap().to_owned()
    }

    /// Writes a file as a user does: not atomically.
    pub(crate) fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.root().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// The text of a file.
    #[track_caller]
    pub(crate) fn read(&self, path: &str) -> String {
        fs::read_to_string(self.root().join(path)).unwrap_or_else(|why| panic!("{path}: {why}"))
    }

    /// Replaces a part of a file that must be there.
    #[track_caller]
    pub(crate) fn edit(&self, path: &str, from: &str, to: &str) {
        let text = self.read(path);
        assert!(text.contains(from), "{path} on {self} has no {from:?}: {text}");
        self.write(path, text.replacen(from, to, 1));
    }

    /// Moves a file.
    pub(crate) fn rename(&self, from: &str, to: &str) {
        let to = self.root().join(to);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::rename(self.root().join(from), to).unwrap();
    }

    /// Removes a file.
    #[track_caller]
    pub(crate) fn delete(&self, path: &str) {
        fs::remove_file(self.root().join(path)).unwrap();
    }

    /// Every file of the vault with its content, without larder's own.
    pub(crate) fn files(&self) -> BTreeMap<String, Text> {
        let mut files = tree(&self.root());
        files.retain(|path, _| !path.starts_with(".larder/"));
        files
    }

    /// The paths of all files of the vault.
    pub(crate) fn names(&self) -> Vec<String> {
        self.files().into_keys().collect()
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// Bytes that are text most of the time, and are shown as such.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Text(pub(crate) Vec<u8>);

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(&self.0))
    }
}

/// All files below a folder with their content; what vanishes meanwhile is left out.
pub(crate) fn tree(root: &Path) -> BTreeMap<String, Text> {
    let mut files = BTreeMap::new();
    let mut open = vec![root.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                open.push(path);
            } else if let Ok(bytes) = fs::read(&path) {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap();
                files.insert(name.to_owned(), Text(bytes));
            }
        }
    }
    files
}
