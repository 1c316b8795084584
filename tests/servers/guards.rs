//! Brakes: what looks like an accident is not done unasked.

use crate::common::{Device, Remote, full_pair, settle};

super::on_every_remote!(
    mass_delete_here,
    mass_delete_there,
    emptied_remote,
    foreign_remote,
    dry_run_is_the_turn_that_follows,
    missing_files_come_back,
    a_first_try_that_fails_leaves_no_vault,
);

fn delete_most(device: &Device) {
    (0..8).for_each(|n| device.delete(&format!("n{n}.md")));
}

#[track_caller]
fn braked(device: &Device, message: &str) {
    let before = device.files();
    let ran = device.run(&["sync"]).exits(5);
    assert!(ran.stderr.starts_with(&format!("error: {message}")), "{ran}");
    assert!(ran.stderr.contains("nothing was changed"), "{ran}");
    let told = device.run(&["sync", "--json"]).exits(5).json();
    assert_eq!((&told["error"]["kind"], &told["error"]["code"]), (&"brake".into(), &5.into()));
    assert_eq!(device.files(), before);
}

fn mass_delete_here(remote: &Remote) {
    let (a, b) = full_pair(remote, 12);
    delete_most(&a);
    braked(&a, "8 of 12 files are gone from this vault\n");
    b.sync();
    assert_eq!(b.names().len(), 12);
    a.run(&["restore", "n0.md"]).exits(0);
    assert_eq!(a.read("n0.md"), "note 0\n");
    let turn = a.run(&["sync", "--accept-deletes", "--json"]).exits(0);
    assert_eq!(turn.number("deleted"), 7);
    b.run(&["sync", "--accept-deletes"]).exits(0);
    assert_eq!(a.files(), b.files());
    assert_eq!(b.names().len(), 5);
}

fn missing_files_come_back(remote: &Remote) {
    let (a, _b) = full_pair(remote, 12);
    let before = a.files();
    delete_most(&a);
    braked(&a, "8 of 12 files are gone from this vault\n");
    assert_eq!(a.run(&["restore", "--missing", "--json"]).exits(0).number("files"), 8);
    assert_eq!(a.files(), before);
    assert_eq!(a.run(&["restore", "--missing", "--json"]).exits(0).number("files"), 0);
    a.sync();
    assert_eq!(a.files(), before);
}

fn a_first_try_that_fails_leaves_no_vault(remote: &Remote) {
    let device = Device::new("clumsy").facing(remote);
    for typo in ["htps://example.org/x", "http://127.0.0.1:1/x", "inside", "../not/there"] {
        let ran = device.run(&["sync", "--remote", typo]);
        assert!([1, 2, 4].contains(&ran.code), "{ran}");
        assert!(!device.root().join(".larder").exists(), "{ran}");
    }
    device.run(&["remote", "probe", remote.url()]).exits(0);
    device.write("a.md", "after all\n");
    device.run(&["sync", "--remote", remote.url()]).exits(0);
}

fn mass_delete_there(remote: &Remote) {
    let (a, b) = full_pair(remote, 12);
    delete_most(&a);
    a.run(&["sync", "--accept-deletes"]).exits(0);
    braked(&b, "the remote would remove 8 of 12 files from this vault\n");
    let turn = b.run(&["sync", "--accept-deletes", "--json"]).exits(0);
    assert_eq!((turn.number("deleted"), b.names().len()), (8, 4));
    b.run(&["restore", "n0.md"]).exits(0);
    settle(&[&b, &a]);
    assert_eq!(a.read("n0.md"), "note 0\n");
}

fn emptied_remote(remote: &Remote) {
    let (a, b) = full_pair(remote, 12);
    remote.empty();
    b.write("unsent.md", "edited meanwhile\n");
    braked(&a, "the remote folder is empty or not there, but this vault's remote (");
    braked(&b, "the remote folder is empty or not there, but this vault's remote (");
    a.run(&["sync", "--recreate-remote"]).exits(0);
    settle(&[&b, &a]);
    assert_eq!(a.names().len(), 13);
    a.is_sound();
}

fn foreign_remote(remote: &Remote) {
    let (a, _b) = full_pair(remote, 12);
    remote.empty();
    let stranger = Device::joined("stranger", remote);
    stranger.write("other.md", "not ours\n");
    stranger.sync();
    braked(&a, "the remote folder holds another remote (");
    let ran = a.run(&["remote", "set", remote.url()]).exits(5);
    assert!(ran.stderr.contains("holds another remote"), "{ran}");
    assert_eq!(stranger.names(), ["other.md"]);
}

fn dry_run_is_the_turn_that_follows(remote: &Remote) {
    let (a, b) = full_pair(remote, 12);
    a.edit("n0.md", "note", "a note");
    a.rename("n1.md", "sub/moved.md");
    a.delete("n2.md");
    a.write("new.md", "---\nx: 1\n---\n");
    a.sync();
    b.edit("n0.md", "0", "zero");
    b.edit("n3.md", "note", "b's note");
    b.delete("n4.md");
    let looks = [
        &["list", "--deleted", "--json"][..],
        &["conflicts", "list", "--all", "--json"],
        &["log", "--json"],
        &["remote", "show", "--json"],
    ];
    let look = || looks.map(|args| b.run(args).exits(0).stdout);
    let before = (b.files(), remote.files(), look());
    let dry = b.run(&["sync", "--dry-run", "--json"]).exits(0).json();
    assert_eq!((b.files(), remote.files(), look()), before);
    let told = b.run(&["sync", "--dry-run"]).exits(0).stdout;
    assert_eq!((b.files(), remote.files(), look()), before);
    let lines = |text: &str| -> Vec<String> {
        let lines = text.lines().filter_map(|line| line.strip_prefix("  "));
        lines.map(str::to_owned).collect()
    };
    let planned: Vec<_> =
        dry["plan"].as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect();
    assert_eq!(lines(&told), planned);
    assert_eq!(
        lines(&b.run(&["sync", "-v"]).exits(0).stdout),
        planned,
        "the turn does what the dry run said"
    );
    let counts = ["pulled", "pushed", "merged", "deleted", "renamed"].map(|key| dry[key].as_u64());
    assert_eq!(counts, [4, 3, 1, 2, 1].map(Some), "{dry}");
    assert_eq!(b.run(&["sync", "--dry-run"]).stdout, "Nothing to do.\n");
    settle(&[&a, &b]);
}
