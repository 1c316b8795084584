//! What can only be found out by many clients at once.

use futures::future::join_all;

use super::{
    Probe, Seen,
    checks::{bad, came_too_late, good, unknown},
};
use crate::{Body, Move, Put, PutMode, RemotePath, Result, StorageExt};

/// How many want the same thing.
const RIVALS: usize = 8;

/// How often they try.
const ROUNDS: usize = 5;

/// How long the uploads are that are to overlap.
const SLOW_BYTES: usize = 256 * 1024;

impl Probe<'_> {
    pub(super) async fn move_race(&mut self) -> Result<Seen> {
        for round in 0..ROUNDS {
            let from = self.file(&format!("race-{round}"))?;
            self.storage.write(&from, "race".into()).await?;
            let targets = (0..RIVALS).map(|rival| self.name(&format!("race-{round}-{rival}")));
            let targets = targets.collect::<Result<Vec<_>>>()?;
            let moves = targets.iter().map(|to| self.storage.move_exclusive(&from, to));
            let won = count(join_all(moves).await, |moved| moved == Move::Done)?;
            let names = self.names().await?;
            let arrived = targets.iter().filter(|to| names.contains(to)).count();
            if arrived != 1 {
                return Ok(bad(&format!("{arrived} of {RIVALS} rivals moved one file away")));
            }
            if won != 1 {
                return Ok(bad(&format!("{won} of {RIVALS} rivals were told that they won")));
            }
        }
        Ok(good(&format!("one of {RIVALS} rivals moves a file away, {ROUNDS} times of {ROUNDS}")))
    }

    pub(super) async fn create_race(&mut self) -> Result<Seen> {
        for round in 0..ROUNDS {
            let path = self.file(&format!("create-{round}"))?;
            let won = self.write_race(&path, RIVALS, &PutMode::Create, 100).await?;
            if won != 1 {
                return Ok(bad(&format!("{won} of {RIVALS} rivals created one file")));
            }
        }
        Ok(good(&format!("one of {RIVALS} rivals creates a file, {ROUNDS} times of {ROUNDS}")))
    }

    pub(super) async fn update_race(&mut self) -> Result<Seen> {
        self.updates("update", RIVALS, 100).await
    }

    /// Two long uploads that both began before one of them was done.
    pub(super) async fn interleaved_uploads(&mut self) -> Result<Seen> {
        self.updates("interleaved", 2, SLOW_BYTES).await
    }

    async fn updates(&mut self, name: &str, rivals: usize, bytes: usize) -> Result<Seen> {
        let path = self.file(name)?;
        self.storage.write(&path, "before".into()).await?;
        for _ in 0..ROUNDS {
            let Some((version, _)) = self.version(&path).await? else {
                return Ok(unknown("files come without versions"));
            };
            let won = self.write_race(&path, rivals, &PutMode::Update(version), bytes).await?;
            if won != 1 {
                return Ok(bad(&format!("{won} of {rivals} rivals replaced one version")));
            }
        }
        Ok(good(&format!("one of {rivals} rivals replaces a version, {ROUNDS} times of {ROUNDS}")))
    }

    /// How many of `rivals` win a conditional write. The bodies are all different, also from those
    /// of earlier rounds: a version made of the content would come back with it.
    async fn write_race(
        &self,
        path: &RemotePath,
        rivals: usize,
        mode: &PutMode,
        bytes: usize,
    ) -> Result<usize> {
        let puts = (0..rivals).map(|rival| {
            let mut body = format!("{:016x} ", fastrand::u64(..)).into_bytes();
            body.resize(bytes + rival + fastrand::usize(20..84) * 16, b' ');
            self.storage.put(path, Body::from(body), mode.clone())
        });
        count(join_all(puts).await, |put| matches!(put, Put::Done(_)))
    }
}

/// How many won; an error of one that came too late counts as a loss.
fn count<T>(outcomes: Vec<Result<T>>, won: impl Fn(T) -> bool) -> Result<usize> {
    let mut winners = 0;
    for outcome in outcomes {
        match outcome {
            Ok(outcome) => winners += usize::from(won(outcome)),
            Err(error) if came_too_late(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(winners)
}
