//! Hostile input for everything in larder that reads what others wrote.
//!
//! A target takes any bytes, and panics if larder does not keep what it promises of them. libFuzzer
//! looks for such bytes (`main.rs`); `cargo test` tries those that were kept in `fixtures/fuzz/` and
//! some more (`replay.rs`). `docs/testing.md` says how to run them.

#![allow(clippy::disallowed_methods, reason = "files are laid out as a user would, not atomically")]

mod contents;
mod data;
mod documents;
mod listing;
mod manifests;
mod names;
mod pieces;
mod records;
#[cfg(test)]
mod replay;
mod sealed;
mod settings;
mod texts;
mod turn;

/// Something that reads what others wrote.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// What it is called, and where its files lie below `fixtures/fuzz/`.
    pub name: &'static str,
    /// Has it read these bytes; panics if a promise is broken.
    pub run: fn(&[u8]),
}

/// All targets.
pub const TARGETS: &[Target] = &[
    Target { name: "address", run: settings::address },
    Target { name: "blob", run: contents::download },
    Target { name: "data", run: data::whole },
    Target { name: "document", run: documents::file },
    Target { name: "edit", run: documents::edit },
    Target { name: "entity", run: records::entity },
    Target { name: "json", run: records::json },
    Target { name: "listing", run: listing::multistatus },
    Target { name: "manifest", run: manifests::manifest },
    Target { name: "names", run: names::names },
    Target { name: "part", run: data::part },
    Target { name: "render", run: documents::written_by_others },
    Target { name: "rules", run: settings::rules },
    Target { name: "sealed", run: sealed::files },
    Target { name: "settings", run: settings::config },
    Target { name: "text", run: texts::merge },
    Target { name: "turn", run: turn::hostile_remote },
];

/// The target of this name.
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}
