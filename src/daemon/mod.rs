//! Turns again and again: on an interval, at once where a storage tells of changes, slower while
//! something is wrong, until it is told to stop.

mod schedule;

use std::{future::Future, time::Duration};

use larder_providers::Traffic;

use self::schedule::Schedule;
use crate::engine::{Engine, EngineError, Report, Silent, TurnOptions, Turned, Way};

/// What a daemon has to tell.
#[derive(Debug)]
pub enum Event<'a> {
    /// A turn was done with this remote.
    Turned(&'a Way, &'a Report),
    /// A turn with this remote failed; the next try comes after this.
    Failed(&'a Way, &'a EngineError, Duration),
}

/// Goes through these remotes every `interval` until `stop` comes, telling `listener` about each. One
/// with which something is wrong is tried more seldom, and the others go on. A turn that is under way
/// when `stop` comes is finished. A replica that is damaged ends it as well.
pub async fn run(
    engine: &mut Engine,
    ways: Vec<Way>,
    traffic: &Traffic,
    interval: Duration,
    stop: impl Future<Output = ()>,
    mut listener: impl FnMut(&Engine, Event<'_>),
) -> Result<(), EngineError> {
    tokio::pin!(stop);
    let mut schedule = Schedule::new(ways, interval);
    loop {
        let ways = schedule.due();
        let (turned, stopped) = {
            let turns = engine.turns(&ways, traffic, TurnOptions::default(), &Silent);
            tokio::pin!(turns);
            tokio::select! {
                turned = &mut turns => (turned, false),
                () = &mut stop => (turns.await, true),
            }
        };
        schedule.end_round(&turned);
        for Turned { id, result } in turned {
            let Some(way) = ways.iter().find(|way| way.id == id) else { continue };
            let pause = schedule.note(&id, result.is_ok());
            match &result {
                Ok(report) => listener(engine, Event::Turned(way, report)),
                Err(error) => listener(engine, Event::Failed(way, error, pause)),
            }
            // No turn with this replica goes well any more.
            if matches!(&result, Err(EngineError::Store(error)) if error.is_damage()) {
                return result.map(drop);
            }
        }
        if stopped {
            return Ok(());
        }
        tokio::select! {
            () = schedule.wait() => {}
            () = &mut stop => return Ok(()),
        }
    }
}
