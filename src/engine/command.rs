//! Edits made by command and not by hand: put, rm, restore, resolve. They take effect here at once
//! and reach the remote with the next turn.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use larder_providers::SharedStorage;
use serde_json::Value;

use super::{Engine, EngineError, Report, Result, Silent, edits::LocalEdits, observe::Observed};
use crate::{
    merge::{LocalEdit, News, plan, view},
    model::{
        Change, Changes, Conflict, ConflictValue, Content, Entity, EntityId, Stamp, VaultPath,
        View,
        entity::{BLOB, BODY, DELETED, LAYOUT, PATH, TYPE},
        limits::{FIELD_NAME_BYTES_MAX, FIELDS_MAX, TEXT_BYTES_MAX},
    },
    remote::{Manifest, Remote},
    store::{Past, StoredConflict},
};

/// Which of the values of a conflict is to stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// This device's.
    Local,
    /// The other device's.
    Remote,
    /// What is shown now.
    Merged,
    /// One after the other.
    Both,
}

/// An earlier state to go back to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// The latest state that was not deleted, other than the present one.
    Before,
    /// The state of this version.
    Version(u64),
    /// The state as of this time.
    Time(Stamp),
}

/// What was brought back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restored {
    /// The record as it was when it was deleted, or when its file was lost.
    AsItWas,
    /// The state of this version, as a new version.
    Version(u64),
}

impl Engine {
    /// How many records a turn would send, as far as known without asking the remote: those with
    /// edits that nobody acknowledged, and those whose files changed since the last scan.
    pub fn pending_changes(&self) -> Result<usize> {
        let mut ids = self.store.unsent()?;
        let Some(vault) = &self.vault else { return Ok(ids.len()) };
        let books = self.store.files()?;
        let scan = vault.scan(&books, self.store.last_scan_ms()?, 0)?;
        let changed = scan.changed.iter().map(|file| &file.path).chain(&scan.vanished);
        let moved = scan.renamed.iter().map(|renamed| &renamed.from);
        for path in changed.chain(moved) {
            ids.extend(books.get(path.as_str()).map(|file| file.entity()));
        }
        Ok(ids.len() + scan.new.len())
    }

    /// The vault's remote on `storage`, unread.
    pub fn remote(&self, storage: &SharedStorage) -> Result<Remote> {
        self.bound_remote(storage)
    }

    /// Finds a record by its id or by its file's path; of those that lay there and are deleted, the one
    /// that was deleted last.
    pub fn find(&self, name: &str) -> Result<EntityId> {
        if let Ok(id) = EntityId::new(name)
            && self.store.record(&id)?.is_some()
        {
            return Ok(id);
        }
        let missing = || EngineError::NoRecord { name: name.to_owned() };
        // A record whose path is not fit for a file has it all the same.
        let path = VaultPath::new(name).ok();
        let mut deleted = None;
        for id in self.store.ids_of_path(path.as_ref().map_or(name, VaultPath::as_str))? {
            let Some(record) = self.store.record(&id)? else { continue };
            let is_there = path.is_some() && record.file == path;
            if is_there || !view(&record.state, &self.rules).is_deleted {
                return Ok(id);
            }
            let at = record.state.siblings(DELETED).iter().map(|deletion| deletion.at).max();
            deleted = deleted.max(Some((at, id)));
        }
        let by_file = path.map(|path| self.store.id_of_file(&path)).transpose()?.flatten();
        deleted.map(|(_, id)| id).or(by_file).ok_or_else(missing)
    }

    /// Sets the fields of a record, of a new one if `id` is new or not given; says which.
    pub fn put(
        &mut self,
        type_name: &str,
        id: Option<&str>,
        fields: serde_json::Map<String, Value>,
    ) -> Result<EntityId> {
        let id = match id {
            Some(id) => EntityId::new(id)?,
            None => EntityId::new(self.new_uuid().to_string())?,
        };
        let size: usize = fields.values().map(|value| value.to_string().len()).sum();
        if size as u64 > TEXT_BYTES_MAX {
            let text =
                format!("the record has {size} bytes; a record has at most {TEXT_BYTES_MAX}");
            return Err(EngineError::Refused(text));
        }
        if fields.len() >= FIELDS_MAX {
            let text = format!(
                "the record has {} fields; a record has at most {FIELDS_MAX}",
                fields.len()
            );
            return Err(EngineError::Refused(text));
        }
        self.take_up_file(&id)?;
        let record = self.store.record(&id)?;
        let before = record.as_ref().map(|record| view(&record.state, &self.rules));
        check_text(&fields, before.as_ref())?;
        let mut changes = Changes::new();
        let typed = fields.into_iter().chain([(TYPE.to_owned(), Value::from(type_name))]);
        for (field, value) in typed {
            check_field(&field, &value)?;
            if field == TYPE && value != type_name {
                return Err(cannot_be_set(TYPE, "`--type` says otherwise"));
            }
            let old = before.as_ref().and_then(|view| view.fields.get(&field));
            if old.is_none_or(|old| old.value != value) {
                let content = match (&record, field.as_str()) {
                    (Some(_), BODY | PATH) | (None, _) => Content::new(value),
                    _ => self.respelled(before.as_ref(), value, old),
                };
                changes.insert(field, Change::set(content));
            }
        }
        let is_deleted = before.is_some_and(|view| view.is_deleted);
        if is_deleted {
            changes.insert(DELETED.to_owned(), Change::Remove);
        }
        self.make(&id, LocalEdit::Made(changes))?;
        Ok(id)
    }

    fn respelled(&self, before: Option<&View>, value: Value, old: Option<&Content>) -> Content {
        let path = before.and_then(View::path).unwrap_or_default();
        let format = crate::vault::document::Format::of_path(path);
        crate::vault::document::respell(format, value, old)
    }

    /// Deletes a record, and its file with it.
    pub fn remove(&mut self, id: &EntityId) -> Result<()> {
        self.edit(id, LocalEdit::Deleted)
    }

    /// Brings back every file that is gone from the vault and that no turn took for deleted yet;
    /// says how many.
    pub fn restore_missing(&mut self) -> Result<usize> {
        let mut lost = Vec::new();
        for file in self.store.files()?.iter() {
            if self.is_lost(&file.path())? {
                lost.push((file.entity(), file.path()));
            }
        }
        for (id, path) in &lost {
            self.write_again(id, path)?;
        }
        Ok(lost.len())
    }

    /// Brings an earlier state of a record back as a new version.
    pub fn restore(&mut self, id: &EntityId, at: At) -> Result<Restored> {
        let missing = || EngineError::NoRecord { name: id.to_string() };
        let record = self.store.record(id)?.ok_or_else(missing)?;
        if at == At::Before
            && !view(&record.state, &self.rules).is_deleted
            && let Some(path) = &record.file
            && self.is_lost(path)?
        {
            self.write_again(id, path)?;
            return Ok(Restored::AsItWas);
        }
        self.take_up_file(id)?;
        let record = self.store.record(id)?.ok_or_else(missing)?;
        let now = view(&record.state, &self.rules);
        let past = self.store.history(id)?;
        let (version, wanted) =
            self.earlier(&record.state, &now, &past, at).ok_or_else(|| no_state(id, &now, at))?;
        let mut changes = Changes::new();
        for (field, content) in &wanted.fields {
            if now.fields.get(field) != Some(content) {
                changes.insert(field.clone(), Change::set(content.clone()));
            }
        }
        for field in now.fields.keys().filter(|field| !wanted.fields.contains_key(*field)) {
            changes.insert(field.clone(), Change::Remove);
        }
        if record.state.fields.contains_key(DELETED) {
            changes.insert(DELETED.to_owned(), Change::Remove);
        }
        self.make(id, LocalEdit::Made(changes))?;
        Ok(if now.is_deleted && at == At::Before {
            Restored::AsItWas
        } else {
            Restored::Version(version)
        })
    }

    /// Whether a file that the books have is not in the vault.
    fn is_lost(&self, path: &VaultPath) -> Result<bool> {
        let Some(vault) = &self.vault else { return Ok(false) };
        Ok(vault.stat(path)?.is_none())
    }

    /// Writes a file that vanished before any turn took that for a deletion.
    fn write_again(&mut self, id: &EntityId, path: &VaultPath) -> Result<()> {
        self.recover_files()?;
        self.store.settle_files(&[], std::slice::from_ref(path), &[])?;
        self.store.revisit(std::slice::from_ref(id))?;
        self.edit(id, LocalEdit::Made(Changes::new()))
    }

    fn earlier(&self, now: &Entity, shown: &View, past: &[Past], at: At) -> Option<(u64, View)> {
        let view_of = |state: &Entity| (state.version(), view(state, &self.rules));
        match at {
            // A deleted record keeps its fields: they are what it was.
            At::Before if shown.is_deleted => {
                (!shown.fields.is_empty()).then(|| (now.version(), shown.clone()))
            }
            At::Before => {
                past.iter().map(|past| view_of(&past.state)).find(|(_, view)| !view.is_deleted)
            }
            At::Version(version) if now.version() == version => Some((version, shown.clone())),
            At::Version(version) => {
                let found = past.iter().find(|past| past.state.version() == version);
                found.map(|past| view_of(&past.state))
            }
            At::Time(time) => {
                let mut states = std::iter::once(now).chain(past.iter().map(|past| &past.state));
                let made =
                    |state: &&Entity| state.last_modified().is_some_and(|(at, _)| at <= time);
                states.find(made).map(view_of)
            }
        }
    }

    /// Settles a conflict by an edit that replaces all of its values.
    pub fn resolve(&mut self, stored: &StoredConflict, keep: Keep) -> Result<()> {
        let device = self.replica()?.device;
        let conflict = &stored.conflict;
        if conflict.field == DELETED {
            return self.resolve_deletion(stored, keep);
        }
        let is_local = |value: &&ConflictValue| value.dot.device == device;
        let content = match keep {
            Keep::Local => conflict.values.iter().find(is_local).and_then(|v| v.content.clone()),
            Keep::Remote => {
                conflict.values.iter().find(|v| !is_local(v)).and_then(|v| v.content.clone())
            }
            Keep::Merged => conflict.chosen.clone(),
            Keep::Both => both(conflict),
        };
        let content = content.ok_or_else(|| {
            EngineError::Refused(format!(
                "conflict {} has no such value; see `larder conflicts show {}`",
                conflict.id, conflict.id
            ))
        })?;
        let changes = Changes::from([(conflict.field.clone(), Change::set(content))]);
        self.edit(&stored.entity, LocalEdit::Made(changes))
    }

    /// Either the deletion stays, or the record does.
    fn resolve_deletion(&mut self, stored: &StoredConflict, keep: Keep) -> Result<()> {
        let device = self.replica()?.device;
        let values = &stored.conflict.values;
        let deleted_here = values.first().is_some_and(|value| value.dot.device == device);
        let keep_deletion = match keep {
            Keep::Local => deleted_here,
            Keep::Remote => !deleted_here,
            Keep::Merged => stored.conflict.chosen.is_none(),
            Keep::Both => false,
        };
        let undo = Changes::from([(DELETED.to_owned(), Change::Remove)]);
        if keep_deletion {
            // A deletion made now has seen the edit.
            self.edit(&stored.entity, LocalEdit::Made(undo))?;
            return self.edit(&stored.entity, LocalEdit::Deleted);
        }
        self.edit(&stored.entity, LocalEdit::Made(undo))
    }

    /// Takes up what the owner of the record's file did to it: whoever gives a command has seen that.
    fn take_up_file(&mut self, id: &EntityId) -> Result<()> {
        self.recover_files()?;
        match self.local_edit_of(id)? {
            Some(by_hand) => self.carry_in(id, by_hand, &mut Report::default()),
            None => Ok(()),
        }
    }

    /// Makes one edit; what the owner of the record's file did to it before comes first.
    pub(super) fn edit(&mut self, id: &EntityId, edit: LocalEdit) -> Result<()> {
        self.take_up_file(id)?;
        self.make(id, edit)
    }

    /// Makes one edit, by the same plan that a turn makes, without news.
    fn make(&mut self, id: &EntityId, edit: LocalEdit) -> Result<()> {
        let edits = BTreeMap::from([(id.clone(), edit)]);
        let local = LocalEdits { edits, ..Default::default() };
        self.carry_in(id, local, &mut Report::default())
    }

    /// Brings one record and its file up to these edits.
    pub(super) fn carry_in(
        &mut self,
        id: &EntityId,
        local: LocalEdits,
        report: &mut Report,
    ) -> Result<()> {
        let replica = self.replica()?;
        let mut records = self.store.records(&BTreeSet::from([id.clone()]))?;
        for path in records.values().filter_map(|record| record.file.clone()).collect::<Vec<_>>() {
            records.extend(self.store.records(&self.store.claimants(&path.key())?)?);
        }
        let last = self.last_manifest()?;
        let names = last.as_ref().map(|last| self.names(last, &replica)).unwrap_or_default();
        let known = last.map(|last| last.knows.clone()).unwrap_or_default();
        let observed = Observed {
            records,
            local,
            news: News { knows: known, ..News::default() },
            known_files: 0,
            names,
            replica,
        };
        let mut plan = self.with_snapshot(&observed, plan)?;
        // Nothing leaves this device now: no edit counts as one that was about to be sent.
        plan.send.clear();
        // A file that its owner changed in the meantime is left alone: the next turn merges.
        self.execute(&plan, &observed, false, &Silent, report)?;
        Ok(())
    }

    /// What the remote was when it was last in agreement.
    pub(super) fn last_manifest(&self) -> Result<Option<Arc<Manifest>>> {
        let mark = self.store.remote_mark()?;
        mark.map(|mark| self.decode_last(&mark.manifest)).transpose()
    }

    /// Decodes the manifest that the replica keeps, which a turn asks for more than once.
    pub(super) fn decode_last(&self, text: &str) -> Result<Arc<Manifest>> {
        if let Some((known, manifest)) = &*self.last_manifest.borrow()
            && known == text
        {
            return Ok(manifest.clone());
        }
        let manifest = Arc::new(Manifest::decode("the last manifest", text.as_bytes())?);
        self.last_manifest.replace(Some((text.to_owned(), manifest.clone())));
        Ok(manifest)
    }
}

/// That there is nothing to go back to.
fn no_state(id: &EntityId, now: &View, at: At) -> EngineError {
    let name = now.path().unwrap_or(id.as_str());
    EngineError::Refused(match at {
        At::Before if now.is_deleted => {
            format!("{name} was deleted over 90 days ago, and what it was is not kept longer")
        }
        At::Before => format!("{name} has no earlier version to go back to"),
        At::Version(version) => {
            format!("the history of {name} has no version {version}; `larder log` lists them")
        }
        At::Time(time) => format!("the history of {name} does not reach back to {time}"),
    })
}

/// Refuses a field that could not be written to a file or sent.
fn check_field(field: &str, value: &Value) -> Result<()> {
    let bad_path = |text| VaultPath::new(text).err().map(|why| why.to_string());
    let bad_path = value.as_str().filter(|_| field == PATH).and_then(bad_path);
    let why = if field.starts_with('$') {
        "names that begin with $ are larder's own"
    } else if field == PATH && !value.is_string() {
        "it has to be a text"
    } else if let Some(why) = &bad_path {
        why.as_str()
    } else if field.len() > FIELD_NAME_BYTES_MAX {
        "its name is longer than 256 bytes"
    } else if field.chars().any(char::is_control) {
        "its name has a control character in it"
    } else {
        return Ok(());
    };
    Err(cannot_be_set(field, why))
}

/// Refuses what would stand in the place of a file's text and is none.
fn check_text(fields: &serde_json::Map<String, Value>, before: Option<&View>) -> Result<()> {
    let kept = |name| before.and_then(|view| view.fields.get(name)).map(|content| &content.value);
    let value = |name| fields.get(name).or_else(|| kept(name));
    let is_text = value(BODY).is_none_or(Value::is_string);
    let is_about_it = fields.contains_key(BODY) || fields.contains_key(PATH);
    if is_text || !is_about_it || value(PATH).is_none() {
        return Ok(());
    }
    Err(cannot_be_set(BODY, "of a record with a file it is the file's text, and has to be a text"))
}

fn cannot_be_set(field: &str, why: &str) -> EngineError {
    let field: String = field.chars().take(40).collect();
    EngineError::Refused(format!("the field {field:?} cannot be set: {why}"))
}

/// Texts one after the other, lists united; other values cannot both stay.
fn both(conflict: &Conflict) -> Option<Content> {
    let values: Vec<&Value> =
        conflict.values.iter().filter_map(|value| Some(&value.content.as_ref()?.value)).collect();
    match values.as_slice() {
        [Value::String(a), Value::String(b), ..] if conflict.field == BODY => {
            Some(Content::new(crate::merge::text::merge2(a, b).text))
        }
        [Value::String(a), Value::String(b), ..]
            if ![PATH, LAYOUT].contains(&conflict.field.as_str()) =>
        {
            Some(Content::new(format!("{a} / {b}")))
        }
        // The other content lies beside it already.
        [_, _, ..] if conflict.field == BLOB => conflict.chosen.clone(),
        [Value::Array(a), Value::Array(b), ..] => {
            Some(Content::new(crate::merge::set::merge3(None, a, b)))
        }
        _ => None,
    }
}
