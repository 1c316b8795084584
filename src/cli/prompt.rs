//! Asking a person for a secret, in a terminal that does not show what is typed.

#[cfg(unix)]
pub(super) use unix::{leave_signals, secret};

#[cfg(not(unix))]
pub(super) use other::{leave_signals, secret};

use super::error::exit_code::BY_SIGNAL;

/// Ends the process as a signal does that nobody hears.
#[allow(
    clippy::disallowed_methods,
    reason = "the signal would have ended the process at any place, had it not been heard"
)]
pub(super) fn end(signal: i32) {
    std::process::exit(i32::from(BY_SIGNAL) + signal);
}

/// A signal that comes while somebody is asked is heard: the terminal shows again what is typed, and the
/// command fails and takes back what it had begun. To be heard means that signals do no more by
/// themselves what they did; so who was asked once is ended by them here from then on.
#[cfg(unix)]
mod unix {
    use std::{
        fs::File,
        io::{self, Read as _, Write as _},
        mem,
        sync::{
            Mutex, MutexGuard, PoisonError,
            mpsc::{self, Sender},
        },
        thread,
    };

    use anyhow::Context;
    use rustix::termios::{
        LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr,
    };
    use tokio::signal::unix::{Signal, SignalKind, signal};
    use zeroize::Zeroizing;

    use super::end;
    use crate::cli::error::CliError;

    /// The most that a terminal takes for one line.
    const LINE_BYTES_MAX: usize = 4096;
    /// The character that stands for none (`_POSIX_VDISABLE`).
    const NO_CHARACTER: u8 = if cfg!(target_os = "linux") { 0 } else { 0xff };

    /// What comes while a person is asked.
    enum Event {
        Typed(io::Result<Zeroizing<String>>),
        Signal(i32),
    }

    /// What becomes of a signal.
    enum Duty {
        /// It ends the process.
        End,
        /// It is told to who asks.
        Tell(Sender<Event>),
        /// Whoever runs listens for itself to those that ask it to stop.
        Leave,
    }

    struct Watch {
        has_begun: bool,
        duty: Duty,
    }

    static WATCH: Mutex<Watch> = Mutex::new(Watch { has_begun: false, duty: Duty::End });

    fn watch() -> MutexGuard<'static, Watch> {
        WATCH.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a person types after `text`.
    pub(in crate::cli) fn secret(text: &str) -> Result<Zeroizing<String>, CliError> {
        let tty = File::options().read(true).write(true).open("/dev/tty").context("/dev/tty")?;
        let (tell, told) = mpsc::channel();
        let before = take_signals(Duty::Tell(tell.clone()))?;
        let asked = ask(&tty, text, tell, &told);
        watch().duty = before;
        // One that came after the answer would be lost.
        let late = told.try_iter().find_map(|event| match event {
            Event::Signal(signal) => Some(signal),
            Event::Typed(_) => None,
        });
        late.map_or(asked, |signal| Err(CliError::Interrupted(signal)))
    }

    fn ask(
        tty: &File,
        text: &str,
        tell: Sender<Event>,
        told: &mpsc::Receiver<Event>,
    ) -> Result<Zeroizing<String>, CliError> {
        let hidden = Hidden::new(tty)?;
        let (mut screen, typing) = (tty, tty.try_clone()?);
        screen.write_all(text.as_bytes())?;
        // Nothing ends the reading of a terminal; who is interrupted leaves it behind.
        thread::Builder::new().spawn(move || tell.send(Event::Typed(line(typing))))?;
        match told.recv() {
            Ok(Event::Typed(typed)) => Ok(typed?),
            Ok(Event::Signal(signal)) => {
                // What was typed so far would be the shell's.
                hidden.end(OptionalActions::Flush);
                let _ = screen.write_all(b"\n");
                Err(CliError::Interrupted(signal))
            }
            Err(error) => Err(CliError::Other(error.into())),
        }
    }

    fn line(mut tty: File) -> io::Result<Zeroizing<String>> {
        let mut typed = Zeroizing::new(Vec::with_capacity(LINE_BYTES_MAX));
        let mut part = Zeroizing::new([0; LINE_BYTES_MAX]);
        while !typed.ends_with(b"\n") {
            match tty.read(part.as_mut_slice()) {
                Ok(0) if typed.is_empty() => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(0) => break,
                Ok(read) => typed.extend(part.iter().take(read)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let text = std::str::from_utf8(&typed).map_err(|_| io::ErrorKind::InvalidData)?;
        Ok(Zeroizing::new(text.trim_end_matches(['\r', '\n']).to_owned()))
    }

    /// A terminal that does not show what is typed, as long as this lives.
    struct Hidden<'a> {
        tty: &'a File,
        before: Termios,
    }

    impl<'a> Hidden<'a> {
        fn new(tty: &'a File) -> io::Result<Self> {
            let before = tcgetattr(tty)?;
            let mut modes = before.clone();
            modes.local_modes -= LocalModes::ECHO;
            modes.local_modes |= LocalModes::ECHONL | LocalModes::ICANON | LocalModes::ISIG;
            // Who came back from a stop would type in sight.
            modes.special_codes[SpecialCodeIndex::VSUSP] = NO_CHARACTER;
            tcsetattr(tty, OptionalActions::Now, &modes)?;
            Ok(Self { tty, before })
        }

        fn end(&self, how: OptionalActions) {
            // A terminal that is gone shows nothing any more.
            let _ = tcsetattr(self.tty, how, &self.before);
        }
    }

    impl Drop for Hidden<'_> {
        fn drop(&mut self) {
            self.end(OptionalActions::Now);
        }
    }

    /// Says that who runs now hears the signals that ask it to stop.
    pub(in crate::cli) fn leave_signals() {
        watch().duty = Duty::Leave;
    }

    /// Decides what becomes of signals from now on; what became of them before comes back.
    fn take_signals(duty: Duty) -> io::Result<Duty> {
        let mut watch = watch();
        if !watch.has_begun {
            let heard = [signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?];
            let others = [signal(SignalKind::hangup())?, signal(SignalKind::quit())?];
            tokio::spawn(listen(heard, others));
            watch.has_begun = true;
        }
        Ok(mem::replace(&mut watch.duty, duty))
    }

    async fn listen(heard: [Signal; 2], others: [Signal; 2]) {
        let ([mut interrupt, mut terminate], [mut hangup, mut quit]) = (heard, others);
        loop {
            let kind = tokio::select! {
                _ = interrupt.recv() => SignalKind::interrupt(),
                _ = terminate.recv() => SignalKind::terminate(),
                _ = hangup.recv() => SignalKind::hangup(),
                _ = quit.recv() => SignalKind::quit(),
            };
            come(kind);
        }
    }

    fn come(kind: SignalKind) {
        let signal = kind.as_raw_value();
        match &watch().duty {
            Duty::Tell(asks) => drop(asks.send(Event::Signal(signal))),
            Duty::Leave if [SignalKind::interrupt(), SignalKind::terminate()].contains(&kind) => {}
            Duty::End | Duty::Leave => end(signal),
        }
    }
}

#[cfg(not(unix))]
mod other {
    use zeroize::Zeroizing;

    use crate::cli::error::CliError;

    pub(in crate::cli) fn secret(text: &str) -> Result<Zeroizing<String>, CliError> {
        Ok(Zeroizing::new(rpassword::prompt_password(text)?))
    }

    pub(in crate::cli) fn leave_signals() {}
}
