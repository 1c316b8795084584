//! When which remote has its turn.

use std::time::Duration;

use larder_providers::Storage as _;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};

use crate::{
    engine::{Turned, Way},
    model::RemoteId,
};

/// However long the trouble lasts, it is tried again after this.
const BACK_OFF_MAX: Duration = Duration::from_mins(15);

/// The remotes of a daemon, and when each has its turn.
#[derive(Debug)]
pub(super) struct Schedule {
    remotes: Vec<Planned>,
    /// When those that could not be opened are tried again.
    shut: Option<Shut>,
    interval: Duration,
    /// The storages' own word that something changed. One wait outlasts many turns: to begin it costs a
    /// request.
    hints: JoinSet<(RemoteId, Result<(), larder_providers::Error>)>,
}

#[derive(Debug)]
struct Planned {
    way: Way,
    failures: u32,
    at: Instant,
    is_due: bool,
    hint: Hint,
}

/// Remotes that could not be opened.
#[derive(Debug)]
struct Shut {
    tries: u32,
    at: Instant,
}

/// How far a storage is asked to tell of changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hint {
    Unasked,
    Asked,
    /// It cannot tell, or it failed: it is not asked again before the next turn.
    Refused,
}

impl Schedule {
    /// All of these are due at once.
    pub(super) fn new(ways: Vec<Way>, interval: Duration) -> Self {
        let (remotes, hints) = (Vec::new(), JoinSet::new());
        let mut schedule = Self { remotes, shut: None, interval, hints };
        schedule.add(ways);
        schedule
    }

    /// These come in addition, and are due at once.
    pub(super) fn add(&mut self, ways: Vec<Way>) {
        let at = after(Duration::ZERO);
        let plan = |way| Planned { way, failures: 0, at, is_due: true, hint: Hint::Unasked };
        self.remotes.extend(ways.into_iter().map(plan));
    }

    /// Whether there are remotes that could not be opened.
    pub(super) fn set_shut(&mut self, are_some: bool) {
        let tries = || Shut { tries: 1, at: after(back_off(self.interval, 1)) };
        self.shut = self.shut.take().or_else(|| Some(tries())).filter(|_| are_some);
    }

    /// If those are to be tried now: after how long they are tried again.
    pub(super) fn try_shut(&mut self) -> Option<Duration> {
        let now = after(Duration::ZERO);
        let shut = self.shut.as_mut().filter(|shut| shut.at <= now)?;
        shut.tries += 1;
        let pause = back_off(self.interval, shut.tries);
        shut.at = after(pause);
        Some(pause)
    }

    /// The remotes that have their turn now.
    pub(super) fn due(&self) -> Vec<Way> {
        let due = self.remotes.iter().filter(|remote| remote.is_due);
        due.map(|remote| remote.way.clone()).collect()
    }

    /// Goes another way to a remote from now on, if there is one.
    pub(super) fn replace(&mut self, opened: Option<Way>) {
        let Some(way) = opened else { return };
        if let Some(remote) = self.remotes.iter_mut().find(|remote| remote.way.id == way.id) {
            remote.way = way;
        }
    }

    /// Ends a round through the remotes that were due: their next turn is an interval from now, also that
    /// of those that got none because of what stopped another. What was brought goes on to the rest at
    /// once.
    pub(super) fn end_round(&mut self, turned: &[Turned]) {
        let at = after(self.interval);
        let has_news = |turned: &Turned| {
            turned.result.as_ref().is_ok_and(|report| report.pulled > 0 || report.merged > 0)
        };
        let has_news = turned.iter().any(has_news);
        for remote in &mut self.remotes {
            if remote.is_due {
                (remote.is_due, remote.at) = (false, at);
                // Who could not tell is asked again.
                if remote.hint == Hint::Refused {
                    remote.hint = Hint::Unasked;
                }
            } else {
                remote.is_due = has_news && remote.failures == 0;
            }
        }
    }

    /// Keeps how a turn ended, and says after how long the next one comes.
    pub(super) fn note(&mut self, id: &RemoteId, went_well: bool) -> Duration {
        let interval = self.interval;
        let Some(remote) = self.remotes.iter_mut().find(|remote| remote.way.id == *id) else {
            return interval;
        };
        remote.failures = if went_well { 0 } else { remote.failures + 1 };
        if went_well {
            return interval;
        }
        let pause = back_off(interval, remote.failures);
        remote.at = after(pause);
        pause
    }

    /// Comes back when at least one remote is due.
    pub(super) async fn wait(&mut self) {
        if self.remotes.iter().any(|remote| remote.is_due) {
            return;
        }
        let shut = self.shut.iter().map(|shut| shut.at);
        let soonest = self.remotes.iter().map(|remote| remote.at).chain(shut).min();
        let Some(soonest) = soonest else { return std::future::pending().await };
        let hinted = tokio::select! {
            () = sleep_until(soonest) => None,
            id = hint(&mut self.remotes, &mut self.hints) => Some(id),
        };
        for remote in &mut self.remotes {
            remote.is_due = match &hinted {
                Some(id) => remote.way.id == *id,
                None => remote.at <= soonest,
            };
        }
    }
}

/// Comes back when a storage tells of a change, with whose it is.
async fn hint(
    remotes: &mut [Planned],
    hints: &mut JoinSet<(RemoteId, Result<(), larder_providers::Error>)>,
) -> RemoteId {
    let is_asked = |remote: &&mut Planned| remote.failures == 0 && remote.hint == Hint::Unasked;
    for remote in remotes.iter_mut().filter(is_asked) {
        let Way { id, storage } = remote.way.clone();
        remote.hint = Hint::Asked;
        hints.spawn(async move { (id, storage.changed().await) });
    }
    while let Some(told) = hints.join_next().await {
        let Ok((id, told)) = told else { continue };
        let Some(remote) = remotes.iter_mut().find(|remote| remote.way.id == id) else { continue };
        remote.hint = if told.is_ok() { Hint::Unasked } else { Hint::Refused };
        // Where something is wrong it is for the next try to see what is new.
        if told.is_ok() && remote.failures == 0 {
            return id;
        }
    }
    std::future::pending().await
}

/// The moment that is so far away.
fn after(pause: Duration) -> Instant {
    sleep(pause).deadline()
}

/// Twice as long after each failure.
pub(super) fn back_off(interval: Duration, failures: u32) -> Duration {
    let longest = BACK_OFF_MAX.max(interval);
    interval.saturating_mul(2_u32.saturating_pow(failures.min(16))).min(longest)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use larder_providers::Memory;

    use super::*;
    use crate::engine::Report;

    fn two() -> (Schedule, RemoteId, RemoteId) {
        let id = |n: u8| RemoteId::new(format!("0190f6a1-7c00-7000-8000-00000000000{n}")).unwrap();
        let way = |n| Way { id: id(n), storage: Arc::new(Memory::new()) };
        (Schedule::new(vec![way(1), way(2)], Duration::from_secs(30)), id(1), id(2))
    }

    fn ids(schedule: &Schedule) -> Vec<RemoteId> {
        schedule.due().into_iter().map(|way| way.id).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn who_fails_waits_longer_and_the_others_do_not() {
        let (mut schedule, a, b) = two();
        assert_eq!(ids(&schedule), [a.clone(), b.clone()]);
        schedule.end_round(&[]);
        assert!(ids(&schedule).is_empty(), "also who got no turn waits for the next");
        assert_eq!(schedule.note(&a, true), Duration::from_secs(30));
        assert_eq!(schedule.note(&b, false), Duration::from_mins(1));
        let begun = Instant::now();
        schedule.wait().await;
        assert_eq!((ids(&schedule), begun.elapsed().as_secs()), (vec![a.clone()], 30));
        schedule.end_round(&[]);
        schedule.note(&a, true);
        while !ids(&schedule).contains(&b) {
            schedule.end_round(&[]);
            schedule.wait().await;
        }
        assert_eq!(begun.elapsed().as_secs(), 60);
    }

    #[tokio::test(start_paused = true)]
    async fn what_one_brought_goes_to_the_others_at_once_but_not_to_who_fails() {
        for (is_well, pulled) in [(true, 1), (false, 1), (true, 0)] {
            let (mut schedule, a, b) = two();
            schedule.end_round(&[]);
            schedule.note(&b, is_well);
            schedule.wait().await;
            schedule.remotes.iter_mut().for_each(|remote| remote.is_due = remote.way.id == a);
            let mut report = Report::default();
            report.pulled = pulled;
            schedule.end_round(&[Turned { id: a, result: Ok(report) }]);
            let expected = if is_well && pulled > 0 { vec![b] } else { Vec::new() };
            assert_eq!(ids(&schedule), expected);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_could_not_be_opened_is_tried_more_and_more_seldom() {
        let (mut schedule, a, b) = two();
        let way = schedule.remotes.pop().unwrap().way;
        schedule.set_shut(true);
        let (begun, mut tried) = (Instant::now(), Vec::new());
        while tried.len() < 3 {
            if let Some(pause) = schedule.try_shut() {
                tried.push((begun.elapsed().as_secs(), pause.as_secs()));
                schedule.set_shut(true);
            }
            schedule.end_round(&[]);
            schedule.wait().await;
        }
        assert_eq!(tried, [(60, 120), (180, 240), (420, 480)]);
        schedule.add(vec![way]);
        schedule.set_shut(false);
        assert_eq!(ids(&schedule), [a, b]);
        while begun.elapsed() < Duration::from_hours(1) {
            assert_eq!(schedule.try_shut(), None);
            schedule.end_round(&[]);
            schedule.wait().await;
        }
    }

    #[test]
    fn trouble_makes_it_slower_but_never_gives_up() {
        let interval = Duration::from_secs(30);
        assert_eq!(back_off(interval, 1), Duration::from_mins(1));
        assert_eq!(back_off(interval, 3), Duration::from_mins(4));
        assert_eq!(back_off(interval, 30), BACK_OFF_MAX);
        assert_eq!(back_off(Duration::from_hours(1), 1), Duration::from_hours(1));
    }
}
