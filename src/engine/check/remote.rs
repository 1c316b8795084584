//! What the remote says of itself, and what really lies there.

use std::collections::BTreeMap;

use larder_providers::RemotePath;

use super::{CheckOptions, CheckReport, Finding, FindingKind};
use crate::{
    engine::{
        Engine, HISTORY_MS, Result,
        feed::{is_about_one_file, what_is_wrong},
        identity::Lineage,
    },
    model::{Blob, EntityId, Record, VersionVector},
    remote::{
        DataFile, HeadState, Manifest, Remote, RemoteError, Survey, blob::verify, fetch, survey,
    },
};

/// What a check found, for people and for who is to repair it.
#[derive(Debug, Default)]
pub(super) struct Inspected {
    pub(super) report: CheckReport,
    /// Data files that are missing or damaged.
    pub(super) hurt: Vec<DataFile>,
    /// Contents that are missing or damaged, with a record that names them.
    pub(super) lost: Vec<(Blob, EntityId)>,
    /// Whether something says of records what is not so.
    pub(super) is_untrue: bool,
    /// Records that files which are whole do not hold as they were agreed.
    pub(super) lacking: Vec<EntityId>,
}

/// What the data files hold together.
#[derive(Default)]
struct Holdings {
    edits: BTreeMap<EntityId, VersionVector>,
}

impl Engine {
    pub(super) async fn check_remote(
        &self,
        remote: &Remote,
        head: &HeadState,
        options: CheckOptions,
        found: &mut Inspected,
    ) -> Result<()> {
        let manifest = &head.manifest;
        let survey = survey(remote, head).await?;
        for (file, detail) in &head.others.waiting {
            found.report.add(self.kind_of_wait(head, file)?, file.as_str(), detail);
        }
        let present: BTreeMap<&RemotePath, Option<u64>> =
            survey.present.iter().map(|entry| (&entry.path, entry.bytes)).collect();
        let mut holdings = Holdings::default();
        let knows = self.replica()?.knows;
        for data in manifest.data() {
            let wrong = match present.get(&data.file) {
                None => Some((
                    FindingKind::Missing,
                    "the manifest names it, but it is not there".to_owned(),
                )),
                Some(Some(bytes)) if *bytes != data.bytes => {
                    let detail = format!("it has {bytes} bytes instead of {}", data.bytes);
                    Some((FindingKind::Damaged, detail))
                }
                Some(_) if options.read_data => {
                    let damage = read_file(remote, manifest, data, &mut holdings, found).await?;
                    damage.map(|error| (FindingKind::Damaged, what_is_wrong(&error)))
                }
                Some(_) => None,
            };
            if let Some((kind, detail)) = wrong {
                found.report.add(kind, data.file.as_str(), detail);
                found.hurt.push(data.clone());
            }
            // What others sent it may name without counting it: they could not vouch for all before it.
            let maker = &manifest.commit.device;
            let is_own = data.holds.get(maker) > manifest.knows.get(maker);
            let is_vouched = knows.includes(&data.holds) && !manifest.knows.includes(&data.holds);
            if is_own || is_vouched {
                let detail = "holds edits that the manifest does not count as known";
                found.untrue(data, detail);
            }
        }
        self.check_contents(remote, &survey, options, found).await?;
        let report = &mut found.report;
        let long_unnamed = self.store.unnamed(HISTORY_MS)?;
        let left = survey.loose.iter().filter(|entry| long_unnamed.contains(entry.path.as_str()));
        for orphan in survey.orphans.iter().chain(left) {
            let detail = "nothing names it: left over from a turn that was cut off; `larder compact` takes it away";
            report.add(FindingKind::Orphan, orphan.path.as_str(), detail);
        }
        for name in &survey.foreign {
            report.add(FindingKind::Orphan, name, "larder did not write it, and leaves it alone");
        }
        self.check_history(head, report)?;
        if options.read_data {
            self.check_holdings(head, &holdings, found)?;
        }
        Ok(())
    }

    /// What it is that a head does not count: it is torn, its files are on their way, or they were here
    /// and are gone.
    fn kind_of_wait(&self, head: &HeadState, file: &RemotePath) -> Result<FindingKind> {
        if head.others.unreadable.contains(file) {
            return Ok(FindingKind::Damaged);
        }
        let Some(last) = self.last_manifest()? else { return Ok(FindingKind::Waiting) };
        let is_known = |unmet: &Manifest| {
            let is_of = file.name().strip_suffix(".json") == Some(unmet.commit.device.as_str());
            is_of && last.knows.includes(&unmet.knows)
        };
        let was_here = head.others.unmet.iter().any(is_known);
        Ok(if was_here { FindingKind::Missing } else { FindingKind::Waiting })
    }

    fn check_history(&self, head: &HeadState, report: &mut CheckReport) -> Result<()> {
        let now = head.manifest.generation;
        match self.lineage(head)? {
            Lineage::WentBack { from } => {
                let detail = format!(
                    "the remote went back from generation {from} to {now} and lacks edits that it had; the \
                     next sync sends what this device has of them"
                );
                report.add(FindingKind::WentBack, "head", detail);
            }
            Lineage::Forked { at } => {
                let detail = format!(
                    "the remote has another history than this device has seen: its generation {at} is \
                     another one now; the next sync goes on from what is there"
                );
                report.add(FindingKind::Forked, "head", detail);
            }
            Lineage::Straight | Lineage::Unknown => {}
        }
        Ok(())
    }

    /// Every content that a record names has to be there.
    async fn check_contents(
        &self,
        remote: &Remote,
        survey: &Survey,
        options: CheckOptions,
        found: &mut Inspected,
    ) -> Result<()> {
        let present: BTreeMap<&str, Option<u64>> =
            survey.blobs.iter().map(|entry| (entry.path.as_str(), entry.bytes)).collect();
        for (content, id) in self.store.present_blobs()? {
            let wrong = match present.get(content.file.as_str()) {
                // What was not sent yet is no fault of the remote's.
                None if !self.store.is_agreed_blob(&content.file)? => None,
                None => {
                    let text = "a record names it as its content, but it is not there";
                    Some((FindingKind::Missing, text.to_owned()))
                }
                Some(Some(bytes)) if *bytes != content.bytes => {
                    let text = format!("it has {bytes} bytes instead of {}", content.bytes);
                    Some((FindingKind::Damaged, text))
                }
                Some(_) if options.read_data => {
                    found.report.files_read += 1;
                    match verify(&remote.storage, &content).await {
                        Err(error) if !is_about_one_file(&error) => return Err(error.into()),
                        Err(error) => Some((FindingKind::Damaged, what_is_wrong(&error))),
                        Ok(()) => None,
                    }
                }
                Some(_) => None,
            };
            if let Some((kind, detail)) = wrong {
                let (file, entity_id) = (Some(content.file.clone()), Some(id.clone()));
                found.report.findings.push(Finding { kind, file, entity_id, detail });
                found.lost.push((content, id));
            }
        }
        Ok(())
    }

    /// Whatever this replica believes to be agreed has to be covered by what the remote holds.
    fn check_holdings(
        &self,
        head: &HeadState,
        holdings: &Holdings,
        found: &mut Inspected,
    ) -> Result<()> {
        let nothing = VersionVector::default();
        let mut lacking = Vec::new();
        for id in self.store.all_ids()? {
            let agreed = self.store.record(&id)?.and_then(Record::agreed_state);
            let Some(agreed) = agreed.map(|agreed| agreed.seen()) else { continue };
            let held = holdings.edits.get(&id).unwrap_or(&nothing);
            // What is not counted as known may come with heads that wait; else a turn sends it.
            let is_open = !head.others.unmet.is_empty() && !head.manifest.knows.includes(&agreed);
            if held.includes(&agreed) || is_open {
                continue;
            }
            let detail = if held.is_empty() {
                "is nowhere on the remote, although it was there".to_owned()
            } else {
                "is on the remote only as it was before some of its edits".to_owned()
            };
            let (kind, entity_id) = (FindingKind::Lacking, Some(id));
            lacking.push(Finding { kind, file: None, entity_id, detail });
        }
        // What a file that is hurt held is not lost to those who wait for it.
        if found.hurt.is_empty() {
            found.lacking = lacking.iter().filter_map(|found| found.entity_id.clone()).collect();
        }
        found.report.add_many(FindingKind::Lacking, lacking, "records that the remote lacks");
        Ok(())
    }
}

/// Reads a data file and notes what it holds, and where it says otherwise than it should; gives what
/// is wrong with it if it is no good.
async fn read_file(
    remote: &Remote,
    manifest: &Manifest,
    data: &DataFile,
    holdings: &mut Holdings,
    found: &mut Inspected,
) -> Result<Option<RemoteError>> {
    found.report.files_read += 1;
    let is_delta = manifest.deltas.iter().any(|delta| delta.file == data.file);
    let everything = VersionVector::default();
    let mut fetched = match fetch(&remote.storage, data, &everything).await {
        Ok(fetched) => fetched.with_claims(),
        Err(error) if is_about_one_file(&error) => return Ok(Some(error)),
        Err(error) => return Err(error.into()),
    };
    let mut held = VersionVector::default();
    while let Some(portion) = fetched.next_portion() {
        let entities = match portion {
            Ok(entities) => entities,
            Err(error) => return Ok(Some(error)),
        };
        for entity in entities {
            let (seen, version) = (entity.seen(), entity.version());
            held.join(&seen);
            let noted = manifest.entity_versions.get(&entity.id).copied().unwrap_or(0);
            if is_delta && noted < version {
                let detail = format!(
                    "holds version {version} of {}, of which the manifest has {noted}",
                    entity.id
                );
                found.untrue(data, &detail);
            }
            holdings.edits.entry(entity.id).or_default().join(&seen);
        }
    }
    for (id, lie) in fetched.take_false_claims() {
        found.untrue(data, &format!("says of {id} {lie}"));
    }
    if held != data.holds {
        found.untrue(data, "does not hold the edits that the manifest says it holds");
    }
    Ok(None)
}

impl Inspected {
    fn untrue(&mut self, data: &DataFile, detail: &str) {
        self.is_untrue = true;
        self.report.add(FindingKind::Lies, data.file.as_str(), detail);
    }
}
