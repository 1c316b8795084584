//! Turns through all remotes of a vault, one after the other.
//!
//! What one of them brings goes to the others, so that devices which share none of them come to the
//! same state through one that has both. One that cannot be reached holds up none of the others.

use larder_providers::{SharedStorage, Traffic};

use super::{Engine, EngineError, NoteKind, Progress, Report, Result, TurnOptions};
use crate::{model::RemoteId, vault::Scan};

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
        for way in ways {
            let result = self.turn_with(way, traffic, options, is_scanned, progress).await;
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
                match self.turn_with(way, traffic, options, is_scanned, progress).await {
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

    async fn turn_with(
        &mut self,
        way: &Way,
        traffic: &Traffic,
        options: TurnOptions,
        is_scanned: bool,
        progress: &dyn Progress,
    ) -> Result<Report> {
        self.look_at(&way.id)?;
        let scan = is_scanned.then(Scan::default);
        self.turn_of(&way.storage, traffic, options, scan, progress).await
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
