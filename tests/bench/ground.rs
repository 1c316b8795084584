//! Where a story takes place: a server, a proxy before it, and two devices.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::runtime::Runtime;

use crate::{
    measure::{Measured, Run},
    parts::proxy::{Counted, Proxy},
    peers::Peer,
    servers::Running,
};

/// Which of the two devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Device {
    Laptop,
    Phone,
}

/// A fresh place for one story of one peer.
#[derive(Debug)]
pub(crate) struct Ground {
    proxy: Proxy,
    dir: PathBuf,
    _server: Running,
    /// Ends after everything that runs on it.
    _runtime: Runtime,
}

impl Ground {
    /// A fresh place in `yard`, each request held back by `delay`. It stays until the yard goes.
    pub(crate) fn new(peer: &Peer, delay: Duration, yard: &Path) -> anyhow::Result<Self> {
        let dir = tempfile::Builder::new().prefix("story-").tempdir_in(yard)?.keep();
        for folder in ["server", "laptop/home", "phone/home"] {
            fs::create_dir_all(dir.join(folder))?;
        }
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let server = peer.wire.serve(&dir.join("server"), &runtime)?;
        let proxy = if peer.has_requests {
            runtime.block_on(Proxy::http(server.address, delay))?
        } else {
            runtime.block_on(Proxy::tcp(server.address))?
        };
        Ok(Self { proxy, dir, _server: server, _runtime: runtime })
    }

    /// The notes of a device.
    pub(crate) fn vault(&self, device: Device) -> PathBuf {
        self.device(device).join("notes")
    }

    fn device(&self, device: Device) -> PathBuf {
        self.dir.join(match device {
            Device::Laptop => "laptop",
            Device::Phone => "phone",
        })
    }

    /// Runs a script in the notes of a device.
    pub(crate) fn run(&self, device: Device, script: &str) -> anyhow::Result<(Measured, Counted)> {
        let home = self.device(device).join("home");
        let text = |path: &Path| path.display().to_string();
        let env = [
            ("LARDER", env!("CARGO_BIN_EXE_larder").to_owned()),
            ("ADDRESS", self.proxy.address().to_string()),
            ("SERVER", text(&self.dir.join("server"))),
            ("XDG_STATE_HOME", text(&home.join("state"))),
            ("XDG_CACHE_HOME", text(&home.join("cache"))),
            ("HOME", text(&home)),
            ("LC_ALL", "C".to_owned()),
        ];
        let dir = self.vault(device);
        let before = self.proxy.counted();
        let run = Run { script, dir: &dir, notebook: &self.dir, env: &env };
        let measured = run.measure()?;
        Ok((measured, self.proxy.counted().since(before)))
    }
}
