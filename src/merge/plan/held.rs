//! What the remote holds of a record.

use super::Planner;
use crate::model::{Agreed, DeviceId, Entity};

impl Planner<'_> {
    /// Whether the remote knows all edits of a state.
    pub(super) fn remote_has(&self, state: &Entity) -> bool {
        let knows = &self.snapshot.remote.knows;
        state.clock.iter().all(|(device, last)| knows.get(device) >= last.counter)
    }

    /// Whether the remote holds just this state, although it does not know all its edits. What came from
    /// another remote that cannot be read whole is ahead of what this replica knows, and so of what it
    /// told the remote: that is no reason to send it in each turn.
    pub(super) fn remote_keeps(&self, state: &Entity, agreed: &Agreed) -> bool {
        let is_agreed = match agreed {
            Agreed::Current => true,
            Agreed::Earlier(earlier) => **earlier == *state,
            Agreed::Never => false,
        };
        let (own, theirs) = (&self.snapshot.knows, &self.snapshot.remote.knows);
        let is_ahead =
            |device: &DeviceId, counter| *device != self.pen.device && own.get(device) < counter;
        let mut edits = state.clock.iter().map(|(device, last)| (device, last.counter));
        self.snapshot.remote.holds_agreed
            && is_agreed
            && edits
                .all(|(device, counter)| theirs.get(device) >= counter || is_ahead(device, counter))
    }
}
