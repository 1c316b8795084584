//! Rules for the repository as a whole.

use std::collections::BTreeSet;

use super::source::{Code, File, identifier};

/// Two cores build this. Whoever needs more raises the cap in the same commit and says what for.
const PACKAGES_MAX: usize = 430;

/// Finds Rust files beside or below a crate's root file that no `mod` leads to: the compiler does
/// not see them, so nobody notices that they do nothing. A file below several of the roots belongs
/// to the one that lies deepest.
pub(super) fn forgotten(files: &[File], roots: &[&str]) -> Vec<String> {
    let folder = |root: &str| format!("{}/", root.rsplit_once('/').map_or("", |(above, _)| above));
    let home = |file: &File| {
        let above = roots.iter().filter(|root| file.path.starts_with(&folder(root)));
        above.max_by_key(|root| folder(root).len()).copied()
    };
    let mut out = Vec::new();
    for root in roots {
        let reached = reached(files, root);
        let own = files.iter().filter(|file| file.is_rust() && home(file) == Some(root));
        let lost = own.filter(|file| !reached.contains(&file.path));
        out.extend(lost.map(|file| format!("{}: not reachable from {root}", file.path)));
    }
    out
}

/// The files that a root file leads to.
fn reached(files: &[File], root: &str) -> BTreeSet<String> {
    let folder = root.rsplit_once('/').map_or("", |(folder, _)| folder);
    let find = |path: &str| files.iter().find(|file| file.path == path);
    let mut reached = BTreeSet::from([root.to_owned(), format!("{folder}/main.rs")]);
    let mut open = vec![(root.to_owned(), folder.to_owned())];
    while let Some((path, home)) = open.pop() {
        let Some(file) = find(&path) else { continue };
        let code = Code::with_tests(file);
        for at in code.words("mod") {
            let name = identifier(code.text[at + 3..].trim_start());
            let home = format!("{home}/{name}");
            for path in [format!("{home}.rs"), format!("{home}/mod.rs")] {
                if find(&path).is_some() && reached.insert(path.clone()) {
                    open.push((path, home.clone()));
                }
            }
        }
    }
    reached
}

/// Finds code that says of itself that it is not finished, and tests that are parked.
pub(super) fn undone(code: &Code) -> Vec<String> {
    let mut out = Vec::new();
    for words in ["todo!(", "unimplemented!(", "#[ignore"] {
        for (at, _) in code.text.match_indices(words) {
            out.push(format!("{}:{}: `{words}`", code.path, code.line(at)));
        }
    }
    out
}

/// Counts the packages in a lock file.
pub(super) fn too_many_packages(lock: &str) -> Vec<String> {
    let count = lock.lines().filter(|line| *line == "[[package]]").count();
    let over = count > PACKAGES_MAX || count == 0;
    over.then(|| format!("Cargo.lock: {count} packages, {PACKAGES_MAX} at most"))
        .into_iter()
        .collect()
}

/// Finds links between documents that lead nowhere; addresses on the web are not visited.
pub(super) fn broken_links(files: &[File], exists: impl Fn(&str) -> bool) -> Vec<String> {
    let mut out = Vec::new();
    for file in files.iter().filter(|file| file.path.ends_with(".md")) {
        for (line, target) in links(&file.text) {
            let path = target.split('#').next().unwrap_or_default();
            let on_the_web = path.contains(':');
            if !path.is_empty() && !on_the_web && !exists(&resolved(&file.path, path)) {
                out.push(format!("{}:{line}: the link to {path} leads nowhere", file.path));
            }
        }
    }
    out
}

/// The targets of all links, `[text](target)` or `[name]: target`, outside of code.
fn links(text: &str) -> Vec<(usize, &str)> {
    let mut out = Vec::new();
    let mut fenced = false;
    for (at, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced {
            continue;
        }
        // Every second piece between backticks is code.
        let prose: Vec<&str> = line.split('`').step_by(2).collect();
        let whole = [line];
        // The text of a link may be code, and its brackets are then in two pieces of prose.
        let pieces =
            if prose.iter().any(|piece| piece.starts_with("](")) { &whole[..] } else { &prose };
        for piece in pieces {
            for inline in piece.split("](").skip(1) {
                let target = inline.split([')', ' ']).next().unwrap_or_default();
                out.push((at + 1, target.trim_matches(['<', '>'])));
            }
        }
        if line.starts_with('[')
            && let Some((_, target)) = line.split_once("]: ")
        {
            out.push((at + 1, target.split(' ').next().unwrap_or_default()));
        }
    }
    out
}

/// A relative path as seen from the repository.
fn resolved(from: &str, link: &str) -> String {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in link.split('/') {
        match part {
            "." | "" => {}
            ".." => drop(parts.pop()),
            _ => parts.push(part),
        }
    }
    parts.join("/")
}

/// Finds records of decisions that cannot be cited: `NNNN-some-title.md`, each number once, and a
/// title in the first line.
pub(super) fn bad_decisions(files: &[File]) -> Vec<String> {
    let mut numbers = BTreeSet::new();
    let mut out = Vec::new();
    for file in files.iter().filter(|file| !file.path.ends_with("/README.md")) {
        let name = file.path.rsplit('/').next().unwrap_or_default();
        let (number, title) = name.split_once('-').unwrap_or_default();
        let slug = title.strip_suffix(".md").unwrap_or_default();
        let named = number.len() == 4
            && number.bytes().all(|b| b.is_ascii_digit())
            && !slug.is_empty()
            && slug.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'));
        let headed = file.text.lines().next().and_then(|line| line.strip_prefix("# "));
        if !named {
            out.push(format!("{}: the name is not NNNN-title.md", file.path));
        } else if !numbers.insert(number) {
            out.push(format!("{}: the number is taken", file.path));
        }
        if headed.is_none_or(|title| title.trim().is_empty()) {
            out.push(format!("{}: the first line is not a title", file.path));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forgotten_file_is_found() {
        let files = [
            File::new("tests/main.rs", "mod a;\n// mod d;\n"),
            File::new("tests/a.rs", "mod b;\npub(crate) mod c;"),
            File::new("tests/a/b.rs", ""),
            File::new("tests/a/c/mod.rs", ""),
            File::new("tests/b.rs", ""),
            File::new("tests/d.rs", ""),
            File::new("tests/bench/main.rs", "mod e;"),
            File::new("tests/bench/e.rs", ""),
            File::new("tests/bench/f.rs", ""),
        ];
        assert_eq!(
            forgotten(&files, &["tests/main.rs", "tests/bench/main.rs"]),
            [
                "tests/b.rs: not reachable from tests/main.rs",
                "tests/d.rs: not reachable from tests/main.rs",
                "tests/bench/f.rs: not reachable from tests/bench/main.rs",
            ]
        );
    }

    #[test]
    fn unfinished_code_is_found() {
        let sample =
            "fn a() { todo!() }\nfn b() { unimplemented!(\"x\") }\n#[ignore]\n#[ignore = \"y\"]";
        let code = |text| Code::with_tests(&File::new("a.rs", text));
        assert_eq!(undone(&code(sample)).len(), 4);
        assert_eq!(undone(&code("// todo!()\nlet ignore = \"#[ignore]\";")), [""; 0]);
    }

    #[test]
    fn too_many_packages_are_found() {
        let packages = |count| too_many_packages(&"[[package]]\n".repeat(count));
        assert_eq!(packages(PACKAGES_MAX + 1).len(), 1);
        assert_eq!(packages(PACKAGES_MAX), [""; 0]);
        // A lock file that is not understood has no packages.
        assert_eq!(too_many_packages("").len(), 1);
    }

    #[test]
    fn a_broken_link_is_found() {
        let text = "[a](b.md) [c](../d.md#e) [f](#g) [h](https://i.org)\n`[j](k)`\n```\n[l](m)\n```\n\
                    [`n`](o.md) ![p](q.png \"r\")\n[s]: t/u.md\n";
        let files = [File::new("docs/v.md", text)];
        assert_eq!(
            broken_links(&files, |path| ["docs/b.md", "d.md"].contains(&path)),
            [
                "docs/v.md:6: the link to o.md leads nowhere",
                "docs/v.md:6: the link to q.png leads nowhere",
                "docs/v.md:7: the link to t/u.md leads nowhere",
            ]
        );
    }

    #[test]
    fn a_decision_without_number_or_title_is_found() {
        let decision = |name: &str, text: &str| File::new(&format!("docs/decisions/{name}"), text);
        let files = [
            decision("0001-good.md", "# A title\n"),
            decision("0001-again.md", "# A title\n"),
            decision("notes.md", "# A title\n"),
            decision("0002-no-title.md", "Text\n"),
            decision("README.md", "Anything"),
        ];
        assert_eq!(
            bad_decisions(&files),
            [
                "docs/decisions/0001-again.md: the number is taken",
                "docs/decisions/notes.md: the name is not NNNN-title.md",
                "docs/decisions/0002-no-title.md: the first line is not a title",
            ]
        );
    }
}
