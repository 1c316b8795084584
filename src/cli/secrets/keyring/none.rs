//! No keyring: a system that has none, or a build without the feature `keyring`.

use super::Trouble;

pub(super) fn recall(_: &str, _: &str) -> Result<Option<String>, Trouble> {
    Err(Trouble::Absent)
}

pub(super) fn keep(_: &str, _: &str, _: &str) -> Result<(), Trouble> {
    Err(Trouble::Absent)
}

pub(super) fn forget(_: &str, _: &str) -> Result<bool, Trouble> {
    Err(Trouble::Absent)
}
