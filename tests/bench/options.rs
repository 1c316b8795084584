//! What can be chosen.

use std::path::PathBuf;

use clap::Parser;

/// Runs larder and its peers on the same notes and the same server, and writes what it cost.
#[derive(Debug, Parser)]
#[command(name = "cargo bench --bench peers --", disable_version_flag = true)]
pub(crate) struct Options {
    /// How many notes; several numbers with commas between them [default: 1000,10000,100000].
    #[arg(long, value_delimiter = ',', value_name = "N")]
    notes: Vec<usize>,

    /// How long each request is held back, in ms; several with commas [default: 0,50].
    #[arg(long, value_delimiter = ',', value_name = "MS")]
    delay: Vec<u64>,

    /// How often everything is run [default: 3].
    #[arg(long, value_name = "N")]
    runs: Option<usize>,

    /// Only these peers, by the first word of their names [default: all that are installed].
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    pub(crate) peers: Vec<String>,

    /// Also run larder alone, in one process, on the memory provider, with so many records.
    #[arg(long, value_name = "N")]
    pub(crate) alone: Option<usize>,

    /// Keep the figures of the last time for everything that is not run now.
    #[arg(long)]
    pub(crate) add: bool,

    /// Run nothing and write the tables anew from the figures of the last time.
    #[arg(long)]
    pub(crate) tables: bool,

    /// Write the tables into this file, between its markers; - for standard output
    /// [default: docs/benchmarks.md, with --quick -].
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,

    /// See in less than a minute whether everything works: 200 notes, no delay, once.
    #[arg(long)]
    quick: bool,

    /// Fail if larder needs more requests, bytes or memory than it promises.
    #[arg(long)]
    pub(crate) hold: bool,

    /// Given by cargo.
    #[arg(long, hide = true)]
    pub(crate) bench: bool,
}

impl Options {
    /// How many notes there are to be, one number after the other.
    pub(crate) fn notes(&self) -> Vec<usize> {
        let (quick, usual) = (&[200][..], &[1000, 10_000, 100_000][..]);
        // Who asks for larder alone asks for nothing else.
        let usual = if self.alone.is_some() { &[] } else { usual };
        chosen(&self.notes, if self.quick { quick } else { usual })
    }

    /// How long requests are held back, in ms.
    pub(crate) fn delay(&self) -> Vec<u64> {
        chosen(&self.delay, if self.quick { &[0] } else { &[0, 50] })
    }

    /// How often everything is run.
    pub(crate) fn runs(&self) -> usize {
        self.runs.unwrap_or(if self.quick { 1 } else { 3 })
    }

    /// The file for the tables; none is standard output.
    pub(crate) fn out(&self) -> Option<PathBuf> {
        match &self.out {
            Some(out) if out.as_os_str() == "-" => None,
            Some(out) => Some(out.clone()),
            None if self.quick => None,
            None => Some(PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/benchmarks.md"))),
        }
    }
}

fn chosen<T: Copy>(given: &[T], otherwise: &[T]) -> Vec<T> {
    if given.is_empty() { otherwise.to_vec() } else { given.to_vec() }
}
