//! What was kept, and a little that is new: every target reads its files in `fixtures/fuzz/`, and
//! some that were made of them, the same ones in every run.

use std::{
    collections::BTreeSet,
    fs,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::{Path, PathBuf},
};

use fastrand::Rng;

use crate::{TARGETS, Target, pieces::BETWEEN};

/// How many inputs are made of each file; `LARDER_FUZZ_ROUNDS` asks for another number.
const ROUNDS: usize = 24;

/// An input made of another is no longer than this.
const BYTES_MAX: usize = 64 << 10;

/// What readers of texts trip over.
const WORDS: &[&[u8]] = &[
    b"\"",
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
    b",",
    b"\n",
    b"\r\n",
    b"---\n",
    b"\0",
    b"\\",
    b"..",
    b"/",
    b"%2f",
    b"~",
    b"null",
    b"-1",
    b"1e400",
    b"9007199254740993",
    b"18446744073709551615",
    b"&#0;",
    b"\xef\xbb\xbf",
    b"\xe2\x80\x8d",
    b"e\xcc\x81",
    b"\xed\xa0\x80",
    b"<!--",
    b"]]>",
    b"#",
    b"|\n",
    b"\xff",
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/fuzz")
}

/// The files of a target with their names, in order.
fn files(target: &Target) -> Vec<(String, Vec<u8>)> {
    let listed = fs::read_dir(folder().join(target.name)).unwrap();
    let mut files: Vec<(String, Vec<u8>)> = listed
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.file_name().unwrap().to_string_lossy().into(), fs::read(path).unwrap()))
        .collect();
    files.sort();
    files
}

/// Runs a target; a panic says on which bytes it happened.
fn run(target: &Target, name: &str, data: &[u8]) {
    let ran = catch_unwind(AssertUnwindSafe(|| (target.run)(data)));
    if let Err(panic) = ran {
        eprintln!("{} on {name}: b\"{}\"", target.name, data.escape_ascii());
        resume_unwind(panic);
    }
}

/// One change: a byte, a word, a part that goes, comes twice, or comes from elsewhere.
fn change(data: &mut Vec<u8>, other: &[u8], random: &mut Rng) {
    let at = random.usize(..=data.len());
    let end = random.usize(at..=data.len()).min(at + 64);
    match random.u8(..6) {
        0 if at < data.len() => data[at] ^= 1 << random.u8(..8),
        1 => drop(data.drain(at..end)),
        2 => {
            let again = data[at..end].to_vec();
            data.splice(at..at, again);
        }
        3 => {
            let from = random.usize(..=other.len());
            let part = &other[from..random.usize(from..=other.len())];
            data.splice(at..end, part.iter().copied());
        }
        4 => drop(data.splice(at..end, WORDS[random.usize(..WORDS.len())].iter().copied())),
        _ => drop(data.splice(at..at, WORDS[random.usize(..WORDS.len())].iter().copied())),
    }
    data.truncate(BYTES_MAX);
}

fn replay(target: &Target) {
    let rounds = std::env::var("LARDER_FUZZ_ROUNDS").ok().and_then(|text| text.parse().ok());
    let rounds: usize = rounds.unwrap_or(ROUNDS);
    let files = files(target);
    let mut random = Rng::with_seed(target.name.bytes().map(u64::from).sum());
    for (name, data) in &files {
        run(target, name, data);
    }
    for (name, data) in &files {
        for round in 0..rounds {
            let mut changed = data.clone();
            for _ in 0..=random.usize(..4) {
                let (_, other) = &files[random.usize(..files.len())];
                change(&mut changed, other, &mut random);
            }
            run(target, &format!("{name}, changed in round {round}"), &changed);
        }
    }
}

/// One test for each target, so that they run beside each other.
macro_rules! targets {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                replay(crate::target(stringify!($name)).unwrap());
            }
        )*

        const TESTED: &[&str] = &[$(stringify!($name)),*];
    };
}

targets! {
    address blob data document edit entity json listing manifest names part render rules sealed
    settings text turn
}

#[test]
fn every_target_has_files_and_every_file_a_target() {
    let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
    assert_eq!(names, TESTED);
    let named: BTreeSet<String> = names.into_iter().map(str::to_owned).collect();
    let listed = fs::read_dir(folder()).unwrap();
    let kept = listed.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    assert_eq!(kept.collect::<BTreeSet<_>>(), named);
    for target in TARGETS {
        let files = files(target);
        assert!(!files.is_empty(), "{} has no files", target.name);
        assert!(files.iter().all(|(_, data)| data.len() <= BYTES_MAX), "{}", target.name);
    }
}

#[test]
fn pieces_are_what_stands_between_the_separators() {
    let mut pieces = crate::pieces::Pieces::of(b"7\xffa\xff\xffb");
    assert_eq!((pieces.number(9), pieces.text(), pieces.text()), (7, "a", ""));
    assert_eq!((pieces.next(), pieces.next()), (Some(&b"b"[..]), None));
    assert_eq!(BETWEEN, 0xff);
}
