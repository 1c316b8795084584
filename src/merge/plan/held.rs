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
    /// told the remote: that is no reason to send it in each turn, as long as what was sent is there.
    pub(super) fn remote_keeps(&self, state: &Entity, agreed: &Agreed) -> bool {
        let is_agreed = match agreed {
            Agreed::Current => true,
            Agreed::Earlier(earlier) => **earlier == *state,
            Agreed::Never => false,
        };
        let (own, remote) = (&self.snapshot.knows, self.snapshot.remote);
        let is_ahead =
            |device: &DeviceId, counter| *device != self.pen.device && own.get(device) < counter;
        let lies_there = |device: &DeviceId, counter| {
            let is_known = remote.knows.get(device) >= counter;
            is_known || is_ahead(device, counter) && remote.holds.get(device) >= counter
        };
        remote.holds_agreed
            && is_agreed
            && state.clock.iter().all(|(device, last)| lies_there(device, last.counter))
    }
}
