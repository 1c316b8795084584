//! Many processes that commit to one remote at once.

use std::{process::Child, thread};

use crate::common::{Device, Remote, settle};

super::on_every_remote!(eight_processes, several_makers);

const RIVALS: usize = 8;
const ROUNDS: usize = 3;
const MAKERS: usize = 5;

/// Every rival appends to a note of its own and to one field of a note of all; each edit that a turn
/// acknowledged is in the end there, on every device.
fn eight_processes(remote: &Remote) {
    let rivals: Vec<Device> = (0..RIVALS).map(|n| Device::new(&format!("rival{n}"))).collect();
    let fields: String = (0..RIVALS).map(|n| format!("r{n}: 0\n")).collect();
    rivals[0].write("shared.md", format!("---\n{fields}---\n"));
    rivals[0].init(remote);
    rivals[0].sync();
    // They join at once, too.
    thread::scope(|scope| {
        for rival in &rivals[1..] {
            scope.spawn(|| {
                rival.init(remote);
                rival.sync();
            });
        }
    });
    let mut raced = 0;
    for round in 1..=ROUNDS {
        for (n, rival) in rivals.iter().enumerate() {
            rival.write(&format!("own{n}.md"), format!("round {round}\n"));
            rival.write(&format!("new/{n}-{round}.md"), "new\n");
            rival.edit("shared.md", &format!("r{n}: {}\n", round - 1), &format!("r{n}: {round}\n"));
        }
        let turns: Vec<Child> =
            rivals.iter().map(|rival| rival.start(&["sync", "--json"])).collect();
        for (rival, turn) in rivals.iter().zip(turns) {
            let output = turn.wait_with_output().unwrap();
            let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
            raced += told["raced"].as_u64().unwrap_or(0);
            // A server may be too busy for one of them, which then has to try again.
            if output.status.code() != Some(0) {
                assert_eq!(output.status.code(), Some(4), "{rival}: {told}");
                rival.sync();
            }
        }
    }
    let all: Vec<&Device> = rivals.iter().collect();
    settle(&all);
    eprintln!("races lost on {:?}: {raced} in {} turns", remote.place(), RIVALS * ROUNDS);
    let shared = rivals[0].read("shared.md");
    for n in 0..RIVALS {
        assert!(shared.contains(&format!("r{n}: {ROUNDS}\n")), "{shared}");
        assert_eq!(rivals[0].read(&format!("own{n}.md")), format!("round {ROUNDS}\n"));
    }
    assert_eq!(rivals[0].names().len(), 1 + RIVALS + RIVALS * ROUNDS);
    let check = rivals[1].run(&["check", "--read-data", "--json"]).exits(0).json();
    assert_eq!(check["ok"], true, "{check}");
}

/// Several devices find nothing there and make the remote in the same moment: it becomes one, and all
/// have joined it.
fn several_makers(remote: &Remote) {
    let makers: Vec<Device> = (0..MAKERS).map(|n| Device::new(&format!("maker{n}"))).collect();
    thread::scope(|scope| {
        for (n, maker) in makers.iter().enumerate() {
            maker.write(&format!("note{n}.md"), "text\n");
            scope.spawn(move || {
                // A server may be too busy for one of them, which then has to try again.
                let ran = maker.try_init(remote);
                assert!([0, 4].contains(&ran.code), "{maker}: {ran}");
                maker.run(&["sync"]);
            });
        }
    });
    for maker in &makers {
        maker.init(remote);
    }
    let all: Vec<&Device> = makers.iter().collect();
    settle(&all);
    settle(&all);
    assert_eq!(makers[0].names().len(), MAKERS);
    makers[0].run(&["check", "--read-data"]).exits(0);
}
