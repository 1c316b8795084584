//! How larder talks: to people on a terminal, to programs in JSON.

use std::{
    io::{self, IsTerminal, Write},
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    layer::SubscriberExt,
};

use super::{
    args::Args,
    env,
    error::{CliError, exit_code},
    secrets::{Doubt, Entries},
};
use crate::{
    clock::Clock,
    engine::{Cost, Progress, Stage},
    model::Stamp,
};

pub(super) use crate::model::grouped;

/// Work that takes longer than this shows a progress bar, in milliseconds.
const BAR_AFTER_MS: i64 = 500;

/// The variable that names certificates to trust, where no option does.
const CA_FILE: &str = "LARDER_CA_FILE";

/// How something is emphasised, subdued, to be looked at, and failed; and how all that ends.
const STRONG: &str = "\x1b[1m";
const DIM: &str = "\x1b[2m";
const WARNING: &str = "\x1b[33m";
const FAILURE: &str = "\x1b[1;31m";
const PLAIN: &str = "\x1b[0m";

fn paint(colour: &str, text: &str) -> String {
    [colour, text, PLAIN].concat()
}

/// What a terminal shows without being steered by it: much of what is told comes from a remote.
fn harmless(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c.is_control() && !matches!(c, '\n' | '\t')) {
        let (before, after) = rest.split_at(at);
        shown.push_str(before);
        let mut own = [STRONG, DIM, WARNING, FAILURE, PLAIN].into_iter();
        let own = own.find(|own| after.starts_with(own)).unwrap_or_default();
        shown.push_str(own);
        let skipped = after.chars().next().map_or(0, char::len_utf8).max(own.len());
        rest = after.get(skipped..).unwrap_or_default();
    }
    shown + rest
}

/// A name that comes from a remote, in one line.
pub(super) fn one_line(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).collect()
}

/// Writes a line for a person, on standard error. That it cannot be written, to a terminal that is gone,
/// is no reason to end.
pub(super) fn say(text: &str) {
    let _ = writeln!(io::stderr(), "{}", harmless(text));
}

/// Writes to standard output, all of it. A pipe that was closed at the other end is not larder's failure.
pub(super) fn put_out(text: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}

/// That standard output takes nothing any more.
pub(super) fn unwritten(why: io::Error) -> CliError {
    anyhow::Error::from(why).context("not all of the answer could be written").into()
}

/// One of several remotes.
#[derive(Debug, Clone)]
pub(super) struct About {
    /// What it is called.
    pub(super) name: String,
    /// Whether the password that the environment gives without a name is for it.
    pub(super) takes_plain: bool,
    /// Whether the variables of its name are those of another one too, as names were written by hand.
    pub(super) shares_variables: bool,
}

/// Where to talk and how.
#[derive(Debug)]
pub(super) struct Ui {
    json: bool,
    quiet: bool,
    verbose: u8,
    colour: bool,
    ca_file: Option<PathBuf>,
    is_ca_file_given: bool,
    /// Whether kept passwords are still believed in.
    pub(super) doubt: Doubt,
    /// With what remotes were opened.
    pub(super) entries: Entries,
    /// Which of several remotes it is that is spoken of.
    about: Mutex<Option<About>>,
    /// Whether nobody is asked any more.
    asks_nobody: AtomicBool,
    /// Why not all of what there was to say could be written.
    unwritten: Mutex<Option<io::Error>>,
}

impl Ui {
    /// Talks as the arguments and the terminal ask for.
    pub(super) fn new(args: &Args) -> Self {
        // A person who waits is told why; requests are told when asked for, and what the libraries
        // below have to say only when everything is.
        let is_watched = io::stderr().is_terminal() && !args.quiet && !args.json;
        let (others, ours) = match args.verbose {
            0 if !is_watched => (LevelFilter::WARN, LevelFilter::WARN),
            0 | 1 => (LevelFilter::WARN, LevelFilter::INFO),
            2 => (LevelFilter::WARN, LevelFilter::DEBUG),
            _ => (LevelFilter::TRACE, LevelFilter::TRACE),
        };
        let targets = Targets::new()
            .with_default(others)
            .with_targets([("larder", ours), ("larder_providers", ours)])
            // Its messages carry secrets of the keyring.
            .with_target("zbus", LevelFilter::WARN);
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(LevelFilter::TRACE)
            .with_writer(io::stderr)
            .without_time()
            .with_target(false)
            .with_level(args.verbose > 1)
            .finish()
            .with(targets);
        // Only a second call in one process is refused.
        let _ = tracing::subscriber::set_global_default(subscriber);
        let plain = env::var("NO_COLOR").is_some() || env::var("TERM").as_deref() == Some("dumb");
        let colour = !plain && io::stdout().is_terminal();
        let is_ca_file_given = args.ca_file.is_some();
        let ca_file = args.ca_file.clone().or_else(|| env::var(CA_FILE).map(PathBuf::from));
        Self {
            json: args.json,
            quiet: args.quiet,
            verbose: args.verbose,
            colour,
            ca_file,
            is_ca_file_given,
            doubt: Doubt::default(),
            entries: Entries::default(),
            about: Mutex::default(),
            asks_nobody: AtomicBool::new(false),
            unwritten: Mutex::default(),
        }
    }

    /// The certificates to trust beside those of the system, by option or environment.
    pub(super) fn ca_file(&self) -> Option<&Path> {
        self.ca_file.as_deref()
    }

    /// Those by option, which are worth keeping.
    pub(super) fn given_ca_file(&self) -> Option<&Path> {
        self.ca_file().filter(|_| self.is_ca_file_given)
    }

    /// Whether somebody is there to be asked.
    pub(super) fn may_ask(&self) -> bool {
        io::stdin().is_terminal() && !self.asks_nobody.load(Ordering::Relaxed)
    }

    /// Asks nobody any more: the work goes on without anybody looking.
    pub(super) fn stop_asking(&self) {
        self.asks_nobody.store(true, Ordering::Relaxed);
    }

    /// Speaks of this one of several remotes from now on; of an only one there is nothing to be told.
    pub(super) fn set_about(&self, remote: Option<About>) {
        *self.about.lock().unwrap_or_else(PoisonError::into_inner) = remote;
    }

    /// Which of several remotes is spoken of, by its name.
    pub(super) fn about(&self) -> Option<String> {
        self.one_of_several().map(|about| about.name)
    }

    /// Which of several remotes is spoken of.
    pub(super) fn one_of_several(&self) -> Option<About> {
        self.about.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What the remote is called that is spoken of.
    pub(super) fn the_remote(&self) -> String {
        self.about().map_or("the remote".to_owned(), |name| format!("the remote {name}"))
    }

    /// Whether nothing but errors is wanted.
    pub(super) fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Whether programs are listening.
    pub(super) fn json(&self) -> bool {
        self.json
    }

    /// Whether every detail is wanted.
    pub(super) fn verbose(&self) -> bool {
        self.verbose > 0 && !self.json
    }

    /// Prints one JSON object on a line of its own, for programs.
    pub(super) fn object<T: Serialize>(&self, value: &T) {
        if self.json {
            self.print(&serde_json::to_string(value).unwrap_or_default());
        }
    }

    /// Prints a line for people.
    pub(super) fn line(&self, text: impl AsRef<str>) {
        if !self.json && !self.quiet {
            self.print(&harmless(text.as_ref()));
        }
    }

    /// Prints a line that a person asked for, even when told to be quiet about the rest.
    pub(super) fn answer(&self, text: impl AsRef<str>) {
        if !self.json {
            self.print(&harmless(text.as_ref()));
        }
    }

    /// Prints a remark that is no part of the answer.
    pub(super) fn note(&self, text: impl AsRef<str>) {
        if !self.quiet {
            say(text.as_ref());
        }
    }

    /// Prints why a command failed and what to do.
    pub(super) fn error(&self, error: &CliError) {
        let about = self.about().filter(|_| error.is_of_remote());
        if self.json {
            let mut told = serde_json::json!({
                "kind": error.kind(),
                "code": error.code(),
                "message": error.message(),
                "hint": self.hint(error, about.as_deref()),
            });
            if let (Some(name), Some(told)) = (&about, told.as_object_mut()) {
                told.insert("remote".to_owned(), name.as_str().into());
            }
            self.print(&serde_json::json!({ "error": told }).to_string());
            if self.is_heard() {
                return;
            }
        }
        self.complain(about.as_deref(), error);
    }

    /// Prints why it failed with one of several remotes; what programs are told of it stands with what
    /// was done.
    pub(super) fn failure(&self, remote: &str, error: &CliError) {
        if !self.json {
            self.complain(Some(remote), error);
        }
    }

    /// What to do about a failure, where there is something to do.
    pub(super) fn hint(&self, error: &CliError, remote: Option<&str>) -> Option<String> {
        let refused = error.is_unauthorized().then(|| self.entries.hint(remote)).flatten();
        refused.or_else(|| error.hint(remote))
    }

    fn complain(&self, remote: Option<&str>, error: &CliError) {
        let word = if io::stderr().is_terminal() && self.colour {
            paint(FAILURE, "error:")
        } else {
            "error:".to_owned()
        };
        let about = remote.map_or_else(String::new, |name| format!("{name}: "));
        say(&format!("{word} {about}{}", error.message()));
        if let Some(hint) = self.hint(error, remote) {
            say(&format!("  {hint}"));
        }
    }

    /// What could not be written is told at the end: what was to be done is done all the same.
    fn print(&self, text: &str) {
        if let Err(error) = put_out(format!("{text}\n").as_bytes()) {
            let mut unwritten = self.unwritten.lock().unwrap_or_else(PoisonError::into_inner);
            unwritten.get_or_insert(error);
        }
    }

    fn is_heard(&self) -> bool {
        self.unwritten.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }

    /// The code to end with: a command of which nobody heard what it did has failed.
    pub(super) fn code_if_heard(&self, code: u8) -> u8 {
        let why = self.unwritten.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(error) = why.map(unwritten) else { return code };
        self.complain(None, &error);
        match code {
            exit_code::DONE | exit_code::CONFLICTS_WAIT => error.code(),
            code => code,
        }
    }

    /// Emphasised, where colours are shown.
    pub(super) fn strong(&self, text: &str) -> String {
        self.painted(STRONG, text)
    }

    /// Subdued, where colours are shown.
    pub(super) fn dim(&self, text: &str) -> String {
        self.painted(DIM, text)
    }

    /// As something to look at, where colours are shown.
    pub(super) fn warning(&self, text: &str) -> String {
        self.painted(WARNING, text)
    }

    fn painted(&self, code: &str, text: &str) -> String {
        if self.colour { paint(code, text) } else { text.to_owned() }
    }

    /// A progress bar that comes up if the work takes long and somebody is watching.
    pub(super) fn progress(&self) -> Bar {
        let shown = !self.json && !self.quiet && io::stderr().is_terminal();
        let clock = Clock::system();
        Bar { shown, started: clock.now(), clock, bar: Mutex::new(None) }
    }
}

/// Shows how far a turn has come.
#[derive(Debug)]
pub(super) struct Bar {
    shown: bool,
    clock: Clock,
    started: Stamp,
    bar: Mutex<Option<(Stage, ProgressBar)>>,
}

impl Progress for Bar {
    fn step(&self, stage: Stage, done: u64, of: u64) {
        if !self.shown || self.clock.now().millis() - self.started.millis() < BAR_AFTER_MS {
            return;
        }
        let Ok(mut bar) = self.bar.lock() else { return };
        let is_new = bar.as_ref().is_none_or(|(shown, _)| *shown != stage);
        if is_new {
            let style = ProgressStyle::with_template("{msg:10} {bar:30} {pos}/{len}")
                .unwrap_or_else(|_| ProgressStyle::default_bar());
            let new = ProgressBar::with_draw_target(Some(of), ProgressDrawTarget::stderr());
            new.set_style(style);
            new.set_message(stage.to_string());
            if let Some((_, old)) = bar.replace((stage, new)) {
                old.finish_and_clear();
            }
        }
        if let Some((_, bar)) = bar.as_ref() {
            bar.set_length(of);
            bar.set_position(done);
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Ok(mut bar) = self.bar.lock()
            && let Some((_, bar)) = bar.take()
        {
            bar.finish_and_clear();
        }
    }
}

impl Ui {
    /// What a command cost, in passing.
    pub(super) fn cost(&self, cost: &Cost) -> String {
        self.dim(&format!(
            "({}, {} up, {} down, {})",
            count(cost.requests, "request", "requests"),
            bytes(cost.bytes_up),
            bytes(cost.bytes_down),
            duration(cost.duration_ms),
        ))
    }
}

/// A count with its noun: `1 file`, `2 files`.
pub(super) fn count(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", grouped(number), if number == 1 { one } else { many })
}

/// A name, a path or an address as a shell takes it.
pub(super) fn quoted(name: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "_-./:@%+,".contains(c);
    if !name.is_empty() && name.chars().all(is_plain) {
        return name.to_owned();
    }
    format!("'{}'", name.replace('\'', "'\\''"))
}

/// Bytes as people read them.
pub(super) fn bytes(number: u64) -> String {
    #[allow(clippy::cast_precision_loss, reason = "shown with one decimal")]
    let (value, unit) = match number {
        0..1_000 => return format!("{number} B"),
        1_000..1_000_000 => (number as f64 / 1e3, "kB"),
        1_000_000..1_000_000_000 => (number as f64 / 1e6, "MB"),
        _ => (number as f64 / 1e9, "GB"),
    };
    format!("{value:.1} {unit}")
}

/// A length of time as people read it.
pub(super) fn duration(millis: i64) -> String {
    let millis = millis.max(0);
    #[allow(clippy::cast_precision_loss, reason = "shown with one decimal")]
    let seconds = millis as f64 / 1e3;
    let (whole, minutes) = (millis / 1_000, millis / 60_000);
    match millis {
        ..1_000 => format!("{millis} ms"),
        1_000..60_000 if millis % 1_000 == 0 => format!("{whole} s"),
        1_000..60_000 => format!("{seconds:.1} s"),
        60_000..3_600_000 => parts((minutes, "min"), (whole % 60, "s")),
        3_600_000..86_400_000 => parts((minutes / 60, "h"), (minutes % 60, "min")),
        _ => parts((minutes / 1_440, "d"), (minutes / 60 % 24, "h")),
    }
}

/// A length of time in two units, the smaller one if there is any of it.
fn parts((large, unit): (i64, &str), (small, smaller): (i64, &str)) -> String {
    let rest = if small == 0 { String::new() } else { format!(" {small} {smaller}") };
    format!("{large} {unit}{rest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_of_time_is_told_in_two_units_at_most() {
        for (millis, told) in [
            (-5, "0 ms"),
            (999, "999 ms"),
            (1_500, "1.5 s"),
            (30_000, "30 s"),
            (300_000, "5 min"),
            (301_000, "5 min 1 s"),
            (3_600_000, "1 h"),
            (7_500_000, "2 h 5 min"),
            (86_400_000, "1 d"),
            (270_000_000, "3 d 3 h"),
        ] {
            assert_eq!(duration(millis), told);
        }
    }

    #[test]
    fn what_is_to_be_typed_is_one_word() {
        for (name, typed) in [
            ("a.md", "a.md"),
            ("", "''"),
            ("my notes", "'my notes'"),
            ("it's", "'it'\\''s'"),
            ("webdavs://ada@h:81/a%20b", "webdavs://ada@h:81/a%20b"),
            ("s3://b?endpoint=http://h&region=x", "'s3://b?endpoint=http://h&region=x'"),
            ("~/x", "'~/x'"),
        ] {
            assert_eq!(quoted(name), typed);
        }
    }

    #[test]
    fn what_is_told_does_not_steer_a_terminal() {
        for (text, shown) in [
            ("a\tb\n", "a\tb\n"),
            ("\x1b]0;title\x07x\x1b[2Jy\rz\u{9b}1m\u{7f}", "]0;titlex[2Jyz1m"),
            ("\x1b[8mhidden\x1b[0m", "[8mhidden\x1b[0m"),
            ("\x1b", ""),
            ("ä\x1b[1mb", "ä\x1b[1mb"),
        ] {
            assert_eq!(harmless(text), shown, "{text:?}");
        }
        assert_eq!(harmless(&paint(FAILURE, "x")), "\x1b[1;31mx\x1b[0m");
        assert_eq!(one_line("a\nb\x1b[1mc"), "ab[1mc");
    }
}
