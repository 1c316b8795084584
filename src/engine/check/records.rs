//! The replica, and the vault beside it.

use std::collections::BTreeSet;

use super::{CheckOptions, CheckReport, Finding, FindingKind};
use crate::{
    engine::{Engine, Result, forms::to_document},
    merge::view,
    model::{VaultPath, View, limits::STAMP_AHEAD_MS_MAX},
    vault::document::{Document, Format, Problem, parse},
};

impl Engine {
    pub(super) fn check_records(&self, report: &mut CheckReport) -> Result<()> {
        let mut unparsed = Vec::new();
        let ahead = self.clock.now().millis() + STAMP_AHEAD_MS_MAX;
        for id in self.store.all_ids()? {
            let Some(record) = self.store.record(&id)? else { continue };
            let shown = view(&record.state, &self.rules);
            let path = shown.path().map(str::to_owned);
            let mut add = |kind, detail: String| {
                let (file, entity_id) = (path.clone(), Some(id.clone()));
                report.findings.push(Finding { kind, file, entity_id, detail });
            };
            if let Some(Err(why)) =
                path.as_deref().filter(|_| !shown.is_deleted).map(VaultPath::new)
            {
                add(FindingKind::BadPath, format!("is not written to disk: {why}"));
            }
            if let Some(problem) = record.file.as_ref().and_then(|file| problem(file, &shown)) {
                let detail = format!("is kept as plain text: {problem}");
                let (file, entity_id) = (path.clone(), Some(id.clone()));
                unparsed.push(Finding { kind: FindingKind::Unparsed, file, entity_id, detail });
            }
            if record.shown.is_some() {
                add(
                    FindingKind::Behind,
                    "its file does not show its latest state; sync again".to_owned(),
                );
            }
            if record.state.last_modified().is_some_and(|(at, _)| at.millis() > ahead) {
                add(
                    FindingKind::ClockAhead,
                    "was edited on a device whose clock is over a day ahead".to_owned(),
                );
            }
        }
        report.add_many(FindingKind::Unparsed, unparsed, "files kept as plain text");
        Ok(())
    }

    /// A file that differs from the books was edited: nothing tells that from damage, and nothing
    /// has to, for an edit that was none can be taken back from the history.
    pub(super) fn check_vault(
        &self,
        options: CheckOptions,
        report: &mut CheckReport,
    ) -> Result<()> {
        let Some(vault) = &self.vault else { return Ok(()) };
        let books = self.store.files()?;
        // As if the last scan had been long ago: then every file is read, whatever its time says.
        let last_scan_ms = if options.read_data { 0 } else { self.store.last_scan_ms()? };
        let scan = vault.scan(&books, last_scan_ms, 0)?;
        let mut found = Vec::new();
        let mut add = |path: &VaultPath, detail: &str| {
            let entity_id = books.get(path.as_str()).map(|file| file.entity());
            let (kind, file) = (FindingKind::Edited, Some(path.to_string()));
            found.push(Finding { kind, file, entity_id, detail: detail.to_owned() });
        };
        let moved: BTreeSet<&VaultPath> = scan.renamed.iter().map(|moved| &moved.from).collect();
        for file in &scan.changed {
            let before = books.get(file.path.as_str()).map(|file| file.known.stat);
            add(
                &file.path,
                match before == Some(file.stat) {
                    true => {
                        "has another content than it had when its size and time were the same: no sync notices that. \
                     `touch` it if it was meant; if not, `larder restore` brings the record's content back"
                    }
                    false => "was edited since the last sync, which the next one takes up",
                },
            );
        }
        for path in scan.vanished.iter().chain(moved) {
            add(path, "was moved or removed since the last sync, which the next one takes up");
        }
        for file in &scan.new {
            add(&file.path, "is new since the last sync, and the next one takes it up");
        }
        report.add_many(FindingKind::Edited, found, "edits that wait for the next sync");
        Ok(())
    }
}

/// Why a file that shows nothing but a text has none of the fields that its name promises.
fn problem(file: &VaultPath, shown: &View) -> Option<Problem> {
    let format = Format::of_path(file.as_str());
    let Document { layout: None, fields, body: Some(body) } = to_document(shown) else {
        return None;
    };
    let is_whole = format != Format::Text && fields.is_empty();
    is_whole.then(|| parse(format, &body).problem).flatten()
}
