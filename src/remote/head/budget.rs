//! How much is taken in of manifests that lie there in any number.

use larder_providers::RemotePath;

use super::Others;
use crate::model::{json, limits::MANIFESTS_WEIGHT_MAX};

/// What is left of the memory that manifests may take together.
#[derive(Debug)]
pub(super) struct Budget {
    left: u64,
    is_untouched: bool,
}

impl Default for Budget {
    fn default() -> Self {
        Self { left: MANIFESTS_WEIGHT_MAX, is_untouched: true }
    }
}

impl Budget {
    /// Takes what the manifest of this text needs; whether there was enough left. The first one is
    /// taken whatever it needs: it has a limit of its own.
    pub(super) fn take(&mut self, text: &[u8]) -> bool {
        let weight = json::weight(text);
        let is_fine = self.is_untouched || weight <= self.left;
        if is_fine {
            self.left = self.left.saturating_sub(weight);
            self.is_untouched = false;
        }
        is_fine
    }
}

/// What to say of a head that there is no room for.
pub(super) fn too_much() -> String {
    let most = MANIFESTS_WEIGHT_MAX >> 20;
    format!("is set aside: what lies beside it takes the {most} MiB that heads may take in memory")
}

impl Others {
    /// Notes a head that is not looked into: it may name anything.
    pub(super) fn set_aside(&mut self, file: RemotePath, why: String) {
        self.unreadable.insert(file.clone());
        self.waiting.push((file, why));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_taken_in_any_case_and_the_others_as_far_as_there_is_room() {
        let half = vec![b' '; usize::try_from(MANIFESTS_WEIGHT_MAX / 2).unwrap()];
        let mut budget = Budget::default();
        assert!(budget.take(&half));
        assert!(!budget.take(&half), "a value weighs more than its text");
        assert!(budget.take(&half[..half.len() - 1000]));
        assert!(!budget.take(b"[0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0]"));
        let mut budget = Budget::default();
        assert!(budget.take(&[&half[..], &half, &half].concat()));
        assert!(!budget.take(b"0"));
    }
}
