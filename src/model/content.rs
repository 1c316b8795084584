//! What a field holds.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The content of a field: its value and, where it came from a file in a spelling of its own, that
/// spelling.
///
/// The value is what rules compare and programs read. The source is what stands in the user's file
/// (`'single quoted'`, `007`, a block list with comments inside) and is written back byte for byte
/// on every device. It is absent where the canonical spelling of the value is the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Content {
    /// The value as JSON.
    pub value: Value,
    /// The spelling in the user's file, if it is not the canonical one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

impl Content {
    /// A value in its canonical spelling.
    pub fn new(value: impl Into<Value>) -> Self {
        Self { value: value.into(), source: None }
    }

    /// A value in a spelling of its own.
    pub fn with_source(value: impl Into<Value>, source: impl Into<String>) -> Self {
        Self { value: value.into(), source: Some(source.into()) }
    }
}
