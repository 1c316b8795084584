use std::collections::BTreeSet;

use proptest::prelude::*;

use super::{tokens::tokens, *};

fn clean(base: &str, first: &str, second: &str) -> String {
    let merged = merge3(base, first, second);
    assert_eq!(merged.overlaps, [], "in {:?}", merged.text);
    merged.text
}

/// The text, and of each overlap both versions.
fn clash(base: &str, first: &str, second: &str) -> (String, Vec<(String, String)>) {
    let merged = merge3(base, first, second);
    let pairs = merged.overlaps.into_iter().map(|overlap| (overlap.first, overlap.second));
    (merged.text, pairs.collect())
}

fn pair(first: &str, second: &str) -> (String, String) {
    (first.to_owned(), second.to_owned())
}

#[test]
fn edits_of_different_lines_both_apply() {
    let base = "one\n\ntwo\n\nthree\n";
    assert_eq!(
        clean(base, "one!\n\ntwo\n\nthree\n", "one\n\ntwo\n\nfour\n"),
        "one!\n\ntwo\n\nfour\n"
    );
    assert_eq!(clean("a\nb\nc\n", "A\nb\nc\n", "a\nB\nc\n"), "A\nB\nc\n");
    assert_eq!(clean("a\nb\nc\n", "b\nc\n", "a\nB\nc\n"), "B\nc\n");
    assert_eq!(clean("a\nb\n", "a\nnew\nb\n", "a\nB\n"), "a\nnew\nB\n");
}

#[test]
fn edits_of_different_words_in_one_line_both_apply() {
    assert_eq!(
        clean("Buy milk and bread\n", "Buy oat milk and bread\n", "Buy milk and rye bread\n"),
        "Buy oat milk and rye bread\n"
    );
    assert_eq!(clean("- [ ] call Ann", "- [x] call Ann", "- [ ] call Bob"), "- [x] call Bob");
    assert_eq!(clean("a b c\n", "a c\n", "a b d\n"), "a d\n");
    assert_eq!(clean("買う牛乳", "買う牛乳パン", "今買う牛乳"), "今買う牛乳パン");
}

#[test]
fn words_that_both_rewrote_are_kept_as_two_lines() {
    assert_eq!(
        clash(
            "title\nBuy milk today\nend\n",
            "title\nBuy tea today\nend\n",
            "title\nBuy rum today\nend\n"
        ),
        (
            "title\nBuy tea today\nBuy rum today\nend\n".into(),
            vec![pair("Buy tea today", "Buy rum today")]
        )
    );
    // The last line has no end: still two lines, and still no end.
    assert_eq!(clash("a", "b", "c"), ("b\nc".into(), vec![pair("b", "c")]));
    // Half of one number and half of another would be neither.
    assert_eq!(clash("at 10:30\n", "at 11:30\n", "at 10:45\n").0, "at 11:30\nat 10:45\n");
}

#[test]
fn only_the_line_in_dispute_is_doubled() {
    let base = "Pack the green bag\nCall Ann at home\nPay the long bill\n";
    let first = "Pack the red bag\nCall Ann at work\nPay the long bill\n";
    let second = "Pack the blue bag\nCall Ann at home now\nPay the long bill soon\n";
    assert_eq!(
        clash(base, first, second),
        (
            "Pack the red bag\nPack the blue bag\nCall Ann at work now\nPay the long bill soon\n"
                .into(),
            vec![pair("Pack the red bag", "Pack the blue bag")]
        )
    );
}

#[test]
fn lines_added_at_one_place_are_all_kept() {
    assert_eq!(clean("a\n", "a\nx\n", "a\ny\n"), "a\nx\ny\n");
    assert_eq!(clean("a", "a\nx", "a\ny"), "a\nx\ny");
    assert_eq!(clean("", "x\n", "y\n"), "x\ny\n");
    assert_eq!(clean("", "x", "y"), "x\ny");
    assert_eq!(clean("a\n\n", "a\n\nx\n", "a\n\ny\n"), "a\n\nx\ny\n");
    // Paragraphs keep the blank line between them.
    assert_eq!(clean("a\n", "a\n\nx\n", "a\n\ny\n"), "a\n\nx\n\ny\n");
}

#[test]
fn what_both_added_is_there_once() {
    assert_eq!(clean("a\n", "a\nx\nn\n", "a\nx\nm\n"), "a\nx\nn\nm\n");
    assert_eq!(clean("a\n", "a\nn\nx\n", "a\nm\nx\n"), "a\nn\nm\nx\n");
    assert_eq!(clean("a\n", "a\nx\n", "a\nn\nx\nm\n"), "a\nn\nx\nm\n");
    // One of them rewrote the line before as well.
    assert_eq!(clean("a\n", "b\nnew\n", "a\nnew\n"), "b\nnew\n");
    assert_eq!(
        clean("all is well\n", "all was well\nnew\n", "all is well\nnew\n"),
        "all was well\nnew\n"
    );
}

#[test]
fn words_added_at_one_place_are_all_kept() {
    assert_eq!(clean("buy milk\n", "buy milk eggs\n", "buy milk bread\n"), "buy milk bread eggs\n");
    assert_eq!(clash("b \n", "b a,\n", "b c,\n").0, "b a,\nb c,\n");
    // Two words never become one: what stands in the same empty place gets a line each.
    assert_eq!(clean("- [ ] \n", "- [ ] tea\n", "- [ ] rum\n"), "- [ ] tea\n- [ ] rum\n");
}

#[test]
fn an_edit_wins_over_a_removal() {
    assert_eq!(
        clash("a\nb c\nd\n", "a\nd\n", "a\nb x\nd\n"),
        ("a\nb x\nd\n".into(), vec![pair("", "b x")])
    );
    assert_eq!(clash("b c\n", "b x\n", ""), ("b x\n".into(), vec![pair("b x", "")]));
    // Of a removed passage only the edited line comes back.
    assert_eq!(
        clash("a\nb\nc\nd\n", "a\n", "a\nb\nC\nd\n"),
        ("a\nC\n".into(), vec![pair("", "C")])
    );
    assert_eq!(clean("a\nb\nc\n", "", "a\nb\nnew\nc\n"), "new\n");
}

#[test]
fn line_ends_stay_what_they_are() {
    assert_eq!(clean("a\r\nb\r\n", "a\r\nb\r\nx\r\n", "A\r\nb\r\n"), "A\r\nb\r\nx\r\n");
    assert_eq!(clash("a\r\n", "b\r\n", "c\r\n").0, "b\r\nc\r\n");
    assert_eq!(clean("a\r\nb", "a\r\nb\r\nx", "a\r\nb\r\ny"), "a\r\nb\r\nx\r\ny");
    // One side changed all line ends, the other a word.
    assert_eq!(clean("a\r\nb\r\n", "a\nb\n", "a\r\nc\r\n"), "a\nc\n");
    // A stray end in a text of the other kind stays where it is.
    assert_eq!(clean("a\r\nb\nc\r\n", "A\r\nb\nc\r\n", "a\r\nb\nC\r\n"), "A\r\nb\nC\r\n");
    // The end of the last line is a change like any other.
    assert_eq!(clean("a\nb", "a\nb\n", "A\nb"), "A\nb\n");
    assert_eq!(clean("a\nb\n", "a\nb", "A\nb\n"), "A\nb");
    // An empty last line would vanish without its end.
    assert_eq!(clash(",\n", "!", "\n\n").0, "!\n\n\n");
}

#[test]
fn without_an_ancestor_the_common_lines_are_there_once() {
    let merged = merge2("# list\nmilk\neggs\nend\n", "# list\nmilk\nrum\nend\n");
    assert_eq!(merged.text, "# list\nmilk\neggs\nrum\nend\n");
    assert_eq!(
        merged.overlaps,
        [Overlap { first: "eggs".into(), second: "rum".into(), ..Overlap::default() }]
    );
    assert_eq!(merge2("a\n", "a\nb\n"), TextMerge::clean("a\nb\n"));
    assert_eq!(merge2("a\nb", "a"), TextMerge::clean("a\nb"));
    assert_eq!(merge2("", "b"), TextMerge::clean("b"));
    assert_eq!(merge2("a\r\n", "b\r\n").text, "a\r\nb\r\n");
    assert_eq!(merge2("a", "b").text, "a\nb");
    // A blank line is no common ground.
    assert_eq!(merge2("a\n\nb\n", "c\n\nd\n").text, "a\n\nb\nc\n\nd\n");
}

/// Pseudo-random words; the same on every run.
fn noise(seed: u64, bytes: usize, words: u64, words_per_line: u64) -> String {
    let mut state = seed;
    let mut next = move || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    };
    let mut out = String::new();
    while out.len() < bytes {
        out.push_str(&format!("w{}", next() % words));
        out.push(if next() % words_per_line == 0 { '\n' } else { ' ' });
    }
    out
}

/// Guards against work that grows with the square of the size, which would take many minutes; the
/// usual time without optimisation is about a second.
#[test]
fn large_texts_without_likeness_take_a_bounded_time() {
    const MIB: usize = 1 << 20;
    // Prose, one endless line, short repeated lines, two words only.
    let kinds = [
        (MIB, 20_000, 12),
        (MIB, 20_000, u64::MAX),
        (MIB / 4, 50, 1),
        (MIB / 4, 2, 3),
        (MIB / 4, 2, u64::MAX),
    ];
    for (bytes, words, per_line) in kinds {
        let texts = [1, 2, 3].map(|seed| noise(seed, bytes, words, per_line));
        let [base, first, second] = &texts;
        let start = std::time::Instant::now();
        merge3(base, first, second);
        merge2(first, second);
        let took = start.elapsed();
        println!("{words} words, {per_line} a line: {took:?}");
        assert!(took.as_secs() < 10, "{words} words, {per_line} a line: {took:?}");
    }
}

fn text() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        6 => "[abc]",
        2 => "[xyz]{2}",
        1 => Just(String::new()),
        1 => "[-.,!*]",
        1 => Just("é".to_owned()),
        1 => Just("語".to_owned()),
    ];
    let line = (prop::collection::vec(word, 0..5), prop_oneof![4 => Just(" "), 1 => Just("")])
        .prop_map(|(words, blank)| words.join(blank));
    (prop::collection::vec(line, 0..7), any::<bool>()).prop_map(|(lines, closed)| {
        let mut text = lines.join("\n");
        if closed && !text.is_empty() {
            text.push('\n');
        }
        text
    })
}

/// A text and two that come from it by a few edits of lines and words.
fn family() -> impl Strategy<Value = [String; 3]> {
    let edits =
        || prop::collection::vec((any::<prop::sample::Index>(), 0_u8..5, "[abxyz]{1,2}"), 0..4);
    prop_oneof![
        [text(), text(), text()],
        (text(), edits(), edits()).prop_map(|(base, first, second)| {
            let (first, second) = (edited(&base, &first), edited(&base, &second));
            [base, first, second]
        }),
    ]
}

fn edited(base: &str, edits: &[(prop::sample::Index, u8, String)]) -> String {
    let mut tokens: Vec<String> = tokens(base).iter().map(|t| t.text.to_owned()).collect();
    for (at, what, word) in edits {
        let at = at.index(tokens.len() + 1);
        match what {
            0 if at < tokens.len() => drop(tokens.remove(at)),
            1 if at < tokens.len() => tokens[at].clone_from(word),
            2 => tokens.insert(at, format!("\n{word}\n")),
            3 => tokens.insert(at, format!(" {word} ")),
            _ => tokens.insert(at, "\n".to_owned()),
        }
    }
    tokens.concat()
}

fn sorted_lines(text: &str) -> Vec<&str> {
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort_unstable();
    lines
}

fn words_of(text: &str) -> BTreeSet<&str> {
    tokens(text).into_iter().filter(tokens::Token::is_word).map(|token| token.text).collect()
}

proptest! {
    #[test]
    fn an_unchanged_side_gives_way([base, other, _] in family()) {
        prop_assert_eq!(merge3(&base, &base, &other), TextMerge::clean(&other));
        prop_assert_eq!(merge3(&base, &other, &base), TextMerge::clean(&other));
        prop_assert_eq!(merge3(&base, &other, &other), TextMerge::clean(&other));
        prop_assert_eq!(merge2(&other, &other), TextMerge::clean(&other));
    }

    #[test]
    fn swapping_the_sides_changes_no_line([base, first, second] in family()) {
        let (one, other) = (merge3(&base, &first, &second), merge3(&base, &second, &first));
        prop_assert_eq!(sorted_lines(&one.text), sorted_lines(&other.text));
        prop_assert_eq!(one.overlaps.len(), other.overlaps.len());
        let (one, other) = (merge2(&first, &second), merge2(&second, &first));
        prop_assert_eq!(sorted_lines(&one.text), sorted_lines(&other.text));
        prop_assert_eq!(one.overlaps.len(), other.overlaps.len());
    }

    #[test]
    fn no_new_word_is_lost([base, first, second] in family()) {
        let old = words_of(&base);
        let merged = merge3(&base, &first, &second).text;
        let (merged, either) = (words_of(&merged), merge2(&first, &second).text);
        let either = words_of(&either);
        for word in words_of(&first).union(&words_of(&second)) {
            prop_assert!(old.contains(word) || merged.contains(word), "{word} is not in the merge");
            prop_assert!(either.contains(word), "{word} is not in the union");
        }
    }

    #[test]
    fn one_kind_of_line_end_stays_the_only_one(texts in family()) {
        let crlf = texts.each_ref().map(|text| text.replace('\n', "\r\n"));
        let ([base, first, second], [crlf_base, crlf_first, crlf_second]) = (texts, crlf);
        let merged = merge3(&crlf_base, &crlf_first, &crlf_second).text;
        // A text of one line does not say what its lines would end with.
        if !crlf_first.contains('\n') && !crlf_second.contains('\n') { return Ok(()); }
        prop_assert_eq!(merged, merge3(&base, &first, &second).text.replace('\n', "\r\n"));
    }

    #[test]
    fn merging_an_edit_again_changes_nothing([base, first, second] in family()) {
        let merged = merge3(&base, &first, &second);
        // The device that made `second` meets the result: its own text is the ancestor now.
        prop_assert_eq!(merge3(&second, &merged.text, &second).text, merged.text);
    }
}
