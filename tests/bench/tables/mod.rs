//! The tables of `docs/benchmarks.md`.

mod figure;
mod growth;
pub(crate) mod machine;
pub(crate) mod targets;
mod works;

use std::{fs, path::Path};

use anyhow::Context as _;

use crate::sample::Results;

/// Between these lines of the document everything is replaced.
const BEGIN: &str = "<!-- figures: begin -->";
const END: &str = "<!-- figures: end -->";

/// Writes all tables into a document, or to standard output.
pub(crate) fn write(results: &Results, document: Option<&Path>) -> anyhow::Result<()> {
    let text = [
        results.machine.clone(),
        targets::table(results),
        growth::table(results),
        works::tables(results),
    ]
    .concat();
    let Some(path) = document else {
        println!("{text}");
        return Ok(());
    };
    let old = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let (before, rest) = old.split_once(BEGIN).context("the first marker is missing")?;
    let (_, after) = rest.split_once(END).context("the second marker is missing")?;
    fs::write(path, format!("{before}{BEGIN}\n\n{}\n\n{END}{after}", text.trim()))?;
    eprintln!("written: {}", path.display());
    Ok(())
}
