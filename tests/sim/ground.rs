//! What the storage holds, looked at past all faults.

use std::collections::BTreeMap;

use larder::{
    merge::join,
    model::Entity,
    remote::{Fetched, Manifest, layout, take_whole},
};
use larder_providers::{Memory, RemotePath};

use super::oracle::{Log, States};

/// The remote as it really is.
#[derive(Debug)]
pub(crate) struct Ground {
    pub(crate) manifest: Manifest,
    pub(crate) states: States,
}

/// Reads the remote; nothing before it was made. The head has to name only files that are there and
/// whole, and to know only edits that they hold.
pub(crate) fn look(memory: &Memory) -> Result<Option<Ground>, String> {
    let files = memory.files();
    let Some(manifest) = manifest(&files)? else { return Ok(None) };
    let mut states = States::new();
    let mut folded = Vec::new();
    for data in manifest.data() {
        let name = data.file.as_str();
        let bytes = files.get(&data.file).ok_or(format!("the head names {name}: it is gone"))?;
        let entities = take_whole(data, bytes.clone()).and_then(Fetched::all);
        let entities = entities.map_err(|why| format!("the head names {name}: {why}"))?;
        for entity in entities {
            let joined = states.get(&entity.id).map(|known| join(known, &entity));
            states.insert(entity.id.clone(), joined.unwrap_or(entity));
        }
        folded.extend(data.up_to.as_ref().map(|up_to| (up_to, states.clone())));
    }
    for (up_to, before) in folded {
        let is_lacking = |state: &&Entity| {
            up_to.includes(&state.seen()) && before.get(&state.id).is_none_or(|b| b != *state)
        };
        if let Some(state) = states.values().find(is_lacking) {
            return Err(format!("a run claims all up to {up_to:?} and lacks {}", state.id));
        }
    }
    Ok(Some(Ground { manifest, states }))
}

fn manifest(files: &BTreeMap<RemotePath, bytes::Bytes>) -> Result<Option<Manifest>, String> {
    let read = |name: &str| {
        let path = RemotePath::new(name).map_err(|error| error.to_string())?;
        let bytes = files.get(&path).ok_or(format!("{name} is gone"))?;
        Manifest::decode(name, bytes).map_err(|error| error.to_string())
    };
    let mut tokens: Vec<&str> = files
        .keys()
        .filter_map(|path| path.as_str().strip_prefix(layout::HEAD)?.strip_prefix('/'))
        .collect();
    if tokens.is_empty() {
        let meta = RemotePath::new(layout::META).map_err(|error| error.to_string())?;
        let is_manifest =
            |bytes: &bytes::Bytes| String::from_utf8_lossy(bytes).contains("\"knows\"");
        let is_there = files.get(&meta).is_some_and(is_manifest);
        return if is_there { read(layout::META).map(Some) } else { Ok(None) };
    }
    tokens.sort_by_key(|token| std::cmp::Reverse(generation(token)));
    let mut joined: Option<Manifest> = None;
    for token in tokens.into_iter().filter(|token| generation(token) > 0) {
        let manifest = read(&format!("{}/{token}.json", layout::MANIFESTS))?;
        match &mut joined {
            None => joined = Some(manifest),
            Some(joined) => joined.join(&manifest),
        }
    }
    Ok(joined)
}

fn generation(token: &str) -> u64 {
    token.split('-').next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// Edits that somebody claims to know and has not.
pub(crate) fn unfounded_claims(
    who: &str,
    knows: &larder::model::VersionVector,
    states: &States,
    log: &Log,
) -> Option<String> {
    if log.dots_are_doubtful {
        return None;
    }
    let is_hollow = |edit: &&super::oracle::Edit| {
        let dot = &edit.dots[0];
        knows.covers(dot) && !states.get(&edit.entity).is_some_and(|state| state.covers(dot))
    };
    let edit = log.edits.iter().find(is_hollow)?;
    Some(format!("{who} claims to know {:?} of {} and has it not", edit.dots, edit.entity))
}
