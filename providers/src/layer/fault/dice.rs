//! The fate of one call.

use std::time::Duration;

use bytes::Bytes;
use futures::stream::{self, StreamExt};

use super::{FaultPlan, unreachable};
use crate::{Error, ErrorKind, Object, RemotePath, Result, body};

/// The fate of one call.
pub(super) struct Dice {
    pub(super) rng: fastrand::Rng,
    pub(super) calm: bool,
}

impl Dice {
    pub(super) fn falls(&mut self, likelihood: f64) -> bool {
        // Always thrown, so that one likelihood does not change the fate of the others.
        let thrown = self.rng.f64();
        !self.calm && thrown < likelihood
    }

    pub(super) fn part(&mut self) -> f64 {
        self.rng.f64()
    }

    pub(super) fn error(
        &mut self,
        operation: &'static str,
        path: &RemotePath,
        when: &str,
    ) -> Error {
        let kinds = [ErrorKind::Unreachable, ErrorKind::Server, ErrorKind::Unreachable];
        let kind = self.rng.choice(kinds).unwrap_or(ErrorKind::Unreachable);
        Error::new(kind, operation, path, format!("failed on order, {when} it took effect"))
    }

    /// How the call is turned away before it has any effect, if it is.
    pub(super) fn denial(&mut self, plan: &FaultPlan) -> Option<ErrorKind> {
        let (refused, busy) = (self.falls(plan.refused), self.falls(plan.busy));
        let throttled = self.falls(plan.throttled);
        let retry_after = Some(Duration::from_secs(self.rng.u64(1..400)));
        if refused {
            return Some(ErrorKind::Unauthorized);
        }
        let asks = throttled.then_some(ErrorKind::Throttled { retry_after });
        asks.or(busy.then_some(ErrorKind::Busy))
    }
}

/// Cuts a body: with an error, with a length that lies, or with nothing to tell it by.
pub(super) async fn tear(path: &RemotePath, object: Object, dice: &mut Dice) -> Result<Object> {
    let (version, range, server_time) =
        (object.version.clone(), object.range.clone(), object.server_time);
    let whole = crate::collect(path, object, u64::MAX).await?;
    let part = head(&whole, dice.part());
    let told = match dice.rng.u8(0..3) {
        0 => Some(whole.len() as u64),
        1 => Some(part.len() as u64),
        _ => None,
    };
    let body = body::once(part);
    let broken = unreachable("get", path, "the answer was cut");
    Ok(Object {
        version,
        bytes: told,
        range,
        server_time,
        body: if told == Some(whole.len() as u64) {
            body.chain(stream::iter([Err(broken)])).boxed()
        } else {
            body
        },
    })
}

/// The first `part` of `whole`, at least one byte less than all of it.
pub(super) fn head(whole: &Bytes, part: f64) -> Bytes {
    let per_mille = Duration::from_millis(1000).mul_f64(part.clamp(0.0, 0.999)).as_millis();
    let per_mille = usize::try_from(per_mille).unwrap_or_default();
    whole.slice(..whole.len() * per_mille / 1000)
}
