//! A vault with two remotes: one of each kind, and a folder.

use crate::common::{Device, Remote};

super::on_every_remote!(news_travel_between_remotes);

/// A device with both remotes, between one with the one and one with the other.
fn news_travel_between_remotes(remote: &Remote) {
    let second = Remote::folder();
    let (a, both) = (Device::joined("laptop", remote), Device::joined("server", remote));
    let c = Device::joined("phone", &second);
    let added = both.run(&["remote", "add", "backup", second.url(), "--json"]).exits(0).json();
    assert_eq!((&added["name"], &added["created"]), (&"backup".into(), &false.into()));
    a.write("note.md", "---\ntitle: Milk\n---\nOne two three.\n");
    a.write("photo.jpg", [0xff; 3_000]);
    c.write("from the phone.md", "phone\n");
    for device in [&a, &c, &both, &a, &c] {
        device.sync();
    }
    assert_eq!(c.names(), ["from the phone.md", "note.md", "photo.jpg"]);
    assert_eq!((a.files(), both.files()), (c.files(), c.files()));
    a.edit("note.md", "One", "1");
    both.edit("note.md", "Milk", "Oat milk");
    c.edit("note.md", "three", "3");
    c.delete("from the phone.md");
    for device in [&a, &c, &both, &a, &c] {
        device.sync();
    }
    assert_eq!(a.read("note.md"), "---\ntitle: Oat milk\n---\n1 two 3.\n");
    assert_eq!((a.files(), both.files()), (c.files(), c.files()));
    assert_eq!(both.state(), "synced");
    for name in ["backup", "--"] {
        let of: &[&str] = if name == "--" { &[] } else { &["--remote", name] };
        let check = both.run(&[&["check", "--read-data"], of].concat());
        check.exits(0);
    }
}
