//! Verifying the remote, the replica and the vault against each other.

use std::collections::BTreeMap;

use larder_providers::{RemotePath, SharedStorage, Traffic};
use serde::Serialize;

use super::{Engine, Result, TurnOptions, cost::Meter};
use crate::{
    merge::view,
    model::{EntityId, VaultPath, VersionVector, limits::STAMP_AHEAD_MS_MAX},
    remote::{Fetched, HeadRead, HeadState, Manifest, Remote, Survey, blob::verify, fetch, survey},
};

/// How thorough a check is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CheckOptions {
    /// Read every data file and verify its content.
    pub read_data: bool,
}

/// What a check found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CheckReport {
    /// What is not as it should be.
    pub findings: Vec<Finding>,
    /// How many data files were read.
    pub files_read: u64,
    /// How many bytes were read.
    pub bytes_read: u64,
}

impl CheckReport {
    /// Whether nothing is wrong. What is merely left over does no harm.
    pub fn is_ok(&self) -> bool {
        self.findings.iter().all(|finding| finding.kind == FindingKind::Orphan)
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum FindingKind {
    /// A file that the manifest names is not there.
    Missing,
    /// A file is not what the manifest says.
    Damaged,
    /// A file that nothing names: left over from a cut turn, or somebody else's.
    Orphan,
    /// The remote lacks edits that it had.
    WentBack,
    /// A record that cannot lie where it wants to.
    BadPath,
    /// A record whose stamp lies far in the future.
    ClockAhead,
    /// A file of the vault that is behind its record.
    Behind,
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
        let mut report = CheckReport::default();
        let remote = self.open_remote(storage, TurnOptions::default()).await?;
        let HeadRead::Current(head) = self.look_at_head(&remote, true).await? else {
            return Err(self.why_missing(&remote).await);
        };
        self.check_remote(&remote, &head, options, &mut report).await?;
        self.check_records(&mut report)?;
        report.bytes_read = meter.read(&self.clock).bytes_down;
        Ok(report)
    }

    async fn check_remote(
        &self,
        remote: &Remote,
        head: &HeadState,
        options: CheckOptions,
        report: &mut CheckReport,
    ) -> Result<()> {
        let manifest = &head.manifest;
        let survey = survey(remote, head).await?;
        for (file, detail) in &head.others.waiting {
            report.add(FindingKind::Missing, file.as_str(), detail);
        }
        let present: BTreeMap<&RemotePath, Option<u64>> =
            survey.present.iter().map(|entry| (&entry.path, entry.bytes)).collect();
        for data in manifest.data() {
            let file = data.file.to_string();
            match present.get(&data.file) {
                None => report.add(
                    FindingKind::Missing,
                    &file,
                    "the manifest names it, but it is not there",
                ),
                Some(Some(bytes)) if *bytes != data.bytes => {
                    let detail = format!("it has {bytes} bytes instead of {}", data.bytes);
                    report.add(FindingKind::Damaged, &file, detail);
                }
                Some(_) if options.read_data => {
                    report.files_read += 1;
                    let everything = VersionVector::default();
                    let fetched = fetch(&remote.storage, data, &everything).await;
                    if let Err(error) = fetched.and_then(Fetched::all) {
                        report.add(FindingKind::Damaged, &file, error.to_string());
                    }
                }
                Some(_) => {}
            }
        }
        self.check_contents(remote, &survey, options, report).await?;
        for orphan in &survey.orphans {
            let detail = "nothing names it: left over from a turn that was cut off; `larder compact` takes it away";
            report.add(FindingKind::Orphan, orphan.path.as_str(), detail);
        }
        for name in &survey.foreign {
            report.add(FindingKind::Orphan, name, "larder did not write it, and leaves it alone");
        }
        if let Some(mark) = self.store.remote_mark()? {
            let last = Manifest::decode("the last manifest", mark.manifest.as_bytes())?;
            if !manifest.knows.includes(&last.knows) {
                let detail = format!(
                    "the remote went back from generation {} to {}; the next sync sends what it lost",
                    last.generation, manifest.generation
                );
                report.add(FindingKind::WentBack, "meta.json", detail);
            }
        }
        Ok(())
    }

    /// Every content that a record names has to be there.
    async fn check_contents(
        &self,
        remote: &Remote,
        survey: &Survey,
        options: CheckOptions,
        report: &mut CheckReport,
    ) -> Result<()> {
        let present: BTreeMap<&str, Option<u64>> =
            survey.blobs.iter().map(|entry| (entry.path.as_str(), entry.bytes)).collect();
        for (content, id) in self.store.present_blobs()? {
            let mut add = |kind, detail: String| {
                let (file, entity_id) = (Some(content.file.clone()), Some(id.clone()));
                report.findings.push(Finding { kind, file, entity_id, detail });
            };
            match present.get(content.file.as_str()) {
                // What was not sent yet is no fault of the remote's.
                None if !self.store.is_agreed_blob(&content.file)? => {}
                None => {
                    let text = "a record names it as its content, but it is not there";
                    add(FindingKind::Missing, text.to_owned());
                }
                Some(Some(bytes)) if *bytes != content.bytes => {
                    let text = format!("it has {bytes} bytes instead of {}", content.bytes);
                    add(FindingKind::Damaged, text);
                }
                Some(_) if options.read_data => {
                    if let Err(error) = verify(&remote.storage, &content).await {
                        add(FindingKind::Damaged, error.to_string());
                    }
                    report.files_read += 1;
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    fn check_records(&self, report: &mut CheckReport) -> Result<()> {
        let ahead = self.clock.now().millis() + STAMP_AHEAD_MS_MAX;
        for id in self.store.all_ids()? {
            let Some(record) = self.store.record(&id)? else { continue };
            let shown = view(&record.state, &self.rules);
            let path = shown.path().map(str::to_owned);
            let mut add = |kind, detail: String| {
                let (file, entity_id) = (path.clone(), Some(id.clone()));
                report.findings.push(Finding { kind, file, entity_id, detail });
            };
            if let Some(Err(why)) =
                path.as_deref().filter(|_| !shown.is_deleted).map(VaultPath::new)
            {
                add(FindingKind::BadPath, format!("is not written to disk: {why}"));
            }
            if record.shown.is_some() {
                add(
                    FindingKind::Behind,
                    "its file does not show its latest state; sync again".to_owned(),
                );
            }
            if record.state.last_modified().is_some_and(|(at, _)| at.millis() > ahead) {
                add(
                    FindingKind::ClockAhead,
                    "was edited on a device whose clock is over a day ahead".to_owned(),
                );
            }
        }
        Ok(())
    }
}

impl CheckReport {
    fn add(&mut self, kind: FindingKind, file: &str, detail: impl Into<String>) {
        let (file, detail) = (Some(file.to_owned()), detail.into());
        self.findings.push(Finding { kind, file, entity_id: None, detail });
    }
}
