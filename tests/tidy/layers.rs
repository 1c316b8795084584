//! Who may use whom: arrows go downwards only.

use super::source::{Code, identifier};

/// Each room of `src/` and the rooms it may use. `model` and `digest` are plain data and pure
/// functions and open to all; the time is for those who do something.
const LAYERS: &[(&str, &[&str])] = &[
    ("digest", &[]),
    ("mutant", &[]),
    ("model", &["digest"]),
    ("clock", &["digest", "model"]),
    ("merge", &["digest", "model"]),
    ("vault", &["clock", "digest", "model"]),
    ("store", &["clock", "digest", "model"]),
    ("remote", &["clock", "digest", "model"]),
    ("seal", &["digest", "model"]),
    ("relay", &["clock", "digest", "model"]),
    ("engine", &["clock", "digest", "merge", "model", "remote", "store", "vault"]),
    ("daemon", &["clock", "digest", "engine", "model"]),
    ("server", &["clock", "daemon", "digest", "engine", "model"]),
    ("cli", &["*"]),
    ("main", &["cli"]),
    ("lib", &["*"]),
];

/// What the simulation breaks on purpose lies in every room; without it this room is empty.
const OPEN_TO_ALL: &str = "mutant";

/// Crates and calls that belong to some rooms only: what, where, and why. A room is a file or, with
/// a slash at its end, a folder.
const ROOMS: &[(&[&str], &[&str], &str)] = &[
    (&["rusqlite"], &["src/store/"], "SQL stays in the replica"),
    (&["object_store", "reqwest", "reqwest_dav"], &["providers/"], "HTTP stays in the providers"),
    (
        &["larder_providers"],
        &["src/remote/", "src/seal/", "src/engine/", "src/daemon/", "src/cli/", "src/lib.rs"],
        "the folder format and the engine are where storage is used",
    ),
    (
        &["argon2", "chacha20", "chacha20poly1305", "hkdf", "hmac", "getrandom"],
        &["src/seal/"],
        "one room encrypts",
    ),
    (
        &["println", "print", "eprintln", "eprint"],
        // Test support says which server is missing.
        &["src/cli/", "providers/src/testing/"],
        "the library has no terminal",
    ),
    (&["anyhow", "clap", "indicatif", "rpassword"], &["src/cli/", "src/main.rs"], "the edge only"),
    (
        &["Utc::now", "Local::now", "SystemTime::now"],
        &["src/clock.rs", "providers/src/clock.rs"],
        "tests own the time",
    ),
    (
        &["Instant::now"],
        &[
            "src/clock.rs",
            // How long a proof of identity is good for, and how long a lock is waited for: both are
            // spans of real time which no result rests on.
            "providers/src/webdav/auth.rs",
            "providers/src/local/write.rs",
            // Waits for servers to come up.
            "providers/src/testing/",
            // Kills processes at moments of real time.
            "src/cli/torture/",
        ],
        "tests own the time",
    ),
];

/// Finds uses of rooms that the table does not allow.
pub(super) fn breaches(code: &Code) -> Vec<String> {
    let Some(layer) = layer_of(&code.path) else {
        return Vec::new();
    };
    let Some((_, allowed)) = LAYERS.iter().find(|(name, _)| *name == layer) else {
        return vec![format!("{}: the room `{layer}` is not in the table of layers", code.path)];
    };
    uses(code)
        .into_iter()
        .filter(|(_, used)| {
            *used != layer
                && *used != OPEN_TO_ALL
                && !allowed.contains(used)
                && !allowed.contains(&"*")
        })
        .map(|(at, used)| {
            let line = code.line(at);
            if LAYERS.iter().any(|(name, _)| *name == used) {
                format!("{}:{line}: `{layer}` may not use `{used}`", code.path)
            } else {
                format!("{}:{line}: `{used}` is not a room; name the one it lies in", code.path)
            }
        })
        .collect()
}

/// Finds crates and calls outside their rooms.
pub(super) fn strays(code: &Code) -> Vec<String> {
    if !code.path.starts_with("src/") && !code.path.starts_with("providers/src/") {
        return Vec::new();
    }
    let lies_in =
        |room: &&str| code.path == **room || room.ends_with('/') && code.path.starts_with(*room);
    let mut out = Vec::new();
    for (words, rooms, reason) in ROOMS {
        if rooms.iter().any(lies_in) {
            continue;
        }
        for word in *words {
            for at in code.words(word).filter(|at| is_use(code, *at, word)) {
                let line = code.line(at);
                out.push(format!("{}:{line}: `{word}` outside {rooms:?}: {reason}", code.path));
            }
        }
    }
    out
}

/// Whether a word is used as a crate, a path or a macro, and is not the name of something else.
fn is_use(code: &Code, at: usize, word: &str) -> bool {
    let (before, after) = (&code.text[..at], &code.text[at + word.len()..]);
    let imported = before.trim_end().ends_with("use") && after.starts_with([';', ' ']);
    word.contains("::") || after.starts_with("::") || after.starts_with('!') || imported
}

/// The room that a file of the root crate lies in.
fn layer_of(path: &str) -> Option<&str> {
    let inside = path.strip_prefix("src/")?;
    Some(inside.split('/').next()?.trim_end_matches(".rs"))
}

/// Every room that is named by a path from the root of the crate, and where.
fn uses(code: &Code) -> Vec<(usize, &str)> {
    let root = if code.path == "src/main.rs" { "larder" } else { "crate" };
    let mut out = Vec::new();
    for at in code.words(root) {
        if let Some(path) = code.text[at + root.len()..].strip_prefix("::") {
            out.extend(heads(path).into_iter().map(|head| (at, head)));
        }
    }
    // `super` often enough also leads to the root.
    let depth = code.path.split('/').filter(|part| !["src", "mod.rs"].contains(part)).count();
    let chain = vec!["super"; depth].join("::");
    for at in code.words(&chain) {
        let goes_on = code.text[..at].ends_with("super::");
        if let Some(path) = code.text[at + chain.len()..].strip_prefix("::")
            && !goes_on
        {
            out.extend(heads(path).into_iter().map(|head| (at, head)));
        }
    }
    out
}

/// The first names of a path, of which a group has several: `{a::b, c::{d, e}}` has `a` and `c`.
fn heads(path: &str) -> Vec<&str> {
    let Some(group) = path.strip_prefix('{') else {
        return vec![identifier(path)];
    };
    let mut out = Vec::new();
    let (mut depth, mut starts) = (0, true);
    for (at, c) in group.char_indices() {
        match c {
            '}' if depth == 0 => break,
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => starts = true,
            _ if starts && !c.is_whitespace() => {
                out.push(identifier(&group[at..]));
                starts = false;
            }
            _ => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{super::source::File, *};

    fn found(rule: fn(&Code) -> Vec<String>, path: &str, text: &str) -> Vec<String> {
        rule(&Code::without_tests(&File::new(path, text)))
    }

    #[test]
    fn an_arrow_upwards_is_found() {
        let bad = |path, text| assert_eq!(found(breaches, path, text).len(), 1, "{path}: {text}");
        bad("src/model/a.rs", "use crate::merge::join;");
        bad("src/merge/a.rs", "fn a() { crate::store::open() }");
        bad(
            "src/store/mod.rs",
            "use crate::{\n    model::{Dot, Id},\n    remote::{Pack, Meta},\n};",
        );
        bad("src/remote/a.rs", "use super::super::store::open;");
        bad("src/store/mod.rs", "use super::engine;");
        bad("src/merge/text/diff.rs", "use crate::clock::Clock;");
        bad("src/main.rs", "fn main() { larder::engine::run() }");
        // The facade would be a way around the table.
        bad("src/vault/a.rs", "use crate::Engine;");
        bad("src/cellar/a.rs", "");
    }

    #[test]
    fn an_arrow_downwards_is_fine() {
        for (path, text) in [
            ("src/engine/a.rs", "use crate::{merge, model::Dot, store::{self, Open}};"),
            ("src/merge/text/a.rs", "use super::super::set; use crate::merge::object;"),
            ("src/cli/a.rs", "use crate::store::open;"),
            ("src/main.rs", "fn main() { larder::cli::run() }"),
            ("src/model/a.rs", "// crate::store\n#[cfg(test)]\nmod tests { use crate::store; }"),
            ("tests/a.rs", "use crate::merge;"),
        ] {
            assert_eq!(found(breaches, path, text), [""; 0], "{path}: {text}");
        }
    }

    #[test]
    fn a_stray_is_found() {
        let bad = |path, text| assert_eq!(found(strays, path, text).len(), 1, "{path}: {text}");
        bad("src/engine/a.rs", "use rusqlite::Connection;");
        bad("src/engine/a.rs", "use rusqlite as sql;");
        bad("src/remote/a.rs", "reqwest::get(url)");
        bad("src/daemon/a.rs", "fn a() { println!(\"b\") }");
        bad("providers/src/a.rs", "eprintln!()");
        bad("src/vault/a.rs", "let at = chrono::Utc::now();");
        bad("src/engine/a.rs", "let at = Instant::now();");
        bad("src/store/a.rs", "use larder_providers::Storage;");
    }

    #[test]
    fn what_is_at_home_is_no_stray() {
        for (path, text) in [
            ("src/store/schema.rs", "use rusqlite::Connection;"),
            ("src/cli/ui.rs", "println!()"),
            ("src/clock.rs", "SystemTime::now()"),
            ("src/engine/a.rs", "clock.now(); // Utc::now\nlet print = 1; sprintln!()"),
            ("tests/a.rs", "println!()"),
        ] {
            assert_eq!(found(strays, path, text), [""; 0], "{path}: {text}");
        }
    }
}
