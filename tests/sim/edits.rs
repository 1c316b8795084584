//! What people do to records by command and to databases by copying.

use std::fs;

use larder::{
    engine::{At, Keep},
    merge::view,
    model::{EntityId, View},
};
use serde_json::{Map, Value, json};

use super::{
    deeds::short,
    oracle::States,
    promise::{Promise, Verdict},
    replica::{Death, Home},
    world::{TYPES, World},
};

impl World {
    /// One command of one person.
    pub(crate) fn edit(&mut self, index: usize, dies: bool) -> Verdict {
        let before = self.replicas[index].states();
        let number = self.random.usize(..self.shape.entities);
        let id = EntityId::new(format!("e{number}")).unwrap();
        if dies {
            self.replicas[index].arm(Death::Commit(0));
        }
        let exists = before.contains_key(&id);
        let (what, result) = match self.random.u8(0..20) {
            0..3 if exists => ("remove", self.replicas[index].engine().remove(&id).map(|()| id)),
            3 if exists => {
                let at = match self.random.u8(0..3) {
                    0 => At::Before,
                    _ => At::Version(self.random.u64(1..6)),
                };
                ("restore", self.replicas[index].engine().restore(&id, at).map(|_| id))
            }
            4..7 => ("resolve", self.resolve(index, id)),
            _ => {
                let type_name = TYPES[(number + self.shape.shift) % TYPES.len()];
                let rules = self.replicas[index].peek().rules();
                let old = before.get(&id).map(|state| view(state, rules));
                let fields = self.fields(old.as_ref());
                let engine = self.replicas[index].engine();
                ("put", engine.put(type_name, Some(id.as_str()), fields))
            }
        };
        let (device, states) = (self.replicas[index].device(), self.replicas[index].states());
        let named = result.as_ref().map(|id| format!("{id} to {:?}", states.get(id)));
        let named = named.unwrap_or_else(|error| error.to_string());
        self.tell(format!("{index} ({device}) {what}s {named}"));
        if result.is_ok() {
            self.log.note((index, self.step), &device, (&before, &states), false);
        } else if before != states {
            let text = format!("{what} failed and changed something: {}", short(&result));
            return Err(Promise::NoHelp.broken(text));
        }
        if self.replicas[index].disarm() {
            self.reopen(index);
        }
        Ok(())
    }

    /// Somebody sets the title of a record and nothing else.
    pub(crate) fn edit_title(&mut self, index: usize, id: &EntityId) {
        let before = self.replicas[index].states();
        let title = json!({ "title": self.word() }).as_object().cloned().unwrap_or_default();
        let type_name = view(&before[id], self.replicas[index].peek().rules()).type_name;
        self.replicas[index].engine().put(&type_name, Some(id.as_str()), title).unwrap();
        self.log_command(index, &before, &format!("sets the title of {id}"));
    }

    /// Somebody deletes a record.
    pub(crate) fn remove(&mut self, index: usize, id: &EntityId) {
        let before = self.replicas[index].states();
        self.replicas[index].engine().remove(id).unwrap();
        self.log_command(index, &before, &format!("deletes {id}"));
    }

    pub(crate) fn log_command(&mut self, index: usize, before: &States, what: &str) {
        let (device, states) = (self.replicas[index].device(), self.replicas[index].states());
        self.tell(format!("{index} ({device}) {what}"));
        self.log.note((index, self.step), &device, (before, &states), false);
    }

    fn resolve(&mut self, index: usize, id: EntityId) -> larder::engine::Result<EntityId> {
        let found = self.replicas[index].peek().store().conflicts(false)?;
        let Some(conflict) = self.random.choice(found) else { return Ok(id) };
        let keeps = [Keep::Local, Keep::Remote, Keep::Merged, Keep::Both];
        let keep = self.random.choice(keeps).unwrap_or(Keep::Merged);
        self.replicas[index].engine().resolve(&conflict, keep).map(|()| conflict.entity)
    }

    /// New values for some fields.
    fn fields(&mut self, old: Option<&View>) -> Map<String, Value> {
        let mut fields = Map::new();
        for field in ["title", "body", "tags", "count", "geo"] {
            if self.random.bool() {
                let value = old.and_then(|old| old.fields.get(field)).map(|c| c.value.clone());
                fields.insert(field.to_owned(), self.value(field, value));
            }
        }
        fields
    }

    fn value(&mut self, field: &str, old: Option<Value>) -> Value {
        let word = self.word();
        match (field, old) {
            ("body", Some(Value::String(text))) => Value::from(self.rewrite(&text, &word)),
            ("body", _) => Value::from(format!("{word}\nfirst line\n")),
            ("tags", Some(Value::Array(mut list))) => {
                if self.random.bool() && !list.is_empty() {
                    list.remove(self.random.usize(..list.len()));
                }
                list.push(Value::from(word));
                Value::from(list)
            }
            // A list for some is one word for others.
            ("tags", _) if self.shape.shift > 0 && self.words.is_multiple_of(5) => word.into(),
            ("tags", _) => json!([word]),
            ("count", Some(Value::Number(n))) => json!(n.as_i64().unwrap_or(0) + 1),
            ("count", _) => json!(1),
            ("geo", Some(Value::Object(mut map))) => {
                let key = self.random.choice(["x", "y", "z"]).unwrap_or("x");
                if self.random.u8(0..4) == 0 {
                    map.remove(key)
                } else {
                    map.insert(key.into(), word.into())
                };
                Value::from(map)
            }
            ("geo", _) => json!({ "x": word }),
            ("title", _) if self.random.u8(0..6) == 0 => Value::from("done"),
            _ => Value::from(word),
        }
    }

    /// A text with a line added, changed, extended or removed.
    pub(crate) fn rewrite(&mut self, text: &str, word: &str) -> String {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let at = self.random.usize(..=lines.len());
        match self.random.u8(0..4) {
            0 if at < lines.len() => lines[at] = word.to_owned(),
            1 if at < lines.len() => lines[at] = format!("{} {word}", lines[at]),
            2 if at < lines.len() => drop(lines.remove(at)),
            _ => lines.insert(at, word.to_owned()),
        }
        let mut text = lines.join("\n");
        text.push('\n');
        text
    }

    pub(crate) fn word(&mut self) -> String {
        self.words += 1;
        format!("t{}", self.words)
    }

    /// Databases are backed up, come back, and are taken along to other devices.
    pub(crate) fn copy_about(&mut self, index: usize) {
        let Some(folder) = self.folder.as_ref().map(|folder| folder.path().to_owned()) else {
            return;
        };
        let step = self.step;
        let of_mine = self.backups.iter().position(|(owner, ..)| *owner == index);
        match (self.random.u8(0..3), of_mine) {
            (0, Some(nth)) => {
                let (_, since, copy) = self.backups.remove(nth);
                // Where one of several remotes may be missed, names may be used again that it knows.
                let is_sure = self.bound[index].len() == 1 || self.shape.is_reachable();
                let in_place = self.random.bool() && is_sure;
                let device = self.replicas[index].device();
                self.replicas[index].with_closed(|file| {
                    if !in_place {
                        // Kept open, so that the new file cannot get the number of the old.
                        let _old = fs::File::open(file).unwrap();
                        fs::rename(&copy, file).unwrap();
                        return;
                    }
                    fs::copy(&copy, file).unwrap();
                });
                self.log.went_back(index, since, device);
                if in_place {
                    // The backup may be from a life before.
                    let device = self.replicas[index].device();
                    self.log.went_back(index, since, device);
                }
                self.reopen(index);
                self.tell(format!("{index} goes back to step {since}, in place: {in_place}"));
            }
            (1, _) if self.replicas.len() < 5 => {
                let number = self.replicas.len();
                let home = self.home(number);
                let Home::File(copy) = home.clone() else { return };
                self.replicas[index].with_closed(|file| copy_to(file, &copy));
                self.add_replica(number, home, self.bound[index].clone());
                let device = self.replicas[index].device();
                self.log.copied(index, number, device);
                self.has_another_clock();
                self.tell(format!("{number} is a copy of {index}"));
                self.reopen(index);
            }
            _ => {
                let copy = folder.join(format!("backup{step}"));
                self.replicas[index].with_closed(|file| copy_to(file, &copy));
                self.backups.push((index, step, copy));
                self.log.backed_up(index, step);
                self.tell(format!("a backup of {index} is made"));
                self.reopen(index);
            }
        }
    }
}

fn copy_to(file: &std::path::Path, copy: &std::path::Path) {
    fs::copy(file, copy).unwrap();
}
