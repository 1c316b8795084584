//! What people do to the files of their vaults.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use larder::{
    engine::At,
    merge::view,
    model::{Entity, Rules, VaultPath},
};

use super::{
    oracle::{States, Word, collect, words_in, words_of},
    promise::{Promise, Verdict},
    replica::{Replica, Typing},
    world::World,
};

/// Rules that the files of a vault may be under, one after the other.
const LAWS: [&str; 3] = [
    "[[type]]\nname = \"task\"\nfiles = [\"sub/**\", \"c.json\"]\nconflict = \"manual\"\n",
    "[[type]]\nname = \"note\"\ndelete = \"delete_wins\"\n[type.fields]\ntitle = \"longest\"\n",
    "[[type]]\nname = \"fact\"\nfiles = [\"*.md\"]\nconflict = \"newest_wins\"\ndelete = \"newest\"\n",
];

const NAMES: [&str; 5] = ["a.md", "b.md", "sub/a.md", "c.json", "d.txt"];

impl World {
    /// One to three things that a person does to their files between two turns.
    pub(crate) fn edit_files(&mut self, index: usize) {
        for _ in 0..self.random.u8(1..4) {
            self.edit_file(index);
        }
    }

    fn vault(&self, index: usize) -> PathBuf {
        self.replicas[index].setup.vault.clone().unwrap()
    }

    fn edit_file(&mut self, index: usize) {
        let vault = self.vault(index);
        let files: Vec<String> = tree(&vault).into_keys().filter(|name| is_note(name)).collect();
        let name = self.random.choice(NAMES).unwrap_or("a.md").to_owned();
        let some = self.random.choice(files.clone()).unwrap_or_else(|| name.clone());
        let path = vault.join(&some);
        match self.random.u8(0..12) {
            0 if path.is_file() => {
                self.log.untyped.extend(words_in(&fs::read_to_string(&path).unwrap()));
                fs::remove_file(&path).unwrap();
                self.tell(format!("{index} deletes {some}"));
            }
            1 | 2 if path.is_file() && !vault.join(&name).exists() => {
                fs::create_dir_all(vault.join("sub")).unwrap();
                fs::rename(&path, vault.join(&name)).unwrap();
                self.is_in_place(index, &name);
                self.tell(format!("{index} moves {some} to {name}"));
            }
            3 if files.len() > 1 => {
                let twin = files.iter().find(|file| **file != some).unwrap();
                let other = vault.join(twin);
                let aside = vault.join("aside.tmp");
                fs::rename(&path, &aside).unwrap();
                fs::rename(&other, &path).unwrap();
                fs::rename(&aside, &other).unwrap();
                for file in [&path, &other] {
                    for word in words_in(&fs::read_to_string(file).unwrap()) {
                        self.log.swapped.entry(word).or_default().insert(index);
                    }
                }
                self.tell(format!("{index} swaps {some} and {twin}"));
            }
            4..9 if path.is_file() => self.change_file(index, &some),
            _ if !vault.join(&name).exists() && files.len() < 8 => {
                let word = self.word();
                let text = match Path::new(&name).extension().and_then(|e| e.to_str()) {
                    Some("md") => format!("---\ntitle: {word}\ntags:\n  - x\n---\nHello\nthere\n"),
                    Some("json") => format!("{{\n  \"title\": \"{word}\"\n}}\n"),
                    _ => format!("Hello\n{word}\n"),
                };
                self.save(index, &name, &text);
                self.is_in_place(index, &name);
            }
            _ => {}
        }
    }

    /// A new file lies where a record's file was. What that said is replaced, also where a turn that was
    /// cut had taken it away; if it was moved, it is in another.
    fn is_in_place(&mut self, index: usize, name: &str) {
        let store = self.replicas[index].peek().store();
        let id = store.id_of_file(&VaultPath::new(name).unwrap()).unwrap();
        let Some(record) = id.and_then(|id| store.record(&id).unwrap()) else { return };
        let there: BTreeSet<Word> =
            tree(&self.vault(index)).values().flat_map(|text| words_in(text)).collect();
        let said = record.state.fields.keys().flat_map(|field| words_of(&record.state, field));
        self.log.replaced.extend(said.filter(|word| !there.contains(word)));
    }

    /// A turn during which a person writes into a file, who knows nothing of it.
    pub(crate) async fn sync_while_typing(&mut self, index: usize, after: u64) -> Verdict {
        let texts = tree(&self.vault(index))
            .into_keys()
            .filter(|name| name.ends_with(".md") || name.ends_with(".txt"));
        if let Some(name) = self.random.choice(texts.collect::<Vec<_>>()) {
            let word = self.word();
            let file = self.vault(index).join(&name);
            let text = format!("{word}\n");
            let typing = Typing { after, file, text, is_done: false };
            self.replicas[index].set_typing(Some(typing));
            self.tell(format!("{index} adds {word} to {name} before step {after}"));
        }
        let result = self.sync(index).await;
        if let Some(typing) = self.replicas[index].set_typing(None).filter(|t| t.is_done) {
            self.log.typed.extend(words_in(&typing.text));
            self.tell("and did so");
        }
        result
    }

    fn change_file(&mut self, index: usize, name: &str) {
        let old = fs::read_to_string(self.vault(index).join(name)).unwrap();
        let word = self.word();
        let parsed: Option<serde_json::Value> = serde_json::from_str(&old).ok();
        let text =
            match (parsed, old.strip_prefix("---\n").and_then(|rest| rest.split_once("---\n"))) {
                (Some(mut value), _) if value.is_object() => {
                    let key = self.random.choice(["title", "more"]).unwrap_or("title");
                    value[key] = word.into();
                    format!("{value:#}\n")
                }
                (_, Some((front, body))) if self.random.bool() => {
                    let front: Vec<&str> =
                        front.lines().filter(|l| !l.starts_with("title")).collect();
                    format!("---\ntitle: {word}\n{}\n---\n{body}", front.join("\n"))
                }
                (_, Some((front, body))) => {
                    format!("---\n{front}---\n{}", self.rewrite(body, &word))
                }
                _ => self.rewrite(&old, &word),
            };
        let (had, has) = (words_in(&old), words_in(&text));
        self.log.untyped.extend(had.difference(&has).cloned());
        self.save(index, name, &text);
    }

    #[allow(clippy::disallowed_methods, reason = "a user does not write atomically either")]
    fn save(&mut self, index: usize, name: &str, text: &str) {
        let path = self.vault(index).join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        self.log.typed.extend(words_in(text));
        self.tell(format!("{index} writes {name}: {text:?}"));
    }

    /// Whoever has the say gives the vault new rules, twice in a story at most.
    #[allow(clippy::disallowed_methods, reason = "a user does not write atomically either")]
    pub(crate) fn give_rules(&mut self, step: usize) {
        let Some((first, which)) = self.shape.ruled.filter(|_| self.shape.vaults) else { return };
        let again = first + LAWS.len();
        if step != first && step != again {
            return;
        }
        let index = which % self.replicas.len();
        let law = (which + usize::from(step == again)) % LAWS.len();
        fs::write(self.vault(index).join("larder.toml"), LAWS[law]).unwrap();
        self.tell(format!("{index} gives rules {law}"));
    }

    /// Where rules were merged into what says nothing, each goes by the last that it could read, and who
    /// comes new by none, until somebody writes them anew; whether that was so.
    #[allow(clippy::disallowed_methods, reason = "a user does not write atomically either")]
    pub(crate) fn mend_rules(&mut self) -> bool {
        let Some((_, which)) = self.shape.ruled.filter(|_| self.shape.vaults) else { return false };
        let file = self.vault(0).join("larder.toml");
        let is_broken = fs::read_to_string(&file).is_ok_and(|text| Rules::parse(&text).is_err());
        if is_broken {
            fs::write(file, LAWS[which % LAWS.len()]).unwrap();
            self.tell("somebody mends the rules");
        }
        is_broken
    }

    /// A file that somebody deletes is gone for all, and comes back as it was.
    pub(crate) async fn delete_and_bring_back(&mut self) -> Verdict {
        let mut files = tree(&self.vault(0)).into_iter().filter(|(name, _)| is_note(name));
        let Some((name, text)) = files.next_back() else { return Ok(()) };
        let path = VaultPath::new(&name).unwrap();
        let Some(id) = self.replicas[0].peek().store().id_of_file(&path).unwrap() else {
            return Ok(());
        };
        let place = |replica: &Replica| {
            let record = replica.peek().store().record(&id).unwrap();
            record.and_then(|record| record.file)
        };
        self.tell(format!("0 deletes {name}"));
        self.log.untyped.extend(words_in(&text));
        fs::remove_file(self.vault(0).join(&name)).unwrap();
        self.come_to_rest().await?;
        let left = self.replicas.iter().filter_map(place);
        let left = left.map(|file| format!("{name} was deleted, {file:?} is there"));
        Promise::NoResurrection.holds_unless(left.collect())?;
        let present = self.replicas[0].states();
        let restored = self.replicas[0].engine().restore(&id, At::Before);
        self.log_command(0, &present, &format!("brings {name} back"));
        restored.map_err(|why| Promise::Restorable.broken(format!("{name}: {why}")))?;
        self.come_to_rest().await?;
        for (index, replica) in self.replicas.iter().enumerate() {
            let file = place(replica).map(|file| self.vault(index).join(file.as_str()));
            let back = file.and_then(|file| fs::read_to_string(file).ok());
            if back.as_ref() != Some(&text) {
                let text = format!("{name} came back to {index} as {back:?} after {text:?}");
                return Err(Promise::Restorable.broken(text));
            }
        }
        Ok(())
    }

    /// Everything that was typed and not removed by hand is in sight, waits in a conflict, or can
    /// be brought back; and all vaults hold the same files.
    pub(crate) fn judge_files(&self, states: &States) -> Verdict {
        let first = tree(&self.vault(0));
        for index in 1..self.replicas.len() {
            let other = tree(&self.vault(index));
            if first != other {
                let text = format!("0 has the files\n{first:?}\nand {index} has\n{other:?}");
                return Err(Promise::Convergence.broken(text));
            }
        }
        let mut there: BTreeSet<Word> = BTreeSet::new();
        // By default edits win: what nobody took out is in no trash.
        let rules = Rules::default();
        let counts = |state: &&Entity| {
            let shown = view(state, &rules);
            // A field that was edited elsewhere when a note became plain text is in no file.
            let is_text = shown.path().is_some_and(|path| path.ends_with(".txt"));
            self.shape.ruled.is_some() || is_text || !shown.is_deleted
        };
        for state in states.values().filter(counts) {
            there.extend(state.fields.keys().flat_map(|field| words_of(state, field)));
        }
        let past = self.settled_words();
        // A value that lost, and was then edited over in the file, is in the journal.
        let is_lost = |word: &&Word| !there.contains(*word) && !past.contains(*word);
        let lost: Vec<&Word> =
            self.log.typed.difference(&self.log.untyped).filter(is_lost).collect();
        let past = if lost.is_empty() { BTreeSet::new() } else { self.past_words() };
        let lost = lost.into_iter().filter(|word| !(past.contains(*word) && self.log.is_out(word)));
        let told = lost.map(|word| format!("{word} was typed, and nobody has it any more"));
        Promise::EditsStay.holds_unless(told.collect())
    }
}

impl World {
    /// The words of conflicts that somebody's journal has. That they are in a history is not enough:
    /// there is also what an edit took out that nobody made.
    fn settled_words(&self) -> BTreeSet<Word> {
        let mut words = BTreeSet::new();
        for replica in &self.replicas {
            for settled in replica.peek().store().conflicts(true).unwrap() {
                let values = settled.conflict.values.iter().filter_map(|v| v.content.as_ref());
                values.for_each(|content| collect(&content.value, &mut words));
            }
        }
        words
    }
}

impl World {
    /// The words in anybody's history.
    fn past_words(&self) -> BTreeSet<Word> {
        let mut words = BTreeSet::new();
        for replica in &self.replicas {
            for id in replica.states().keys() {
                for past in replica.peek().store().history(id).unwrap() {
                    let fields = past.state.fields.keys();
                    words.extend(fields.flat_map(|field| words_of(&past.state, field)));
                }
            }
        }
        words
    }

    /// Shows what a replica has, in a story that is looked at closely.
    pub(crate) fn show_closely(&mut self, index: usize, states: &States) {
        let Ok(wanted) = std::env::var("LARDER_SIM_SHOW") else { return };
        for (id, state) in states.iter().filter(|(id, _)| wanted == "all" || wanted == id.as_str())
        {
            let state = serde_json::to_string(state).unwrap();
            self.tell(format!("{index} has {id}: {state}"));
        }
        if self.shape.vaults {
            let files = tree(&self.vault(index));
            self.tell(format!("{index} has {files:?}"));
        }
    }
}

/// Whether a file is one that people write: not the rules, nor what a dead process left.
fn is_note(name: &str) -> bool {
    name != "larder.toml" && !name.contains(".larder-tmp")
}

/// The files of a folder and their text.
fn tree(folder: &Path) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().to_string_lossy().into_owned();
                files.insert(name, fs::read_to_string(&path).unwrap());
            }
        }
    }
    files
}
