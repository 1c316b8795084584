//! How many requests things take.

use crate::common::{Device, Place, Remote};

super::on_every_remote!(requests);

#[track_caller]
fn at_most(what: &str, remote: &Remote, requests: u64, most: u64) {
    // Whether all has arrived is seen by listing the folders, which costs nothing where they lie.
    let most = if remote.place() == Place::Mirrored { most + 3 } else { most };
    eprintln!("requests on {:?}: {what} {requests}", remote.place());
    assert!(requests <= most, "{what} takes {requests} requests on {:?}", remote.place());
}

fn requests(remote: &Remote) {
    let (a, b) = (Device::new("laptop"), Device::new("phone"));
    // What lies there is looked at before anything is tried with a key, and the key itself is written or read.
    // No other command has more to do for it.
    let [makes, joins] = if remote.init_args().is_empty() { [13, 12] } else { [19, 15] };
    at_most("init that makes", remote, a.init(remote).number("requests"), makes);
    for n in 0..20 {
        a.write(&format!("n{n}.md"), format!("---\ntitle: {n}\n---\nbody\n"));
    }
    at_most("first sync", remote, a.sync().number("requests"), 5);
    at_most("init that joins", remote, b.init(remote).number("requests"), joins);
    at_most("bootstrap", remote, b.sync().number("requests"), 3);
    for device in [&a, &b, &a] {
        let idle = device.sync();
        assert_eq!(idle.number("requests"), 1, "{idle}");
        assert_eq!(idle.number("pushed") + idle.number("pulled"), 0, "{idle}");
    }
    a.edit("n7.md", "body", "more body");
    let (sent, got) = (a.sync(), b.sync());
    at_most("one edit", remote, sent.number("requests"), 5);
    at_most("its receiver", remote, got.number("requests"), 3);
    assert_eq!((sent.number("pushed"), got.number("pulled")), (1, 1));
    assert!(sent.number("bytesUp") <= 16_000 && got.number("bytesDown") <= 16_000);
    (0..20).for_each(|n| b.edit(&format!("n{n}.md"), "body", "text"));
    let (sent, got) = (b.sync(), a.sync());
    at_most("twenty edits", remote, sent.number("requests"), 5);
    at_most("their receiver", remote, got.number("requests"), 3);
    assert_eq!(a.sync().number("requests"), 1);
}
