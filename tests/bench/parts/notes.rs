//! Seeded notes of about 1.1 kB: Markdown with front matter, words of a fixed vocabulary in the
//! frequencies of prose, so that they compress as prose does. The same bytes for the same seed on
//! every machine, and the same as those of the Python generator that earlier figures were made with.

use std::{collections::BTreeSet, fs, io, path::Path};

use super::mersenne::Mersenne;

const ONSETS: &str = "b c d f g h j k l m n p r s t v w br ch cl dr fl gr pl pr sh sl sp st th tr";
const NUCLEI: &str = "a e i o u ai ea ee ou oo";
const CODAS: &str = "b ck d g k l ll m n nd ng nt p r rd rt s ss st t x";
const VOCABULARY: usize = 4000;

/// A source of notes.
#[derive(Debug)]
pub(crate) struct Notes {
    random: Mersenne,
    words: Vec<String>,
    /// Per word its own frequency and those of all words before it.
    frequencies: Vec<f64>,
}

impl Notes {
    /// The notes of a seed.
    pub(crate) fn new(seed: u32) -> Self {
        let mut random = Mersenne::new(seed);
        let mut words = vocabulary(&mut random);
        random.shuffle(&mut words);
        let mut sum = 0.0;
        let frequencies = (0..words.len()).map(|rank| {
            sum += 1.0 / (rank as f64 + 3.0);
            sum
        });
        Self { frequencies: frequencies.collect(), random, words }
    }

    /// So many words, each as often as its rank says.
    fn pick(&mut self, first: usize, last: usize) -> Vec<&str> {
        let count = self.random.within(first, last);
        let total = self.frequencies.last().copied().unwrap_or_default();
        let mut drawn = Vec::new();
        for _ in 0..count {
            let point = self.random.unit() * total;
            let rank = self.frequencies.partition_point(|sum| *sum <= point);
            drawn.push(self.words[rank.min(self.words.len() - 1)].as_str());
        }
        drawn
    }

    fn paragraph(&mut self) -> String {
        let sentences: Vec<String> = (0..self.random.within(1, 4))
            .map(|_| capitalized(&self.pick(5, 14).join(" ")) + ".")
            .collect();
        let text = sentences.join(" ");
        if self.random.unit() < 0.2 { format!("- {}", text.replace(". ", ".\n- ")) } else { text }
    }
}

impl Iterator for Notes {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        let title = capitalized(&self.pick(3, 6).join(" "));
        let tags: BTreeSet<&str> = self.pick(1, 4).into_iter().collect();
        let tags = tags.into_iter().collect::<Vec<_>>().join(", ");
        let status = *self.random.choice(&["open", "open", "waiting", "done", "someday"]);
        let updated = stamp(&mut self.random, None);
        let id = self.random.bits(128);
        let mut note = format!(
            "---\nid: {id:032x}\ntitle: {title}\ntags: [{tags}]\nstatus: {status}\nupdated: {updated}\n---\n\n"
        );
        let wanted = self.random.gauss(850.0, 200.0).max(200.0) as usize;
        let (mut paragraphs, mut size) = (Vec::new(), 0);
        while size < wanted {
            let paragraph = self.paragraph();
            size += paragraph.len() + 2;
            paragraphs.push(paragraph);
        }
        note.push_str(&paragraphs.join("\n\n"));
        note.push('\n');
        Some(note)
    }
}

/// What the file of a note is called.
pub(crate) fn name(number: usize) -> String {
    format!("note-{number:06}.md")
}

/// Writes the first `count` notes of a seed into a folder.
pub(crate) fn fill(dir: &Path, count: usize, seed: u32) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    for (number, note) in Notes::new(seed).take(count).enumerate() {
        fs::write(dir.join(name(number)), note)?;
    }
    Ok(())
}

/// Edits so many of the notes in a folder of `count`: a later date, and a line at the end.
pub(crate) fn touch(dir: &Path, count: usize, edits: usize, seed: u32) -> io::Result<()> {
    let mut random = Mersenne::new(seed);
    for number in random.sample(count, edits) {
        let path = dir.join(name(number));
        let note = edited(&fs::read_to_string(&path)?, &mut random, seed);
        fs::write(path, note)?;
    }
    Ok(())
}

/// A note after one more edit.
pub(crate) fn edited(note: &str, random: &mut Mersenne, seed: u32) -> String {
    const UPDATED: &str = "\nupdated: ";
    let (before, after) = note.split_once(UPDATED).unwrap_or((note, ""));
    let rest = after.split_once('\n').map_or("", |(_, rest)| rest);
    let updated = stamp(random, Some(11));
    format!("{before}{UPDATED}{updated}\n{rest}\nEdited {seed} {:x}.\n", random.bits(40))
}

fn stamp(random: &mut Mersenne, month: Option<usize>) -> String {
    let month = month.unwrap_or_else(|| random.within(1, 9));
    let day = random.within(1, 28);
    let (hour, minute) = (random.within(0, 23), random.within(0, 59));
    format!("2026-{month:02}-{day:02}T{hour:02}:{minute:02}:{:02}Z", random.within(0, 59))
}

fn vocabulary(random: &mut Mersenne) -> Vec<String> {
    let split = |text: &'static str| text.split(' ').collect::<Vec<_>>();
    let (onsets, nuclei, codas) = (split(ONSETS), split(NUCLEI), split(CODAS));
    let mut words = BTreeSet::new();
    while words.len() < VOCABULARY {
        let mut word = String::new();
        for _ in 0..*random.choice(&[1, 1, 2, 2, 2, 3]) {
            word.push_str(random.choice::<&str>(&onsets));
            word.push_str(random.choice::<&str>(&nuclei));
            if random.unit() < 0.6 {
                word.push_str(random.choice::<&str>(&codas));
            }
        }
        words.insert(word);
    }
    words.into_iter().collect()
}

fn capitalized(text: &str) -> String {
    let (first, rest) = text.split_at(text.len().min(1));
    first.to_uppercase() + rest
}
