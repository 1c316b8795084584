//! Repairing what a check finds: the remote gets again what this replica has of it.
//!
//! Everything goes up under new names before the head moves, and nothing is removed before its day of
//! grace is over: the worst that a repair can do is to be of no use.

use std::collections::BTreeSet;

use larder_providers::{SharedStorage, Traffic};

use super::{CheckOptions, CheckReport, copies::Copies, remote::Inspected};
use crate::{
    engine::{
        Engine, EngineError, NoteKind, Progress, RACES_MAX, Report, Result, TurnOptions,
        cargo::Folding, contents::Contents, cost::Meter,
    },
    merge::{Pen, set_anew},
    model::{Agreed, EntityId, Record, Stamp, Update},
    remote::{Advance, DataFile, HeadRead, HeadState, Manifest, Participant, Remote},
    store::Replica,
};

/// How many records are set anew in one transaction.
const ANEW_AT_ONCE: usize = 1024;

/// What a repair may do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RepairOptions {
    /// Look for damage in what every file holds, too.
    pub read_data: bool,
    /// Go on without what only lost files held.
    pub accept_loss: bool,
}

impl Engine {
    /// Checks, and sends again what the remote lost, as far as this replica and its vault have it.
    /// What is found afterwards is what could not be repaired here.
    pub async fn repair(
        &mut self,
        storage: &SharedStorage,
        traffic: &Traffic,
        options: RepairOptions,
        progress: &dyn Progress,
    ) -> Result<CheckReport> {
        let meter = Meter::start(traffic, &self.clock);
        let check = CheckOptions { read_data: options.read_data };
        let remote = self.open_remote(storage, TurnOptions::default()).await?;
        let (mut repaired, mut advice) = (Vec::new(), Vec::new());
        self.repair_meta(&remote, &mut repaired).await?;
        let copies = Copies::remove(&remote).await?;
        repaired
            .extend(copies.iter().map(|file| format!("{file} was a copy of meta.json: removed")));
        let is_head_new = self.repair_head(&remote, options.accept_loss, &mut repaired).await?;
        self.store.set_looked_ms(None)?;
        let turn = self.turn(storage, traffic, TurnOptions::default(), progress).await?;
        let healed = turn.notes.iter().filter(|note| note.kind == NoteKind::Healed);
        repaired.extend(healed.map(|note| format!("{} {}", note.subject, note.text)));
        // After what the heads have to say: of that it may be an older state.
        let (taken_up, now) = self.take_up(&remote, is_head_new, &mut repaired).await?;
        if !taken_up.is_empty() {
            self.turn(storage, traffic, TurnOptions::default(), progress).await?;
            // Nobody takes them up again: what came of them may have been edited since, or deleted.
            self.retire(storage, &taken_up, now).await?;
        }
        let found = self.inspect(&remote, check).await?;
        let has_contents =
            self.send_lost_contents(&remote, &found, &mut repaired, &mut advice).await?;
        if self.set_lacking_anew(&found.lacking, &mut repaired)? || has_contents {
            self.turn(storage, traffic, TurnOptions::default(), progress).await?;
        }
        if !found.hurt.is_empty() || found.is_untrue {
            let head = self.current_head(&remote).await?;
            let mut is_behind = self.is_behind(&head)?;
            if is_behind && options.accept_loss {
                self.drop_hurt(&remote, &found.hurt, &mut repaired).await?;
                self.turn(storage, traffic, TurnOptions::default(), progress).await?;
                let now = self.current_head(&remote).await?;
                is_behind = self.is_behind(&now)?;
            }
            if is_behind {
                advice.extend(self.who_may_have(&head.manifest, &found)?);
            } else {
                self.write_anew(&remote, &found, progress, &mut repaired).await?;
            }
        }
        let mut report = self.inspect(&remote, check).await?.report;
        (report.repaired, report.advice) = (repaired, advice);
        report.bytes_read = meter.read(&self.clock).bytes_down;
        Ok(report)
    }

    async fn current_head(&self, remote: &Remote) -> Result<Box<HeadState>> {
        match self.look_at_head(remote, false).await? {
            HeadRead::Current(head) => Ok(head),
            HeadRead::Unchanged | HeadRead::Missing => Err(self.why_missing(remote).await),
        }
    }

    fn is_behind(&self, head: &HeadState) -> Result<bool> {
        Ok(!self.replica()?.knows.includes(&head.manifest.knows))
    }

    /// Writes what hurt files held from this replica, which has all of it, and takes them out of the
    /// manifest. A record that is back in a delta would leave with it, were its run still said to
    /// hold it: so where runs are concerned everything is written anew.
    async fn write_anew(
        &mut self,
        remote: &Remote,
        found: &Inspected,
        progress: &dyn Progress,
        repaired: &mut Vec<String>,
    ) -> Result<()> {
        for race in 0..=RACES_MAX {
            let head = self.current_head(remote).await?;
            if self.is_behind(&head)? {
                let text = "another device committed meanwhile: run the repair again";
                return Err(EngineError::Refused(text.to_owned()));
            }
            let is_in_runs =
                |hurt: &DataFile| head.manifest.packs.iter().any(|pack| pack.file == hurt.file);
            let is_all = found.is_untrue || found.hurt.iter().any(is_in_runs);
            let folding = if is_all { Folding::All } else { Folding::Due };
            let cargo = self.cargo(&head.manifest, &[], &head.manifest.knows, folding)?;
            self.note_attempt()?;
            let mut next = self.successor(&head, true);
            self.load(remote, &head, &cargo, &mut next, progress).await?;
            if let Advance::Committed(now) = self.advance(remote, &head, next).await? {
                self.remember(remote, &now, &[])?;
                let records = cargo.records();
                for hurt in &found.hurt {
                    repaired.push(format!("{}: what it held is written anew", hurt.file));
                }
                repaired.push(format!("{records} records were sent again from this replica"));
                return Ok(());
            }
            self.pause(race).await;
        }
        Err(EngineError::Raced { tries: RACES_MAX + 1 })
    }

    /// Makes edits of what the remote lacks although it counts it as known: whoever read the remote
    /// since then believes to have it under its old edits, and would pass it over.
    fn set_lacking_anew(&mut self, ids: &[EntityId], repaired: &mut Vec<String>) -> Result<bool> {
        for some in ids.chunks(ANEW_AT_ONCE) {
            let (mut replica, now) = (self.replica()?, self.clock.now());
            let (device, counter, last) = (replica.device, replica.counter, replica.last_stamp);
            let mut pen = Pen::new(device, counter, last);
            let (mut updates, mut pending) = (Vec::new(), BTreeSet::new());
            for record in self.store.records(&some.iter().cloned().collect())?.into_values() {
                if record.file.is_some() && record.shown.is_some() {
                    pending.insert(record.state.id.clone());
                }
                updates.push(self.set_record_anew(record, &mut pen, now));
            }
            replica = Replica {
                knows: replica.knows,
                counter: pen.counter,
                last_stamp: pen.last,
                device: pen.device,
                ..replica
            };
            replica.knows.raise(&replica.device, replica.counter);
            self.decide_rewritten(&updates, &pending, &replica, now)?;
        }
        if !ids.is_empty() {
            let records = ids.len();
            repaired
                .push(format!("{records} records that the remote lacked were sent as new edits"));
        }
        Ok(!ids.is_empty())
    }

    fn set_record_anew(&self, record: Record, pen: &mut Pen, now: Stamp) -> Update {
        let mut state = record.state.clone();
        let (dot, at) = pen.next(now);
        // That it is sent again makes it no newer.
        let at = record.state.last_modified().map_or(at, |(last, _)| last.min(at));
        set_anew(&mut state, &record.state, &dot, at, &self.rules);
        Update { agreed: Agreed::Never, ..self.rewritten(record, state) }
    }

    /// Takes hurt files out of the manifest, with what they held. Who has that can still send it: a
    /// check there finds that the remote lacks it.
    async fn drop_hurt(
        &mut self,
        remote: &Remote,
        hurt: &[DataFile],
        repaired: &mut Vec<String>,
    ) -> Result<()> {
        for race in 0..=RACES_MAX {
            let head = self.current_head(remote).await?;
            let mut next = self.successor(&head, false);
            let is_hurt = |data: &DataFile| hurt.iter().any(|hurt| hurt.file == data.file);
            next.packs.retain(|data| !is_hurt(data));
            next.deltas.retain(|data| !is_hurt(data));
            // The runs do not hold any more what they claim to.
            next.packs.iter_mut().for_each(|pack| pack.up_to = None);
            if next.deltas.is_empty() {
                next.entity_versions.clear();
            }
            let since = self.server_now(head.server_time);
            next.retire(hurt.iter().map(|hurt| hurt.file.clone()), since);
            if let Advance::Committed(_) = self.advance(remote, &head, next).await? {
                let lost = hurt.iter().map(|hurt| {
                    format!("{}: given up, with what no device sends again", hurt.file)
                });
                repaired.extend(lost);
                return Ok(());
            }
            self.pause(race).await;
        }
        Err(EngineError::Raced { tries: RACES_MAX + 1 })
    }

    /// Says on which devices hurt files can be repaired.
    fn who_may_have(&self, manifest: &Manifest, found: &Inspected) -> Result<Vec<String>> {
        let replica = self.replica()?;
        let reads = found.report.read_option();
        let lacking = found.hurt.iter().filter(|hurt| !replica.knows.includes(&hurt.holds));
        let Some(latest) = lacking.map(|hurt| hurt.to_generation).max() else {
            let text = "this device has not read all that the remote has: sync, and repair again";
            return Ok(vec![text.to_owned()]);
        };
        let may_have = |(id, device): &(&_, &Participant)| {
            **id != replica.device && device.read_generation >= latest
        };
        let has: Vec<String> =
            manifest.devices.iter().filter(may_have).map(|(_, device)| told(device)).collect();
        let lost = "`--accept-loss` goes on without what is lost";
        let text = match has.as_slice() {
            [] => format!(
                "this device never had what the hurt files hold, and no other is known to have read it. Any device \
                 that made these edits may have them: run `larder check{reads} --repair` there. {lost}"
            ),
            has => format!(
                "this device never had what the hurt files hold. Run `larder check{reads} --repair` on {}, which \
                 read it. {lost}",
                has.join(" or ")
            ),
        };
        Ok(vec![text])
    }

    /// Sends contents again whose files the remote lost, from files of the vault that hold them. Says
    /// whether there are new names to be sent.
    async fn send_lost_contents(
        &mut self,
        remote: &Remote,
        found: &Inspected,
        repaired: &mut Vec<String>,
        advice: &mut Vec<String>,
    ) -> Result<bool> {
        let mut report = Report::default();
        self.contents = Contents::default();
        for (blob, _) in &found.lost {
            self.contents.distrust(blob);
        }
        let mut has_sent = false;
        for (blob, _) in &found.lost {
            for id in self.store.owners_of_blob(&blob.file)? {
                if self.renew_content(remote, &id, &mut report).await? {
                    has_sent = true;
                    repaired.push(format!("{}: sent again under another name", blob.file));
                }
            }
        }
        let reads = found.report.read_option();
        advice.extend(report.notes.iter().map(|note| {
            format!(
                "{}: {}; `larder check{reads} --repair` where it is sends it again",
                note.subject, note.text
            )
        }));
        Ok(has_sent)
    }
}

/// A device as its owner knows it.
fn told(device: &Participant) -> String {
    let day: String = device.last_seen.max(Stamp::default()).to_string().chars().take(10).collect();
    format!("{} (last seen {day})", device.name)
}
