//! What two devices live through with one peer.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::Path,
    thread,
    time::{Duration, SystemTime},
};

use anyhow::ensure;

use crate::{
    ground::{Device, Ground},
    parts::notes,
    peers::{FIND, LARDER, Peer},
    sample::{Results, Sample, Work},
};

/// Longer than any program distrusts times of files that are nearly as young as its last look.
const TRUST: Duration = Duration::from_millis(2200);

/// How many notes are many.
const MANY: usize = 100;

/// How often the scan is measured: it is short, and the other one of the pair comes in between.
const SCANS: usize = 5;

/// One run of a peer through all works.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Story<'a> {
    pub(crate) peer: &'a Peer,
    pub(crate) notes: usize,
    pub(crate) delay_ms: u64,
    /// The how-manieth, from 0.
    pub(crate) run: usize,
    /// The notes to start from.
    pub(crate) template: &'a Path,
    /// Where it takes place.
    pub(crate) yard: &'a Path,
}

impl Story<'_> {
    /// Plays it and adds what it took.
    pub(crate) fn play(&self, results: &mut Results) -> anyhow::Result<()> {
        use Device::{Laptop, Phone};
        let ground = Ground::new(self.peer, Duration::from_millis(self.delay_ms), self.yard)?;
        copy(self.template, &ground.vault(Laptop))?;
        fs::create_dir(ground.vault(Phone))?;
        self.measure(&ground, Laptop, Work::Connect, results)?;
        self.measure(&ground, Laptop, Work::Upload, results)?;
        self.measure(&ground, Phone, Work::Join, results)?;
        self.measure(&ground, Phone, Work::Bootstrap, results)?;
        self.settle(&ground)?;
        self.measure(&ground, Laptop, Work::Idle, results)?;
        self.edit(&ground, 1)?;
        self.measure(&ground, Laptop, Work::SendOne, results)?;
        self.measure(&ground, Phone, Work::ReceiveOne, results)?;
        self.edit(&ground, MANY.min(self.notes))?;
        self.measure(&ground, Laptop, Work::SendMany, results)?;
        self.measure(&ground, Phone, Work::ReceiveMany, results)?;
        let (sent, received) = (content(&ground.vault(Laptop))?, content(&ground.vault(Phone))?);
        ensure!(sent == received, "the two devices do not hold the same notes at the end");
        if self.peer.name == LARDER && self.delay_ms == 0 {
            self.settle(&ground)?;
            self.scan(&ground, results)?;
            self.measure(&ground, Laptop, Work::Daemon, results)?;
        }
        Ok(())
    }

    fn measure(
        &self,
        ground: &Ground,
        device: Device,
        work: Work,
        results: &mut Results,
    ) -> anyhow::Result<()> {
        let Some(script) = self.peer.script(work) else { return Ok(()) };
        let (measured, counted) = ground.run(device, script)?;
        // What only prepares, on this device, is no work of its own.
        if !matches!(work, Work::Connect | Work::Join) || counted.requests > 0 {
            let mut sample = Sample::new(self.key(self.peer.name), work, measured, counted);
            sample.requests = sample.requests.filter(|_| self.peer.has_requests);
            results.samples.push(sample);
        }
        Ok(())
    }

    /// Lets both look at their files once more when these are old enough to be believed.
    fn settle(&self, ground: &Ground) -> anyhow::Result<()> {
        thread::sleep(TRUST);
        if let Some(idle) = self.peer.script(Work::Idle) {
            ground.run(Device::Laptop, idle)?;
            ground.run(Device::Phone, idle)?;
        }
        Ok(())
    }

    fn edit(&self, ground: &Ground, edits: usize) -> anyhow::Result<()> {
        // The clock of the file system ticks every few ms only: what is newer must look newer.
        thread::sleep(Duration::from_millis(20));
        notes::touch(&ground.vault(Device::Laptop), self.notes, edits, edits as u32)?;
        Ok(())
    }

    /// larder and `find` by turns, so that both see the same machine.
    fn scan(&self, ground: &Ground, results: &mut Results) -> anyhow::Result<()> {
        let scripts = [
            (LARDER, "exec \"$LARDER\" status --json"),
            (FIND, "exec find . -type f -newer \"$HOME/stamp\""),
        ];
        ground.run(Device::Laptop, "touch \"$HOME/stamp\"")?;
        for (peer, script) in scripts.iter().cycle().take(SCANS * scripts.len()) {
            let (measured, counted) = ground.run(Device::Laptop, script)?;
            results.samples.push(Sample::new(self.key(peer), Work::Scan, measured, counted));
        }
        Ok(())
    }

    fn key<'p>(&self, peer: &'p str) -> (&'p str, usize, u64) {
        (peer, self.notes, self.delay_ms)
    }
}

/// Makes all files of a folder a day old, so that no program thinks they may just be changing.
pub(crate) fn age(dir: &Path) -> anyhow::Result<()> {
    let yesterday = SystemTime::now() - Duration::from_hours(24);
    for entry in fs::read_dir(dir)? {
        File::options().write(true).open(entry?.path())?.set_modified(yesterday)?;
    }
    Ok(())
}

/// Copies a folder of files with their times.
fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let copy = to.join(entry.file_name());
        fs::copy(entry.path(), &copy)?;
        File::options().write(true).open(copy)?.set_modified(entry.metadata()?.modified()?)?;
    }
    Ok(())
}

/// The notes of a folder, by name.
fn content(dir: &Path) -> anyhow::Result<BTreeMap<String, String>> {
    let mut notes = BTreeMap::new();
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.ends_with(".md") {
            let text = fs::read(dir.join(&name))?;
            notes.insert(name, larder::digest::sha256_hex(&text));
        }
    }
    Ok(notes)
}
