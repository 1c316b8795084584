//! stub
use super::{Ended, args::DemoArgs, error::CliError, ui::Ui};
/// stub
pub(super) async fn run(_: &Ui, _: &DemoArgs) -> Result<Ended, CliError> { Ok(Ended::Done) }
