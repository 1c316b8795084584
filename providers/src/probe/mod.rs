//! Finding out what a storage can really do, whatever it claims.

mod checks;
mod races;

use std::fmt;

use serde::Serialize;

use crate::{Clock, Error, ErrorKind, RemotePath, Result, Storage};

/// Tries a storage out below `scratch` and says which ways of committing it can carry.
///
/// A storage that does not answer, or refuses the account, is an error; one that answers wrongly is
/// a finding. One that stops answering, has no more room, or asks for more patience than there is ends a
/// probe at full depth with what was seen by then. What the checks write they remove again, and at full
/// depth the folder `scratch` too.
pub async fn probe(
    storage: &dyn Storage,
    scratch: &RemotePath,
    depth: Depth,
) -> Result<ProbeReport> {
    probe_at(storage, scratch, depth, &Clock::default()).await
}

/// As [`probe`], with a clock of the caller's to compare the storage's with.
pub async fn probe_at(
    storage: &dyn Storage,
    scratch: &RemotePath,
    depth: Depth,
    clock: &Clock,
) -> Result<ProbeReport> {
    let mut probe = Probe {
        storage,
        scratch,
        // Not like the name of a data file, which begins with a number.
        nonce: format!("p{:08x}", fastrand::u32(..)),
        clock,
        report: ProbeReport::default(),
        written: Vec::new(),
    };
    let done = match depth {
        Depth::Short => probe.short().await,
        Depth::Full => probe.full().await,
    };
    let cleaned = probe.clean(depth).await;
    if let Err(error) = done {
        if depth == Depth::Short || probe.report.checks.is_empty() || is_refusal(&error) {
            return Err(error);
        }
        let left = if cleaned.is_err() { "; what it wrote may still lie there" } else { "" };
        probe.report.stopped = Some(format!("{error}{left}"));
        return Ok(probe.report);
    }
    cleaned?;
    probe.report.conclude(storage.capabilities().compare_and_swap);
    Ok(probe.report)
}

/// How much is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Only what committing rests on: four calls, and five more for a storage that claims a
    /// compare-and-swap. Of one that cannot rename all conditions are tried, in six calls.
    Short,
    /// Everything, with real races: about 200 requests.
    Full,
}

/// What the probe found.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProbeReport {
    /// What was tried, in order.
    pub checks: Vec<Check>,
    /// Whether commits may rest on conditional writes.
    pub if_match_ok: bool,
    /// Whether commits may rest on moving a file away.
    pub rename_ok: bool,
    /// Whether each writer can at least keep a file of its own.
    pub own_files_ok: bool,
    /// By how much the storage's clock is ahead of ours.
    pub clock_offset_ms: Option<i64>,
    /// Why the probe ended before all was tried: then nothing follows from what was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stopped: Option<String>,
}

/// One thing that was tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    /// What.
    pub name: &'static str,
    /// How it came out.
    pub verdict: Verdict,
    /// What was seen, in a sentence.
    pub detail: String,
}

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    /// As it should be.
    Good,
    /// Not as it should be.
    Bad,
    /// It could not be found out.
    Unknown,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Good => "good",
            Self::Bad => "bad",
            Self::Unknown => "unknown",
        })
    }
}

/// What conditional writes rest on; each of them that was tried must be good.
const IF_MATCH_RESTS_ON: [&str; 9] = [
    "conditions",
    "wrongVersion",
    "rightVersion",
    "createOnExisting",
    "updateRace",
    "createRace",
    "interleavedUploads",
    "sameSecondVersions",
    "readAfterWrite",
];

/// What commits by moving rest on.
const RENAME_RESTS_ON: [&str; 5] =
    ["moveAway", "moveRace", "moveOntoExisting", "readAfterWrite", "listAfterWrite"];

/// What is tried only where files can be renamed.
const MOVES: [&str; 3] = ["moveAway", "moveOntoExisting", "moveRace"];

/// What it rests on that each writer keeps a file of its own.
const OWN_FILES_REST_ON: [&str; 2] = ["readAfterWrite", "listAfterWrite"];

impl ProbeReport {
    /// The check of that name, if it was made.
    pub fn check(&self, name: &str) -> Option<&Check> {
        self.checks.iter().find(|check| check.name == name)
    }

    fn conclude(&mut self, claims_compare_and_swap: bool) {
        let is_good =
            |name: &str| self.check(name).is_some_and(|check| check.verdict == Verdict::Good);
        let all_are_good = |names: &[&str]| {
            let mut made = names.iter().filter_map(|name| self.check(name));
            made.all(|check| check.verdict == Verdict::Good)
        };
        // What is not claimed has to be shown under races.
        let shown = claims_compare_and_swap || is_good("updateRace");
        let tried = is_good("wrongVersion") || is_good("conditions");
        let if_match_ok = shown && tried && all_are_good(&IF_MATCH_RESTS_ON);
        let rename_ok = is_good("moveAway") && all_are_good(&RENAME_RESTS_ON);
        self.own_files_ok = all_are_good(&OWN_FILES_REST_ON);
        (self.rename_ok, self.if_match_ok) = (rename_ok, if_match_ok);
    }
}

/// The probe at work.
struct Probe<'a> {
    storage: &'a dyn Storage,
    scratch: &'a RemotePath,
    nonce: String,
    clock: &'a Clock,
    report: ProbeReport,
    written: Vec<RemotePath>,
}

/// What a check saw: a verdict and a sentence.
type Seen = (Verdict, String);

impl Probe<'_> {
    async fn short(&mut self) -> Result<()> {
        let can = self.storage.capabilities();
        if !can.move_exclusive {
            let seen = self.conditions().await;
            return self.note("conditions", seen);
        }
        let seen = self.move_away().await;
        self.note("moveAway", seen)?;
        if can.compare_and_swap {
            let seen = self.wrong_version().await;
            self.note("wrongVersion", seen)?;
        }
        Ok(())
    }

    async fn full(&mut self) -> Result<()> {
        self.storage.make_folder(self.scratch).await?;
        let can_move = self.storage.capabilities().move_exclusive;
        macro_rules! check {
            ($($name:literal => $check:ident),* $(,)?) => {$(
                let seen = match can_move || !MOVES.contains(&$name) {
                    true => self.$check().await,
                    false => Ok(checks::unknown("the storage cannot rename")),
                };
                self.note($name, seen)?;
            )*};
        }
        check! {
            "readAfterWrite" => read_after_write,
            "listAfterWrite" => list_after_write,
            "moveAway" => move_away,
            "moveOntoExisting" => move_onto_existing,
            "moveRace" => move_race,
            "wrongVersion" => wrong_version,
            "rightVersion" => right_version,
            "createOnExisting" => create_on_existing,
            "updateRace" => update_race,
            "createRace" => create_race,
            "interleavedUploads" => interleaved_uploads,
            "sameSecondVersions" => same_second_versions,
            "range" => range,
            "clock" => clock_offset,
        }
        Ok(())
    }

    /// Takes down what a check saw. An error is a finding too, unless it says that nothing can be
    /// found out now.
    fn note(&mut self, name: &'static str, seen: Result<Seen>) -> Result<()> {
        let (verdict, detail) = match seen {
            Ok(seen) => seen,
            Err(error) if ends_the_probe(&error) => return Err(error),
            Err(error) => (Verdict::Bad, format!("it failed: {error}")),
        };
        tracing::debug!(name, %verdict, detail, "probed");
        self.report.checks.push(Check { name, verdict, detail });
        Ok(())
    }

    /// A name of our own in the scratch folder, which is cleared away at the end.
    fn file(&mut self, name: &str) -> Result<RemotePath> {
        let path = self.name(name)?;
        self.written.push(path.clone());
        Ok(path)
    }

    fn name(&self, name: &str) -> Result<RemotePath> {
        self.scratch.join(&format!("{}-{name}", self.nonce)).map_err(|error| {
            let detail = format!("no good folder for a probe: {error}");
            Error::new(ErrorKind::Config, "probe", self.scratch, detail)
        })
    }

    async fn clean(&mut self, depth: Depth) -> Result<()> {
        if depth == Depth::Short {
            for path in std::mem::take(&mut self.written) {
                self.storage.delete(&path).await?;
            }
            return Ok(());
        }
        let mut has_others = false;
        for entry in self.storage.list(self.scratch).await?.entries {
            if !entry.is_folder && entry.path.name().starts_with(&self.nonce) {
                self.storage.delete(&entry.path).await?;
            } else {
                has_others = true;
            }
        }
        if !has_others {
            // A folder that is empty and stays does no harm.
            let _ = self.storage.delete(self.scratch).await;
        }
        Ok(())
    }
}

fn ends_the_probe(error: &Error) -> bool {
    use ErrorKind::{Full, Throttled, Unreachable};
    is_refusal(error) || matches!(error.kind(), Unreachable | Throttled { .. } | Full)
}

/// Whether it is the account, or the address, that is wrong.
fn is_refusal(error: &Error) -> bool {
    use ErrorKind::{Config, LoggedOut, Unauthorized};
    matches!(error.kind(), Unauthorized | LoggedOut | Config)
}

#[cfg(test)]
mod tests;
