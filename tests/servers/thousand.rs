//! A thousand notes with everything odd that front matter can have: what no edit touched stays as
//! it is, byte for byte.

use std::collections::BTreeMap;

use crate::common::{
    Device, Place, Remote, Text,
    notes::{RATING, WORD, notes, write_all},
    settle,
};

const SEED: u64 = 20_261_121;
const NOTES: usize = 1000;
const EDITS: usize = 50;

#[test]
fn on_a_folder() {
    a_thousand_notes(Place::Folder);
}

#[test]
fn on_apache() {
    a_thousand_notes(Place::APACHE);
}

#[test]
fn on_nginx() {
    a_thousand_notes(Place::NGINX);
}

#[test]
fn on_dropbox() {
    a_thousand_notes(Place::DROPBOX);
}

fn a_thousand_notes(place: Place) {
    let Some(remote) = Remote::start(place) else { return };
    let mut expected = notes(SEED, NOTES);
    let (a, b) = (Device::new("laptop"), Device::new("phone"));
    write_all(&a.root(), &expected);
    let init = a.init(&remote).number("requests");
    let first = a.sync();
    assert_eq!(first.number("pushed"), NOTES as u64, "{first}");
    b.init(&remote);
    let bootstrap = b.sync();
    assert_eq!(bootstrap.number("pulled"), NOTES as u64, "{bootstrap}");
    assert_same(&b, &expected);
    let idle = [a.sync().number("requests"), b.sync().number("requests")];
    let mut costs = vec![];
    let mut random = fastrand::Rng::with_seed(SEED);
    let paths: Vec<String> =
        expected.keys().filter(|path| path.starts_with("folder")).cloned().collect();
    for number in 0..EDITS {
        edit(&mut random, &paths, &[&a, &b], number, &mut expected);
        // Some edits meet others that their makers had not seen.
        if random.bool() {
            let device = random.choice([&a, &b]).unwrap();
            costs.push(device.sync().exits(0).number("requests"));
        }
    }
    settle(&[&a, &b, &a]);
    assert_same(&a, &expected);
    assert_eq!(a.run(&["conflicts"]).stdout, "No conflicts.\n");
    a.write(&paths[0], "an edit of one note\n");
    let edit = a.sync().number("requests");
    let [first, bootstrap] = [&first, &bootstrap].map(|ran| ran.number("requests"));
    eprintln!(
        "requests on {place:?} with {NOTES} notes: init {init}, first sync {first}, bootstrap \
         {bootstrap}, idle {idle:?}, one edit {edit}, a turn with edits of both {costs:?}"
    );
    assert!(first <= 10 && bootstrap <= 10 && edit <= 5 && idle == [1, 1]);
    b.is_sound();
}

/// Changes a field or a word on one device, or a field here and a word there.
fn edit(
    random: &mut fastrand::Rng,
    paths: &[String],
    devices: &[&Device; 2],
    number: usize,
    expected: &mut BTreeMap<String, Text>,
) {
    let path = random.choice(paths).unwrap();
    let here = random.usize(..2);
    let kinds: &[usize] = [&[0][..], &[1], &[0, 1]][random.usize(..3)];
    let text = String::from_utf8(expected[path].0.clone()).unwrap();
    let mut edited = text.clone();
    for kind in kinds {
        let device = devices[(here + kind) % 2];
        let change = |text: &str| match kind {
            0 => {
                let (before, after) = text.split_once(RATING).unwrap();
                let digit = after.find(|c: char| c.is_ascii_digit()).unwrap();
                let length = after[digit..].find(|c: char| !c.is_ascii_digit()).unwrap();
                let (old, rest) = (&after[..digit], &after[digit + length..]);
                format!("{before}{RATING}{old}{}{rest}", number + 10)
            }
            _ => text.replacen(WORD, &format!("{WORD} ({number})"), 1),
        };
        device.write(path, change(&device.read(path)));
        edited = change(&edited);
    }
    expected.insert(path.clone(), Text(edited.into_bytes()));
}

#[track_caller]
fn assert_same(device: &Device, expected: &BTreeMap<String, Text>) {
    let files = device.files();
    assert_eq!(files.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    for (path, text) in expected {
        assert_eq!(&files[path], text, "{path} on {device}");
    }
}
