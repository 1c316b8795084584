//! Somebody who can write to the remote and means harm.

use std::{fs, path::Path, sync::Arc};

use larder::mutant::{Mutant, breaks, broken};
use serde_json::json;

use super::{
    promise::{Promise, Verdict},
    replica::{Home, Replica, Setup},
    world::World,
};

/// Where somebody would like a file to be written.
const PATHS: [&str; 9] = [
    "../outside.md",
    "sub/../../outside.md",
    "vault/../../outside.txt",
    ".larder/replica.db",
    "sub/.larder/more.md",
    ".git/config",
    "C:outside.md",
    "..\\outside.md",
    ".larder-tmp-dead",
];

/// How far ahead their clock is.
const AHEAD_MS: i64 = 3 * 365 * 24 * 60 * 60 * 1000;

/// The number of their replica; nobody else has it.
const NUMBER: usize = 66;

impl World {
    /// A record that no larder would make comes to the remote.
    pub(crate) async fn plant(&mut self) {
        let mut harmful = match self.harmful.take() {
            Some(harmful) => harmful,
            None => self.who_means_harm(),
        };
        let path = self.random.choice(PATHS).unwrap_or("../outside.md");
        let fields = json!({ "path": path, "title": "harm", "body": "harm\n" });
        // Theirs checks no path, and has no files.
        let before = broken();
        breaks(Some(Mutant::AnyPath));
        let put = harmful.engine().put("note", None, fields.as_object().cloned().unwrap());
        breaks(before);
        self.tell(format!("somebody puts {path}: {put:?}"));
        if harmful.ways().is_empty() {
            // By an old answer it could make another remote in the place of this one.
            self.set_calm(true);
            self.pass(0);
            let storage = harmful.storages()[0].clone();
            drop(harmful.engine().connect(&storage, Some(self.shape.mode)).await);
            self.set_calm(false);
        }
        drop(harmful.turn().await);
        self.harmful = Some(harmful);
    }

    fn who_means_harm(&mut self) -> Replica {
        let setup = Setup {
            number: NUMBER,
            seed: self.shape.faults.seed ^ NUMBER as u64,
            home: Home::Memory,
            vault: None,
            rules: "",
            patient: false,
            manners: self.shape.manners,
        };
        let skew_ms = Arc::new(AHEAD_MS.into());
        let line = self.places[0].line(NUMBER, &self.time, &skew_ms);
        Replica::new(setup, &[line], &self.time, skew_ms)
    }

    /// Nothing is written but into vaults, and there nothing where larder or others keep their own.
    pub(crate) fn check_harmless(&self) -> Verdict {
        let Some(folder) = self.folder.as_ref().filter(|_| self.harmful.is_some()) else {
            return Ok(());
        };
        let names = |folder: &Path| {
            let names = fs::read_dir(folder).into_iter().flatten();
            names.map(|entry| entry.unwrap().path().display().to_string()).collect::<Vec<_>>()
        };
        let is_vault = |path: &String| {
            self.replicas
                .iter()
                .any(|replica| replica.setup.vault.as_deref() == Some(Path::new(path)))
        };
        let mut found = names(folder.path());
        found.retain(|path| !is_vault(path));
        for vault in self.replicas.iter().filter_map(|replica| replica.setup.vault.as_ref()) {
            found.extend([".larder", ".git"].iter().flat_map(|kept| names(&vault.join(kept))));
        }
        Promise::Harmless.holds_unless(found)
    }
}
