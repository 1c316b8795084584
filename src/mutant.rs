//! Larder with one of its rules broken, on purpose: the simulation has to notice each of these.
//!
//! Only the feature `sim` makes any of it possible. Without it `is` is always false, and no broken
//! rule is compiled.

/// A rule that can be broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutant {
    /// A commit that is answered as lost is lost, and what was sent for it is deleted.
    LostMeansLost,
    /// A commit that is answered as done is done, whatever stands there afterwards.
    DoneMeansDone,
    /// Files that no head names are deleted, whether or not a commit is on its way to name them.
    NoFloor,
    /// A file that an earlier try sent is named by the next, whatever became of it meanwhile.
    ReusesOld,
    /// What was retired is deleted at once.
    NoGrace,
    /// How long something was retired is told by this device's clock where the server said nothing.
    OwnClock,
    /// What lies on the remote is written anew by somebody who could not read all of it.
    FoldsUnread,
    /// A replica knows all that the remote knows although it could not read all of it.
    KnowsUnread,
    /// A restored or copied replica goes on under its old name.
    KeepsIdentity,
    /// What was agreed and is gone is waited for, for ever.
    WaitsForEver,
    /// A head counts as read by what is listed, whatever state of it came.
    OldHeads,
    /// What was agreed with one remote counts as agreed with all.
    AgreesWithAll,
    /// What one remote holds is not sent to another.
    CarriesNothing,
    /// Only own edits are sent, not what the remote has lost of others'.
    SendsOwnOnly,
    /// Of a deletion whose trash is emptied nothing is left.
    DropsMarkers,
    /// The trash is emptied at once.
    NoTrash,
    /// The trash takes along edits that the deletion had not seen.
    StripsUnseen,
    /// A record that outlives its deletion is not set anew.
    NotSetAnew,
    /// A record that is edited after its deletion stays deleted in part.
    RevivesPartly,
    /// The best ancestor that is known is taken for the latest.
    OldAncestor,
    /// Of two values that were set side by side the first is dropped.
    JoinDropsSibling,
    /// A value that somebody replaced comes back when another replica still has it.
    JoinRevives,
    /// Conflicts are not entered into the journal.
    NoJournal,
    /// Replaced states are not kept.
    NoHistory,
    /// A file that the user changed since the scan is written over.
    WritesBlindly,
    /// After a crash files that larder wrote are taken for the user's.
    NoRecovery,
    /// After a crash files that larder was about to write are taken for written.
    TakesForWritten,
    /// A remote whose maker was cut off is not finished by others.
    ExpectsWhole,
    /// Any path that a record names is written to.
    AnyPath,
    /// What a commit is called comes from chance and not from the engine's own source.
    Unsteady,
}

#[cfg(feature = "sim")]
thread_local! {
    static BROKEN: std::cell::Cell<Option<Mutant>> = const { std::cell::Cell::new(None) };
}

/// Breaks a rule, on this thread and from now on; nothing mends it.
#[cfg(feature = "sim")]
pub fn breaks(mutant: Option<Mutant>) {
    BROKEN.set(mutant);
}

/// The rule that is broken on this thread.
#[cfg(feature = "sim")]
pub fn broken() -> Option<Mutant> {
    BROKEN.get()
}

/// Whether this rule is broken.
#[cfg(feature = "sim")]
pub(crate) fn is(mutant: Mutant) -> bool {
    BROKEN.get() == Some(mutant)
}

/// Whether this rule is broken: never.
#[cfg(not(feature = "sim"))]
pub(crate) const fn is(_: Mutant) -> bool {
    false
}
