//! The account: an access token that lives for some hours, made from a refresh token that does not
//! die until the user takes it back.

use std::{io::Write, path::Path, time::Duration};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::sync::Mutex;

use crate::{Clock, Password, body::hex};

/// So long before its end a token is not used any more: a request takes its time.
const MARGIN: Duration = Duration::from_mins(5);

/// An access token and its end.
#[derive(Debug, Clone)]
pub(super) struct Access {
    pub(super) token: Password,
    pub(super) until: DateTime<Utc>,
}

/// As it is kept between two processes.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Kept {
    /// What it was made from, so that a new login is not answered with an old token.
    made_from: String,
    access_token: String,
    expires_at: DateTime<Utc>,
}

/// The answer of `/oauth2/token`.
/// <https://www.dropbox.com/developers/documentation/http/documentation#oauth2-token>
#[derive(Deserialize)]
pub(super) struct Granted {
    pub(super) access_token: String,
    pub(super) expires_in: u64,
    /// Only where a code was turned in, and `token_access_type=offline` had been asked for.
    pub(super) refresh_token: Option<String>,
}

impl Granted {
    pub(super) fn access(&self, clock: &Clock) -> Access {
        // No promise of a hundred years is believed.
        let seconds = i64::try_from(self.expires_in).unwrap_or(i64::MAX).min(30 * 24 * 3600);
        let until = clock.now() + chrono::Duration::seconds(seconds);
        Access { token: Password::new(&self.access_token), until }
    }
}

/// The token in use. One task at a time makes a new one, the others wait for it.
#[derive(Debug, Default)]
pub(super) struct Auth {
    pub(super) access: Mutex<Option<Access>>,
    pub(super) clock: Clock,
}

impl Auth {
    pub(super) fn is_fresh(&self, access: &Access) -> bool {
        let margin = chrono::Duration::from_std(MARGIN).unwrap_or_default();
        access.until > self.clock.now() + margin
    }
}

/// What identifies the login that an access token was made from, and does not give it away.
pub(super) fn origin(app_key: &str, refresh_token: &Password) -> String {
    hex(&Sha256::digest(format!("{app_key}\n{}", refresh_token.expose())))
}

/// The token that an earlier process kept.
pub(super) fn load(file: &Path, origin: &str) -> Option<Access> {
    let kept: Kept = serde_json::from_slice(&std::fs::read(file).ok()?).ok()?;
    (kept.made_from == origin)
        .then(|| Access { token: Password::new(kept.access_token), until: kept.expires_at })
}

/// Keeps a token for the next process, readable by the user alone. That it cannot be kept costs a
/// request and nothing else.
pub(super) fn keep(file: &Path, origin: &str, access: &Access) {
    let kept = Kept {
        made_from: origin.to_owned(),
        access_token: access.token.expose().to_owned(),
        expires_at: access.until,
    };
    let write = || -> std::io::Result<()> {
        let dir = file.parent().ok_or(std::io::ErrorKind::InvalidInput)?;
        std::fs::create_dir_all(dir)?;
        let mut temp = tempfile::NamedTempFile::new_in(dir)?;
        temp.write_all(&serde_json::to_vec(&kept)?)?;
        temp.persist(file)?;
        Ok(())
    };
    if let Err(error) = write() {
        tracing::debug!("the access token is not kept: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_kept_for_the_login_that_it_was_made_from() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("state/dropbox.json");
        let clock = Clock::default();
        let granted =
            Granted { access_token: "sl.s3cret".into(), expires_in: 14_400, refresh_token: None };
        let access = granted.access(&clock);
        assert!(!format!("{access:?}").contains("s3cret"));
        let auth = Auth { clock: clock.clone(), ..Auth::default() };
        assert!(auth.is_fresh(&access));
        assert!(!auth.is_fresh(&Granted { expires_in: 60, ..granted }.access(&clock)));
        let mine = origin("key", &Password::new("refresh"));
        keep(&file, &mine, &access);
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(!text.contains("refresh"), "{text}");
        assert_eq!(load(&file, &mine).unwrap().token.expose(), "sl.s3cret");
        assert!(load(&file, &origin("key", &Password::new("another"))).is_none());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = std::fs::metadata(&file).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        // Where nothing can be kept, nothing is.
        keep(&file.join("below"), &mine, &access);
        assert!(load(&file.join("below"), &mine).is_none());
    }
}
