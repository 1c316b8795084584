//! Dots and version vectors: what has been seen.

use std::{collections::BTreeMap, fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{DeviceId, wire::read_text};

/// The name of one edit: the device that made it and that device's count of edits.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Dot {
    /// Who made the edit.
    pub device: DeviceId,
    /// The how-manieth edit of that device it was, from 1.
    pub counter: u64,
}

impl Dot {
    /// The edit number `counter` of `device`.
    pub fn new(device: DeviceId, counter: u64) -> Self {
        Self { device, counter }
    }
}

/// A text that is not a dot.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a dot like k3v9x2:41")]
pub struct InvalidDot(String);

impl FromStr for Dot {
    type Err = InvalidDot;

    fn from_str(text: &str) -> Result<Self, InvalidDot> {
        let parsed = text.split_once(':').and_then(|(device, counter)| {
            let digits = !counter.starts_with('+');
            let counter: u64 = counter.parse().ok().filter(|&counter| counter > 0 && digits)?;
            Some(Self { device: device.parse().ok()?, counter })
        });
        parsed.ok_or_else(|| InvalidDot(text.to_owned()))
    }
}

impl Serialize for Dot {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Dot {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        read_text(deserializer, str::parse)
    }
}

impl fmt::Display for Dot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.device, self.counter)
    }
}

impl fmt::Debug for Dot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// A set of edits: of each device all up to some counter, without gaps.
#[derive(Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct VersionVector(BTreeMap<DeviceId, u64>);

impl VersionVector {
    /// The highest edit of `device` in the set; 0 if there is none.
    pub fn get(&self, device: &DeviceId) -> u64 {
        self.0.get(device).copied().unwrap_or(0)
    }

    /// Whether the edit is in the set.
    pub fn covers(&self, dot: &Dot) -> bool {
        self.get(&dot.device) >= dot.counter
    }

    /// Whether every edit of `other` is in this set.
    pub fn includes(&self, other: &Self) -> bool {
        other.iter().all(|(device, counter)| self.get(device) >= counter)
    }

    /// Adds the edits of `device` up to `counter`.
    pub fn raise(&mut self, device: &DeviceId, counter: u64) {
        if self.get(device) < counter {
            self.0.insert(device.clone(), counter);
        }
    }

    /// The edits that both know.
    #[must_use]
    pub fn meet(&self, other: &Self) -> Self {
        let both =
            self.iter().map(|(device, count)| (device.clone(), count.min(other.get(device))));
        both.filter(|(_, count)| *count > 0).collect()
    }

    /// Adds every edit of `other`.
    pub fn join(&mut self, other: &Self) {
        for (device, counter) in other.iter() {
            self.raise(device, counter);
        }
    }

    /// Reads a vector that stands as a JSON value, as in a deletion.
    pub fn from_json(value: &serde_json::Value) -> Option<Self> {
        Self::deserialize(value).ok()
    }

    /// The highest edit per device, in order of the devices.
    pub fn iter(&self) -> impl Iterator<Item = (&DeviceId, u64)> {
        self.0.iter().map(|(device, counter)| (device, *counter))
    }

    /// Whether the set has no edit.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many devices have edits in the set.
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

impl FromIterator<(DeviceId, u64)> for VersionVector {
    fn from_iter<T: IntoIterator<Item = (DeviceId, u64)>>(pairs: T) -> Self {
        let mut vector = Self::default();
        for (device, counter) in pairs {
            vector.raise(&device, counter);
        }
        vector
    }
}

impl fmt::Debug for VersionVector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(&self.0).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(name: &str) -> DeviceId {
        DeviceId::new(name).unwrap()
    }

    #[test]
    fn a_dot_is_read_as_it_is_written() {
        let dot: Dot = "k3v9x2:41".parse().unwrap();
        assert_eq!(dot, Dot::new(device("k3v9x2"), 41));
        for bad in ["", "k3v9x2", "k3v9x2:0", "k3v9x2:-1", "k3v9x2:+1", "K3V9X2:1", ":1"] {
            assert!(bad.parse::<Dot>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_vector_covers_everything_up_to_its_counters() {
        let vector: VersionVector = [(device("aaaa"), 3)].into_iter().collect();
        assert!(vector.covers(&Dot::new(device("aaaa"), 3)));
        assert!(!vector.covers(&Dot::new(device("aaaa"), 4)));
        assert!(!vector.covers(&Dot::new(device("bbbb"), 1)));
        assert!(vector.includes(&VersionVector::default()));
    }
}
