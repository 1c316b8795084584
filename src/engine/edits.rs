//! What happened to the vault's files since the last turn, as edits of records.

mod identify;

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::{Engine, NoteKind, Report, Result, forms::to_fields, work::Work};
use crate::{
    merge::{LocalEdit, each_once, join, view},
    model::{
        Alternative, Blob, Books, Change, Changes, Content, Entity, EntityId, KnownFile, Record,
        Sibling, Stamp, VaultPath,
        entity::{BLOB, BODY, LAYOUT, PATH, TYPE},
    },
    store::FileRow,
    vault::{
        FileKind, Scan, ScannedFile, SkipReason,
        document::{self, Document, Format},
    },
};

/// A file is read again if it changed this shortly before a scan, in milliseconds.
const RACY_MS: i64 = 2_000;

/// The vault's files as they are now, against the books.
#[derive(Debug, Default)]
pub(super) struct LocalEdits {
    /// What happened to which record.
    pub(super) edits: BTreeMap<EntityId, LocalEdit>,
    /// Files whose place in the books is new.
    pub(super) seen: Vec<FileRow>,
    /// Files that are gone.
    pub(super) gone: Vec<VaultPath>,
    /// When the scan began; nothing if there is no vault.
    pub(super) scanned_ms: Option<i64>,
}

impl LocalEdits {
    /// The files that were made, changed or moved.
    pub(super) fn paths(&self) -> impl Iterator<Item = &VaultPath> {
        self.seen.iter().map(|file| &file.path)
    }
}

impl Engine {
    /// Turns what a scan found into edits. `news` is what the remote has that the replica lacks: a
    /// new file may be one of those.
    pub(super) fn local_edits(
        &mut self,
        scan: Scan,
        books: &Books,
        news: &BTreeMap<EntityId, Entity>,
        plans_only: bool,
        report: &mut Report,
    ) -> Result<LocalEdits> {
        let (out, beside) = (LocalEdits::default(), BTreeSet::new());
        let mut clerk =
            Clerk { engine: self, news, books, space: None, beside, out, report, plans_only };
        clerk.enter(scan)?;
        Ok(clerk.out)
    }

    /// Brings the books up to files that only moved in time.
    pub(super) fn note_touched(&mut self, scan: &Scan, books: &Books) -> Result<()> {
        let touched = touched_rows(scan, books);
        if !touched.is_empty() {
            self.store.touch_files(&touched)?;
        }
        Ok(())
    }

    /// Remembers when the vault was scanned, if files are so young that the scan before could not
    /// tell whether they changed after it: they need not be read a third time.
    pub(super) fn note_scan(&mut self, work: &Work) -> Result<()> {
        let Some(scanned_ms) = work.scanned_ms else { return Ok(()) };
        let youngest = work.books.youngest_ns().map(|youngest| youngest / 1_000_000);
        let before = self.store.last_scan_ms()?;
        if before < scanned_ms && youngest.is_some_and(|youngest| youngest + RACY_MS >= before) {
            self.store.set_last_scan_ms(scanned_ms)?;
        }
        Ok(())
    }

    /// What the owner of a record's file did to it since it was last read, if anything.
    pub(super) fn local_edit_of(&mut self, id: &EntityId) -> Result<Option<LocalEdits>> {
        let file = self.store.record(id)?.and_then(|record| record.file);
        let (Some(vault), Some(path)) = (&self.vault, file) else { return Ok(None) };
        // One that is gone or cannot be read is left to the next turn.
        let Ok(Some(file)) = vault.read(&path) else { return Ok(None) };
        if file.kind == FileKind::Blob {
            return Ok(None);
        }
        let row = self.store.file_at(&path)?.filter(|row| row.entity == *id);
        let Some(row) = row.filter(|row| row.known.sha256 != file.sha256) else { return Ok(None) };
        let (news, mut report) = (BTreeMap::new(), Report::default());
        let (mut books, out) = (Books::default(), LocalEdits::default());
        books.enter(&row.path, &row.entity, row.known);
        let (news, books, report) = (&news, &books, &mut report);
        let mut clerk = Clerk {
            engine: self,
            news,
            books,
            space: None,
            beside: BTreeSet::new(),
            out,
            report,
            plans_only: false,
        };
        clerk.enter(Scan { changed: vec![file], ..Scan::default() })?;
        Ok(Some(clerk.out))
    }
}

fn touched_rows(scan: &Scan, books: &Books) -> Vec<FileRow> {
    let row = |(path, stat): &(VaultPath, crate::model::FileStat)| {
        let file = books.get(path.as_str())?;
        let known = KnownFile { stat: *stat, sha256: file.known.sha256 };
        Some(FileRow { path: path.clone(), entity: file.entity(), known })
    };
    scan.touched.iter().filter_map(row).collect()
}

/// What a file holds.
enum FileContent {
    Fields(Document),
    Blob(Blob),
}

/// Enters a scan into the books.
struct Clerk<'a> {
    engine: &'a mut Engine,
    news: &'a BTreeMap<EntityId, Entity>,
    books: &'a Books,
    /// What the ids of paths are made in, once it was asked for.
    space: Option<Uuid>,
    /// New files that were found to lie beside the places of their records.
    beside: BTreeSet<VaultPath>,
    out: LocalEdits,
    report: &'a mut Report,
    /// Whether nothing comes of it, and no content is sent.
    plans_only: bool,
}

impl Clerk<'_> {
    fn enter(&mut self, scan: Scan) -> Result<()> {
        for path in scan.vanished {
            self.vanish(path);
        }
        for mut renamed in scan.renamed {
            let Some(id) = self.owner(&renamed.from) else { continue };
            let unchanged = self.shown_content(&id, &renamed.file)?.map(FileContent::Blob);
            let content = match unchanged {
                None => self.load(&mut renamed.file)?,
                unchanged => unchanged,
            };
            match content {
                Some(content) => {
                    self.out.gone.push(renamed.from);
                    self.change(id, renamed.file, content, true)?;
                }
                None if renamed.file.kind == FileKind::Blob => {
                    self.engine.contents.defer_renamed(renamed)
                }
                None => {}
            }
        }
        for mut file in scan.changed {
            let Some(id) = self.owner(&file.path) else { continue };
            match self.load(&mut file)? {
                Some(content) => self.change(id, file, content, true)?,
                None if file.kind == FileKind::Blob => self.engine.contents.defer(file, false),
                None => {}
            }
        }
        for mut file in scan.new {
            if let Some((id, blob)) = self.held(&file)? {
                self.change(id, file, FileContent::Blob(blob), false)?;
                continue;
            }
            match self.load(&mut file)? {
                Some(content) => {
                    let (id, seen) = self.identify(&file, &content)?;
                    self.change(id, file, content, seen)?;
                }
                None if file.kind == FileKind::Blob => self.engine.contents.defer(file, true),
                None => {}
            }
        }
        Ok(())
    }

    /// The content that a record's file showed, if a file has it still: of that nothing has to be sent,
    /// whether or not the remote has it by now.
    fn shown_content(&self, id: &EntityId, file: &ScannedFile) -> Result<Option<Blob>> {
        let record = self.engine.store.record(id)?;
        let shown = self.shown(id, record.as_ref(), true);
        Ok(self.content_of(shown.as_ref(), file))
    }

    /// The content of a state, if a file has it.
    fn content_of(&self, state: Option<&Entity>, file: &ScannedFile) -> Option<Blob> {
        let blob = view(state?, &self.engine.rules).blob()?;
        let is_it = file.kind == FileKind::Blob
            && blob.bytes == file.stat.size
            && blob.sha256 == file.sha256.to_string();
        is_it.then_some(blob)
    }

    fn vanish(&mut self, path: VaultPath) {
        if let Some(id) = self.owner(&path) {
            self.out.edits.insert(id, LocalEdit::Vanished);
        }
        self.out.gone.push(path);
    }

    fn owner(&self, path: &VaultPath) -> Option<EntityId> {
        self.books.get(path.as_str()).map(|file| file.entity())
    }

    /// What a file holds: its text, from the disk if the scan did not keep it, or the name of its
    /// content. A file that is no more what was scanned stays out of this turn, and the next scan
    /// finds it again; one whose content has to be sent first is put off.
    fn load(&mut self, file: &mut ScannedFile) -> Result<Option<FileContent>> {
        if file.kind == FileKind::Blob {
            return Ok(self.blob(file)?.map(FileContent::Blob));
        }
        let kept = file.text.take();
        let vault = self.engine.vault.as_ref().filter(|_| kept.is_none());
        let loaded = vault.map_or(Ok(kept), |vault| vault.load(file));
        let reason = match loaded {
            Ok(Some(text)) => return Ok(Some(FileContent::Fields(self.read(file, &text)))),
            Ok(None) => SkipReason::Busy,
            Err(reason) => reason,
        };
        self.report.skipped += 1;
        self.report.note(NoteKind::Skipped, &file.path, reason);
        Ok(None)
    }

    fn blob(&mut self, file: &ScannedFile) -> Result<Option<Blob>> {
        if let Some(blob) = self.engine.blob_of(file)? {
            return Ok(Some(blob));
        }
        let record = match self.owner(&file.path) {
            Some(id) => self.engine.store.record(&id)?,
            None => None,
        };
        let rules = &self.engine.rules;
        let type_name = match &record {
            Some(record) => view(&record.state, rules).type_name,
            None => rules.type_name(None, Some(file.path.as_str())),
        };
        // What stays on this device, or is only planned, is sent nowhere.
        let is_sent = rules.syncs(&type_name) && !self.plans_only;
        Ok((!is_sent).then(|| self.engine.new_blob(file.sha256, file.stat.size)))
    }

    fn read(&mut self, file: &ScannedFile, text: &str) -> Document {
        let parsed = document::parse(Format::of_path(file.path.as_str()), text);
        if let Some(problem) = parsed.problem {
            let text = format!("is kept as plain text: {problem}");
            self.report.note(NoteKind::Unparsed, &file.path, text);
        }
        parsed.document
    }

    /// Notes what differs between the file and what it showed before.
    fn change(
        &mut self,
        id: EntityId,
        file: ScannedFile,
        content: FileContent,
        seen: bool,
    ) -> Result<()> {
        let record = self.engine.store.record(&id)?;
        let shown = self.shown(&id, record.as_ref(), seen);
        let known = file.known();
        let now = match content {
            FileContent::Fields(document) => to_fields(document, &file.path),
            FileContent::Blob(blob) => BTreeMap::from([
                (PATH.to_owned(), Content::new(file.path.as_str())),
                (BLOB.to_owned(), Content::new(blob.to_value())),
            ]),
        };
        let changes = self.differences(shown.as_ref(), record.as_ref(), now, &file.path, seen);
        let row = FileRow { path: file.path.clone(), entity: id.clone(), known };
        self.out.seen.push(row);
        // Of files that nothing is known of some may be old: the time of the first sync makes none of
        // them newer than what others wrote since.
        let is_unknown = !seen && shown.is_some() && self.is_first()?;
        let written = Stamp::from_millis(file.stat.mtime_ns / 1_000_000);
        let set_at = is_unknown.then(|| written.min(self.engine.clock.now()));
        let edit =
            LocalEdit::Changed { changes, file: file.path, sha256: file.sha256, seen, set_at };
        self.out.edits.insert(id, edit);
        Ok(())
    }

    /// The state that the file's maker had before them; for a file that came about by itself, what
    /// the record is without it: where they agree nothing has to be said.
    fn shown(&self, id: &EntityId, record: Option<&Record>, seen: bool) -> Option<Entity> {
        if seen {
            return record.map(|record| record.shown.as_ref().unwrap_or(&record.state).clone());
        }
        match (record, self.news.get(id)) {
            (Some(record), Some(news)) => Some(join(&record.state, news)),
            (Some(record), None) => Some(record.state.clone()),
            (None, news) => news.cloned(),
        }
    }

    fn differences(
        &self,
        shown: Option<&Entity>,
        record: Option<&Record>,
        mut now: BTreeMap<String, Content>,
        path: &VaultPath,
        seen: bool,
    ) -> Changes {
        let before = shown.map(|shown| view(shown, &self.engine.rules).fields).unwrap_or_default();
        let is_json = Format::of_path(path.as_str()) == Format::Json;
        if seen && is_json && before.contains_key(BODY) {
            bring_back_text(&mut now, &before);
        }
        // A file that lies beside its place, because another record keeps that, was not moved by
        // its owner as long as it stays there.
        let before_it = record.and_then(|record| record.file.as_ref());
        let is_beside = before_it == Some(path) || self.beside.contains(path);
        let is_text = |at: &VaultPath| Format::of_path(at.as_str()) == Format::Text;
        let was_text = is_text(before_it.unwrap_or(path));
        let mut changes = Changes::new();
        for (field, content) in &now {
            let is_own_place = field == PATH && is_beside;
            let old = before.get(field);
            let is_same = old == Some(content)
                || field == BLOB
                    && old.is_some_and(|old| Blob::is_same(&old.value, &content.value));
            if is_same || is_own_place {
                continue;
            }
            // What a plain text had no place for its owner did not see: it waits beside what they wrote.
            let is_unseen = seen && was_text && !is_own(field) && field != TYPE;
            let known = record.map_or(&[][..], |record| record.state.siblings(field));
            let others = |shown| values_but(content, shown, known, field);
            let unseen = shown.filter(|_| is_unseen).map_or_else(Vec::new, others);
            changes.insert(field.clone(), Change::Set(content.clone(), unseen));
        }
        // A file that came about by itself knew of no field, and a plain text has no place for any. Of a
        // file that was made one they stand in the text from then on; but what the record is stays.
        let removes = |field: &String| {
            let had_place = is_own(field) || !(was_text || is_text(path) && field == TYPE);
            seen && had_place && !now.contains_key(field)
        };
        for field in before.keys().filter(|field| removes(field)) {
            changes.insert(field.clone(), Change::Remove);
        }
        changes
    }
}

/// Has the text of a record, which stands among the fields in a file of JSON, be its text still.
fn bring_back_text(now: &mut BTreeMap<String, Content>, before: &BTreeMap<String, Content>) {
    let field = document::field_of_text(|field| before.contains_key(field));
    if now.contains_key(BODY) || !now.get(&field).is_some_and(|text| text.value.is_string()) {
        return;
    }
    if let Some(text) = now.remove(&field)
        && text.value != ""
    {
        now.insert(BODY.to_owned(), Content::new(text.value));
    }
}

/// The values of a field but for this one. In what a file showed all that compete may have the one value
/// that it showed: what they really are is `known`.
fn values_but(
    content: &Content,
    state: &Entity,
    known: &[Sibling],
    field: &str,
) -> Vec<Alternative> {
    let values = state.siblings(field).iter().flat_map(|sibling| {
        let mut own = Alternative::from(sibling);
        own.take_value_from(known);
        sibling.alternatives.iter().cloned().chain([own])
    });
    each_once(values.filter(|other| other.content.value != content.value))
}

/// Whether larder itself makes this field of a file.
fn is_own(field: &str) -> bool {
    [BODY, LAYOUT, PATH, BLOB].contains(&field)
}

impl Engine {
    /// A fresh id, ordered by the time it was made.
    pub(super) fn new_uuid(&mut self) -> Uuid {
        let millis = u64::try_from(self.clock.now().millis()).unwrap_or(0);
        let random: [u8; 10] = std::array::from_fn(|_| self.random.u8(..));
        uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
    }
}
