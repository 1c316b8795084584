//! Processes killed at random moments: the next turn finishes their work without help.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use crate::common::{
    Device, Place, Remote,
    notes::{notes, write_all},
    settle,
};

/// How many processes are killed in each of three commands, on each of two remotes; 54 in all.
const KILLS: u64 = 9;

/// How many more are killed, while they live, in the small syncs of everyday life, half of them in each
/// of two commit modes; `LARDER_TEST_KILLS` sets another number.
const EVERYDAY_KILLS: u64 = 200;

/// How long each of them may take, in milliseconds, and the processes in between that were done sooner.
const KILL_MS_MAX: u64 = 1_000;

/// How many notes are on the way.
const NOTES: usize = 150;

/// How many files that are no text.
const PHOTOS: usize = 4;

#[test]
fn on_a_folder() {
    kill_again_and_again(Place::Folder);
}

#[test]
fn on_apache() {
    kill_again_and_again(Place::APACHE);
}

/// Each device writes its own field and its own part of notes that all share: at the end each field
/// holds what was written last, and each part all that was ever written, whoever was killed after that.
#[test]
fn in_everyday_life() {
    let kills = std::env::var("LARDER_TEST_KILLS");
    let kills = kills.map_or(EVERYDAY_KILLS, |kills| kills.parse().unwrap());
    for place in [Place::Folder, Place::Mirrored] {
        everyday_life(&Remote::start(place).unwrap(), kills / 2);
    }
}

fn everyday_life(remote: &Remote, kills: u64) {
    let devices = ["laptop", "phone", "tablet"].map(|name| Device::joined(name, remote));
    let parts = ["laptop", "phone", "tablet"].map(|name| format!("# {name}\n\nits part\n\n"));
    let text = format!("---\nlaptop: 0\nphone: 0\ntablet: 0\n---\n{}", parts.concat());
    let notes = ["a", "b", "c", "d"].map(|name| format!("{name}.md"));
    notes.iter().for_each(|note| devices[0].write(note, &text));
    settle(&devices.each_ref());
    let span = {
        let started = Instant::now();
        devices[0].sync();
        started.elapsed().as_secs_f64()
    };
    let mut random = fastrand::Rng::with_seed(kills);
    let (mut expected, mut lines) = (BTreeMap::new(), Vec::new());
    let (mut day, mut landed) = (0, 0);
    let end = Instant::now() + Duration::from_millis(KILL_MS_MAX * kills);
    while landed < kills {
        assert!(Instant::now() < end, "only {landed} of {kills} were killed in {day} tries");
        day += 1;
        let device = &devices[random.usize(..devices.len())];
        let note = &notes[random.usize(..notes.len())];
        let field = format!("{device}: ");
        let old: u64 = expected.get(&(note, device.to_string())).copied().unwrap_or_default();
        device.edit(note, &format!("{field}{old}\n"), &format!("{field}{day}\n"));
        expected.insert((note, device.to_string()), day);
        // Texts have empty lines, and these are alike in whatever anybody adds.
        let (part, line) = (format!("# {device}\n"), format!("\n{device} on day {day}\n"));
        device.edit(note, &part, &format!("{part}{line}"));
        lines.push((note, line));
        let command = if day % 10 == 0 { "compact" } else { "sync" };
        // The end of a process, with its checkpoint, as likely as any moment before.
        landed += kill(device, &[command], random.f64() * span * 2.5);
        if random.u8(..3) == 0 {
            device.sync();
        }
    }
    eprintln!("{landed} of {day} hit a process");
    settle(&devices.each_ref());
    for ((note, device), day) in expected {
        let text = devices[0].read(note);
        assert!(text.contains(&format!("{device}: {day}\n")), "{note} lost day {day}: {text}");
    }
    for (note, line) in lines {
        assert!(devices[0].read(note).contains(&line), "{note} lost {line:?}");
    }
    assert_eq!(devices[0].names().len(), notes.len());
    for device in &devices {
        // Nobody but its owner ever set a field.
        assert_eq!(device.run(&["conflicts", "--json"]).exits(0).stdout, "");
        device.is_sound();
    }
}

fn kill_again_and_again(place: Place) {
    let mut spans = [None; 3];
    let mut landed = 0;
    for seed in 0..KILLS {
        let Some(remote) = Remote::start(place) else { return };
        eprintln!("kills on {place:?}, seed {seed}");
        landed += one_life(&remote, seed, &mut spans);
    }
    // Most of the time there was something left to kill.
    assert!(landed * 2 > KILLS * 3, "only {landed} kills of {} hit a process", KILLS * 3);
}

/// A first upload, a bootstrap and a compaction, each of which is killed and finished by the next.
/// `spans` is how long each of them takes. Says how many were killed before they were done.
fn one_life(remote: &Remote, seed: u64, spans: &mut [Option<Duration>; 3]) -> u64 {
    let mut random = fastrand::Rng::with_seed(seed);
    let (a, b) = (Device::joined("laptop", remote), Device::joined("phone", remote));
    write_all(&a.root(), &notes(seed, NOTES));
    write_photos(&a.root(), seed);
    let mut expected = a.files();
    if spans[0].is_none() {
        *spans = measure(remote.place(), seed);
    }
    let [upload, bootstrap, compact] = spans.map(|span| random.f64() * span.unwrap().as_secs_f64());

    let mut landed = kill(&a, &["sync"], upload);
    a.sync().exits(0);
    assert_eq!(a.files(), expected);
    landed += kill(&b, &["sync"], bootstrap);
    b.sync().exits(0);
    assert_eq!(b.files(), expected, "seed {seed}");

    // Something to fold: changes of both, one of them unsent when the compaction begins.
    for n in 0..4 {
        let device = [&a, &b][n % 2];
        device.write(&format!("new {n}.md"), format!("---\nn: {n}\n---\nnew\n"));
        device.sync().exits(0);
    }
    a.write("last.md", "unsent\n");
    landed += kill(&a, &["compact"], compact);
    a.sync().exits(0);
    a.run(&["compact"]).exits(0);
    b.sync().exits(0);
    expected = a.files();
    assert_eq!(expected.len(), NOTES + PHOTOS + 5);
    assert_eq!(b.files(), expected, "seed {seed}");

    let c = Device::joined("tablet", remote);
    c.sync().exits(0);
    assert_eq!(c.files(), expected, "seed {seed}");
    for device in [&a, &b, &c] {
        let check = device.run(&["check", "--read-data", "--json"]).exits(0).json();
        assert_eq!(check["ok"], true, "seed {seed}: {check}");
        let idle = device.sync().exits(0);
        assert_eq!(idle.number("pushed") + idle.number("pulled"), 0, "seed {seed}: {idle}");
    }
    landed
}

/// Files that are no text.
fn write_photos(root: &Path, seed: u64) {
    for number in 0..PHOTOS {
        let mut random = fastrand::Rng::with_seed(seed + number as u64 / 2);
        let noise = std::iter::repeat_with(|| random.u8(..)).take(1_500_000 >> number);
        let content: Vec<u8> = std::iter::once(0).chain(noise).collect();
        fs::write(root.join(format!("photo {number}.jpg")), content).unwrap();
    }
}

/// How long the three commands take on this machine, on a remote of their own.
fn measure(place: Place, seed: u64) -> [Option<Duration>; 3] {
    let remote = Remote::start(place).unwrap();
    let (a, b) = (Device::joined("laptop", &remote), Device::joined("phone", &remote));
    write_all(&a.root(), &notes(seed, NOTES));
    write_photos(&a.root(), seed);
    let time = |device: &Device, command: &str| {
        let started = Instant::now();
        device.run(&[command]).exits(0);
        Some(started.elapsed())
    };
    let (upload, bootstrap) = (time(&a, "sync"), time(&b, "sync"));
    for n in 0..3 {
        b.write(&format!("new {n}.md"), "new\n");
        b.sync();
    }
    [upload, bootstrap, time(&a, "compact")]
}

/// Kills a command so many seconds after it was started; 0 if it was done by then.
fn kill(device: &Device, args: &[&str], seconds: f64) -> u64 {
    let mut child = device.start(args);
    thread::sleep(Duration::from_secs_f64(seconds));
    let is_done = child.try_wait().unwrap().is_some();
    // SIGKILL: nothing of it gets to tidy up.
    child.kill().unwrap();
    child.wait().unwrap();
    u64::from(!is_done)
}
