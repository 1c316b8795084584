//! Where a test ends the process, fills the disk, or lets a user write, between two steps of larder's
//! own. Without the feature `sim` there is nobody to ask, and nothing of this is compiled.

use std::{fmt, io, path::Path};

/// What is asked before each change of a file; an error stops it as the system would.
#[cfg(feature = "sim")]
pub type Asked = std::sync::Arc<dyn Fn(&Path) -> io::Result<()> + Send + Sync>;

/// Asked before each change of a file.
#[derive(Clone, Default)]
pub(super) struct Gate {
    #[cfg(feature = "sim")]
    pub(super) asked: Option<Asked>,
}

impl Gate {
    #[cfg(feature = "sim")]
    pub(super) fn pass(&self, path: &Path) -> io::Result<()> {
        self.asked.as_ref().map_or(Ok(()), |asked| asked(path))
    }

    #[cfg(not(feature = "sim"))]
    pub(super) const fn pass(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Gate")
    }
}
