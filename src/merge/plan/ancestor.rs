//! From which state two sides of a record are merged.

use std::borrow::Cow;

use super::Planner;
use crate::{
    merge::view::{type_name, view},
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

    /// From which state this device merges news whose makers had not met what it sent before: where
    /// nobody waits for anybody (mode devices), or a commit came between two, both sides are committed,
    /// and nobody has edits left to send that would merge them. Then their makers do: who has the very
    /// state that both grew from, for they all make the same of it; who made the same merge as the news
    /// are and edited it since; and from an older state the first of them by name. The rest wait for those
    /// merges, and so would answer each other for ever where strategies are not symmetric. It rests on
    /// this that a history has no states that were only met, and never replaced.
    pub(super) fn unmet_ancestor(
        &self,
        agreed: Option<&Entity>,
        state: &Entity,
        news: &Entity,
    ) -> Option<Entity> {
        let (ours, theirs) = (state.seen(), news.seen());
        let has_met = agreed.is_none_or(|agreed| theirs.includes(&agreed.seen()));
        let own = &self.snapshot.pen.device;
        if has_met || ours.get(own) <= theirs.get(own) || ours.includes(&theirs) {
            return None;
        }
        let rules = self.snapshot.rules;
        let is_symmetric = |state: &Entity| {
            matches!(rules.strategy(&type_name(state, rules)), Strategy::Merge | Strategy::Manual)
        };
        if !is_symmetric(state) || !is_symmetric(news) {
            return None;
        }
        let common = ours.meet(&theirs);
        let shown = view(news, rules);
        let is_first = || {
            let makers = state.clock.keys().chain(news.clock.keys());
            makers.filter(|maker| ours.get(maker) != theirs.get(maker)).min() == Some(own)
        };
        let is_meant = |older: &Entity| {
            let seen = older.seen();
            let is_same_merge = || seen.includes(&common) && view(older, rules) == shown;
            seen == common || is_same_merge() || common.includes(&seen) && is_first()
        };
        self.snapshot.vault.latest_past(&state.id, &is_meant)
    }
}
