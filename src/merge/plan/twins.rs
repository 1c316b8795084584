//! Records that two histories have made of one file.

use std::collections::{BTreeMap, BTreeSet};

use super::Planner;
use crate::{
    merge::view,
    model::{
        Agreed, Blob, Change, Changes, Content, EntityId, Update, View,
        entity::{BLOB, DELETED},
    },
};

impl Planner<'_> {
    /// Where a vault meets one more remote whose records have ids of their own, a file that both have
    /// alike is not to lie there twice: of two records that are the same at the same place, the one
    /// with the lower id stays, whoever brings them together. The other is deleted, as a person would
    /// delete it: an edit that nobody had seen brings it back.
    pub(super) fn drop_twins(&mut self) {
        if !self.snapshot.remote.is_joined {
            return;
        }
        let twins = self.twins();
        let (rules, now) = (self.snapshot.rules, self.snapshot.now);
        for update in self.plan.updates.iter_mut().filter(|u| twins.contains(&u.state.id)) {
            let before = update.state.clone();
            let seen = serde_json::to_value(before.seen()).unwrap_or_default();
            let (dot, at) = self.pen.next(now);
            let deletion = (DELETED.to_owned(), Change::set(Content::new(seen)));
            update.state.edit(&dot, at, Changes::from([deletion]));
            update.view = view(&update.state, rules);
            if !self.plan.send.contains(&before.id) {
                self.plan.send.push(before.id.clone());
            }
            if update.agreed == Agreed::Current {
                update.agreed = Agreed::Earlier(Box::new(before.clone()));
            }
            if self.snapshot.records.contains_key(&before.id) {
                update.replaced.get_or_insert(before);
            }
            self.plan.counts.merged += 1;
        }
        self.twins = twins;
    }

    fn twins(&self) -> BTreeSet<EntityId> {
        let records = self.snapshot.records;
        let mut known: BTreeMap<&str, Vec<&Update>> = BTreeMap::new();
        let lives = |update: &&Update| !update.view.is_deleted && !update.kept;
        for update in self.plan.updates.iter().filter(lives) {
            let is_known = records.contains_key(&update.state.id) && update.shown.is_none();
            if let Some(path) = update.view.path().filter(|_| is_known) {
                known.entry(path).or_default().push(update);
            }
        }
        let mut twins = BTreeSet::new();
        for news in self.plan.updates.iter().filter(lives) {
            let rivals = news.view.path().and_then(|path| known.get_mut(path));
            let Some(rivals) = rivals.filter(|_| !records.contains_key(&news.state.id)) else {
                continue;
            };
            if let Some(at) = rivals.iter().position(|known| are_same(&known.view, &news.view)) {
                let twin = rivals.swap_remove(at);
                twins.insert(twin.state.id.clone().max(news.state.id.clone()));
            }
        }
        twins
    }
}

/// Whether two records are the same to a person, whatever the contents of their files are called.
fn are_same(a: &View, b: &View) -> bool {
    let of = |view: &View| {
        let mut fields = view.fields.clone();
        let blob = fields.remove(BLOB).map(|content| content.value);
        (view.type_name.clone(), fields, blob)
    };
    let ((type_a, fields_a, blob_a), (type_b, fields_b, blob_b)) = (of(a), of(b));
    let is_one = match (&blob_a, &blob_b) {
        (Some(a), Some(b)) => Blob::is_same(a, b),
        (a, b) => a.is_none() && b.is_none(),
    };
    is_one && type_a == type_b && fields_a == fields_b
}
