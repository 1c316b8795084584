//! From which state two sides of a record are merged.

use std::borrow::Cow;

use super::Planner;
use crate::model::{Entity, Record};

impl Planner<'_> {
    /// The latest state known that both sides grew from. What is agreed with this remote may be older
    /// than that: what came since may have got there by another remote, or by a commit of which no
    /// answer came back.
    pub(super) fn ancestor<'s>(
        &self,
        record: Option<&Record>,
        agreed: Option<&'s Entity>,
        state: &Entity,
        remote: &Entity,
    ) -> Option<Cow<'s, Entity>> {
        let (ours, theirs) = (state.seen(), remote.seen());
        let agreed = agreed.map(Cow::Borrowed);
        let is_one_sided = ours.includes(&theirs) || theirs.includes(&ours);
        let Some(record) = record.filter(|_| !is_one_sided) else { return agreed };
        let before = agreed.as_ref().map(|agreed| agreed.seen()).unwrap_or_default();
        let is_later_ancestor = |older: &Entity| {
            let seen = older.seen();
            let is_later = seen != before && seen.includes(&before);
            is_later && ours.includes(&seen) && theirs.includes(&seen)
        };
        if is_later_ancestor(&record.state) {
            return Some(Cow::Owned(record.state.clone()));
        }
        self.snapshot.vault.latest_past(&state.id, &is_later_ancestor).map(Cow::Owned).or(agreed)
    }
}
