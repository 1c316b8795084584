//! A turn from its beginning to its end: observe, plan, execute, settle.

use std::collections::{BTreeMap, BTreeSet};

use larder_providers::{SharedStorage, Traffic};

use super::{
    Brake, Engine, EngineError, NoteKind, Progress, RACES_MAX, Report, Result, TurnOptions,
    contents::Contents,
    cost::Meter,
    observe::Observed,
    work::{Next, Work},
};
use crate::{
    merge::{IncomingBrake, Plan, plan},
    model::{EntityId, VersionVector, rules::RULES_FILE},
    remote::{HeadState, Manifest, Remote},
    store::{Healed, Trouble},
    vault::Scan,
};

/// How often a turn starts over because what the head named is gone.
const LOOKS: u32 = 3;

impl Engine {
    /// Does one turn with the remote on `storage`: brings both sides to the same state, or says why
    /// not. Whatever stops it, nothing is lost and the next turn goes on.
    pub async fn turn(
        &mut self,
        storage: &SharedStorage,
        traffic: &Traffic,
        options: TurnOptions,
        progress: &dyn Progress,
    ) -> Result<Report> {
        self.turn_of(storage, traffic, options, Known::default(), progress).await
    }

    /// A turn that begins with what is known already.
    pub(super) async fn turn_of(
        &mut self,
        storage: &SharedStorage,
        traffic: &Traffic,
        options: TurnOptions,
        known: Known,
        progress: &dyn Progress,
    ) -> Result<Report> {
        let ended = self.whole_turn(storage, traffic, options, known, progress).await;
        if !options.dry_run {
            self.note_trouble(ended.as_ref().err());
            self.note_healed(ended.as_ref().ok());
        }
        ended
    }

    /// Keeps what a turn healed on the remote, for who asks without the network. What cannot be kept was
    /// told by the turn.
    fn note_healed(&mut self, report: Option<&Report>) {
        let mut notes = report.into_iter().flat_map(|report| &report.notes);
        if let Some(note) = notes.find(|note| note.kind == NoteKind::Healed) {
            let message = note.text.clone();
            let _ = self.store.set_healed(&Healed { message, at_ms: self.clock.now().millis() });
        }
    }

    /// Keeps why a turn failed, for who asks without the network, until one goes well. What cannot be
    /// kept has its reason in the failure itself.
    pub(super) fn note_trouble(&mut self, error: Option<&EngineError>) {
        let before = self.store.trouble().ok().flatten();
        let now = error.map(|error| {
            let (message, is_temporary) = (error.to_string(), error.is_temporary());
            let since = before.as_ref().filter(|before| before.message == message);
            let since_ms = since.map_or_else(|| self.clock.now().millis(), |same| same.since_ms);
            Trouble { message, is_temporary, since_ms }
        });
        if now != before {
            let _ = self.store.set_trouble(now.as_ref());
        }
    }

    async fn whole_turn(
        &mut self,
        storage: &SharedStorage,
        traffic: &Traffic,
        options: TurnOptions,
        known: Known,
        progress: &dyn Progress,
    ) -> Result<Report> {
        let meter = Meter::start(traffic, &self.clock);
        self.sent.clear();
        self.contents = Contents::default();
        let remote = self.open_remote(storage, options).await?;
        let waiting = self.waiting_files()?;
        let mut report = Report::default();
        self.rounds(&remote, options, known, progress, &mut report).await?;
        if !options.dry_run {
            // Contents hold up nothing else: they go when all else has gone, and come last.
            while let Some(scan) = self.send_contents(&remote, progress, &mut report).await? {
                let pushed = report.pushed;
                let known = Known { scan: Some(scan), head: None };
                self.rounds(&remote, options, known, progress, &mut report).await?;
                report.pushed += pushed;
            }
            self.fetch_contents(&remote, progress, &mut report).await?;
            report.note_waiting(&waiting, &self.waiting_files()?);
        }
        report.cost = meter.read(&self.clock);
        Ok(report)
    }

    /// Tries until nobody else is faster; only the first try has what is known.
    async fn rounds(
        &mut self,
        remote: &Remote,
        options: TurnOptions,
        mut known: Known,
        progress: &dyn Progress,
        report: &mut Report,
    ) -> Result<()> {
        let (mut races, mut looks, mut judged) = (0, 0, 0);
        loop {
            let may_look = looks < LOOKS;
            let known = std::mem::take(&mut known);
            match self.try_turn(remote, options, known, may_look, progress, report).await? {
                Outcome::Done => break,
                Outcome::Moved => looks += 1,
                Outcome::Judged if judged == LOOKS => {
                    let text = format!("{RULES_FILE} keeps changing; nothing was sent, try again");
                    return Err(EngineError::Refused(text));
                }
                Outcome::Judged => judged += 1,
                Outcome::Raced if races == RACES_MAX => {
                    return Err(EngineError::Raced { tries: RACES_MAX + 1 });
                }
                Outcome::Raced => {
                    self.pause(races).await;
                    races += 1;
                }
            }
        }
        report.raced += races;
        Ok(())
    }

    /// The straight road of a turn: observe; plan and execute, batch by batch; settle.
    async fn try_turn(
        &mut self,
        remote: &Remote,
        options: TurnOptions,
        known: Known,
        may_look: bool,
        progress: &dyn Progress,
        report: &mut Report,
    ) -> Result<Outcome> {
        let (head, mut work) = self.observe(remote, options, known, progress, report).await?;
        let mut sum = Sum::new(&self.replica()?.knows, head.wants_commit());
        report.generation = head.manifest.generation;
        // What a turn with another remote has begun to bring only that turn can hold a brake against:
        // until it comes to its end no file goes.
        let holds_removals = !options.accept_deletes && self.store.is_cut_elsewhere()?;
        let mut rules = None;
        loop {
            let batch =
                match work.next(&self.store, remote, &head, may_look, progress, report).await? {
                    Next::Batch(batch) => *batch,
                    Next::Done => break,
                    Next::Moved => return Ok(Outcome::Moved),
                };
            let is_last = batch.is_last;
            let plans_only = options.dry_run;
            // A dry run plans by the rules before, and keeps none of the news.
            let none = BTreeMap::new();
            self.observe_rules(if plans_only { &none } else { &batch.news }, report)?;
            let in_force = self.rules_in_force()?;
            rules.get_or_insert(in_force);
            let observed = self.observe_batch(&head, &mut work, batch, plans_only, report)?;
            let mut plan = self.with_snapshot(&observed, plan)?;
            if !is_last || holds_removals {
                work.postpone(&mut plan);
            }
            report.note_plan(&plan, options.dry_run);
            sum.add(&plan, &observed);
            report.pushed = sum.send.len();
            if options.dry_run {
                continue;
            }
            let may_brake = is_last && !options.accept_deletes && !holds_removals;
            let brake = plan.brake.filter(|_| may_brake);
            self.brake(brake, is_last, work.known_files)?;
            let mut waiting = Report::default();
            let behind = self.execute(&plan, &observed, sum.commits, progress, &mut waiting)?;
            if is_last {
                report.take_notes(waiting);
                self.note_files_before(None)?;
            }
            work.settle(&plan, behind);
            self.note_read(&mut work, &sum, &head.manifest)?;
        }
        if options.dry_run {
            return Ok(Outcome::Done);
        }
        // New rules may have come with any batch, and what was found before them was judged by others:
        // it is not sent, but judged again.
        self.observe_rules(&BTreeMap::new(), report)?;
        let in_force = self.rules_in_force()?;
        if rules.is_some_and(|rules| rules != in_force) {
            return Ok(Outcome::Judged);
        }
        self.note_scan(&work)?;
        // What the scan found is not needed any more, and sending takes room.
        drop(work);
        self.send(remote, &head, &sum, progress, report).await
    }

    /// Stops at a brake. What it counts against is kept until the turn, or one that goes on with it,
    /// comes to its end: what the first batches bring would make the vault look bigger to the next.
    fn brake(&mut self, brake: Option<IncomingBrake>, is_last: bool, known: usize) -> Result<()> {
        if brake.is_some() || !is_last {
            self.note_files_before(Some(known))?;
        }
        brake.map_or(Ok(()), |brake| Err(Brake::Incoming(brake).into()))
    }

    fn note_files_before(&mut self, known: Option<usize>) -> Result<()> {
        if self.store.files_before()? != known {
            self.store.set_files_before(known)?;
        }
        Ok(())
    }

    /// Remembers which data files were read, as long as not all were. Later only those tell nothing new
    /// that hold edits which nobody can vouch for: of a device some of whose earlier ones went with a
    /// remote that was lost.
    fn note_read(&mut self, work: &mut Work, sum: &Sum, manifest: &Manifest) -> Result<()> {
        let before = self.store.files_read()?;
        let finished = work.take_read();
        let mut read = before.clone();
        read.extend(finished.into_iter().map(|data| data.file.to_string()));
        if sum.complete {
            let unvouched: BTreeSet<&str> =
                manifest.news_for(&sum.knows).map(|data| data.file.as_str()).collect();
            read.retain(|file| unvouched.contains(file.as_str()));
        }
        if read != before {
            self.store.set_files_read(&read)?;
        }
        Ok(())
    }

    /// Waits a little longer after each race, by chance, so that rivals fall out of step.
    pub(super) async fn pause(&mut self, race: u32) {
        let longest_ms = 50_u64 << race.min(6);
        let pause_ms = self.random.u64(longest_ms / 4..=longest_ms);
        tokio::time::sleep(std::time::Duration::from_millis(pause_ms)).await;
    }
}

/// What is known as a turn begins, and is not looked for.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// The remote's head; it was read a moment ago.
    pub(super) head: Option<HeadState>,
    /// What is to be looked at in the vault, if not all of it.
    pub(super) scan: Option<Scan>,
}

/// How a try of a turn ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Both sides are in the same state.
    Done,
    /// Somebody else committed first: the turn starts over from what is there now.
    Raced,
    /// The remote moved on while it was read: the turn starts over from what is there now.
    Moved,
    /// The rules changed meanwhile: the turn starts over by those that are in force now.
    Judged,
}

/// What the batches of a turn come to.
#[derive(Debug)]
pub(super) struct Sum {
    /// What the remote lacks, with its version.
    pub(super) send: BTreeMap<EntityId, u64>,
    /// The edits that the replica holds.
    pub(super) knows: VersionVector,
    /// Whether all that the remote has was read.
    pub(super) complete: bool,
    /// Whether there will be a commit.
    pub(super) commits: bool,
}

impl Sum {
    fn new(knows: &VersionVector, commits: bool) -> Self {
        Self { send: BTreeMap::new(), knows: knows.clone(), complete: false, commits }
    }

    fn add(&mut self, plan: &Plan, observed: &Observed) {
        let sent: BTreeSet<&EntityId> = plan.send.iter().collect();
        let updates = plan.updates.iter().filter(|update| sent.contains(&update.state.id));
        self.send.extend(updates.map(|update| (update.state.id.clone(), update.state.version())));
        self.knows = plan.knows.clone();
        self.complete = observed.news.complete;
        self.commits |= !self.send.is_empty();
    }
}
