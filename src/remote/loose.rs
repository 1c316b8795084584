//! Data files that no manifest describes, a portion at a time: what they hold may be anything.

use std::{
    fmt,
    io::{self, BufRead, BufReader, Read as _},
};

use bytes::{Buf as _, Bytes};
use zstd::stream::read::Decoder;

use super::{
    codec,
    data::{PORTION_BYTES, PORTION_VALUES, values_of},
};
use crate::model::{
    Entity,
    limits::{DATA_TEXT_BYTES_MAX, ENTITY_BYTES_MAX},
};

/// What can be decoded of a data file that no manifest describes.
pub struct Loose {
    lines: Box<dyn BufRead + Send>,
}

impl fmt::Debug for Loose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loose").finish_non_exhaustive()
    }
}

impl Loose {
    /// Opens a file of this name; nothing if it does not unpack whole, or to more than a data file has.
    pub fn open(name: &str, bytes: &Bytes) -> Option<Self> {
        let all = DATA_TEXT_BYTES_MAX;
        let mut text = unpacked(name, bytes.clone())?.take(all + 1);
        let is_whole = io::copy(&mut text, &mut io::sink()).is_ok_and(|copied| copied <= all);
        let lines = unpacked(name, bytes.clone()).filter(|_| is_whole)?;
        Some(Self { lines })
    }

    /// The entities of some of the lines that follow, those that cannot be read left out; nothing after
    /// the last line.
    pub fn next_portion(&mut self) -> Option<Vec<Entity>> {
        let (mut bytes, mut values) = (0, 0);
        let mut entities = Vec::new();
        while bytes < PORTION_BYTES && values < PORTION_VALUES {
            let Some(line) = self.next_line() else { break };
            bytes += line.len();
            if let Ok(line) = str::from_utf8(&line) {
                values += values_of(line);
                entities.extend(codec::decode(line.trim_end_matches(['\r', '\n'])).ok());
            }
        }
        (bytes > 0).then_some(entities)
    }

    /// The next line with its end, or as much of it as tells that it is too long.
    fn next_line(&mut self) -> Option<Vec<u8>> {
        let mut line = Vec::new();
        let most = ENTITY_BYTES_MAX as u64 + 3;
        let read = (&mut self.lines).take(most).read_until(b'\n', &mut line).ok()?;
        if read as u64 == most && !line.ends_with(b"\n") {
            self.lines.skip_until(b'\n').ok()?;
        }
        (read > 0).then_some(line)
    }
}

fn unpacked(name: &str, bytes: Bytes) -> Option<Box<dyn BufRead + Send>> {
    if name.ends_with(".zst") {
        return Some(Box::new(BufReader::new(Decoder::new(bytes.reader()).ok()?)));
    }
    Some(Box::new(bytes.reader()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: &str = "2026-11-20T10:30:00.123Z";

    /// A record whose one field is this text of JSON.
    fn line(id: u64, value: &str) -> String {
        let sibling = format!(r#"{{"dot":"k3v9x2:{id}","at":"{AT}","value":{value}}}"#);
        format!(
            r#"{{"id":"e{id}","clock":{{"k3v9x2":[{id},1,"{AT}"]}},"fields":{{"x":[{sibling}]}}}}"#
        ) + "\n"
    }

    /// How many entities each portion has.
    fn portions(name: &str, bytes: impl Into<Bytes>) -> Option<Vec<usize>> {
        let mut loose = Loose::open(name, &bytes.into())?;
        let portion = std::iter::from_fn(|| loose.next_portion());
        Some(portion.map(|entities| entities.len()).collect())
    }

    #[test]
    fn many_values_come_in_portions() {
        let zeros = format!("[{}]", vec!["0"; 50_000].join(","));
        let text: String = (1..=5).map(|id| line(id, &zeros)).collect();
        let packed = zstd::bulk::compress(text.as_bytes(), 1).unwrap();
        assert_eq!(portions("x.jsonl.zst", packed), Some(vec![2, 2, 1]));
        assert_eq!(portions("x.json", text), Some(vec![2, 2, 1]));
    }

    #[test]
    fn much_text_comes_in_portions() {
        let long = format!("\"{}\"", "x".repeat(3 << 20));
        let text: String = (1..=5).map(|id| line(id, &long)).collect();
        assert_eq!(portions("x.json", text), Some(vec![2, 2, 1]));
    }

    #[test]
    fn a_line_that_cannot_be_read_hurts_no_other() {
        let longest = format!("\"{}\"", "x".repeat(ENTITY_BYTES_MAX));
        let (first, last) = (line(1, "1"), line(2, "2"));
        for bad in [&b"\xff\xfe\n"[..], b"{}\n", b"\r\n", line(3, &longest).as_bytes()] {
            let text = [first.as_bytes(), bad, last.as_bytes()].concat();
            let read = portions("x.json", text).unwrap();
            assert_eq!(read.iter().sum::<usize>(), 2);
        }
        let unended = first.replace('\n', "\r\n") + last.trim_end();
        assert_eq!(portions("x.json", unended), Some(vec![2]));
    }

    #[test]
    fn what_does_not_unpack_whole_is_no_data_file() {
        let text: String = (0..20_000).map(|id| line(id, "0")).collect();
        let packed = zstd::bulk::compress(text.as_bytes(), 1).unwrap();
        assert!(portions("x.jsonl.zst", packed[..packed.len() - 9].to_vec()).is_none());
        assert!(portions("x.jsonl.zst", "no frame").is_none());
        let most = usize::try_from(DATA_TEXT_BYTES_MAX).unwrap();
        for (bytes, is_fine) in [(most, true), (most + 1, false)] {
            let packed = zstd::bulk::compress(&vec![b'x'; bytes], 1).unwrap();
            assert_eq!(portions("x.jsonl.zst", packed).is_some(), is_fine);
        }
    }
}
