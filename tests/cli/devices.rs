//! `larder devices`.

use crate::common::{Device, Remote, pair, settle};

#[test]
fn devices_are_listed_renamed_and_forgotten() {
    let (a, b) = pair(&Remote::folder());
    a.write("note.md", "text\n");
    b.write("other.md", "text\n");
    settle(&[&a, &b]);
    let list = a.run(&["devices"]).exits(0).stdout;
    assert!(list.contains("laptop (") && list.contains(", this device): last seen"), "{list}");
    let line = a.run(&["devices", "list", "--json"]).exits(0).stdout;
    assert_eq!(line.lines().count(), 2, "{line}");
    a.run(&["devices", "rename", "desk"]).exits(0);
    let list = a.run(&["devices"]).exits(0).stdout;
    let own = list.lines().find(|line| line.starts_with("desk (")).unwrap_or_default();
    assert!(own.ends_with("up to date"), "{list}");
    a.write("note.md", "more\n");
    a.sync().exits(0);
    let list = b.run(&["devices"]).exits(0).stdout;
    assert!(list.contains("desk (") && !list.contains("laptop"), "{list}");
    let own = b.run(&["devices", "forget", "phone"]).exits(2);
    assert!(own.stderr.contains("the device you are on"), "{}", own.stderr);
    let nobody = b.run(&["devices", "forget", "nobody"]).exits(2);
    assert!(nobody.stderr.contains("no device is called nobody"), "{}", nobody.stderr);
    b.run(&["devices", "forget", "desk"]).exits(0);
    assert!(!b.run(&["devices"]).exits(0).stdout.contains("desk"));
    // What it edited stays, and it may come back.
    b.sync().exits(0);
    assert_eq!(b.read("note.md"), "more\n");
    a.write("note.md", "again\n");
    settle(&[&a, &b]);
    assert!(b.run(&["devices"]).exits(0).stdout.contains("desk"));
}

#[test]
fn a_device_needs_a_name_of_one_line() {
    let device = Device::new("laptop");
    device.init(&Remote::folder()).exits(0);
    for name in ["", "  ", "two\nlines"] {
        let refused = device.run(&["devices", "rename", name]).exits(2);
        assert!(refused.stderr.contains("one line of 1 to 200 bytes"), "{}", refused.stderr);
    }
}

#[test]
fn what_a_device_is_called_is_said_once() {
    let (device, remote) = (Device::new("laptop"), Remote::folder());
    let long = "x".repeat(201);
    for name in ["", " ", "a\nb", &long] {
        let ran = device.run(&["init", "--remote", remote.url(), "--device", name]).exits(2);
        assert!(ran.stderr.contains("a device's name is one line of 1 to 200 bytes"), "{ran}");
        assert!(!device.root().join(".larder").exists());
    }
    device.run(&["init", "--remote", remote.url(), "--device", " my desk "]).exits(0);
    for args in [&["sync", "--device"][..], &["sync", "--remote", remote.url(), "--device"]] {
        let ran = device.run(&[args, &["a phone"]].concat()).exits(0);
        let words = "warning: this device is called my desk and stays so; to call it otherwise: `larder devices rename 'a phone'`";
        assert!(ran.stderr.contains(words), "{ran}");
        let ran = device.run(&[args, &["my desk"]].concat()).exits(0);
        assert!(!ran.stderr.contains("warning"), "{ran}");
        device.run(&[args, &["a\nb"]].concat()).exits(2);
    }
    let odd = [("HOSTNAME", Some(long.as_str()))];
    let other = Device::new("phone");
    other.run_in(&odd, &["init", "--remote", remote.url()]).exits(0);
}

/// Names and texts that come from elsewhere are shown without what steers a terminal.
#[test]
fn nothing_that_is_shown_steers_the_terminal() {
    let remote = Remote::folder();
    let (a, b) = pair(&remote);
    let fields = serde_json::json!({"path": "note.md", "x": "\u{1b}[2Jred\u{9b}1m"});
    a.run(&["put", "--type", "note", &fields.to_string()]).exits(0);
    a.sync();
    b.sync();
    for args in [&["show", "note.md"][..], &["log", "note.md"], &["list"]] {
        let ran = b.run(args).exits(0);
        assert!(
            !ran.said().contains(|c: char| c.is_control() && c != '\n'),
            "{ran:?}",
            ran = ran.said()
        );
    }
    assert!(b.run(&["show", "note.md"]).stdout.contains("x: [2Jred1m"));
}
