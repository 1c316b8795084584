//! The rules of the house that neither the compiler nor clippy holds.
//!
//! Every rule is a function from texts to breaches, and has a test that feeds it a bad sample: a
//! rule that cannot fail guards nothing.

mod layers;
mod repository;
mod size;
mod source;

use source::{Code, File};

/// The root files of all crates. A file belongs to the crate whose folder it lies deepest in.
const CRATES: &[&str] = &[
    "src/lib.rs",
    "providers/src/lib.rs",
    "tests/main.rs",
    "tests/sim/main.rs",
    "tests/bench/main.rs",
    "tests/bench/counts/main.rs",
    "tests/fuzz/lib.rs",
];

#[test]
fn layers_only_use_what_lies_below_them() {
    assert_none(&over_code(layers::breaches));
}

#[test]
fn crates_and_calls_stay_in_their_rooms() {
    assert_none(&over_code(layers::strays));
}

#[test]
fn files_and_functions_stay_short() {
    assert_none(&over_code(size::breaches));
}

#[test]
fn no_source_file_is_forgotten() {
    let files = File::all("");
    assert_none(&repository::forgotten(&files, CRATES));
}

#[test]
fn nothing_is_left_undone() {
    let codes = File::all("").into_iter().filter(File::is_rust).map(|file| Code::with_tests(&file));
    assert_none(&codes.flat_map(|code| repository::undone(&code)).collect::<Vec<_>>());
}

#[test]
fn the_number_of_packages_is_capped() {
    assert_none(&repository::too_many_packages(&File::read("Cargo.lock").text));
}

#[test]
fn links_between_documents_resolve() {
    let files = File::all("");
    assert_none(&repository::broken_links(&files, |path| source::root().join(path).exists()));
}

#[test]
fn decisions_have_a_number_and_a_title() {
    assert_none(&repository::bad_decisions(&File::all("docs/decisions/")));
}

/// Applies a rule to all source code of both crates, without its tests.
fn over_code(rule: fn(&Code) -> Vec<String>) -> Vec<String> {
    File::all("")
        .iter()
        .filter(|file| file.is_rust() && !file.is_test())
        .flat_map(|file| rule(&Code::without_tests(file)))
        .collect()
}

#[track_caller]
fn assert_none(breaches: &[String]) {
    assert!(breaches.is_empty(), "\n{}", breaches.join("\n"));
}
