//! Turns through all remotes of a vault, one after the other.
//!
//! What one of them brings goes to the others, so that devices which share none of them come to the
//! same state through one that has both. One that cannot be reached holds up none of the others.

use larder_providers::{SharedStorage, Traffic};

use super::{
    Engine, EngineError, NoteKind, Progress, Report, Result, TurnOptions,
    cost::{Cost, Meter},
    turn::Known,
};
use crate::{model::RemoteId, remote::HeadState, vault::Scan};

/// How often a remote is gone to again because others brought something.
const ROUNDS_MAX: usize = 2;

/// A remote of the vault, and what it lies on.
#[derive(Debug, Clone)]
pub struct Way {
    /// Which remote.
    pub id: RemoteId,
    /// Where it lies.
    pub storage: SharedStorage,
}

/// What became of the turn with one remote.
#[derive(Debug)]
pub struct Turned {
    /// Which remote.
    pub id: RemoteId,
    /// What was done, or why it was not.
    pub result: Result<Report>,
}

/// For how long a head that was read is what a turn begins with, in milliseconds: others go on.
const FRESH_MS: u64 = 10_000;

/// What was read of a remote before the turn with it.
#[derive(Debug)]
struct Ahead {
    /// Its head, if it was asked for.
    head: Result<Option<HeadState>>,
    /// When that was, by this device's clock.
    read_ms: i64,
    cost: Cost,
}

impl Known {
    fn new(head: Option<HeadState>, is_scanned: bool) -> Self {
        Self { head, scan: is_scanned.then(Scan::default) }
    }
}

impl Engine {
    /// Does a turn with each of these remotes, in this order, and goes again to those that lack what
    /// a later one brought. What stops a turn with one stops no other, unless it is about this device
    /// or its vault: then those that follow are missing in what is given.
    pub async fn turns(
        &mut self,
        ways: &[Way],
        traffic: &Traffic,
        options: TurnOptions,
        progress: &dyn Progress,
    ) -> Vec<Turned> {
        let mut turned: Vec<Turned> = Vec::new();
        let mut is_scanned = false;
        let mut found = Report::default();
        let heads = self.heads(ways, traffic, options, &mut found).await;
        for (way, ahead) in ways.iter().zip(heads) {
            let mut result =
                self.turn_after(way, ahead, traffic, options, is_scanned, progress).await;
            if let Ok(report) = &mut result {
                report.take_notes(std::mem::take(&mut found));
            }
            is_scanned |= result.as_ref().is_ok_and(is_thorough) && !options.dry_run;
            let is_over = result.as_ref().is_err_and(stops_all);
            turned.push(Turned { id: way.id.clone(), result });
            if is_over {
                return turned;
            }
        }
        let is_over = options.dry_run || ways.len() < 2;
        for _ in 0..if is_over { 0 } else { ROUNDS_MAX } {
            let mut has_gone = false;
            for (way, turned) in ways.iter().zip(&mut turned) {
                let Ok(report) = &mut turned.result else { continue };
                if !self.lacks_news(&way.id) {
                    continue;
                }
                has_gone = true;
                let known = Known::new(None, is_scanned);
                match self.turn_with(way, traffic, options, known, progress).await {
                    Ok(more) => report.add(more),
                    Err(error) => turned.result = Err(error),
                }
            }
            if !has_gone {
                break;
            }
        }
        turned
    }

    /// Reads the heads of all remotes before the turn with the first. Under which dots this device has
    /// made edits before its replica went back may only one of them know, and what the first turn
    /// finds in the vault gets its dots for all.
    async fn heads(
        &mut self,
        ways: &[Way],
        traffic: &Traffic,
        options: TurnOptions,
        report: &mut Report,
    ) -> Vec<Ahead> {
        let mut heads = Vec::new();
        for way in ways {
            let meter = Meter::start(traffic, &self.clock);
            let head = match ways.len() {
                1 => Ok(None),
                _ => self.head_of(way, options, report).await.map(Some),
            };
            let read_ms = self.clock.now().millis();
            heads.push(Ahead { head, read_ms, cost: meter.read(&self.clock) });
        }
        if !report.notes.is_empty() {
            // Under another id each head is read anew.
            heads
                .iter_mut()
                .filter_map(|ahead| ahead.head.as_mut().ok())
                .for_each(|head| *head = None);
        }
        heads
    }

    async fn head_of(
        &mut self,
        way: &Way,
        options: TurnOptions,
        report: &mut Report,
    ) -> Result<HeadState> {
        self.look_at(&way.id)?;
        let remote = self.open_remote(&way.storage, options).await?;
        let head = self.read_head(&remote).await?;
        self.check_identity(&head, report)?;
        Ok(head)
    }

    /// The turn with a remote whose head may have been read.
    async fn turn_after(
        &mut self,
        way: &Way,
        ahead: Ahead,
        traffic: &Traffic,
        options: TurnOptions,
        is_scanned: bool,
        progress: &dyn Progress,
    ) -> Result<Report> {
        let head = match ahead.head {
            Ok(head) => head,
            Err(error) => {
                if self.look_at(&way.id).is_ok() && !options.dry_run {
                    self.note_trouble(Some(&error));
                }
                return Err(error);
            }
        };
        let is_fresh = self.clock.now().millis().abs_diff(ahead.read_ms) < FRESH_MS;
        let known = Known::new(head.filter(|_| is_fresh), is_scanned);
        let mut report = self.turn_with(way, traffic, options, known, progress).await?;
        report.cost.add(ahead.cost);
        Ok(report)
    }

    async fn turn_with(
        &mut self,
        way: &Way,
        traffic: &Traffic,
        options: TurnOptions,
        known: Known,
        progress: &dyn Progress,
    ) -> Result<Report> {
        self.look_at(&way.id)?;
        self.turn_of(&way.storage, traffic, options, known, progress).await
    }

    /// Whether a remote is to have something that it did not get in its turn. A replica that cannot be
    /// read says so in the next turn.
    fn lacks_news(&mut self, id: &RemoteId) -> bool {
        self.look_at(id).is_ok() && self.store.is_behind().unwrap_or(false)
    }
}

/// Whether a turn took up all that there was in the vault: what waits for its content may fare better
/// with another remote.
fn is_thorough(report: &Report) -> bool {
    !report.notes.iter().any(|note| note.kind == NoteKind::Waiting)
}

/// Whether what stopped a turn would stop the turn with any other remote too, or should.
fn stops_all(error: &EngineError) -> bool {
    use super::Brake::{Incoming, Vanished};
    match error {
        EngineError::Store(_) | EngineError::Vault(_) => true,
        EngineError::Brake(brake) => matches!(brake, Vanished { .. } | Incoming(_)),
        _ => false,
    }
}
