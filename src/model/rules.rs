//! What to do when two edits did not know of each other: the vault's own rules, from `larder.toml`.

use std::collections::{BTreeMap, BTreeSet};

use globset::{Glob, GlobMatcher};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    entity::{BLOB, BODY, LAYOUT, PATH, TYPE},
    limits::{GLOB_BYTES_MAX, GLOBS_MAX, RULES_BYTES_MAX},
};

/// The type of a record that neither says its own nor matches a rule.
const DEFAULT_TYPE: &str = "note";

/// The name of the file in the vault's root that holds the rules; it is synced like any other.
pub const RULES_FILE: &str = "larder.toml";

/// How concurrent values of one field become the one that is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// The latest edit; of equal times the smaller device id.
    Newest,
    /// The earliest edit.
    Oldest,
    /// The longest text.
    Longest,
    /// The shortest text.
    Shortest,
    /// The highest number.
    Highest,
    /// The lowest number.
    Lowest,
    /// The earliest date.
    Earliest,
    /// The latest date.
    Latest,
    /// All elements of all lists, less those that somebody removed.
    Union,
    /// A value that says "done".
    DoneWins,
    /// Merged by lines, then by words.
    Text,
    /// The sum of what everybody added.
    Counter,
    /// The first value stays.
    Immutable,
    /// The field keeps its last agreed value until a person decides.
    Manual,
    /// Merged key by key.
    Nested,
    /// Merged by lines; where that cannot be, the newest. Only for [`LAYOUT`].
    #[serde(skip)]
    Layout,
    /// The newest; what it beats gets a record of its own. Only for [`BLOB`].
    #[serde(skip)]
    Blob,
}

/// What happens to a record that was edited on both sides, before any rule of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// Field by field.
    #[default]
    Merge,
    /// The side with the latest edit, whole.
    NewestWins,
    /// Every field edited on both sides waits for a person.
    Manual,
    /// The device that meets the conflict keeps its own side.
    LocalWins,
    /// The device that meets the conflict takes the other side.
    RemoteWins,
}

/// What a deletion does to an edit that it had not seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeleteRule {
    /// The edit brings the record back.
    EditWins,
    /// The record stays deleted; the edit is kept in history.
    DeleteWins,
    /// Whichever was later.
    Newest,
}

/// The rules of one type.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub struct TypeRules {
    /// The type's name.
    pub name: String,
    /// Globs of vault paths whose files are of this type.
    #[serde(default)]
    pub files: Vec<String>,
    /// What happens to a record edited on both sides.
    #[serde(default)]
    pub conflict: Strategy,
    /// What a deletion does to an unseen edit; by default edits win for files, deletes for others.
    #[serde(default)]
    pub delete: Option<DeleteRule>,
    /// Whether records of this type leave this device.
    #[serde(default = "yes")]
    pub sync: bool,
    /// Rules for single fields.
    #[serde(default)]
    pub fields: BTreeMap<String, Rule>,
}

fn yes() -> bool {
    true
}

/// All rules of a vault.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    types: Vec<TypeRules>,
    globs: Vec<(GlobMatcher, usize)>,
}

/// A `larder.toml` that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{RULES_FILE}: {0}")]
pub struct InvalidRules(String);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RulesFile {
    #[serde(default, rename = "type")]
    types: Vec<TypeRules>,
}

impl Rules {
    /// Reads the text of a `larder.toml`.
    pub fn parse(text: &str) -> Result<Self, InvalidRules> {
        let rules = Self::recall(text)?;
        let mut names = BTreeSet::new();
        match rules.types.iter().find(|rules| !names.insert(&rules.name)) {
            // Only one of them could be in force.
            Some(TypeRules { name, .. }) => Err(InvalidRules(format!(
                "there are two [[type]] with the name {name:?}; make one of them"
            ))),
            None => Ok(rules),
        }
    }

    /// Reads a text that was in force once: of two types of one name the first counted then, and still
    /// does, as what it keeps on this device must not leave it.
    pub fn recall(text: &str) -> Result<Self, InvalidRules> {
        if text.len() > RULES_BYTES_MAX {
            let bytes = text.len();
            return Err(InvalidRules(format!("{bytes} bytes, over {RULES_BYTES_MAX}")));
        }
        let file: RulesFile =
            toml::from_str(text).map_err(|error| InvalidRules(error.to_string()))?;
        let mut globs = Vec::new();
        for (index, rules) in file.types.iter().enumerate() {
            if !is_type_name(&rules.name) {
                let name = &rules.name;
                return Err(InvalidRules(format!(
                    "the type name {name:?} is not 1 to 64 of A-Z, a-z, 0-9, '_' and '-'"
                )));
            }
            for glob in &rules.files {
                let matcher = matcher(glob)
                    .map_err(|error| InvalidRules(format!("type {:?}: {error}", rules.name)))?;
                if globs.len() == GLOBS_MAX {
                    return Err(InvalidRules(format!("more than {GLOBS_MAX} globs")));
                }
                globs.push((matcher, index));
            }
        }
        Ok(Self { types: file.types, globs })
    }

    /// The type of a record: what it says itself, else by the first glob that matches its path.
    pub fn type_name(&self, own: Option<&Value>, path: Option<&str>) -> String {
        if let Some(name) = own.and_then(Value::as_str).filter(|name| is_type_name(name)) {
            return name.to_owned();
        }
        let by_path = path.and_then(|path| {
            let (_, index) = self.globs.iter().find(|(glob, _)| glob.is_match(path))?;
            self.types.get(*index)
        });
        by_path.map_or_else(|| DEFAULT_TYPE.to_owned(), |rules| rules.name.clone())
    }

    /// The rule for a field, by the type's own rules or by the shape of its concurrent values.
    pub fn field<'a>(
        &self,
        type_name: &str,
        field: &str,
        values: impl IntoIterator<Item = &'a Value>,
    ) -> Rule {
        let own = self.of(type_name).and_then(|rules| rules.fields.get(field));
        match field {
            LAYOUT => Rule::Layout,
            BLOB => Rule::Blob,
            // A path or a type that nobody chose would be nobody's.
            PATH | TYPE => Rule::Newest,
            _ if own.is_some() => own.copied().unwrap_or(Rule::Newest),
            BODY => Rule::Text,
            _ => by_shape(values),
        }
    }

    /// What happens to a record of this type that was edited on both sides.
    pub fn strategy(&self, type_name: &str) -> Strategy {
        self.of(type_name).map_or(Strategy::Merge, |rules| rules.conflict)
    }

    /// What a deletion does to an unseen edit of a record of this type.
    pub fn delete(&self, type_name: &str, is_file: bool) -> DeleteRule {
        let default = if is_file { DeleteRule::EditWins } else { DeleteRule::DeleteWins };
        self.of(type_name).and_then(|rules| rules.delete).unwrap_or(default)
    }

    /// Whether records of this type leave this device.
    pub fn syncs(&self, type_name: &str) -> bool {
        self.of(type_name).is_none_or(|rules| rules.sync)
    }

    fn of(&self, type_name: &str) -> Option<&TypeRules> {
        self.types.iter().find(|rules| rules.name == type_name)
    }
}

/// Compiles a glob. One of a length without measure would panic there.
fn matcher(glob: &str) -> Result<GlobMatcher, String> {
    if glob.len() > GLOB_BYTES_MAX {
        return Err(format!("a glob of {} bytes, over {GLOB_BYTES_MAX}", glob.len()));
    }
    Ok(Glob::new(glob).map_err(|error| error.to_string())?.compile_matcher())
}

/// Without a rule of their own lists are united and objects merged key by key, for that keeps what
/// both sides did; anything else has to be one or the other.
fn by_shape<'a>(values: impl IntoIterator<Item = &'a Value>) -> Rule {
    let (mut lists, mut objects, mut others) = (false, false, false);
    for value in values {
        match value {
            Value::Array(_) => lists = true,
            Value::Object(_) => objects = true,
            _ => others = true,
        }
    }
    match (lists, objects, others) {
        (true, false, false) => Rule::Union,
        (false, true, false) => Rule::Nested,
        _ => Rule::Newest,
    }
}

/// Whether a type may be called so.
pub fn is_type_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const RULES: &str = r#"
        [[type]]
        name = "task"
        files = ["tasks/**"]
        delete = "delete_wins"
        [type.fields]
        status = "done_wins"

        [[type]]
        name = "secret"
        files = ["*.secret.md"]
        conflict = "newest_wins"
        sync = false
    "#;

    #[test]
    fn the_record_names_its_type_before_the_globs() {
        let rules = Rules::parse(RULES).unwrap();
        assert_eq!(rules.type_name(None, Some("tasks/a/b.md")), "task");
        assert_eq!(rules.type_name(Some(&json!("contact")), Some("tasks/a.md")), "contact");
        assert_eq!(rules.type_name(Some(&json!("bad type")), Some("a.md")), "note");
        assert!(!rules.syncs("secret") && rules.syncs("note"));
        assert_eq!(rules.delete("task", true), DeleteRule::DeleteWins);
        assert_eq!(rules.delete("note", true), DeleteRule::EditWins);
    }

    #[test]
    fn a_field_without_a_rule_goes_by_its_shape() {
        let rules = Rules::parse(RULES).unwrap();
        assert_eq!(rules.field("task", "status", [&json!("open")]), Rule::DoneWins);
        assert_eq!(rules.field("note", "tags", [&json!([1]), &json!([])]), Rule::Union);
        assert_eq!(rules.field("note", "tags", [&json!([1]), &json!("a")]), Rule::Newest);
        assert_eq!(rules.field("note", "geo", [&json!({})]), Rule::Nested);
        assert_eq!(rules.field("note", "body", [&json!("x")]), Rule::Text);
    }

    #[test]
    fn says_what_is_wrong() {
        let error = |text| Rules::parse(text).unwrap_err().to_string();
        assert!(error("[[type]]\nname='x'\n[type.fields]\na='newer'").contains("newer"));
        assert!(error("[[type]]\nname='a b'").contains("type name \"a b\""));
        assert!(error("[[type]]\nname='x'\nfiles=['a{']").starts_with("larder.toml: type \"x\""));
        assert!(error("[[typ]]\nname='x'").contains("typ"));
        let twice = error("[[type]]\nname='x'\n[[type]]\nname='y'\n[[type]]\nname='x'\nsync=false");
        assert_eq!(
            twice,
            "larder.toml: there are two [[type]] with the name \"x\"; make one of them"
        );
        let before = Rules::recall("[[type]]\nname='x'\nsync=false\n[[type]]\nname='x'").unwrap();
        assert!(!before.syncs("x"));
    }

    #[test]
    fn rules_without_measure_are_refused() {
        let error = |text: &str| Rules::parse(text).unwrap_err().to_string();
        let files = |globs: &str| format!("[[type]]\nname='x'\nfiles=[{globs}]");
        let long = error(&files(&format!("'{}'", "?".repeat(1025))));
        assert_eq!(long, "larder.toml: type \"x\": a glob of 1025 bytes, over 1024");
        assert!(Rules::parse(&files(&format!("'{}'", "?".repeat(1024)))).is_ok());
        assert!(error(&files(&"'a',".repeat(1001))).ends_with("more than 1000 globs"));
        assert!(error(&"#".repeat((64 << 10) + 1)).ends_with("65537 bytes, over 65536"));
    }
}
