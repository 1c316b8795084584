//! Turns again and again: on an interval, at once where a storage tells of changes, slower while
//! something is wrong, until it is told to stop.

mod schedule;

use std::{future::Future, time::Duration};

use larder_providers::Traffic;

use self::schedule::{Schedule, back_off};
use crate::engine::{Engine, EngineError, Report, Silent, TurnOptions, Turned, Way};

/// What a daemon has to tell.
#[derive(Debug)]
pub enum Event<'a> {
    /// A turn was done with this remote.
    Turned(&'a Way, &'a Report),
    /// A turn with this remote failed; the next try comes after this.
    Failed(&'a Way, &'a EngineError, Duration),
}

/// Whose turns a daemon does.
pub trait Host {
    /// What does them.
    fn engine(&mut self) -> &mut Engine;

    /// Is told what became of them.
    fn tell(&mut self, event: Event<'_>);

    /// Whether there is a remote that could not be opened yet.
    fn lacks_any(&self) -> bool;

    /// Before its turn: another way to a remote, where the last one was refused and there may be another
    /// password by now.
    fn reopen(&mut self, way: &Way) -> impl Future<Output = Option<Way>>;

    /// Tries once more to open such remotes, and gives the ways to those that could be. What still
    /// cannot be is tried again after `pause`.
    fn open(&mut self, pause: Duration) -> impl Future<Output = Vec<Way>>;
}

/// After how long a remote that could not be opened is tried for the second time.
pub fn first_pause(interval: Duration) -> Duration {
    back_off(interval, 1)
}

/// Goes through these remotes every `interval` until `stop` comes, telling `host` about each. One
/// with which something is wrong, or which could not be opened, is tried more seldom, and the others go
/// on. A turn that is under way when `stop` comes is finished. A replica that is damaged ends it as well.
pub async fn run(
    host: &mut impl Host,
    ways: Vec<Way>,
    traffic: &Traffic,
    interval: Duration,
    stop: impl Future<Output = ()>,
) -> Result<(), EngineError> {
    tokio::pin!(stop);
    let mut schedule = Schedule::new(ways, interval);
    schedule.set_shut(host.lacks_any());
    loop {
        if let Some(pause) = schedule.try_shut() {
            let opened = tokio::select! {
                opened = host.open(pause) => opened,
                () = &mut stop => return Ok(()),
            };
            schedule.add(opened);
            schedule.set_shut(host.lacks_any());
        }
        for way in schedule.due() {
            tokio::select! {
                opened = host.reopen(&way) => schedule.replace(opened),
                () = &mut stop => return Ok(()),
            }
        }
        let ways = schedule.due();
        let (turned, stopped) = {
            let turns = host.engine().turns(&ways, traffic, TurnOptions::default(), &Silent);
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
                Ok(report) => host.tell(Event::Turned(way, report)),
                Err(error) => host.tell(Event::Failed(way, error, pause)),
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
