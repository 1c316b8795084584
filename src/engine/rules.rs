//! The vault's rules: read from `larder.toml` before each turn.

use std::collections::{BTreeMap, BTreeSet};

use super::{Engine, NoteKind, Report, Result};
use crate::{
    digest::sha256_hex,
    merge::{conflicts, join, settled, view},
    model::{Entity, EntityId, Rules, Update, VaultPath, entity::BODY, rules::RULES_FILE},
    store::StoredRules,
};

impl Engine {
    /// Reads the rules as they lie in the vault now. Rules that cannot be read change nothing: the
    /// last good ones stay in force, and the user is told.
    ///
    /// A vault without rules takes those that are among the news, or that came and have no file yet: a
    /// file of a type that is to stay on its device must not leave it in the first turn already.
    pub(super) fn observe_rules(
        &mut self,
        news: &BTreeMap<EntityId, Entity>,
        report: &mut Report,
    ) -> Result<()> {
        let Some(vault) = &self.vault else { return Ok(()) };
        let path = VaultPath::new(RULES_FILE).ok();
        let read = |path| match vault.read(&path)? {
            Some(file) => file.no_text().map_or(Ok(file.text), Err),
            None => Ok(None),
        };
        let text = match path.map(read) {
            Some(Ok(Some(text))) => text,
            Some(Err(why)) => {
                report.note(
                    NoteKind::Rules,
                    RULES_FILE,
                    format!("the rules before stay in force: {why}"),
                );
                match self.rules_to_come(news)? {
                    Some(text) => text,
                    None => return self.recall_rules(),
                }
            }
            _ => self.rules_to_come(news)?.unwrap_or_default(),
        };
        let rules = match Rules::parse(&text) {
            Ok(rules) => rules,
            Err(error) => {
                report.note(
                    NoteKind::Rules,
                    RULES_FILE,
                    format!("the rules before stay in force: {}", error.to_string().trim_end()),
                );
                return self.recall_rules();
            }
        };
        let digest = sha256_hex(text.as_bytes());
        if self.rules_in_force()?.is_none_or(|last| last != digest) {
            self.rejudge(&rules, StoredRules { digest, text })?;
        }
        self.rules = rules;
        Ok(())
    }

    /// What tells the rules by which records are judged now from others.
    pub(super) fn rules_in_force(&self) -> Result<Option<String>> {
        Ok(self.store.rules()?.map(|rules| rules.digest))
    }

    /// The text of the rules that are to lie in the vault and do not yet.
    fn rules_to_come(&self, news: &BTreeMap<EntityId, Entity>) -> Result<Option<String>> {
        let mut states = BTreeMap::new();
        for id in self.store.claimants(RULES_FILE)? {
            // One that had a file lost it to the user, who does not want these rules any more.
            let record = self.store.record(&id)?.filter(|record| record.file.is_none());
            states.extend(record.map(|record| (id, record.state)));
        }
        for (id, news) in news {
            let known = states.get(id).map(|known| join(known, news));
            if known.is_some() || view(news, &Rules::default()).path() == Some(RULES_FILE) {
                states.insert(id.clone(), known.unwrap_or_else(|| news.clone()));
            }
        }
        Ok(rules_among(&states))
    }

    /// Takes up the rules of the last turn, for commands that do not scan.
    pub fn recall_rules(&mut self) -> Result<()> {
        self.rules = self.last_rules()?;
        Ok(())
    }

    /// The rules by which the replica's records were judged last.
    fn last_rules(&self) -> Result<Rules> {
        let last = self.store.rules()?.map(|last| last.text).unwrap_or_default();
        Ok(Rules::recall(&last).unwrap_or_default())
    }

    /// New rules may turn a record into another type, hide it, or bring it back.
    /// Files show what the rules before chose, until they are written.
    fn rejudge(&mut self, rules: &Rules, stored: StoredRules) -> Result<()> {
        let before = self.last_rules()?;
        let mut pending = BTreeSet::new();
        let mut updates = Vec::new();
        for id in self.store.all_ids()? {
            let Some(record) = self.store.record(&id)? else { continue };
            let view = view(&record.state, rules);
            // Where values compete, other rules may show another one.
            let is_open = record.state.fields.values().any(|siblings| siblings.len() > 1);
            let mut shown = record.shown;
            if is_open && record.file.is_some() {
                shown = Some(as_shown(shown.as_ref().unwrap_or(&record.state), &before));
            }
            if is_open || shown.is_some() || view.is_deleted == record.file.is_some() {
                pending.insert(id);
            }
            let standing = conflicts(&record.state, rules);
            updates.push(Update {
                settled: settled(&conflicts(&record.state, &before), &standing),
                conflicts: standing,
                replaced: None,
                agreed: record.agreed,
                shown,
                file: record.file,
                kept: record.kept,
                state: record.state,
                view,
            });
        }
        let now_ms = self.dated().millis();
        self.store.rejudge(&updates, &pending, &stored, now_ms)?;
        Ok(())
    }
}

/// The state with what the rules show of each field as its only value, under the names of all
/// edits that compete for it: other rules show the same of it.
fn as_shown(state: &Entity, rules: &Rules) -> Entity {
    let mut shown = state.clone();
    let view = view(state, rules);
    for (field, siblings) in shown.fields.iter_mut().filter(|(_, siblings)| siblings.len() > 1) {
        let Some(content) = view.fields.get(field) else { continue };
        for sibling in siblings {
            sibling.content.clone_from(content);
        }
    }
    shown
}

/// The text of the rules that one of these states holds.
fn rules_among(states: &BTreeMap<EntityId, Entity>) -> Option<String> {
    let shown = states.values().map(|state| view(state, &Rules::default()));
    let mut rules = shown.filter(|view| !view.is_deleted && view.path() == Some(RULES_FILE));
    let text = rules.next_back()?.fields.get(BODY)?.value.as_str()?.to_owned();
    Some(text)
}
