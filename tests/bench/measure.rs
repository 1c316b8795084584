//! How long a program takes and how much memory it needs.
//!
//! The kernel tells the peak memory of ended children as one figure for all of them, and counts a
//! child from the moment it was forked, when it still is its parent. So this program starts itself
//! anew for each run: a small process with one child, which is what is measured.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context as _, ensure};
use serde::{Deserialize, Serialize};

/// The first argument of a process that is to measure another.
pub(crate) const LAUNCH: &str = "launch";

/// How the words of this program itself begin when it fails.
pub(crate) const OWN_ERROR: &str = "error: the run failed";

/// What a run took.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Measured {
    /// From start to end.
    pub(crate) seconds: f64,
    /// The most memory that any process of it had resident; 0 where the system does not tell.
    pub(crate) peak_kib: u64,
}

/// A shell script and where it runs.
#[derive(Debug)]
pub(crate) struct Run<'a> {
    pub(crate) script: &'a str,
    /// The current folder.
    pub(crate) dir: &'a Path,
    /// For the output and for what was measured.
    pub(crate) notebook: &'a Path,
    /// All of the environment but `PATH`.
    pub(crate) env: &'a [(&'static str, String)],
}

impl Run<'_> {
    /// Runs the script to its end, which must be a good one.
    pub(crate) fn measure(&self) -> anyhow::Result<Measured> {
        let (said, result) = (self.notebook.join("said"), self.notebook.join("measured"));
        let output = File::create(&said)?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(LAUNCH).arg(&result).arg(self.script).current_dir(self.dir);
        command.env_clear().envs(self.env.iter().cloned());
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let status = command.status()?;
        if !status.success() {
            let said = std::fs::read_to_string(&said).unwrap_or_default();
            let last = said.lines().rev().find(|line| !line.starts_with(OWN_ERROR));
            let last = last.unwrap_or("it failed and said nothing").to_owned();
            return Err(anyhow::anyhow!(last).context(self.script.to_owned()));
        }
        let text = std::fs::read_to_string(&result).context("nothing was measured")?;
        Ok(serde_json::from_str(&text)?)
    }
}

/// Runs a script and writes down what it took; the arguments are where to, and the script.
pub(crate) fn launch(args: &[String]) -> anyhow::Result<()> {
    let [result, script] = args else { anyhow::bail!("launch takes a file and a script") };
    let started = Instant::now();
    let status = Command::new("sh").args(["-euc", script]).status()?;
    let measured = Measured { seconds: started.elapsed().as_secs_f64(), peak_kib: peak_kib() };
    ensure!(status.success(), "the run failed: {status}");
    std::fs::write(PathBuf::from(result), serde_json::to_string(&measured)?)?;
    Ok(())
}

#[cfg(target_os = "linux")]
fn peak_kib() -> u64 {
    use nix::sys::resource::{UsageWho, getrusage};
    getrusage(UsageWho::RUSAGE_CHILDREN).map_or(0, |usage| usage.max_rss().unsigned_abs())
}

/// Elsewhere the unit is another one, or there is no such call.
#[cfg(not(target_os = "linux"))]
fn peak_kib() -> u64 {
    0
}
