//! `larder demo`: two devices and a remote in a folder, to see what larder does.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context;
use larder_providers::{Local, SharedStorage, Traffic};

use super::{
    Ended, args::DemoArgs, error::CliError, show::device_name, ui::Ui, ui::count, ui::grouped,
    ui::quoted, workplace::Workplace,
};
use crate::{
    engine::{Report, Silent, TurnOptions},
    model::{ConflictKind, entity::DELETED},
};

const TASK: &str = "---
title: Buy milk   # the good one
status: open
tags: [shop]
---
Two bottles.
";

const TRIP: &str = "# Trip

We leave on Friday.

Pack the tent and the stove.
";

/// A device of the demo.
struct Device {
    name: &'static str,
    root: PathBuf,
    place: Workplace,
    storage: SharedStorage,
    traffic: Traffic,
}

/// One thing that happens on both devices before they have heard of each other.
struct Scene {
    title: &'static str,
    laptop: (&'static str, Step),
    phone: (&'static str, Step),
    files: &'static [&'static str],
}

enum Step {
    Replace(&'static str, &'static str, &'static str),
    Move(&'static str, &'static str),
    Delete(&'static str),
}

/// Runs the command.
pub(super) async fn run(ui: &Ui, options: &DemoArgs) -> Result<Ended, CliError> {
    let root = match &options.dir {
        Some(dir) => super::env::folder(dir)?,
        None => tempfile::Builder::new().prefix("larder-demo-").tempdir()?.keep(),
    };
    if root.to_str().is_none() {
        let text = format!("the name of {} is no text; choose another folder", root.display());
        return Err(CliError::Usage(text));
    }
    let remote = root.join("remote");
    fs::create_dir_all(&root).with_context(|| root.display().to_string())?;
    let mut laptop = Device::set_up(&root, "laptop", &remote).await?;
    let mut phone = Device::set_up(&root, "phone", &remote).await?;
    ui.line(ui.strong("Two devices and a remote: a folder that both can reach."));
    ui.line(format!("  {}", root.display()));
    write(&laptop.root.join("task.md"), TASK)?;
    write(&laptop.root.join("trip.md"), TRIP)?;
    write(&laptop.root.join("old name.md"), "A note that will move.\n")?;
    write(&laptop.root.join("list.md"), "A note that will be deleted.\n")?;
    laptop.sync(ui).await?;
    phone.sync(ui).await?;
    for scene in SCENES {
        play(ui, scene, &mut laptop, &mut phone).await?;
    }
    tell_journal(ui, &laptop)?;
    tell_end(ui, &root, &laptop, &phone)?;
    Ok(Ended::Done)
}

const SCENES: &[Scene] = &[
    Scene {
        title: "Different fields of one note",
        laptop: ("marks the task as done", Step::Replace("task.md", "open", "done")),
        phone: ("adds a tag", Step::Replace("task.md", "[shop]", "[shop, today]")),
        files: &["task.md"],
    },
    Scene {
        title: "The same field",
        laptop: ("renames it to oat milk", Step::Replace("task.md", "Buy milk", "Buy oat milk")),
        phone: ("renames it to soy milk", Step::Replace("task.md", "Buy milk", "Buy soy milk")),
        files: &["task.md"],
    },
    Scene {
        title: "The same paragraph, different words",
        laptop: ("changes the day", Step::Replace("trip.md", "Friday", "Saturday")),
        phone: ("says when", Step::Replace("trip.md", "We leave", "At seven we leave")),
        files: &["trip.md"],
    },
    Scene {
        title: "The same words",
        laptop: ("wants a hut", Step::Replace("trip.md", "the tent", "the keys of the hut")),
        phone: ("wants to take the van", Step::Replace("trip.md", "the tent", "the van")),
        files: &["trip.md"],
    },
    Scene {
        title: "A rename against an edit",
        laptop: ("moves the note", Step::Move("old name.md", "notes/new name.md")),
        phone: ("edits it", Step::Replace("old name.md", "will move", "moved and changed")),
        files: &["notes/new name.md"],
    },
    Scene {
        title: "A delete against an edit",
        laptop: ("deletes the note", Step::Delete("list.md")),
        phone: ("edits it", Step::Replace("list.md", "will be deleted", "was still needed")),
        files: &["list.md"],
    },
];

async fn play(
    ui: &Ui,
    scene: &Scene,
    laptop: &mut Device,
    phone: &mut Device,
) -> Result<(), CliError> {
    ui.line("");
    ui.line(ui.strong(scene.title));
    for (device, (what, step)) in [(&*laptop, &scene.laptop), (&*phone, &scene.phone)] {
        ui.line(format!("  {:7} {what}", device.name));
        device.act(step)?;
    }
    laptop.sync(ui).await?;
    phone.sync(ui).await?;
    laptop.sync(ui).await?;
    for file in scene.files {
        let (ours, theirs) = (laptop.read(file)?, phone.read(file)?);
        let verdict = if ours == theirs { "both end with" } else { "they differ:" };
        ui.line(format!("  {verdict} {file}"));
        ours.lines().for_each(|line| ui.line(format!("    {}", ui.dim(line))));
        if ours != theirs {
            theirs.lines().for_each(|line| ui.line(format!("    {}", ui.warning(line))));
            return Err(anyhow::anyhow!("the devices of the demo differ in {file}").into());
        }
    }
    Ok(())
}

impl Device {
    async fn set_up(root: &Path, name: &'static str, remote: &Path) -> Result<Self, CliError> {
        let folder = root.join(name);
        fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        let mut place = Workplace::make(&folder, Some(name))?;
        let traffic = Traffic::new();
        let storage: SharedStorage = Arc::new(Local::new(remote).with_traffic(traffic.clone()));
        let connected = place.engine.connect(&storage, None).await?;
        let (url, _) = super::remote_url::RemoteUrl::parse(&remote.display().to_string())?;
        place.set_remote(None, &url, &connected.id)?;
        Ok(Self { name, root: folder, place, storage, traffic })
    }

    fn act(&self, step: &Step) -> Result<(), CliError> {
        match step {
            Step::Replace(file, from, to) => {
                let text = self.read(file)?;
                write(&self.root.join(file), &text.replace(from, to))
            }
            Step::Move(from, to) => {
                let to = self.root.join(to);
                fs::create_dir_all(to.parent().unwrap_or(&self.root))?;
                Ok(fs::rename(self.root.join(from), to)?)
            }
            Step::Delete(file) => Ok(fs::remove_file(self.root.join(file))?),
        }
    }

    async fn sync(&mut self, ui: &Ui) -> Result<(), CliError> {
        let turn = TurnOptions::default();
        let report = self.place.engine.turn(&self.storage, &self.traffic, turn, &Silent).await?;
        ui.line(ui.dim(&format!("  {:7} syncs: {}", self.name, told(&report))));
        Ok(())
    }

    fn read(&self, file: &str) -> Result<String, CliError> {
        let path = self.root.join(file);
        Ok(fs::read_to_string(&path).with_context(|| path.display().to_string())?)
    }
}

fn told(report: &Report) -> String {
    let parts = [
        (report.pushed, "sent"),
        (report.pulled, "received"),
        (report.merged, "merged"),
        (report.conflicts, "in conflict"),
    ];
    let parts: Vec<String> = parts
        .iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, verb)| format!("{} {verb}", grouped(*number as u64)))
        .collect();
    let did = if parts.is_empty() { "nothing to do".to_owned() } else { parts.join(", ") };
    format!("{did} ({})", count(report.cost.requests, "request", "requests"))
}

fn tell_journal(ui: &Ui, device: &Device) -> Result<(), CliError> {
    ui.line("");
    ui.line(ui.strong("What the journal says, on either device (larder conflicts)"));
    for stored in device.place.engine.store().conflicts(true)? {
        let conflict = &stored.conflict;
        let field = if conflict.field == DELETED { "deletion" } else { conflict.field.as_str() };
        let what = match conflict.kind {
            ConflictKind::Overlap => "both versions stand in the text".to_owned(),
            ConflictKind::Values | ConflictKind::Deletion => {
                format!("the rule {} decided", conflict.rule)
            }
        };
        let record = device.place.engine.store().record(&stored.entity)?;
        let file = record.and_then(|record| record.file);
        let file = file.as_ref().map_or(stored.entity.as_str(), |file| file.as_str());
        ui.line(format!("  {}  {file}: {field}: {what}", conflict.id));
        if conflict.kind == ConflictKind::Deletion {
            continue;
        }
        for value in &conflict.values {
            let Some(content) = &value.content else { continue };
            let text =
                content.value.as_str().map_or_else(|| content.value.to_string(), str::to_owned);
            let last = text.trim_end().lines().last().unwrap_or_default();
            let name = device_name(&device.place, value.dot.device.as_str());
            ui.line(ui.dim(&format!("      {name} had: {last}")));
        }
    }
    Ok(())
}

fn tell_end(ui: &Ui, root: &Path, laptop: &Device, phone: &Device) -> Result<(), CliError> {
    let requests: u64 =
        [laptop, phone].iter().map(|device| device.traffic.snapshot().requests).sum();
    ui.line("");
    ui.line(format!(
        "{} in all. The folders are left for you to look at; edit a note and run",
        count(requests, "request", "requests")
    ));
    let laptop = root.join("laptop").display().to_string();
    ui.line(format!("  larder sync {}", quoted(&laptop)));
    ui.object(&serde_json::json!({ "root": root.display().to_string(), "requests": requests }));
    Ok(())
}

#[allow(
    clippy::disallowed_methods,
    reason = "the demo plays a user, who does not write atomically"
)]
fn write(path: &Path, text: &str) -> Result<(), CliError> {
    Ok(fs::write(path, text).with_context(|| path.display().to_string())?)
}
