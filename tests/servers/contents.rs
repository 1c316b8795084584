//! Photos and other files that are no text.

use std::fs;

use crate::common::{Device, Remote, pair, settle};

super::on_every_remote!(
    photos_up_and_down,
    a_photo_moves_and_is_copied,
    two_photos_of_one_name,
    unnamed_contents_are_told_apart,
);

fn photo(seed: u64, bytes: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    std::iter::once(0).chain(std::iter::repeat_with(|| random.u8(..))).take(bytes).collect()
}

fn get(device: &Device, name: &str) -> Vec<u8> {
    fs::read(device.root().join(name)).unwrap_or_default()
}

fn photos_up_and_down(remote: &Remote) {
    let (a, b) = pair(remote);
    a.write("photos/large.jpg", photo(1, 3_000_000));
    a.write("photos/small.jpg", photo(2, 10));
    a.write("photos/note.md", "Two photos.\n");
    assert_eq!(a.sync().number("pushed"), 3);
    assert_eq!(b.sync().number("pulled"), 3);
    assert_eq!(b.names(), a.names());
    assert!(get(&b, "photos/large.jpg") == photo(1, 3_000_000));
    assert_eq!(get(&b, "photos/small.jpg"), photo(2, 10));
    b.write("photos/large.jpg", photo(3, 2_000_000));
    b.delete("photos/small.jpg");
    settle(&[&b, &a]);
    assert!(get(&a, "photos/large.jpg") == photo(3, 2_000_000));
    assert_eq!(a.names(), ["photos/large.jpg", "photos/note.md"]);
    b.run(&["restore", "photos/small.jpg"]).exits(0);
    settle(&[&b, &a]);
    assert_eq!(get(&a, "photos/small.jpg"), photo(2, 10));
    a.is_sound();
}

fn a_photo_moves_and_is_copied(remote: &Remote) {
    let (a, b) = pair(remote);
    a.write("photo.jpg", photo(1, 2_000_000));
    settle(&[&a, &b]);
    a.rename("photo.jpg", "sub/sun.jpg");
    a.write("copy.jpg", photo(1, 2_000_000));
    let sent = a.sync();
    assert!(sent.number("bytesUp") < 50_000, "{sent}");
    let got = b.sync();
    assert!(got.number("bytesDown") < 50_000, "{got}");
    assert_eq!(b.names(), ["copy.jpg", "sub/sun.jpg"]);
    assert!(get(&b, "sub/sun.jpg") == photo(1, 2_000_000));
    assert!(get(&b, "copy.jpg") == photo(1, 2_000_000));
    // Who has the same files already joins with them, and who lost its replica takes them up again.
    let c = Device::new("tablet");
    for name in ["copy.jpg", "sub/sun.jpg"] {
        c.write(name, photo(1, 2_000_000));
    }
    c.init(remote);
    let joined = c.sync();
    assert!(joined.number("bytesUp") < 50_000, "{joined}");
    fs::remove_file(a.root().join(".larder/replica.db")).unwrap();
    settle(&[&a, &b, &c]);
    assert_eq!(c.names(), ["copy.jpg", "sub/sun.jpg"]);
}

fn two_photos_of_one_name(remote: &Remote) {
    let (a, b) = pair(remote);
    a.write("photo.jpg", photo(1, 100_000));
    settle(&[&a, &b]);
    a.write("photo.jpg", photo(2, 100_000));
    a.sync();
    b.rename("photo.jpg", "sun.jpg");
    b.write("sun.jpg", photo(3, 100_000));
    settle(&[&b, &a]);
    let other = "sun (from laptop).jpg";
    assert_eq!(a.names(), [other, "sun.jpg"]);
    assert_eq!(b.names(), a.names());
    for device in [&a, &b] {
        assert!(get(device, "sun.jpg") == photo(3, 100_000));
        assert!(get(device, other) == photo(2, 100_000));
    }
    let conflict = b.run(&["conflicts", "--json"]);
    assert!(conflict.stdout.contains("$blob"), "{conflict}");
}

fn unnamed_contents_are_told_apart(remote: &Remote) {
    let (a, b) = pair(remote);
    a.write("photo.jpg", photo(1, 100_000));
    settle(&[&a, &b]);
    a.write("photo.jpg", photo(2, 100_000));
    settle(&[&a, &b]);
    a.run(&["compact", "--force"]).exits(0);
    settle(&[&b, &a]);
    a.run(&["restore", "photo.jpg"]).exits(0);
    settle(&[&a, &b]);
    assert!(get(&b, "photo.jpg") == photo(1, 100_000));
    assert_eq!(b.run(&["check", "--json"]).exits(0).json()["ok"], true);
}
