//! How long files and functions may be.

use super::source::{Code, closing, identifier};

const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;

/// Finds files of more than 500 lines, without the tests at their end, and functions whose bodies
/// have more than 70 lines of code. Clippy counts functions too, but only where it is run.
pub(super) fn breaches(code: &Code) -> Vec<String> {
    let mut out = Vec::new();
    let lines = code.line(code.text.trim_end().len());
    if lines > FILE_LINES_MAX {
        out.push(format!("{}: {lines} lines, {FILE_LINES_MAX} at most", code.path));
    }
    for at in code.words("fn") {
        let name = identifier(code.text[at + 2..].trim_start());
        let Some(body) = body(&code.text, at) else {
            continue;
        };
        let lines = body.lines().skip(1).filter(|line| !line.trim().is_empty()).count();
        if !name.is_empty() && lines > FUNCTION_LINES_MAX {
            let place = format!("{}:{}", code.path, code.line(at));
            out.push(format!("{place}: `{name}` has {lines} lines, {FUNCTION_LINES_MAX} at most"));
        }
    }
    out
}

/// The text between the braces of the function that begins at `from`; nothing if it has none.
fn body(text: &str, from: usize) -> Option<&str> {
    let mut depth = 0;
    for (at, c) in text[from..].char_indices() {
        match c {
            '(' | '[' => depth += 1,
            ')' | ']' => depth -= 1,
            ';' if depth == 0 => return None,
            '{' if depth == 0 => return Some(&text[from + at + 1..closing(text, from + at)]),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{super::source::File, *};

    fn found(text: &str) -> Vec<String> {
        breaches(&Code::without_tests(&File::new("src/a.rs", text)))
    }

    fn function(lines: usize) -> String {
        format!("fn a(b: [u8; 3]) -> u8 {{\n{}}}\n", "    b();\n".repeat(lines))
    }

    #[test]
    fn a_long_file_is_found() {
        assert_eq!(found(&"use a;\n".repeat(501)), ["src/a.rs: 501 lines, 500 at most"]);
        assert_eq!(found(&"use a;\n".repeat(500)), [""; 0]);
    }

    #[test]
    fn a_long_function_is_found() {
        assert_eq!(found(&function(71)), ["src/a.rs:1: `a` has 71 lines, 70 at most"]);
        assert_eq!(found(&function(70)), [""; 0]);
        let commented = function(70).replace("b();\n", "b();\n    // why\n\n");
        assert_eq!(found(&commented), [""; 0]);
    }

    #[test]
    fn tests_are_not_counted() {
        let tests = format!("use a;\n#[cfg(test)]\nmod tests {{\n{}}}\n", "use a;\n".repeat(600));
        assert_eq!(found(&tests), [""; 0]);
    }
}
