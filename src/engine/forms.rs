//! What the plan has to know of files, answered by the store and by the vault's documents.

use std::cell::RefCell;

use super::Result;
use crate::{
    merge::{PathClaims, VaultForms, Wish, view},
    model::{
        Content, Entity, EntityId, Rules, VaultPath, View,
        entity::{BLOB, BODY, LAYOUT, PATH},
    },
    store::{Store, StoreError},
    vault::document::{self, Document, Format},
};

/// How many states of a record's past are looked at for what two sides have in common.
const PAST_MAX: u32 = 64;

/// Answers the plan's questions; a question that the store could not answer is kept for
/// [`Forms::finish`].
#[derive(Debug)]
pub(super) struct Forms<'a> {
    store: &'a Store,
    rules: &'a Rules,
    failed: RefCell<Option<StoreError>>,
}

impl<'a> Forms<'a> {
    pub(super) fn new(store: &'a Store, rules: &'a Rules) -> Self {
        Self { store, rules, failed: RefCell::new(None) }
    }

    /// Says whether every question was answered.
    pub(super) fn finish(self) -> Result<()> {
        self.failed.into_inner().map_or(Ok(()), |error| Err(error.into()))
    }

    fn look_up(&self, key: &str) -> Result<Vec<Wish>, StoreError> {
        let records = self.store.records(&self.store.claimants(key)?)?;
        let wishes = records.into_iter().filter_map(|(id, record)| {
            let view = view(&record.state, self.rules);
            let path = VaultPath::new(view.path()?).ok();
            Some(Wish { id, current: record.file, path })
        });
        Ok(wishes.collect())
    }
}

impl PathClaims for Forms<'_> {
    fn claimants(&self, key: &str) -> Vec<Wish> {
        self.look_up(key).unwrap_or_else(|error| {
            self.failed.borrow_mut().get_or_insert(error);
            Vec::new()
        })
    }
}

impl VaultForms for Forms<'_> {
    fn knows(&self, id: &EntityId) -> bool {
        let record = self.store.record(id);
        record.map(|record| record.is_some()).unwrap_or_else(|error| {
            self.failed.borrow_mut().get_or_insert(error);
            true
        })
    }

    fn latest_past(&self, id: &EntityId, is_meant: &dyn Fn(&Entity) -> bool) -> Option<Entity> {
        let past = self.store.latest_past(id, PAST_MAX, is_meant);
        past.unwrap_or_else(|error| {
            self.failed.borrow_mut().get_or_insert(error);
            None
        })
    }

    fn spell(&self, path: &VaultPath, view: &View) -> String {
        document::render(Format::of_path(path.as_str()), &to_document(view))
    }

    fn respell(&self, path: &str, content: Content, like: Option<&Content>) -> Content {
        document::respell(Format::of_path(path), content.value, like)
    }
}

/// A record's fields as the parts of its file.
pub(super) fn to_document(view: &View) -> Document {
    let text = |field: &str| Some(view.fields.get(field)?.value.as_str()?.to_owned());
    let own = [BODY, LAYOUT, PATH, BLOB];
    let fields = view.fields.iter().filter(|(field, _)| !own.contains(&field.as_str()));
    Document {
        layout: text(LAYOUT),
        fields: fields.map(|(field, content)| (field.clone(), content.clone())).collect(),
        body: text(BODY),
    }
}

/// The parts of a file as a record's fields.
pub(super) fn to_fields(
    document: Document,
    path: &VaultPath,
) -> std::collections::BTreeMap<String, Content> {
    let mut fields = document.fields;
    fields.insert(PATH.to_owned(), Content::new(path.as_str()));
    if let Some(layout) = document.layout {
        fields.insert(LAYOUT.to_owned(), Content::new(layout));
    }
    if let Some(body) = document.body {
        fields.insert(BODY.to_owned(), Content::new(body));
    }
    fields
}
