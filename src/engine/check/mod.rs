//! Verifying the remote, the replica and the vault against each other.

mod copies;
mod rebuild;
mod records;
mod remote;
mod repair;

use larder_providers::{SharedStorage, Traffic};
use serde::Serialize;

use super::{
    Engine, EngineError, Result, TurnOptions,
    connect::{has_data, headless},
    cost::Meter,
};
use crate::{
    model::EntityId,
    remote::{HeadRead, HeadState, Remote, RemoteError, layout::META},
};
pub use repair::RepairOptions;

pub(super) use copies::Copies;
use rebuild::wrong_meta;
use remote::Inspected;

/// How many findings of one kind that is told for each record are listed; the rest is counted.
const LISTED_MAX: usize = 100;

/// How thorough a check is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CheckOptions {
    /// Read every data file of the remote, and every file of the vault, and verify its content.
    pub read_data: bool,
}

/// What a check found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CheckReport {
    /// What is not as it should be.
    pub findings: Vec<Finding>,
    /// What a repair did, one line each.
    pub repaired: Vec<String>,
    /// What is left to be done elsewhere.
    pub advice: Vec<String>,
    /// How many data files were read.
    pub files_read: u64,
    /// How many bytes were read.
    pub bytes_read: u64,
}

impl CheckReport {
    /// Whether nothing is wrong. What is merely left over, waits for the next turn or is kept as it
    /// stands does no harm.
    pub fn is_ok(&self) -> bool {
        use FindingKind::{Edited, Orphan, Unparsed, Waiting};
        let is_harmless = |kind| matches!(kind, Orphan | Edited | Unparsed | Waiting);
        self.findings.iter().all(|finding| is_harmless(finding.kind))
    }

    /// With which option a repair finds the same: what only reading tells is mended only by who reads.
    pub fn read_option(&self) -> &'static str {
        if self.files_read > 0 { " --read-data" } else { "" }
    }
}

/// One thing that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// What kind of thing it is.
    pub kind: FindingKind,
    /// The file in question.
    pub file: Option<String>,
    /// The record in question.
    pub entity_id: Option<EntityId>,
    /// What was seen.
    pub detail: String,
}

/// What can be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum FindingKind {
    /// The head is gone or cannot be read: nothing says what the remote consists of.
    Head,
    /// A file that the manifest names is not there.
    Missing,
    /// News that do not count yet: in a mirrored folder files that they name are on their way.
    Waiting,
    /// A file is not what the manifest says.
    Damaged,
    /// A file or a manifest says of its records what is not so.
    Lies,
    /// The remote does not hold what this replica has agreed with it.
    Lacking,
    /// A file that nothing names: left over from a cut turn, or somebody else's.
    Orphan,
    /// The remote lacks edits that it had.
    WentBack,
    /// The remote has another history than this replica has seen.
    Forked,
    /// A record that cannot lie where it wants to.
    BadPath,
    /// A record whose stamp lies far in the future.
    ClockAhead,
    /// A file of the vault that is behind its record.
    Behind,
    /// A file of the vault that differs from what was last in step: an edit for the next turn.
    Edited,
    /// A file kept as plain text because its structure does not parse.
    Unparsed,
}

impl FindingKind {
    /// Whether a repair may do something about it.
    pub fn is_repairable(self) -> bool {
        use FindingKind::{Damaged, Head, Lacking, Lies, Missing};
        matches!(self, Head | Missing | Damaged | Lies | Lacking)
    }
}

impl Engine {
    /// Verifies everything that can be verified without changing anything.
    pub async fn check(
        &mut self,
        storage: &SharedStorage,
        traffic: &Traffic,
        options: CheckOptions,
    ) -> Result<CheckReport> {
        let meter = Meter::start(traffic, &self.clock);
        let remote = self.open_remote(storage, TurnOptions::default()).await?;
        let mut report = self.inspect(&remote, options).await?.report;
        report.bytes_read = meter.read(&self.clock).bytes_down;
        Ok(report)
    }

    async fn inspect(&mut self, remote: &Remote, options: CheckOptions) -> Result<Inspected> {
        let mut found = Inspected::default();
        if let Some(wrong) = wrong_meta(remote).await? {
            found.report.add(FindingKind::Head, META, wrong);
        }
        let copies = Copies::find(remote).await?;
        for file in copies.alike {
            let detail = "a copy of meta.json that another program made: a compaction removes it";
            found.report.add(FindingKind::Orphan, file.as_str(), detail);
        }
        for (file, detail) in copies.others {
            found.report.add(FindingKind::Orphan, file.as_str(), detail);
        }
        match self.readable_head(remote).await? {
            Ok(head) => self.check_remote(remote, &head, options, &mut found).await?,
            Err(error) => found.report.add(FindingKind::Head, "head", error.to_string()),
        }
        self.check_records(&mut found.report)?;
        self.check_vault(options, &mut found.report)?;
        Ok(found)
    }

    /// The head, or what is wrong with it; an error where it is not the head that is wrong.
    async fn readable_head(&self, remote: &Remote) -> Result<Result<Box<HeadState>, RemoteError>> {
        let error = match self.look_closely(remote).await {
            Ok(HeadRead::Current(head)) if head.manifest.remote_id != remote.id => {
                let (expected, found) = (remote.id.clone(), head.manifest.remote_id);
                return Err(RemoteError::Foreign { expected, found }.into());
            }
            // In mode devices no heads are a state like any other; but not where there were some, and
            // none is on its way.
            Ok(HeadRead::Current(head))
                if head.manifest.generation == 0
                    && head.others.unmet.is_empty()
                    && self.had_head()? =>
            {
                match has_data(&remote.storage).await? {
                    true => headless(),
                    false => return Ok(Ok(head)),
                }
            }
            Ok(HeadRead::Current(head)) => return Ok(Ok(head)),
            Ok(HeadRead::Unchanged | HeadRead::Missing) => self.why_missing(remote).await,
            Err(error) => error,
        };
        match error {
            EngineError::Remote(
                error @ (RemoteError::HeadMissing { .. } | RemoteError::Damaged { .. }),
            ) => Ok(Err(error)),
            error => Err(error),
        }
    }
}

impl Engine {
    fn had_head(&self) -> Result<bool> {
        Ok(self.last_manifest()?.is_some_and(|last| last.generation > 0))
    }
}

impl CheckReport {
    fn add(&mut self, kind: FindingKind, file: &str, detail: impl Into<String>) {
        let (file, detail) = (Some(file.to_owned()), detail.into());
        self.findings.push(Finding { kind, file, entity_id: None, detail });
    }

    /// Lists what concerns many records, and counts what is too much to list.
    fn add_many(&mut self, kind: FindingKind, found: Vec<Finding>, what: &str) {
        let more = found.len().saturating_sub(LISTED_MAX);
        self.findings.extend(found.into_iter().take(LISTED_MAX));
        if more > 0 {
            let detail = format!("{what}: {more} more");
            self.findings.push(Finding { kind, file: None, entity_id: None, detail });
        }
    }
}
