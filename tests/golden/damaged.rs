//! What a check finds on damaged remotes, and what a repair makes of it.

use larder::engine::{CheckOptions, CheckReport, RepairOptions};

use super::*;

impl Device {
    async fn check(&mut self) -> Result<CheckReport, EngineError> {
        let traffic = Traffic::new();
        let storage = self.storage(&traffic);
        self.engine.check(&storage, &traffic, CheckOptions { read_data: true }).await
    }

    async fn repair(&mut self) -> Result<CheckReport, EngineError> {
        let traffic = Traffic::new();
        let storage = self.storage(&traffic);
        let options = RepairOptions { read_data: true, ..Default::default() };
        self.engine.repair(&storage, &traffic, options, &Silent).await
    }

    /// A turn on a remote that it knows.
    async fn sync(&mut self) -> Result<Report, EngineError> {
        let traffic = Traffic::new();
        let storage = self.storage(&traffic);
        self.engine.turn(&storage, &traffic, TurnOptions::default(), &Silent).await
    }
}

/// A device that had read everything before the damage came.
async fn healthy(fixture: &Path, seed: u64) -> Device {
    let remote = remote_of(fixture);
    if fixture.join("mend").exists() {
        copy(&fixture.join("mend"), remote.path());
    }
    let mut device = Device::on(&remote, seed);
    device.turn().await.unwrap_or_else(|why| panic!("{}: {why}", fixture.display()));
    for folder in folders_in(remote.path()) {
        if folder.is_dir() {
            fs::remove_dir_all(folder).unwrap();
        } else {
            fs::remove_file(folder).unwrap();
        }
    }
    copy(&fixture.join("remote"), remote.path());
    device
}

/// One finding a line: its kind, and the file it is about.
fn lines(check: Result<CheckReport, EngineError>) -> String {
    let mut lines: Vec<String> = match check {
        Ok(report) => report
            .findings
            .iter()
            .map(|found| format!("{} {}\n", word(found.kind), found.file.as_deref().unwrap_or("")))
            .collect(),
        Err(EngineError::Remote(RemoteError::NeedsNewer { .. })) => vec!["needsNewer\n".to_owned()],
        Err(error) => vec![format!("error {error}\n")],
    };
    lines.sort();
    lines.concat()
}

#[tokio::test]
async fn a_check_finds_what_is_wrong_and_nothing_else() {
    for fixture in folders_in(&fixtures().join("damaged")) {
        let expected = read(fixture.join("findings.txt"));
        let mut newcomer = Device::on(&remote_of(&fixture), 11);
        let storage = newcomer.storage(&Traffic::new());
        let mut found = match newcomer.engine.connect(&storage, None).await {
            Ok(_) => lines(newcomer.check().await),
            // Who cannot join asks somebody who had.
            Err(_) => lines(healthy(&fixture, 12).await.check().await),
        };
        if found.is_empty() {
            // What is wrong with records only who has them can tell.
            newcomer.sync().await.unwrap();
            found = lines(newcomer.check().await);
        }
        assert_eq!(found, expected, "{}", name_of(&fixture));
        // Who knew it before may tell more.
        if fixture.join("known.txt").exists() {
            let found = lines(healthy(&fixture, 12).await.check().await);
            assert_eq!(found, read(fixture.join("known.txt")), "{}", name_of(&fixture));
        }
    }
}

#[tokio::test]
async fn who_has_everything_repairs_everything() {
    // A bad path and a stamp of the future are the record's own, and a head is its device's.
    let lasting = ["bad-path", "clock-ahead", "devices-head-torn"];
    for fixture in folders_in(&fixtures().join("damaged")) {
        let name = name_of(&fixture);
        let mut device = healthy(&fixture, 13).await;
        let before = lines(device.check().await);
        // A turn may go well or say why not; nothing goes from the vault in any case.
        let _ = device.sync().await;
        assert_eq!(device.files(), files_in(&fixture.join("mended")), "{name}");
        let report = device.repair().await;
        if name == "min-reader" {
            assert!(report.is_err(), "{name}");
            continue;
        }
        let report = report.unwrap_or_else(|why| panic!("{name}: {why}"));
        assert_eq!(report.is_ok(), !lasting.contains(&name), "{name}: {report:?} after {before}");
        assert_eq!(device.files(), files_in(&fixture.join("mended")), "{name}");
        let mut newcomer = Device::on(&device.remote, 14);
        let turn = newcomer.turn().await;
        assert_eq!(said(&turn), [""; 0], "{name}");
        assert_eq!(newcomer.files(), files_in(&fixture.join("mended")), "{name}");
        assert_eq!(turn.unwrap().pushed, 0, "{name}");
        assert_eq!(device.sync().await.unwrap().pushed, 0, "{name}");
    }
}
