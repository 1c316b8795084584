//! One device: a vault, a user who edits, and a larder that is killed now and then.

use std::{
    ffi::OsString,
    fs,
    io::Read,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use anyhow::Context;
use larder_providers::Password;
use serde::Serialize;

use super::{
    PATIENCE,
    ledger::{Edit, Everything, Ledger},
};
use crate::{
    cli::{
        args::{CommitArg, TortureArgs},
        error::{CliError, exit_code},
    },
    digest::sha256_hex,
};

/// How many notes all devices edit at once.
const SHARED: u64 = 4;
/// A sync by somebody who means to delete: of so few files more than half may go at once.
const SYNC: &[&str] = &["sync", "--accept-deletes"];
/// How often a command is repeated that finds the server busy, in the end.
const TRIES: usize = 20;

/// What became of the turns.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(super) struct Turns {
    /// Came to their end.
    pub(super) done: u64,
    /// Were killed.
    pub(super) killed: u64,
    /// Gave up for the time being.
    pub(super) refused: u64,
    /// Of those that came to their end, compactions.
    pub(super) compactions: u64,
}

impl std::iter::Sum for Turns {
    fn sum<I: Iterator<Item = Self>>(turns: I) -> Self {
        turns.fold(Self::default(), |sum, turns| Self {
            done: sum.done + turns.done,
            killed: sum.killed + turns.killed,
            refused: sum.refused + turns.refused,
            compactions: sum.compactions + turns.compactions,
        })
    }
}

/// One device.
pub(super) struct Device {
    name: String,
    number: usize,
    vault: PathBuf,
    random: fastrand::Rng,
    edits: u64,
    own: Vec<String>,
    /// About how long a turn takes.
    usual: Duration,
    /// What its larder has in its environment besides.
    environment: Vec<(&'static str, OsString)>,
    pub(super) ledger: Ledger,
    pub(super) turns: Turns,
}

/// How a command of larder ended.
enum Ran {
    /// With this exit code, and what it said.
    Exit(u8, String),
    Killed,
}

impl Device {
    pub(super) fn new(dir: &Path, number: usize, seed: u64) -> Result<Self, CliError> {
        let name = format!("device-{number}");
        let vault = dir.join(&name);
        fs::create_dir_all(vault.join("own")).context("the vault cannot be made")?;
        Ok(Self {
            name,
            number,
            vault,
            random: fastrand::Rng::with_seed(seed ^ (number as u64 + 1)),
            edits: 0,
            own: Vec::new(),
            usual: Duration::from_millis(300),
            environment: Vec::new(),
            ledger: Ledger::default(),
            turns: Turns::default(),
        })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Has it take part in an encrypted remote. Its secrets lie in `dir`, not among the user's own.
    pub(super) fn encrypt(&mut self, dir: &Path, password: Option<&Password>) {
        let passphrase = "torture needs no secret".into();
        self.environment.push(("LARDER_PASSPHRASE", passphrase));
        self.environment.push(("XDG_STATE_HOME", dir.join("state").into()));
        if let Some(password) = password {
            self.environment.push(("LARDER_PASSWORD", password.expose().into()));
        }
    }

    /// Connects the vault; the commit mode.
    pub(super) fn init(
        &self,
        remote: &str,
        options: &TortureArgs,
        ca_file: Option<&Path>,
    ) -> Result<String, CliError> {
        let ca_file = ca_file.map(|file| file.display().to_string());
        let vault = self.vault.display().to_string();
        let mode = options.commit.map(CommitArg::name);
        let mut args = vec!["init", &vault, "--remote", remote, "--device", &self.name, "--json"];
        args.extend(mode.iter().flat_map(|mode| ["--commit", mode]));
        args.extend(options.encrypt.then_some("--encrypt"));
        args.extend(ca_file.iter().flat_map(|file| ["--ca-file", file]));
        match self.run(&args, None)? {
            Ran::Exit(exit_code::DONE, text) => Ok(word_in(&text, "commitMode")),
            Ran::Exit(_, text) => Err(fault(format!("init: {}", complaint(&text)))),
            Ran::Killed => Err(fault("init did not end".to_owned())),
        }
    }

    /// Edits and syncs until the time is over.
    pub(super) fn live(&mut self, until: Instant) -> Result<(), CliError> {
        while Instant::now() < until {
            for _ in 0..self.random.u8(1..5) {
                self.edit()?;
            }
            let compacts = self.random.u8(0..12) == 0;
            let command = if compacts { &["compact"] } else { SYNC };
            let longest = self.usual.as_secs_f64() * 1.5;
            // Each is to have been killed once: who never was proves less.
            let dies = self.turns.killed == 0 || self.random.u8(0..4) == 0;
            let kill = dies.then(|| Duration::from_secs_f64(self.random.f64() * longest));
            let started = Instant::now();
            match self.larder(command, kill)? {
                Ran::Killed => self.turns.killed += 1,
                Ran::Exit(exit_code::DONE | exit_code::CONFLICTS_WAIT, _) => {
                    self.usual = (self.usual + started.elapsed()) / 2;
                    self.turns.done += 1;
                    self.turns.compactions += u64::from(compacts);
                    self.ledger.acknowledge();
                }
                Ran::Exit(exit_code::UNREACHABLE, _) => self.turns.refused += 1,
                Ran::Exit(exit_code::BRAKE, _) if compacts => self.turns.refused += 1,
                Ran::Exit(code, text) => {
                    let (command, text) = (command.join(" "), complaint(&text));
                    return Err(fault(format!("{command} ended with {code}: {text}")));
                }
            }
        }
        Ok(())
    }

    /// One turn that has to go through; how many records moved.
    pub(super) fn sync_patiently(&mut self) -> Result<u64, CliError> {
        for _ in 0..TRIES {
            match self.larder(SYNC, None)? {
                Ran::Exit(exit_code::DONE | exit_code::CONFLICTS_WAIT, text) => {
                    self.turns.done += 1;
                    self.ledger.acknowledge();
                    return Ok(number_in(&text, "pushed") + number_in(&text, "pulled"));
                }
                Ran::Exit(exit_code::UNREACHABLE, _) => {
                    self.turns.refused += 1;
                    std::thread::sleep(Duration::from_millis(200));
                }
                Ran::Exit(code, text) => {
                    let name = &self.name;
                    return Err(fault(format!(
                        "{name}: sync ended with {code}: {}",
                        complaint(&text)
                    )));
                }
                Ran::Killed => return Err(fault(format!("{}: a sync does not end", self.name))),
            }
        }
        Err(fault(format!("{}: the server did not answer {TRIES} times in a row", self.name)))
    }

    /// What `larder check` finds.
    pub(super) fn check(&self) -> Result<Option<String>, CliError> {
        Ok(match self.larder(&["check", "--read-data"], None)? {
            Ran::Exit(exit_code::DONE, _) => None,
            Ran::Exit(code, text) => Some(format!("check ended with {code}: {}", text.trim())),
            Ran::Killed => Some("check does not end".to_owned()),
        })
    }

    /// One edit of a kind that is drawn.
    fn edit(&mut self) -> Result<(), CliError> {
        self.edits += 1;
        let word = format!("w{}x{}", self.number, self.edits);
        let edit = match self.random.u8(0..12) {
            0..5 => {
                let file = format!("shared-{}.md", self.random.u64(0..SHARED));
                let text = self.text(&file)?;
                self.put(&file, format!("{text}\n{word}\n").as_bytes())?;
                Edit::Word(word)
            }
            5..8 => {
                let file = format!("shared-{}.md", self.random.u64(0..SHARED));
                let (field, value) = (format!("d{}", self.number), self.edits);
                let text = self.text(&file)?;
                self.put(&file, with_field(&text, &field, value).as_bytes())?;
                Edit::Field { file, field, value }
            }
            8 if self.own.len() > 3 => {
                let file = self.own.swap_remove(self.random.usize(0..self.own.len()));
                fs::remove_file(self.vault.join(&file)).context("a file cannot be removed")?;
                Edit::Gone { file }
            }
            9 => {
                let file = format!("own/{}.bin", self.number);
                let content: Vec<u8> = (0..50_000).map(|_| self.random.u8(..)).collect();
                self.put(&file, &content)?;
                Edit::File { file, sha256: sha256_hex(&content) }
            }
            _ => {
                let file = format!("own/{}-{}.md", self.number, self.edits);
                let text = format!("---\ntitle: {word}\n---\nnew\n");
                self.put(&file, text.as_bytes())?;
                self.own.push(file.clone());
                Edit::File { file, sha256: sha256_hex(text.as_bytes()) }
            }
        };
        self.ledger.note(edit);
        Ok(())
    }

    fn text(&self, file: &str) -> Result<String, CliError> {
        match fs::read_to_string(self.vault.join(file)) {
            Ok(text) => Ok(text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Ok("---\ntitle: shared\n---\n".to_owned())
            }
            Err(error) => Err(anyhow::Error::from(error).context(file.to_owned()).into()),
        }
    }

    #[allow(
        clippy::disallowed_methods,
        reason = "a user's editor does not write atomically either"
    )]
    fn put(&self, file: &str, content: &[u8]) -> Result<(), CliError> {
        fs::write(self.vault.join(file), content).context("a file cannot be written")?;
        Ok(())
    }

    /// All that stands in the vault's files and conflicts.
    pub(super) fn everything(&self) -> Result<Everything, CliError> {
        let mut there = Everything::default();
        for folder in ["", "own"] {
            for entry in
                fs::read_dir(self.vault.join(folder)).context("the vault cannot be read")?
            {
                let entry = entry?;
                let name = entry.file_name().to_string_lossy().into_owned();
                if entry.path().is_dir() || name.starts_with('.') {
                    continue;
                }
                let file = if folder.is_empty() { name } else { format!("{folder}/{name}") };
                let content = fs::read(entry.path())?;
                there.files.insert(file.clone(), sha256_hex(&content));
                let text = String::from_utf8_lossy(&content);
                if file.ends_with(".md") {
                    there.read_words(&text);
                    there.read_fields(&file, &text);
                }
            }
        }
        if let Ran::Exit(_, text) = self.larder(&["conflicts", "list", "--all"], None)? {
            there.read_words(&text);
        }
        Ok(there)
    }

    fn larder(&self, args: &[&str], kill: Option<Duration>) -> Result<Ran, CliError> {
        let vault = self.vault.display().to_string();
        let mut all = args.to_vec();
        all.extend(["--vault", &vault, "--json"]);
        self.run(&all, kill)
    }

    /// Runs larder as a process of its own, and kills it after a while if told to.
    fn run(&self, args: &[&str], kill: Option<Duration>) -> Result<Ran, CliError> {
        let program = std::env::current_exe().context("this program does not know where it is")?;
        let mut command = Command::new(program);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().context("larder cannot be started")?;
        let mut out = child.stdout.take();
        let reader = std::thread::spawn(move || {
            let mut text = String::new();
            if let Some(out) = &mut out {
                // What cannot be read is not there.
                let _ = out.read_to_string(&mut text);
            }
            text
        });
        let status = wait(&mut child, kill.unwrap_or(PATIENCE))?;
        let text = reader.join().unwrap_or_default();
        match status {
            Some(status) => {
                let code = status.code().and_then(|code| u8::try_from(code).ok());
                Ok(Ran::Exit(code.unwrap_or(u8::MAX), text))
            }
            None => Ok(Ran::Killed),
        }
    }
}

/// Waits for a process to end, and kills it if that takes longer than allowed.
fn wait(child: &mut Child, longest: Duration) -> Result<Option<ExitStatus>, CliError> {
    let until = Instant::now() + longest;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            // One that ended this very moment cannot be killed.
            let _ = child.kill();
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(left.min(Duration::from_millis(5)));
    }
}

/// The text with a field of its front matter set.
fn with_field(text: &str, field: &str, value: u64) -> String {
    let line = format!("{field}: {value}");
    let prefix = format!("{field}: ");
    match text.lines().find(|line| line.starts_with(&prefix)) {
        Some(old) => text.replacen(old, &line, 1),
        None => text.replacen("---\n", &format!("---\n{line}\n"), 1),
    }
}

fn number_in(text: &str, key: &str) -> u64 {
    let told: Option<serde_json::Value> = serde_json::from_str(text.trim()).ok();
    told.and_then(|told| told.get(key)?.as_u64()).unwrap_or(0)
}

fn word_in(text: &str, key: &str) -> String {
    let told: Option<serde_json::Value> = serde_json::from_str(text.trim()).ok();
    told.and_then(|told| Some(told.get(key)?.as_str()?.to_owned())).unwrap_or_default()
}

/// The message of a command that failed.
fn complaint(text: &str) -> String {
    let told: Option<serde_json::Value> = serde_json::from_str(text.trim()).ok();
    let message =
        told.and_then(|told| Some(told.get("error")?.get("message")?.as_str()?.to_owned()));
    message.unwrap_or_else(|| text.trim().chars().take(300).collect())
}

fn fault(text: String) -> CliError {
    CliError::Other(anyhow::anyhow!(text))
}
