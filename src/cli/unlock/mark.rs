//! The mark on a vault that tells which of its remotes are encrypted: it outlives the replica.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Write as _,
    path::Path,
};

use anyhow::Context;

use crate::{
    cli::error::CliError,
    model::{RemoteId, path::CONTROL_DIR},
};

/// The file that tells which remotes of a vault are encrypted: an id on each line, and after it what tells
/// the remote's key from any other, if that is known.
const REMEMBERED: &str = "encrypted";

type Marks = BTreeMap<String, Option<String>>;

/// The ids of the remotes of a vault that are encrypted.
pub(super) fn remembered(root: &Path) -> Result<BTreeSet<String>, CliError> {
    Ok(load(root)?.into_keys().collect())
}

pub(super) fn remember(root: &Path, ids: &BTreeSet<String>) -> Result<(), CliError> {
    let before = load(root)?;
    let known = |id: &String| before.get(id).cloned().flatten();
    let now: Marks = ids.iter().map(|id| (id.clone(), known(id))).collect();
    if now == before { Ok(()) } else { store(root, &now) }
}

/// The fingerprint of the key that was seen to open a remote.
pub(super) fn fingerprint(root: &Path, id: &RemoteId) -> Result<Option<String>, CliError> {
    Ok(load(root)?.remove(id.as_str()).flatten())
}

/// Remembers that a key of this fingerprint opens a remote that is known to be encrypted.
pub(super) fn set_fingerprint(
    root: &Path,
    id: &RemoteId,
    fingerprint: &str,
) -> Result<(), CliError> {
    let mut marks = load(root)?;
    match marks.get_mut(id.as_str()) {
        Some(known) if known.as_deref() != Some(fingerprint) => {
            *known = Some(fingerprint.to_owned())
        }
        _ => return Ok(()),
    }
    store(root, &marks)
}

fn load(root: &Path) -> Result<Marks, CliError> {
    let file = root.join(CONTROL_DIR).join(REMEMBERED);
    let mark = |line: &str| match line.split_once(' ') {
        Some((id, fingerprint)) => (id.to_owned(), Some(fingerprint.to_owned())),
        None => (line.to_owned(), None),
    };
    match fs::read_to_string(&file) {
        Ok(text) => Ok(text.lines().map(mark).collect()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Marks::new()),
        Err(error) => Err(anyhow::Error::from(error).context(file.display().to_string()).into()),
    }
}

fn store(root: &Path, marks: &Marks) -> Result<(), CliError> {
    let control = root.join(CONTROL_DIR);
    let mut temp = tempfile::NamedTempFile::new_in(&control)?;
    for (id, fingerprint) in marks {
        match fingerprint {
            Some(fingerprint) => writeln!(temp, "{id} {fingerprint}")?,
            None => writeln!(temp, "{id}")?,
        }
    }
    temp.as_file().sync_all()?;
    let file = control.join(REMEMBERED);
    temp.persist(&file).map_err(|error| error.error).with_context(|| file.display().to_string())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_of_a_key_stays_as_long_as_its_remote() {
        let dir = tempfile::tempdir().unwrap();
        let (root, ids) =
            (dir.path(), |ids: &[&str]| ids.iter().map(ToString::to_string).collect());
        fs::create_dir(root.join(CONTROL_DIR)).unwrap();
        let (a, b) = (RemoteId::new("remote-a").unwrap(), RemoteId::new("remote-b").unwrap());
        set_fingerprint(root, &a, "0123").unwrap();
        assert!(remembered(root).unwrap().is_empty(), "a key marks no remote");
        remember(root, &ids(&["remote-a"])).unwrap();
        assert_eq!(fingerprint(root, &a).unwrap(), None);
        set_fingerprint(root, &a, "0123").unwrap();
        remember(root, &ids(&["remote-a", "remote-b"])).unwrap();
        assert_eq!(fingerprint(root, &a).unwrap().as_deref(), Some("0123"));
        assert_eq!(fingerprint(root, &b).unwrap(), None);
        remember(root, &ids(&["remote-b"])).unwrap();
        assert_eq!(remembered(root).unwrap(), ids(&["remote-b"]));
        assert_eq!(fingerprint(root, &a).unwrap(), None);
    }
}
