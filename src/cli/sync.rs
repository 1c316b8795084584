//! `larder sync`: one turn.

pub(super) mod tell;

use larder_providers::Traffic;
pub(super) use tell::summary;
use tell::{tell, tell_failures, tell_plan, told};

use super::{
    Ended,
    args::{Args, SyncArgs},
    env,
    error::{CliError, exit_code},
    init, secrets,
    ui::Ui,
    unlock,
    workplace::{Access, Workplace, is_vault},
};
use crate::{
    engine::{EngineError, Progress, Report, TurnOptions, Way},
    model::RemoteId,
};

/// A remote, and what became of the turn with it.
pub(super) struct Gone {
    pub(super) name: String,
    id: Option<RemoteId>,
    pub(super) result: Result<Report, CliError>,
}

/// Runs the command.
pub(super) async fn run(args: &Args, ui: &Ui, options: &SyncArgs) -> Result<Ended, CliError> {
    let traffic = Traffic::new();
    let (mut place, mut ways) = open(args, ui, options, &traffic).await?;
    if options.recreate_remote && !options.dry_run {
        restore_keys(&place, &mut ways, ui, &traffic).await?;
    }
    let turn = TurnOptions {
        dry_run: options.dry_run,
        accept_deletes: options.accept_deletes,
        recreate_remote: options.recreate_remote,
    };
    let is_only = ways.len() == 1;
    let progress = ui.progress();
    let mut gone = go(&mut place, ways, &traffic, turn, &progress).await?;
    drop(progress);
    let is_begun_anew = |error: &CliError| is_damage(error) || ui.doubt.would_arise(error, ui);
    if let Some(at) = gone.iter().position(|gone| gone.result.as_ref().is_err_and(is_begun_anew)) {
        gone.swap_remove(at).result?;
    }
    let (report, failed) = match gone.as_mut_slice() {
        [] => return Err(EngineError::NotConnected.into()),
        // Of an only remote all is told as if there could be no other, and what is no remote's matter
        // without any.
        [one] if is_only || !is_of_remote(one) => (gone.remove(0).result?, None),
        several => (sum(several), worst(several)),
    };
    let (waiting, _) = place.engine.store().conflict_counts()?;
    ui.object(&told(&place, ui, &report, &gone, waiting, options.dry_run)?);
    if options.dry_run {
        tell_plan(ui, &report, &gone);
    } else {
        tell(ui, &report, &gone, &place)?;
    }
    tell_failures(ui, &gone);
    Ok(match failed {
        Some(code) => Ended::Partly(code),
        None if waiting > 0 && !options.dry_run => Ended::ConflictsWait,
        None => Ended::Done,
    })
}

fn is_of_remote(gone: &Gone) -> bool {
    gone.result.as_ref().err().is_none_or(CliError::is_of_remote)
}

/// A remote, and the way to it if there is one.
type NamedWay = (String, Result<Way, CliError>);

/// Puts the keys of encrypted remotes back that were emptied. One where that fails gets no turn.
async fn restore_keys(
    place: &Workplace,
    ways: &mut [NamedWay],
    ui: &Ui,
    traffic: &Traffic,
) -> Result<(), CliError> {
    for (name, way) in &mut *ways {
        let Ok(Way { id, .. }) = way else { continue };
        let restored = async {
            if unlock::is_encrypted(&place.root, Some(id))? {
                let raw = place.config.remote(Some(name))?;
                let raw = place.raw_storage(raw, ui, traffic).await?;
                unlock::recreate(place, &raw, id, ui).await?;
            }
            Ok(())
        };
        match restored.await {
            Ok(()) => {}
            Err(error @ CliError::Interrupted(_)) => return Err(error),
            Err(error) => *way = Err(error),
        }
    }
    speak_of_only(place, ways, ui);
    Ok(())
}

/// Of an only way that is gone all is told by its remote's name, if the vault has others.
fn speak_of_only(place: &Workplace, ways: &[NamedWay], ui: &Ui) {
    let remote = match ways {
        [(name, _)] => place.config.remote(Some(name)).ok(),
        _ => None,
    };
    match remote {
        Some(remote) => place.speak_of(&remote.name, remote.address().ok().as_ref(), ui),
        None => ui.set_about(None),
    }
}

/// Goes through these remotes in their order; those of which nothing comes back were not tried, as
/// what stopped another concerns the vault.
async fn go(
    place: &mut Workplace,
    named: Vec<NamedWay>,
    traffic: &Traffic,
    options: TurnOptions,
    progress: &dyn Progress,
) -> Result<Vec<Gone>, CliError> {
    if !options.dry_run {
        let mut shut = named.iter().filter_map(|(name, way)| Some((name, way.as_ref().err()?)));
        shut.try_for_each(|(name, error)| place.note_trouble(name, error))?;
    }
    let open: Vec<Way> = named.iter().filter_map(|(_, way)| way.as_ref().ok()).cloned().collect();
    let mut turned = place.engine.turns(&open, traffic, options, progress).await.into_iter();
    let gone = named.into_iter().filter_map(|(name, way)| match way {
        Err(error) => Some(Gone { name, id: None, result: Err(error) }),
        Ok(way) => {
            let turned = turned.next()?;
            Some(Gone { name, id: Some(way.id), result: turned.result.map_err(CliError::from) })
        }
    });
    Ok(gone.collect())
}

/// What was done with all remotes together; the generation is that of the default one.
fn sum(gone: &[Gone]) -> Report {
    let mut all = Report::default();
    let generation = gone.first().and_then(|gone| gone.result.as_ref().ok());
    let generation = generation.map_or(0, |report| report.generation);
    for gone in gone {
        let Ok(report) = &gone.result else { continue };
        let mut report = report.clone();
        report.plan.iter_mut().for_each(|line| *line = format!("{}: {line}", gone.name));
        all.add(report);
    }
    all.generation = generation;
    all
}

/// Whether it is the replica that failed, which then is made anew.
fn is_damage(error: &CliError) -> bool {
    let CliError::Engine(error) = error else { return false };
    matches!(error.as_ref(), EngineError::Store(error) if error.is_damage())
}

/// The code that stands for what went wrong: a brake before all else.
fn worst(gone: &[Gone]) -> Option<u8> {
    let codes = gone.iter().filter_map(|gone| gone.result.as_ref().err().map(CliError::code));
    codes.reduce(|worst, code| match (worst, code) {
        (exit_code::BRAKE, _) | (_, exit_code::BRAKE) => exit_code::BRAKE,
        // What passes by itself is less than what does not.
        (exit_code::UNREACHABLE, code) => code,
        (worst, _) => worst,
    })
}

/// Opens the vault, and makes it one first if it is none yet and a remote was named.
async fn open(
    args: &Args,
    ui: &Ui,
    options: &SyncArgs,
    traffic: &Traffic,
) -> Result<(Workplace, Vec<NamedWay>), CliError> {
    let here = env::current_dir()?;
    let named = env::vault_of(options.dir.as_deref(), args.vault.as_deref())?;
    let root = named.or_else(|| crate::vault::Vault::discover(&here));
    let Some(remote) = &options.remote else {
        let mut place = match root {
            Some(root) => Workplace::open(&root, Access::Change)?,
            None => Workplace::find(args, Access::Change)?,
        };
        place.warn_of_renaming(options.device.as_deref(), ui)?;
        refuse_recreating_all(&place, options)?;
        let ways = ways(&mut place, ui, options.into(), traffic).await?;
        return Ok((place, ways));
    };
    let root = root.unwrap_or(here);
    if !is_vault(&root) && options.dry_run {
        let text = "a dry run makes no vault; run `larder init` first, which moves no note";
        return Err(CliError::Usage(text.to_owned()));
    }
    let mut place = Workplace::make(&root, options.device.as_deref())?;
    place.warn_of_renaming(options.device.as_deref(), ui)?;
    if !place.config.remotes.is_empty() {
        let (url, given) = place.config.given(remote)?;
        init::warn_of_exposed(&url, ui);
        place.config.check_default_address(&url)?;
        refuse_recreating_all(&place, options)?;
        place.speak_of(&place.config.remote(None)?.name, Some(&url), ui);
        if given.is_some() {
            // It is kept.
            let ca_file = place.ca_file();
            secrets::open(&url, given, ca_file.as_deref(), ui, traffic).await?;
        }
        let ways = ways(&mut place, ui, options.into(), traffic).await?;
        if options.encrypt && !place.is_encrypted(place.config.remote(None)?)? {
            return Err(unlock::chosen_before());
        }
        return Ok((place, ways));
    }
    let wanted = init::Wanted { encrypt: options.encrypt, ..init::Wanted::default() };
    let (way, _) = init::connect(&mut place, ui, (None, remote), wanted, traffic).await?;
    let name = place.config.remote(None)?.name.clone();
    Ok((place, vec![(name, Ok(way))]))
}

/// Of several remotes it has to be said which one is to be filled again: that another one is empty may be
/// a disk that is not connected.
fn refuse_recreating_all(place: &Workplace, options: &SyncArgs) -> Result<(), CliError> {
    if !options.recreate_remote || options.only.is_some() || !place.has_several() {
        return Ok(());
    }
    let names: Vec<&str> = place.config.remotes.iter().map(|remote| &*remote.name).collect();
    Err(CliError::Usage(format!(
        "this vault has several remotes ({}); say which one is to be filled again: `larder sync --recreate-remote \
         --only NAME`",
        names.join(", ")
    )))
}

/// Which remotes are gone through, and whether one that is gone is made anew.
#[derive(Clone, Copy, Default)]
pub(super) struct Selection<'a> {
    only: Option<&'a str>,
    recreates: bool,
}

impl<'a> From<&'a SyncArgs> for Selection<'a> {
    fn from(options: &'a SyncArgs) -> Self {
        let recreates = options.recreate_remote && !options.dry_run;
        Self { only: options.only.as_deref(), recreates }
    }
}

/// The ways to all remotes, or to one of them. One that cannot be gone keeps from none of the others.
pub(super) async fn ways(
    place: &mut Workplace,
    ui: &Ui,
    selection: Selection<'_>,
    traffic: &Traffic,
) -> Result<Vec<NamedWay>, CliError> {
    let Selection { only, recreates } = selection;
    let remotes = match only {
        Some(_) => vec![place.config.remote(only)?.clone()],
        None => place.config.remotes.clone(),
    };
    let mut ways = Vec::new();
    for remote in remotes {
        match place.way(&remote, ui, traffic).await {
            Err(error @ CliError::Interrupted(_)) => return Err(error),
            Err(error) if recreates && error.is_of_lost_remote() => {
                let way = place.make_anew(&remote, ui, traffic).await;
                ways.push((remote.name, way));
            }
            way => ways.push((remote.name, way)),
        }
    }
    let known = ways.iter().filter_map(|(name, way)| Some((&**name, &way.as_ref().ok()?.id)));
    let known: Vec<_> = known.collect();
    place.tidy(&known)?;
    speak_of_only(place, &ways, ui);
    Ok(ways)
}
