//! Seeds that once found something, with what they found.
//!
//! A seed tells its story only as long as the driver draws its random numbers in the same order:
//! when that changes, undo the fix for a moment and look for a seed that finds it again, or make the
//! undoing a mutant, for which a story is looked for each time.

/// How much of a shape is drawn: what was found once stays the story that it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
pub(crate) enum Drawn {
    /// Only from the first source.
    First,
    /// Remotes, types, rules and servers as well.
    Servers,
    /// Folders that are mirrored as well.
    Mirrors,
    /// Everything.
    All,
}

/// All of them.
pub(crate) fn seeds() -> impl Iterator<Item = u64> {
    [FIRST, SERVERS, MIRRORS, ALL].into_iter().flatten().map(|(seed, _)| *seed)
}

/// How much is drawn for a seed.
pub(crate) fn drawn(seed: u64) -> Drawn {
    let is_among = |seeds: &[(u64, &str)]| seeds.iter().any(|(kept, _)| *kept == seed);
    match () {
        () if is_among(FIRST) => Drawn::First,
        () if is_among(SERVERS) => Drawn::Servers,
        () if is_among(MIRRORS) => Drawn::Mirrors,
        () => Drawn::All,
    }
}

/// Seed, and what it found.
type Kept = (u64, &'static str);

const FIRST: &[Kept] = &[
    (20, "a device whose clock was ahead deleted what it had retired an hour ago: see OwnClock"),
    (205, "a device that had only the mark of a deletion took its own deletion back"),
    (402, "what was left of a probe was taken for records without a head"),
    (1288, "an old head was read to a fresh listing, and its news never again"),
    (1537, "the same"),
    (2399, "what was emptied from the trash was missed by the simulation, rightly gone"),
    (
        6043,
        "old answers after a backup came back: a head of what lay there no more, and nobody looked",
    ),
    (6114, "the same"),
    (8102, "the same"),
    (9223, "a replica under a new name took the head for read, and raced with itself for ever"),
    (10874, "a folder of heads that was emptied was taken for the one that had been read"),
    (7001, "a text that became a JSON file lost the fields that it had had no place for"),
    (20_553, "the text of a record under a name of JSON was hidden by an edit of its object"),
    (23_201, "the same"),
    (24_140, "the same"),
    (6107, "of a record that two had made and deleted one device lacked a value once it was back"),
    (41_437, "the same, of a mark that had met an older edit"),
    (13_647, "a field edited elsewhere was replaced unseen when a text became Markdown again"),
    (508_531, "the same"),
    (38_095, "a text taken out and put back was dropped: another remote knew a later ancestor"),
    (49_997, "the same"),
    (
        528_482,
        "what waited for a person doubled with each return of a record, until it was not sent",
    ),
    (531_295, "what a compaction found in an orphan was newer than the deletion made since"),
    (63_140, "an old state of its own head had a device remove what that named as an orphan"),
    (
        50_246,
        "what a device with a slow clock put into its history was old once the clock was right",
    ),
    (124_293, "a merge that set a record anew was newer than its deletion, where types differ"),
    (64_441, "only the head of a lost device named an edit, and that was torn"),
    (
        502_790,
        "of two states in the history the older was the later by a clock that had been wrong",
    ),
    (507_321, "the same"),
    (508_682, "what was brought back looked left alone to an ancestor that was not the latest"),
    (511_466, "the same"),
    (
        184_198,
        "a device that was set back wrote over its own head, which named what had not arrived",
    ),
    (
        16_349,
        "an old answer told of files as old that a backup had brought back: they were removed",
    ),
    (11_798, "a file that a torn head had named was an orphan to others, and removed"),
    (11_242, "a text that both had replaced was shown again as what they last agreed to"),
    (23_847, "a device that was set back wrote over its own torn head, and used its names again"),
];

const SERVERS: &[Kept] = &[
    (9_673, "what nobody could vouch for after a remote went back was read again in each turn"),
    (
        638_652,
        "with a new id a device took its former head for its own, and could not fold any more",
    ),
    (617_172, "of two counts that both had merged nobody was told that they may count twice"),
    (613_863, "whoever came new sent what nobody vouched for and the remote had"),
];

const MIRRORS: &[Kept] = &[
    (
        800_659,
        "what had waited was said to be what the file showed, when an edit met a deletion and new rules at once",
    ),
    (
        916_486,
        "whoever had not agreed to anything yet waited for ever for what only their own head named",
    ),
];

const ALL: &[Kept] = &[
    (76_170, "an old state of a head was taken for the one that was listed: see OldHeads"),
    (19_072, "a file that may be gone was named again: see ReusesOld"),
    (14_683, "what one of two remotes held was taken to be on both: see AgreesWithAll"),
    (917_524, "a tag brought back elsewhere was lost to an ancestor of two lists that competed"),
    (
        815_490,
        "what a compaction took up brought back a record without what it had let go just before",
    ),
    (2_004_692, "a file that a commit retired was taken for one that it could send again"),
    (2_007_176, "the same, and acknowledged edits were in a head that nobody could read"),
    (
        2_225_064,
        "a word taken out came back, untold, by a merge from an ancestor before the latest",
    ),
    (3_220_540, "a count that a compaction took up was added to its maker's"),
    (4_000_336, "two who had agreed to nothing waited for ever for what each other's head named"),
    (2_101_948, "a head was shown as it had been years ago"),
    (4_552_993, "a server that was set back did what it was asked for before"),
    (4_510_761, "a run was said to lack what somebody had let go of with a deletion"),
    (4_017_263, "what a lost disk had sent was taken up, and had taken out what was missed"),
    (4_026_469, "a file came to lie where a turn that was cut had just removed one"),
    (4_051_168, "two people swapped the same files at once"),
];
