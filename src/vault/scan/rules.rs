//! What is not synced because an ignore file says so.

use std::path::Path;
use std::sync::Arc;

use ignore::{Match, gitignore::Gitignore};

use super::IGNORE_FILE;

/// What the ignore file of a folder says, and those of the folders above.
pub(super) struct Rules {
    own: Gitignore,
    above: Option<Arc<Rules>>,
}

impl Rules {
    /// Reads the ignore file of a folder. Lines of it that make no sense are the error; the others
    /// hold all the same. One that cannot be read at all says nothing.
    pub(super) fn read(
        folder: &Path,
        above: Option<Arc<Self>>,
    ) -> (Option<Arc<Self>>, Option<ignore::Error>) {
        let (own, error) = Gitignore::new(folder.join(IGNORE_FILE));
        let rules = if own.is_empty() { above } else { Some(Arc::new(Self { own, above })) };
        (rules, error)
    }

    /// Tells whether a file or a folder is not synced. The nearest ignore file that knows decides.
    pub(super) fn ignore(&self, path: &Path, is_folder: bool) -> bool {
        let mut rules = Some(self);
        while let Some(Self { own, above }) = rules {
            match own.matched(path, is_folder) {
                Match::None => rules = above.as_deref(),
                found => return found.is_ignore(),
            }
        }
        false
    }
}
