//! From which state two sides of a record are merged.

use std::borrow::Cow;

use super::Planner;
use crate::{
    merge::view::type_name,
    model::{Entity, Record, Strategy},
};

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

    /// From which state this device merges news whose makers had not seen what it sent before: where
    /// nobody waits for anybody (mode devices), or a commit came between two, both sides are committed,
    /// and nobody has edits left to send that would merge them. The makers of both do, where they know
    /// the very state that both grew from, for they make the same of it then; from an older one the first
    /// of them by name. Strategies that are not symmetric would have them answer each other for ever.
    pub(super) fn unmet_ancestor(
        &self,
        record: Option<&Record>,
        agreed: Option<&Entity>,
        state: &Entity,
        news: &Entity,
    ) -> Option<Entity> {
        let (ours, theirs) = (state.seen(), news.seen());
        let is_known = agreed.is_none_or(|agreed| theirs.includes(&agreed.seen()));
        let own = &self.snapshot.pen.device;
        if is_known || ours.get(own) <= theirs.get(own) || record.is_none() {
            return None;
        }
        let rules = self.snapshot.rules;
        let is_symmetric = |state: &Entity| {
            matches!(rules.strategy(&type_name(state, rules)), Strategy::Merge | Strategy::Manual)
        };
        if !is_symmetric(state) || !is_symmetric(news) {
            return None;
        }
        let makers = state.clock.keys().chain(news.clock.keys());
        let first = makers.filter(|maker| ours.get(maker) != theirs.get(maker)).min();
        let common = ours.meet(&theirs);
        let is_meant = |older: &Entity| {
            let seen = older.seen();
            seen == common || first == Some(own) && common.includes(&seen)
        };
        self.snapshot.vault.latest_past(&state.id, &is_meant)
    }
}
