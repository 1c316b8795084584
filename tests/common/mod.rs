//! Devices and remotes for tests that go through the real binary.

mod device;
#[cfg(target_os = "linux")]
pub(crate) mod nobody;
pub(crate) mod notes;
mod ran;
mod remote;
#[cfg(target_os = "linux")]
pub(crate) mod terminal;
pub(crate) mod tls;

pub(crate) use device::{Device, PASSPHRASE, PASSWORD, Text, tree};
pub(crate) use ran::Ran;
pub(crate) use remote::{Files, Place, Remote};

/// Two devices of one remote.
pub(crate) fn pair(remote: &Remote) -> (Device, Device) {
    (Device::joined("laptop", remote), Device::joined("phone", remote))
}

/// Two devices of one remote that both have so many notes.
#[track_caller]
pub(crate) fn full_pair(remote: &Remote, notes: usize) -> (Device, Device) {
    let (a, b) = pair(remote);
    (0..notes).for_each(|n| a.write(&format!("n{n}.md"), format!("note {n}\n")));
    settle(&[&a, &b]);
    (a, b)
}

/// Syncs until everybody has everything, and sees to it that all vaults hold the same.
#[track_caller]
pub(crate) fn settle(devices: &[&Device]) {
    devices.iter().chain(&devices[..devices.len() - 1]).for_each(|device| {
        device.sync();
    });
    for device in &devices[1..] {
        assert_eq!(devices[0].files(), device.files(), "{} and {}", devices[0], device);
    }
}
