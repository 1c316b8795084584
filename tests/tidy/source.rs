//! The files of the repository, and their code without comments and strings.

use std::path::{Path, PathBuf};

/// One file; the path is relative to the repository and has forward slashes.
#[derive(Debug, Clone)]
pub(super) struct File {
    pub(super) path: String,
    pub(super) text: String,
}

/// Where the repository lies.
pub(super) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

impl File {
    pub(super) fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned() }
    }

    /// Reads one file of the repository.
    pub(super) fn read(path: &str) -> Self {
        Self::new(path, &std::fs::read_to_string(root().join(path)).unwrap())
    }

    /// Reads all Rust and Markdown files below a folder, in the order of their paths. What the
    /// build makes, what is hidden, and fixtures (foreign by intention) are left out.
    pub(super) fn all(under: &str) -> Vec<Self> {
        let mut files = Vec::new();
        let mut open = vec![root()];
        while let Some(folder) = open.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let entry = entry.unwrap();
                let name = entry.file_name().into_string().unwrap();
                if entry.file_type().unwrap().is_dir() {
                    let foreign = ["target", "fixtures"].contains(&name.as_str());
                    if !name.starts_with('.') && !foreign {
                        open.push(entry.path());
                    }
                } else if [".rs", ".md"].iter().any(|end| name.ends_with(end)) {
                    let path = entry.path();
                    let path = path.strip_prefix(root()).unwrap().to_str().unwrap();
                    files.push(path.replace('\\', "/"));
                }
            }
        }
        files.retain(|path| path.starts_with(under));
        files.sort_unstable();
        files.iter().map(|path| Self::read(path)).collect()
    }

    pub(super) fn is_rust(&self) -> bool {
        Path::new(&self.path).extension().is_some_and(|end| end == "rs")
    }

    /// Whether the whole file is test code: it lies below `tests/` or is the `tests.rs` of a module.
    pub(super) fn is_test(&self) -> bool {
        self.path.split('/').any(|part| part == "tests" || part == "tests.rs")
    }
}

/// The code of a Rust file: comments, strings and characters are blanked, so that words in them
/// are no code; every line is where it was.
#[derive(Debug, Clone)]
pub(super) struct Code {
    pub(super) path: String,
    pub(super) text: String,
}

impl Code {
    pub(super) fn with_tests(file: &File) -> Self {
        Self { path: file.path.clone(), text: blank_prose(&file.text) }
    }

    /// Blanks also every item that only a test build has.
    pub(super) fn without_tests(file: &File) -> Self {
        let mut code = Self::with_tests(file);
        for attribute in ["#[cfg(test)]", "#[cfg(any(test"] {
            while let Some(start) = code.text.find(attribute) {
                let end = item_end(&code.text, start + attribute.len());
                code.text = blanked(&code.text, start, end);
            }
        }
        code
    }

    /// The number of the line that holds a position, from 1.
    pub(super) fn line(&self, at: usize) -> usize {
        self.text[..at].matches('\n').count() + 1
    }

    /// Every place where a word stands as a word and not as a part of one.
    pub(super) fn words<'a>(&'a self, word: &'a str) -> impl Iterator<Item = usize> + 'a {
        let part = |c: char| c.is_alphanumeric() || c == '_';
        self.text.match_indices(word).map(|(at, _)| at).filter(move |at| {
            !self.text[..*at].ends_with(part) && !self.text[at + word.len()..].starts_with(part)
        })
    }
}

/// The identifier that a text starts with; empty if there is none.
pub(super) fn identifier(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    &text[..end]
}

/// Where the brace that opens at `open` is closed.
pub(super) fn closing(text: &str, open: usize) -> usize {
    let mut depth = 0;
    for (at, c) in text[open..].char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return open + at;
        }
    }
    text.len()
}

/// Where the item ends that begins at `from`: at its semicolon or with its block.
fn item_end(text: &str, from: usize) -> usize {
    match text[from..].find([';', '{']).map(|at| from + at) {
        Some(at) if text[at..].starts_with('{') => (closing(text, at) + 1).min(text.len()),
        Some(at) => at + 1,
        None => text.len(),
    }
}

fn blanked(text: &str, start: usize, end: usize) -> String {
    let blank: String =
        text[start..end].chars().map(|c| if c == '\n' { '\n' } else { ' ' }).collect();
    format!("{}{blank}{}", &text[..start], &text[end..])
}

fn blank_prose(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let word = identifier(rest);
        let prose = prose_len(rest);
        let len = prose.unwrap_or(if word.is_empty() { first.len_utf8() } else { word.len() });
        let (token, after) = rest.split_at(len);
        if prose.is_some() {
            out.extend(token.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        } else {
            out.push_str(token);
        }
        rest = after;
    }
    out
}

/// The length of the comment or literal that a text starts with, if it does.
fn prose_len(text: &str) -> Option<usize> {
    if text.starts_with("//") {
        return Some(text.find('\n').unwrap_or(text.len()));
    }
    if text.starts_with("/*") {
        return Some(block_comment_len(text));
    }
    let literal = text.trim_start_matches(['b', 'c']);
    let prefix = text.len() - literal.len();
    if prefix > 1 {
        return None;
    }
    let raw = literal.strip_prefix('r').unwrap_or(literal);
    let hashes = raw.len() - raw.trim_start_matches('#').len();
    if raw.len() < literal.len() && raw[hashes..].starts_with('"') {
        let end = format!("\"{}", "#".repeat(hashes));
        let head = prefix + 1 + hashes + 1;
        return Some(text[head..].find(&end).map_or(text.len(), |at| head + at + end.len()));
    }
    if literal.starts_with('"') {
        return Some(prefix + quoted_len(literal, '"'));
    }
    // A character, and not a lifetime: `'a'` or `'\n'`.
    let mut chars = literal.strip_prefix('\'')?.chars();
    let escaped = chars.next()? == '\\';
    (escaped || chars.next() == Some('\'')).then(|| prefix + quoted_len(literal, '\''))
}

fn quoted_len(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        if c == quote && !escaped {
            return at + 1;
        }
        escaped = c == '\\' && !escaped;
    }
    text.len()
}

fn block_comment_len(text: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < text.len() {
        if text[at..].starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if text[at..].starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return at;
            }
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

#[test]
fn comments_strings_and_characters_are_no_code() {
    let sample = concat!(
        "a // crate::x\n",
        "/* b /* c */ d */ e \"f \\\" g\" h r#\"i \" j\"# k b\"l\" m ",
        "'n' '\\'' '\"' o<'p> 'é' r#type bar\"q\"\n",
    );
    let code = Code::with_tests(&File::new("x.rs", sample));
    assert_eq!(
        code.text.split_whitespace().collect::<Vec<_>>(),
        ["a", "e", "h", "k", "m", "o<'p>", "r#type", "bar"]
    );
    assert_eq!(code.text.matches('\n').count(), 2);
}

#[test]
fn items_of_tests_are_left_out() {
    let sample = "fn a() {}\n#[cfg(test)]\nmod tests;\nfn b() {}\n#[cfg(test)]\nmod c { fn d() {} }\nfn e() {}\n";
    let code = Code::without_tests(&File::new("x.rs", sample));
    assert_eq!(code.text.split_whitespace().collect::<String>(), "fna(){}fnb(){}fne(){}");
    assert_eq!(code.line(code.text.find("fn e").unwrap()), 7);
    assert!(File::new("src/merge/tests.rs", "").is_test() && !File::new("src/a.rs", "").is_test());
}
