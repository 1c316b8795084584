//! What kept a remote from being opened, for who asks without the network.

use super::Workplace;
use crate::{
    cli::error::{CliError, exit_code},
    clock::Clock,
    store::Trouble,
};

impl Workplace {
    /// Keeps why a remote could not be opened, until a turn with it goes well.
    pub(in crate::cli) fn note_trouble(
        &mut self,
        name: &str,
        error: &CliError,
    ) -> Result<(), CliError> {
        let Some(id) = self.id_of(self.config.remote(Some(name))?)? else { return Ok(()) };
        if self.engine.look_at(&id).is_err() {
            return Ok(());
        }
        let store = self.engine.store_mut();
        let (before, message) = (store.trouble()?, error.message());
        let since = before.filter(|before| before.message == message);
        let since_ms = since.map_or_else(|| Clock::system().now().millis(), |same| same.since_ms);
        let is_temporary = error.code() == exit_code::UNREACHABLE;
        Ok(store.set_trouble(Some(&Trouble { message, is_temporary, since_ms }))?)
    }
}
