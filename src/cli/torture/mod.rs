//! `larder torture`: devices that edit, sync, die and compact at once on a server that the user
//! names, and then the count of what was lost.

mod device;
mod ledger;

use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

use larder_providers::{Password, RemotePath, SharedStorage, Storage, Traffic};
use serde::Serialize;

use super::{
    Ended,
    args::TortureArgs,
    error::CliError,
    init,
    remote_url::RemoteUrl,
    secrets,
    ui::{Ui, count, duration, grouped},
};
use device::{Device, Turns};
use ledger::{Ledger, Loss};

/// How often all devices sync in the end before they have to be of one mind.
const ROUNDS_MAX: usize = 12;
/// How many losses are told one by one.
const TOLD: usize = 20;

/// What came of it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Verdict {
    remote: String,
    commit_mode: String,
    devices: usize,
    seed: u64,
    duration_ms: u64,
    turns: Turns,
    acknowledged: usize,
    lost: Vec<Loss>,
    /// What went wrong besides.
    faults: Vec<String>,
}

impl Verdict {
    fn is_good(&self) -> bool {
        self.lost.is_empty() && self.faults.is_empty()
    }
}

/// Runs the command.
pub(super) async fn run(ui: &Ui, options: &TortureArgs) -> Result<Ended, CliError> {
    let (url, given) = init::take_address(&options.url, ui)?;
    let kept = url.account().map(|account| secrets::recall(&account)).transpose()?.flatten();
    let password = given.clone().or(kept);
    let storage = secrets::open(&url, given, None, ui, &Traffic::new()).await?;
    let seed = options.seed.unwrap_or_else(|| fastrand::u64(..));
    let mut random = fastrand::Rng::with_seed(seed);
    let letters: String = (0..8).map(|_| random.char('a'..='z')).collect();
    let scratch = format!("larder-torture-{letters}");
    storage.make_folder(&RemotePath::root()).await?;
    let remote = url.below(&scratch);
    let lasts = duration(i64::try_from(options.duration.as_millis()).unwrap_or(i64::MAX));
    let devices = count(u64::from(options.devices), "device", "devices");
    ui.line(format!("{devices} on {remote}, for {lasts} (seed {seed})"));
    let verdict = tokio::task::block_in_place(|| torture(ui, options, &remote, password, seed));
    if let Ok(verdict) = &verdict {
        ui.object(verdict);
        tell(ui, verdict);
    }
    if options.keep {
        ui.line(format!("The remote stays where it is: {remote}"));
    } else if let Err(error) = take_away(&url, &storage, &scratch).await {
        ui.note(format!("{remote} could not be taken away: {}", error.message()));
    }
    let verdict = verdict?;
    Ok(if verdict.is_good() { Ended::Done } else { Ended::Findings })
}

async fn take_away(
    url: &RemoteUrl,
    storage: &SharedStorage,
    scratch: &str,
) -> Result<(), CliError> {
    match url {
        RemoteUrl::Folder(folder) => Ok(std::fs::remove_dir_all(folder.join(scratch))?),
        _ => clear(storage, RemotePath::new(scratch).map_err(anyhow::Error::from)?).await,
    }
}

fn torture(
    ui: &Ui,
    options: &TortureArgs,
    remote: &str,
    password: Option<Password>,
    seed: u64,
) -> Result<Verdict, CliError> {
    let started = Instant::now();
    let dir = tempfile::Builder::new().prefix("larder-torture-").tempdir()?;
    let mut devices = Vec::new();
    let mut commit_mode = String::new();
    for number in 0..usize::from(options.devices) {
        let mut device = Device::new(dir.path(), number, seed)?;
        if options.encrypt {
            device.encrypt(dir.path(), password.as_ref());
        }
        commit_mode = device.init(remote, options, ui.given_ca_file())?;
        devices.push(device);
    }
    let until = started + options.duration;
    let faults = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for device in &mut devices {
            scope.spawn(|| {
                if let Err(error) = device.live(until) {
                    let mut faults =
                        faults.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    faults.push(format!("{}: {}", device.name(), error.message()));
                }
            });
        }
    });
    let mut faults = faults.into_inner().unwrap_or_default();
    faults.extend(settle(&mut devices)?);
    let (lost, differing) = judge(&devices)?;
    faults.extend(differing);
    faults.extend(verify(&mut devices)?);
    if options.keep {
        let kept = dir.keep();
        ui.line(format!("The devices stay where they are: {}", kept.display()));
    }
    Ok(Verdict {
        remote: remote.to_owned(),
        commit_mode,
        devices: devices.len(),
        seed,
        duration_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        turns: devices.iter().map(|device| device.turns).sum(),
        acknowledged: devices.iter().map(|device| device.ledger.acknowledged()).sum(),
        lost,
        faults,
    })
}

/// Syncs all until nobody has news.
fn settle(devices: &mut [Device]) -> Result<Vec<String>, CliError> {
    let mut quiet = 0;
    for _ in 0..ROUNDS_MAX {
        let mut moved = 0;
        for device in devices.iter_mut() {
            moved += device.sync_patiently()?;
        }
        quiet = if moved == 0 { quiet + 1 } else { 0 };
        if quiet == 2 {
            return Ok(Vec::new());
        }
    }
    Ok(vec![format!("the devices do not come to rest in {ROUNDS_MAX} rounds")])
}

/// What `larder check` finds on the first device; a finding that another sync mends is none.
fn verify(devices: &mut [Device]) -> Result<Option<String>, CliError> {
    let Some(device) = devices.first_mut() else { return Ok(None) };
    if device.check()?.is_none() {
        return Ok(None);
    }
    device.sync_patiently()?;
    device.check()
}

/// Holds what every device has in the end against what was acknowledged.
fn judge(devices: &[Device]) -> Result<(Vec<Loss>, Vec<String>), CliError> {
    let ledgers: Vec<&Ledger> = devices.iter().map(|device| &device.ledger).collect();
    let (mut lost, mut faults) = (Vec::new(), Vec::new());
    let mut first = None;
    for device in devices {
        let there = device.everything()?;
        for ledger in &ledgers {
            lost.extend(ledger.losses(&there, device.name()));
        }
        match &first {
            None => first = Some(there),
            Some(first) => {
                if let Some(file) = first.differs_in(&there) {
                    let one = devices.first().map_or("", Device::name);
                    faults.push(format!("{one} and {} differ in {file}", device.name()));
                }
            }
        }
    }
    Ok((lost, faults))
}

fn tell(ui: &Ui, verdict: &Verdict) {
    let Turns { done, killed, refused, compactions } = verdict.turns;
    ui.line(format!(
        "{} done, {} killed, {} put off by the server, by rivals or by the brake, {} ({})",
        count(done, "turn", "turns"),
        grouped(killed),
        grouped(refused),
        count(compactions, "compaction", "compactions"),
        duration(i64::try_from(verdict.duration_ms).unwrap_or(i64::MAX)),
    ));
    for loss in verdict.lost.iter().take(TOLD) {
        ui.answer(format!("lost: {}, on {}", loss.what, loss.device));
    }
    for fault in &verdict.faults {
        ui.answer(format!("fault: {fault}"));
    }
    let text = format!(
        "{} of {} acknowledged edits lost (commit mode {})",
        grouped(verdict.lost.len() as u64),
        grouped(verdict.acknowledged as u64),
        verdict.commit_mode
    );
    ui.answer(ui.strong(&text));
}

/// Takes away what lies below a folder, and the folder where the storage can.
async fn clear(storage: &SharedStorage, folder: RemotePath) -> Result<(), CliError> {
    let (mut folders, mut seen) = (vec![folder], Vec::new());
    while let Some(folder) = folders.pop() {
        let listing = match storage.list(&folder).await {
            Ok(listing) => listing,
            Err(error) if error.is_not_found() => continue,
            Err(error) => return Err(error.into()),
        };
        for entry in listing.entries {
            if entry.is_folder {
                folders.push(entry.path);
            } else {
                storage.delete(&entry.path).await?;
            }
        }
        seen.push(folder);
    }
    for folder in seen.into_iter().rev() {
        // An empty folder that stays does no harm.
        let _ = storage.delete(&folder).await;
    }
    Ok(())
}

/// How long one command of a device may take before it counts as hanging.
const PATIENCE: Duration = Duration::from_secs(180);
