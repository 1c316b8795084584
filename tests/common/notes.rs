//! Notes as people have them, made from a seed.

use std::{collections::BTreeMap, fs, path::Path};

use super::{Text, tree};

/// The folder of notes that real programs wrote in odd ways.
const ODD: &str = "fixtures/vaults/odd";

/// As many notes, with the odd ones of the fixtures among them.
pub(crate) fn notes(seed: u64, count: usize) -> BTreeMap<String, Text> {
    let mut random = fastrand::Rng::with_seed(seed);
    let odd = tree(&Path::new(env!("CARGO_MANIFEST_DIR")).join(ODD));
    let mut notes: BTreeMap<String, Text> =
        odd.into_iter().map(|(path, text)| (format!("odd/{path}"), text)).collect();
    let mut number = 0;
    while notes.len() < count {
        let path = format!("folder {}/Note {number} – ü.md", number % 23);
        notes.insert(path, Text(note(&mut random, number).into_bytes()));
        number += 1;
    }
    notes
}

/// Puts notes into a folder.
pub(crate) fn write_all(root: &Path, notes: &BTreeMap<String, Text>) {
    for (path, text) in notes {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, &text.0).unwrap();
    }
}

/// The key of the front matter that edits of the test change; every note has it.
pub(crate) const RATING: &str = "rating:";

/// The word of the body that edits of the test change; every note has it once.
pub(crate) const WORD: &str = "changeable";

/// One note: every part of it is drawn, so that a thousand of them have about every combination.
fn note(random: &mut fastrand::Rng, number: usize) -> String {
    let mut head: Vec<String> = (0..random.usize(1..6)).map(|n| entry(random, n)).collect();
    head.push(rating(random));
    random.shuffle(&mut head);
    let mut text = format!("---\n{}---\n", head.concat());
    for paragraph in 0..random.usize(1..8) {
        text.push_str(&body(random, number, paragraph));
    }
    text.push_str(&format!("The {WORD} word of note {number} stands here.\n\n"));
    text.push_str(&body(random, number, 9));
    if random.u8(..10) == 0 {
        text.truncate(text.trim_end().len());
    }
    match random.u8(..10) {
        0 => text.replace('\n', "\r\n"),
        1 => format!("\u{feff}{text}"),
        2 => format!("\u{feff}{}", text.replace('\n', "\r\n")),
        _ => text,
    }
}

fn rating(random: &mut fastrand::Rng) -> String {
    let spellings =
        ["rating: 3\n", "rating:   3   # of 5\n", "rating: '3'\n", "rating: \"3\" #x\n"];
    random.choice(spellings).unwrap().to_owned()
}

/// One key with its value. No two of a note have the same key, but for the duplicates.
fn entry(random: &mut fastrand::Rng, n: usize) -> String {
    let forms = [
        "title: Brot & Käse 🧀\n",
        "tags: [a, \"b c\",   d] # flow\n",
        "list:\n- one\n-   two # second\n- three\n",
        "list:\n    - one\n\n    - two\n",
        "# a comment of its own\n\nnote: |\n  some\n    lines\n\n  kept\n",
        "folded: >-\n  words that are\n  folded\n",
        "base: &anchor {x: 1}\nuse: *anchor\n",
        "nested:\n  deep:\n    deeper: [1, 2]\n  other: yes\n",
        "date: 2026-11-20\n",
        "zip: 007\nnothing:\nnull: ~\n",
        "quoted: 'it''s'\n",
        "multi: \"first\n  second\"\n",
        "aliases: []\n\n\n",
        "twice: 1\ntwice: 2\n",
        "url: https://example.org/#top\n",
        "trailing: blanks   \n",
    ];
    let form = random.choice(forms).unwrap();
    // Numbered, so that a form that comes twice makes no duplicate key.
    let mut text = String::new();
    for line in form.split_inclusive('\n') {
        let is_key = line.starts_with(|c: char| c.is_ascii_lowercase());
        match line.split_once(':').filter(|_| is_key) {
            Some((key, rest)) => text.push_str(&format!("{key}{n}:{rest}")),
            None => text.push_str(line),
        }
    }
    text.replace("anchor", &format!("anchor{n}"))
}

fn body(random: &mut fastrand::Rng, number: usize, paragraph: usize) -> String {
    let forms = [
        "Some words about nothing in particular, and then some more of them.\n\n",
        "# A heading\n\n* one\n* two\n\t* three\n\n",
        "```rust\nfn main() {\n\tprintln!(\"---\");\n}\n```\n\n",
        "👩‍👩‍👧 emoji and e\u{301} and ﬁ, \u{200b}unseen.\n\n",
        "---\n\nA rule above, and `---` within.\n\n",
        "| a | b |\n|---|---|\n| 1 | 2 |\n\n\n\n",
        "A line with two blanks at its end.  \nAnd the next.\n\n",
    ];
    format!("{number}.{paragraph} {}", random.choice(forms).unwrap())
}
