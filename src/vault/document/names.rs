//! Names of fields against keys in files.

/// Tells the field under which a key of a file is stored.
///
/// `body`, `path` and everything that starts with `$` are larder's own; a user's key of such a name
/// is stored as `$.key`, so that both can live in one entity.
pub(super) fn field_of(key: &str) -> String {
    if is_own(key) { format!("$.{key}") } else { key.to_owned() }
}

/// Tells the key under which a field is written to a file, or `None` for a field that never is.
pub(super) fn key_of(field: &str) -> Option<&str> {
    match field.strip_prefix("$.") {
        Some(key) => Some(key),
        None if is_own(field) => None,
        None => Some(field),
    }
}

/// Tells the field that the text of an entity reads as where its path ends in `.json`: no such file has
/// a text beside its object, so it stands in there, at `body` or the first key like it that is free.
pub fn field_of_text(is_taken: impl Fn(&str) -> bool) -> String {
    let numbered = (2..).map(|nth: u32| format!("body ({nth})"));
    let mut fields = std::iter::once("body".to_owned()).chain(numbered).map(|key| field_of(&key));
    fields.find(|field| !is_taken(field)).unwrap_or_default()
}

fn is_own(name: &str) -> bool {
    name == "body" || name == "path" || name.starts_with('$')
}

#[cfg(test)]
mod tests {
    use super::{field_of, key_of};

    #[test]
    fn own_names_are_escaped_and_come_back() {
        for key in ["body", "path", "$", "$deleted", "$.x", "$.$.x", "title", "", "Body"] {
            let field = field_of(key);
            assert_eq!(key_of(&field), Some(key));
            assert!(field == key || field.starts_with("$."));
        }
        assert_eq!(field_of("title"), "title");
        assert_eq!(key_of("$layout"), None);
        assert_eq!(key_of("body"), None);
    }
}
