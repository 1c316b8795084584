//! Who takes part in a remote.

use std::collections::BTreeSet;

use larder_providers::{RemotePath, SharedStorage};

use super::{Engine, EngineError, RACES_MAX, Result, TurnOptions};
use crate::{
    model::{DeviceId, Stamp},
    remote::{Advance, Manifest},
};

/// A device that takes part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// One life of one replica.
    pub id: DeviceId,
    /// What its owner calls it.
    pub name: String,
    /// When it made its last commit, by its own clock.
    pub last_seen: Stamp,
    /// The generation it had read then.
    pub read_generation: u64,
    /// Whether it is this one.
    pub is_this: bool,
}

impl Engine {
    /// The devices that take part, those seen last first, and the remote's generation.
    pub async fn devices(&mut self, storage: &SharedStorage) -> Result<(Vec<Device>, u64)> {
        let remote = self.bound_remote(storage)?;
        let manifest = self.read_head(&remote).await?.manifest;
        let own = self.replica()?.device;
        let device = |(id, told): (DeviceId, crate::remote::Participant)| Device {
            is_this: id == own,
            name: told.name,
            last_seen: told.last_seen,
            read_generation: told.read_generation,
            id,
        };
        let mut devices: Vec<Device> = manifest.devices.into_iter().map(device).collect();
        devices.sort_by(|a, b| b.last_seen.cmp(&a.last_seen).then(a.id.cmp(&b.id)));
        Ok((devices, manifest.generation))
    }

    /// Calls this device by another name.
    pub async fn rename_device(&mut self, storage: &SharedStorage, name: &str) -> Result<()> {
        // A commit names the device that makes it.
        name.clone_into(&mut self.device_name);
        self.amend(storage, |_| {}).await.map(drop)
    }

    /// Takes a device off the list. What it edited stays; if it syncs again it is back.
    pub async fn forget_device(&mut self, storage: &SharedStorage, id: &DeviceId) -> Result<()> {
        let now = self.amend(storage, |next| drop(next.devices.remove(id))).await?;
        Ok(self.bound_remote(storage)?.head.forget(id, &now).await?)
    }

    /// Has the head say that these files are not needed any more, unless it names them.
    pub(super) async fn retire(
        &mut self,
        storage: &SharedStorage,
        files: &BTreeSet<RemotePath>,
        since: Stamp,
    ) -> Result<()> {
        let retire = |next: &mut Manifest| {
            next.retire(files.iter().cloned(), since);
            // A commit that was about to name one of them has to send what it holds anew.
            next.floor = next.floor.max(next.generation);
        };
        self.amend(storage, retire).await.map(drop)
    }

    /// Makes a commit that sends nothing and changes what the manifest says.
    async fn amend(
        &mut self,
        storage: &SharedStorage,
        change: impl Fn(&mut Manifest),
    ) -> Result<Manifest> {
        let remote = self.open_remote(storage, TurnOptions::default()).await?;
        for race in 0..=RACES_MAX {
            let head = self.read_head(&remote).await?;
            if self.is_taken(&head.manifest)? || self.is_taken_unmet(&head)? {
                let text = "this replica was restored from a backup or copied: it takes a new id with \
                            its next sync, and can do this after that";
                return Err(EngineError::Refused(text.to_owned()));
            }
            let has_all = self.replica()?.knows.includes(&head.manifest.knows);
            let mut next = self.successor(&head, has_all);
            change(&mut next);
            // The next turn reads it as anybody's commit: what this one found is not looked at here.
            if let Advance::Committed(now) = self.advance(&remote, &head, next).await? {
                return Ok(now.manifest);
            }
            self.pause(race).await;
        }
        Err(EngineError::Raced { tries: RACES_MAX + 1 })
    }
}
