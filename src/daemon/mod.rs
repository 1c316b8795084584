//! Turns again and again: on an interval, at once where the storage tells of changes, slower while
//! something is wrong, until it is told to stop.

use std::{future::Future, time::Duration};

use larder_providers::{SharedStorage, Storage as _, Traffic};
use tokio::task::JoinSet;

use crate::engine::{Engine, EngineError, Report, Silent, TurnOptions};

/// However long the trouble lasts, it is tried again after this.
const BACK_OFF_MAX: Duration = Duration::from_mins(15);

/// What a daemon has to tell.
#[derive(Debug)]
pub enum Event<'a> {
    /// A turn was done.
    Turned(&'a Report),
    /// A turn failed; the next try comes after this.
    Failed(&'a EngineError, Duration),
}

/// Does a turn every `interval` until `stop` comes, telling `listener` about each. A turn that is
/// under way when `stop` comes is finished. A replica that is damaged ends it as well.
pub async fn run(
    engine: &mut Engine,
    storage: &SharedStorage,
    traffic: &Traffic,
    interval: Duration,
    stop: impl Future<Output = ()>,
    mut listener: impl FnMut(&Engine, Event<'_>),
) -> Result<(), EngineError> {
    tokio::pin!(stop);
    let mut failures = 0;
    let mut hint = Hint { storage: storage.clone(), waiting: JoinSet::new() };
    loop {
        let (result, stopped) = {
            let turn = engine.turn(storage, traffic, TurnOptions::default(), &Silent);
            tokio::pin!(turn);
            tokio::select! {
                result = &mut turn => (result, false),
                () = &mut stop => (turn.await, true),
            }
        };
        let pause = match &result {
            Ok(_) => {
                failures = 0;
                interval
            }
            Err(_) => {
                failures += 1;
                back_off(interval, failures)
            }
        };
        match &result {
            Ok(report) => listener(engine, Event::Turned(report)),
            Err(error) => listener(engine, Event::Failed(error, pause)),
        }
        // No turn with this replica goes well any more.
        let is_damaged = matches!(&result, Err(EngineError::Store(error)) if error.is_damage());
        if is_damaged {
            return result.map(drop);
        }
        if stopped {
            return Ok(());
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = hint.come(), if failures == 0 => {}
            () = &mut stop => return Ok(()),
        }
    }
}

/// The storage's own word that something changed. One wait outlasts many turns: to begin it costs a
/// request.
struct Hint {
    storage: SharedStorage,
    waiting: JoinSet<Result<(), larder_providers::Error>>,
}

impl Hint {
    /// Comes back when the storage tells of a change. A storage that fails is not asked again until
    /// the interval is over.
    async fn come(&mut self) {
        if self.waiting.is_empty() {
            let storage = self.storage.clone();
            self.waiting.spawn(async move { storage.changed().await });
        }
        match self.waiting.join_next().await {
            Some(Ok(Ok(()))) => {}
            _ => std::future::pending().await,
        }
    }
}

/// Twice as long after each failure.
fn back_off(interval: Duration, failures: u32) -> Duration {
    let longest = BACK_OFF_MAX.max(interval);
    interval.saturating_mul(2_u32.saturating_pow(failures.min(16))).min(longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_makes_it_slower_but_never_gives_up() {
        let interval = Duration::from_secs(30);
        assert_eq!(back_off(interval, 1), Duration::from_mins(1));
        assert_eq!(back_off(interval, 3), Duration::from_mins(4));
        assert_eq!(back_off(interval, 30), BACK_OFF_MAX);
        assert_eq!(back_off(Duration::from_hours(1), 1), Duration::from_hours(1));
    }
}
