//! What must be true once the faults have ended and all have come to rest.

use std::{collections::BTreeSet, sync::LazyLock};

use larder::{
    engine::{FindingKind, Report},
    model::Rules,
    remote::CommitMode,
};

use super::{
    ground::{Files, are_same},
    oracle::{States, alike, conflict_ids, hidden_words},
    promise::{Promise, Verdict},
    replica::Home,
    world::{RULES, World},
};

/// So many rounds of turns without faults bring everybody to rest, or something is wrong.
const ROUNDS_MAX: usize = 14;

/// After so many rounds more nobody writes anything.
const LAST_ROUNDS: usize = 2;

/// Makes of the seed of a story's faults another one, by which it is drawn what a remote loses.
const LOSS_SALT: u64 = 0x1055;

/// So many calls may it take to see that a remote has nothing new.
const IDLE_CALLS: u64 = 2;

impl World {
    pub(crate) async fn come_to_rest(&mut self) -> Verdict {
        for round in 0..ROUNDS_MAX {
            self.step += 1;
            let mut is_quiet = true;
            for index in 0..self.replicas.len() {
                let millis = self.random.i64(1..4_000_000);
                self.pass(millis);
                let before = self.replicas[index].states();
                let report = self.turn_in_peace(index).await?;
                is_quiet &= report.pulled + report.pushed + report.raced as usize == 0;
                is_quiet &= before == self.replicas[index].states();
                is_quiet &= report.plan.is_empty() || !self.shape.vaults;
                self.check_ground()?;
            }
            if is_quiet && round > 0 && !self.mend_rules() {
                return Ok(());
            }
        }
        Err(Promise::Convergence.broken(format!("no rest after {ROUNDS_MAX} rounds")))
    }

    /// One turn, which nothing keeps from succeeding.
    async fn turn_in_peace(&mut self, index: usize) -> Verdict<Report> {
        let before = self.replicas[index].states();
        let result = self.replicas[index].turn().await;
        self.after(index, &before, &result)?;
        result.map_err(|error| Promise::NoHelp.broken(format!("{index} fails in peace: {error}")))
    }

    /// What must be true in the end.
    pub(crate) fn check_end(&mut self) -> Verdict {
        let states = self.replicas[0].states();
        let rules = self.replicas[0].peek().rules().clone();
        let is_emptied = self.log.trash_is_emptied;
        for (index, replica) in self.replicas.iter().enumerate() {
            let who = index.to_string();
            let differences = differences(&states, &replica.states(), &who, (&rules, is_emptied));
            Promise::Convergence.holds_unless(differences)?;
            let store = replica.peek().store();
            let unsent = store.unsent().unwrap();
            if !unsent.is_empty() {
                let text = format!("{index} has unsent edits of {unsent:?}");
                return Err(Promise::Convergence.broken(text));
            }
            let listed = store.conflicts(false).unwrap();
            let listed: BTreeSet<String> = listed.into_iter().map(|c| c.conflict.id).collect();
            let standing = conflict_ids(&states, &rules);
            if listed != standing {
                let text = format!("{index} lists conflicts {listed:?}, there are {standing:?}");
                return Err(Promise::Restorable.broken(text));
            }
        }
        Promise::Restorable.holds_unless(hidden_words(&states, &rules))?;
        self.check_counts(&states, &rules)?;
        self.check_remotes(&states, &rules)?;
        if self.shape.vaults { self.judge_files(&states) } else { self.log.judge(&states, &rules) }
    }

    /// What people replaced is in the history of their device, or among the conflicts they settled.
    pub(crate) fn check_history(&self) -> Verdict {
        // As for the trash.
        let is_dated = self.shape.mirrored.is_none() || !self.log.has_set_clock;
        if self.shape.vaults || self.shape.ages || !is_dated {
            return Ok(());
        }
        for (index, replica) in self.replicas.iter().enumerate() {
            self.log.check_history(index, replica.peek().store())?;
        }
        Ok(())
    }

    /// What is on the remotes is what everybody has.
    fn check_remotes(&mut self, states: &States, rules: &Rules) -> Verdict {
        let how = (rules, self.log.trash_is_emptied);
        for (number, place) in self.places.iter_mut().enumerate() {
            let Some(ground) = place.look(&self.time)? else { continue };
            let who = format!("remote {number}");
            Promise::Convergence.holds_unless(differences(states, &ground.states, &who, how))?;
        }
        Ok(())
    }

    /// What a counter shows is what everybody added to it.
    fn check_counts(&self, states: &States, rules: &Rules) -> Verdict {
        let listed = self.replicas.iter().flat_map(|r| r.peek().store().conflicts(true).unwrap());
        let listed = listed.filter(|listed| listed.conflict.field == "count");
        let contested: BTreeSet<_> = listed.map(|listed| listed.entity).collect();
        let sure = states.values().filter(|state| !contested.contains(&state.id));
        Promise::EditsStay.holds_unless(self.log.miscounted(sure, rules))
    }

    /// What somebody finds who looks around when all is over.
    pub(crate) async fn look_around(&mut self) -> Verdict {
        self.stay_quiet().await?;
        let index = self.random.usize(..self.replicas.len());
        let nth = self.random.usize(..self.bound[index].len());
        self.check_data(index, nth).await?;
        self.lose_and_repair(index, nth).await?;
        self.welcome(self.bound[index][nth]).await
    }

    /// A remote loses a file that the head names, and somebody has it repaired. Where each device has
    /// a head of its own the watch takes those for the truth, and not the one that is made anew.
    async fn lose_and_repair(&mut self, index: usize, nth: usize) -> Verdict {
        let place = self.bound[index][nth];
        let is_meant = self.shape.mode != CommitMode::Devices && !self.shape.sealed[place];
        let mut random = fastrand::Rng::with_seed(self.shape.faults.seed ^ LOSS_SALT);
        if !is_meant || random.u8(0..4) > 0 {
            return Ok(());
        }
        let Some(ground) = self.places[place].look(&self.time)? else { return Ok(()) };
        let named = ground.manifest.data().map(|data| data.file.clone());
        let Some(lost) = random.choice(named.collect::<Vec<_>>()) else { return Ok(()) };
        self.places[place].lose(&lost);
        self.tell(format!("remote {place} loses {lost}"));
        self.repair(index, nth).await?;
        self.come_to_rest().await?;
        self.check_data(index, nth).await?;
        self.check_end()
    }

    /// Where nothing changes, little is asked and nothing is written. Once a day a replica looks
    /// closely.
    async fn stay_quiet(&mut self) -> Verdict {
        if self.log.took_up_torn {
            // Nobody forgets the lost device here: all look at its head, and at what it may name.
            return Ok(());
        }
        let mut were_loud = BTreeSet::new();
        for round in 0..=LAST_ROUNDS {
            let mut are_loud = BTreeSet::new();
            for index in 0..self.replicas.len() {
                self.pass(60_000);
                let before = self.look_at_places(index);
                self.turn_in_peace(index).await?;
                let after = self.look_at_places(index);
                for (nth, (before, after)) in before.iter().zip(&after).enumerate() {
                    let is_written = !are_same(&before.1, &after.1);
                    if is_written || after.0 - before.0 > IDLE_CALLS {
                        are_loud.insert((index, nth));
                    }
                }
            }
            if round == LAST_ROUNDS && !are_loud.is_disjoint(&were_loud) {
                let text = format!("nothing changed, and these had a lot to do: {are_loud:?}");
                return Err(Promise::Convergence.broken(text));
            }
            were_loud = are_loud;
        }
        Ok(())
    }

    /// How often the remotes of a replica were called, and what lies there.
    fn look_at_places(&self, index: usize) -> Vec<(u64, Files)> {
        let places = self.bound[index].iter().map(|place| &self.places[*place]);
        places.map(|place| (place.calls(), place.files())).collect()
    }

    /// A check finds nothing wrong but clocks, and files that do not parse.
    async fn check_data(&mut self, index: usize, nth: usize) -> Verdict {
        let report = self.replicas[index].check(nth).await;
        let report = report
            .map_err(|error| Promise::NoHelp.broken(format!("{index} cannot check: {error}")))?;
        let is_wrong = |kind| {
            use FindingKind::{ClockAhead, Edited, Orphan, Unparsed};
            !matches!(kind, ClockAhead | Edited | Orphan | Unparsed)
        };
        let wrong = report.findings.into_iter().filter(|found| is_wrong(found.kind));
        // What somebody planted is there, and told of.
        let wrong =
            wrong.filter(|found| found.kind != FindingKind::BadPath || self.harmful.is_none());
        // The head of a lost device stays torn.
        let wrong = wrong.filter(|_| !self.log.took_up_torn);
        let told = wrong.map(|found| format!("{index} finds {found:?}"));
        Promise::NoHelp.holds_unless(told.collect())
    }

    /// Somebody who joins now gets all that there is, and has nothing to add.
    async fn welcome(&mut self, place: usize) -> Verdict {
        let index = self.replicas.len();
        self.add_replica(index, Home::Memory, vec![place]);
        self.connect_one(index, 0).await?;
        let report = self.turn_in_peace(index).await?;
        if report.pushed > 0 {
            let text = format!("{index} joins and pushes {}", report.pushed);
            return Err(Promise::Convergence.broken(text));
        }
        self.come_to_rest().await?;
        self.check_end()
    }
}

/// In what the first replica's records differ from those of somebody else.
fn differences(
    states: &States,
    theirs: &States,
    who: &str,
    (rules, is_emptied): (&Rules, bool),
) -> Vec<String> {
    let mut wrong = Vec::new();
    for id in states.keys().chain(theirs.keys()).collect::<BTreeSet<_>>() {
        let (ours, theirs) = (states.get(id), theirs.get(id));
        if ours == theirs {
            continue;
        }
        let (a, b) = alike(ours, theirs, rules, is_emptied);
        let (a, b) = (bytes(a.as_ref()), bytes(b.as_ref()));
        if a != b {
            wrong.push(format!("{id}: 0 has\n{a}\nand {who} has\n{b}"));
        }
    }
    wrong
}

fn bytes<T: serde::Serialize>(state: Option<&T>) -> String {
    state.map_or("nothing".to_owned(), |state| serde_json::to_string(state).unwrap())
}

/// The rules of all stories without files.
pub(crate) fn rules() -> Rules {
    static PARSED: LazyLock<Rules> = LazyLock::new(|| Rules::parse(RULES).unwrap());
    PARSED.clone()
}
