//! stub
use std::fmt;
/// stub
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VaultPath(String);
/// stub
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadPath(String);
impl VaultPath {
    /// stub
    pub fn new(p: &str) -> Result<Self, BadPath> { Ok(Self(p.to_owned())) }
    /// stub
    pub fn as_str(&self) -> &str { &self.0 }
    /// stub
    pub fn key(&self) -> String { self.0.to_lowercase() }
    /// stub
    pub fn with_number(&self, n: u32) -> Self { Self(format!("{} ({n})", self.0)) }
}
impl fmt::Display for VaultPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.write_str(&self.0) }
}
