//! Making a story that ends badly as short as it can be while it still ends as badly.

use super::{Told, promise::Promise, script::Script, shape::CURES};

/// So many stories are tried at most.
const TRIES: usize = 1_500;

/// A search for a shorter story.
struct Search<'a> {
    promise: Promise,
    tell: &'a dyn Fn(&Script) -> Told,
    best: Script,
    told: Told,
    tries: usize,
}

/// The shortest story found in which the same promise is broken, and how it went.
pub(crate) fn shrink(
    script: &Script,
    told: Told,
    tell: &dyn Fn(&Script) -> Told,
) -> (Script, Told) {
    let Some(promise) = told.failed.as_ref().map(|broken| broken.promise) else {
        return (script.clone(), told);
    };
    let mut search = Search { promise, tell, best: script.clone(), told, tries: 0 };
    while search.leaves_out_steps() | search.turns_off_troubles() {}
    (search.best, search.told)
}

impl Search<'_> {
    /// Takes a story if it ends as badly.
    fn takes(&mut self, script: Script) -> bool {
        if self.tries == TRIES {
            return false;
        }
        self.tries += 1;
        let told = (self.tell)(&script);
        let is_as_bad = told.failed.as_ref().is_some_and(|broken| broken.promise == self.promise);
        if is_as_bad {
            (self.best, self.told) = (script, told);
        }
        is_as_bad
    }

    /// Leaves out many steps at once, then fewer.
    fn leaves_out_steps(&mut self) -> bool {
        let mut is_shorter = false;
        let mut size = self.best.steps.len().next_power_of_two();
        while size > 0 {
            let mut end = self.best.steps.len();
            while end > 0 {
                let mut script = self.best.clone();
                let start = end.saturating_sub(size);
                script.steps.drain(start..end);
                is_shorter |= self.takes(script);
                end = start;
            }
            size /= 2;
        }
        is_shorter
    }

    fn turns_off_troubles(&mut self) -> bool {
        let mut is_simpler = false;
        for cure in CURES {
            let mut script = self.best.clone();
            cure(&mut script.shape);
            is_simpler |= script.shape != self.best.shape && self.takes(script);
        }
        is_simpler
    }
}
