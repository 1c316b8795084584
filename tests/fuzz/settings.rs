//! `larder.toml`, `config.toml`, and addresses of remotes.

use larder::{
    cli::fuzzing,
    model::{Rules, entity},
};

use crate::pieces::{Pieces, text};

/// Rules give every record a type that is one, and every field a rule, whatever its path is.
pub(crate) fn rules(data: &[u8]) {
    let mut pieces = Pieces::of(data);
    let (rules, path, field) = (pieces.text(), pieces.text(), pieces.text());
    let Ok(rules) = Rules::parse(rules) else { return };
    for path in [Some(path), Some("notes/a.md"), None] {
        let name = rules.type_name(None, path);
        assert!((1..=64).contains(&name.len()), "{name:?}");
        assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b)), "{name:?}");
        let value = path.unwrap_or_default().into();
        let _ = rules.field(&name, field, [&value]);
        let _ = (rules.strategy(&name), rules.delete(&name, true), rules.syncs(&name));
        assert_eq!(rules.field(&name, entity::PATH, []), larder::model::Rule::Newest);
    }
}

/// Settings are read as they are written.
pub(crate) fn config(data: &[u8]) {
    let Some(text) = text(data) else { return };
    let Ok(written) = fuzzing::settings(text) else { return };
    let written = written.expect("what was read can be written");
    assert_eq!(fuzzing::settings(&written), Ok(Ok(written.clone())));
}

/// An address is kept without its password, and leads to the same place when it is read again.
pub(crate) fn address(data: &[u8]) {
    let Some(text) = text(data) else { return };
    let Ok((kept, _)) = fuzzing::address(text) else { return };
    let (again, password) = fuzzing::address(&kept).expect("it was kept by larder");
    assert_eq!((again, password), (kept, None));
}
