//! What was measured, kept between runs of the benchmark.

use std::{fs, path::PathBuf};

use serde::{Deserialize, Serialize};

use crate::{measure::Measured, parts::proxy::Counted};

/// A piece of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Work {
    /// Making the remote.
    Connect,
    /// The first device sends everything.
    Upload,
    /// The second device takes part in the remote.
    Join,
    /// The second device gets everything.
    Bootstrap,
    /// Nothing changed anywhere.
    Idle,
    /// One changed note leaves the first device.
    SendOne,
    /// It reaches the second.
    ReceiveOne,
    /// A hundred changed notes leave the first device.
    SendMany,
    /// They reach the second.
    ReceiveMany,
    /// Looking what changed in the folder, without the network.
    Scan,
    /// A daemon with nothing to do.
    Daemon,
}

impl Work {
    /// As it stands in a table.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Connect => "make the remote",
            Self::Upload => "first upload",
            Self::Join => "join the remote",
            Self::Bootstrap => "bootstrap",
            Self::Idle => "nothing to do",
            Self::SendOne => "one note, sender",
            Self::ReceiveOne => "one note, receiver",
            Self::SendMany => "100 notes, sender",
            Self::ReceiveMany => "100 notes, receiver",
            Self::Scan => "scan, nothing changed",
            Self::Daemon => "idle daemon, 4 s",
        }
    }
}

/// One run of a piece of work.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Sample {
    pub(crate) peer: String,
    pub(crate) notes: usize,
    pub(crate) delay_ms: u64,
    pub(crate) work: Work,
    pub(crate) seconds: f64,
    pub(crate) peak_kib: u64,
    /// Not for a peer whose requests cannot be told apart.
    pub(crate) requests: Option<u64>,
    pub(crate) up: u64,
    pub(crate) down: u64,
}

/// A peer that did not take part, and why.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Omitted {
    pub(crate) peer: String,
    pub(crate) notes: usize,
    pub(crate) delay_ms: u64,
    pub(crate) reason: String,
}

/// Everything that was measured.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Results {
    /// What the latest of it was measured on, and with.
    #[serde(default)]
    pub(crate) machine: String,
    pub(crate) samples: Vec<Sample>,
    pub(crate) omitted: Vec<Omitted>,
}

impl Results {
    /// What the last run kept; nothing if there was none.
    pub(crate) fn load() -> anyhow::Result<Self> {
        match fs::read_to_string(file()) {
            Ok(text) => Ok(serde_json::from_str(&text)?),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error.into()),
        }
    }

    /// Keeps it for the next run.
    pub(crate) fn save(&self) -> anyhow::Result<()> {
        Ok(fs::write(file(), serde_json::to_string_pretty(self)?)?)
    }

    /// Forgets earlier figures of what is about to be measured.
    pub(crate) fn replace(&mut self, peer: &str, notes: usize, delay_ms: u64) {
        let other = |p: &str, n, d| (p, n, d) != (peer, notes, delay_ms);
        self.samples.retain(|s| other(owner(&s.peer), s.notes, s.delay_ms));
        self.omitted.retain(|o| other(&o.peer, o.notes, o.delay_ms));
    }
}

/// The peer in whose story a figure came up.
fn owner(peer: &str) -> &str {
    if peer == crate::peers::FIND { crate::peers::LARDER } else { peer }
}

impl Sample {
    /// A sample of what was measured and counted.
    pub(crate) fn new(
        (peer, notes, delay_ms): (&str, usize, u64),
        work: Work,
        measured: Measured,
        counted: Counted,
    ) -> Self {
        let Measured { seconds, peak_kib } = measured;
        let Counted { requests, up, down } = counted;
        let (peer, requests) = (peer.to_owned(), Some(requests));
        Self { peer, notes, delay_ms, work, seconds, peak_kib, requests, up, down }
    }
}

/// Where the build puts what it makes.
fn file() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("benchmarks.json")
}
