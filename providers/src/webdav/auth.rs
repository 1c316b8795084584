//! Showing the account: Basic at once, Digest where the server asks for nothing else.

use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

use digest_auth::{AuthContext, HttpMethod, WwwAuthenticateHeader};
use reqwest::{
    RequestBuilder,
    header::{AUTHORIZATION, HeaderMap, HeaderValue, WWW_AUTHENTICATE},
};

use crate::{Password, sync::lock};

/// A body from this size on is worth a harmless request first, if the account may be refused.
const WORTH_PRIMING_BYTES: u64 = 64 * 1024;

/// How old a Digest nonce may be before it may be refused.
const NONCE_FRESH: Duration = Duration::from_secs(60);

/// An account and the scheme under which the server takes it.
///
/// The Digest of `reqwest_dav` is not used: it learns the nonce by sending the real method with an
/// empty body, which empties the file wherever no account is needed.
#[derive(Debug)]
pub(super) struct Auth {
    account: Option<(String, Password)>,
    scheme: Mutex<Scheme>,
}

#[derive(Debug)]
enum Scheme {
    Basic { proven: bool },
    Digest { prompt: Box<WwwAuthenticateHeader>, proven: Instant },
}

impl Auth {
    pub(super) fn new(user: Option<String>, password: Option<Password>) -> Self {
        let password = password.unwrap_or_else(|| Password::new(""));
        Self {
            account: user.map(|user| (user, password)),
            scheme: Mutex::new(Scheme::Basic { proven: false }),
        }
    }

    /// The account's name.
    pub(super) fn user(&self) -> Option<&str> {
        self.account.as_ref().map(|(user, _)| user.as_str())
    }

    /// `request` with the account on it.
    pub(super) fn apply(&self, request: RequestBuilder, method: &str, uri: &str) -> RequestBuilder {
        let Some((user, password)) = &self.account else {
            return request;
        };
        match &mut *lock(&self.scheme) {
            Scheme::Basic { .. } => request.basic_auth(user, Some(password.expose())),
            Scheme::Digest { prompt, .. } => {
                let mut context = AuthContext::new(user, password.expose(), uri);
                context.method = HttpMethod::from(method.to_owned());
                let header = prompt.respond(&context).ok();
                match header.and_then(|header| HeaderValue::try_from(header.to_string()).ok()) {
                    Some(mut value) => {
                        value.set_sensitive(true);
                        request.header(AUTHORIZATION, value)
                    }
                    None => request,
                }
            }
        }
    }

    /// Whether a harmless request should find out first that the account is taken: a server that
    /// refuses it may cut the connection in the middle of a long body.
    pub(super) fn wants_priming(&self, body_bytes: u64) -> bool {
        self.account.is_some()
            && body_bytes > WORTH_PRIMING_BYTES
            && match &*lock(&self.scheme) {
                Scheme::Basic { proven } => !proven,
                Scheme::Digest { proven, .. } => proven.elapsed() > NONCE_FRESH,
            }
    }

    /// Notes that a request was not refused.
    pub(super) fn taken(&self) {
        match &mut *lock(&self.scheme) {
            Scheme::Basic { proven } => *proven = true,
            Scheme::Digest { proven, .. } => *proven = Instant::now(),
        }
    }

    /// Learns from a 401 what the server wants; whether the request is worth sending once more.
    pub(super) fn learn(&self, headers: &HeaderMap) -> bool {
        if self.account.is_none() {
            return false;
        }
        let values = headers.get_all(WWW_AUTHENTICATE).iter();
        let challenges: Vec<_> =
            values.filter_map(|value| value.to_str().ok()).flat_map(challenges).collect();
        let mut scheme = lock(&self.scheme);
        let basic_too = challenges.iter().any(|(name, _)| name.eq_ignore_ascii_case("basic"));
        if matches!(*scheme, Scheme::Basic { .. }) && basic_too {
            return false;
        }
        let prompt = challenges
            .iter()
            .filter(|(name, _)| name.eq_ignore_ascii_case("digest"))
            .find_map(|(_, parameters)| WwwAuthenticateHeader::parse(parameters).ok());
        let Some(prompt) = prompt else { return false };
        *scheme = Scheme::Digest { prompt: Box::new(prompt), proven: Instant::now() };
        true
    }
}

/// The challenges in one `WWW-Authenticate` field: each a scheme and its parameters. Several may
/// stand in one field, parted by the same comma as the parameters of one.
fn challenges(field: &str) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    for part in split_at_commas(field) {
        let part = part.trim();
        let name_end = part.find([' ', '=']).unwrap_or(part.len());
        let (name, rest) = part.split_at(name_end);
        if rest.trim_start().starts_with('=') {
            if let Some((_, parameters)) = found.last_mut() {
                if !parameters.is_empty() {
                    parameters.push_str(", ");
                }
                parameters.push_str(part);
            }
        } else if !name.is_empty() {
            found.push((name.to_owned(), rest.trim().to_owned()));
        }
    }
    found
}

fn split_at_commas(field: &str) -> Vec<&str> {
    let (mut quoted, mut escaped) = (false, false);
    field
        .split(|c| {
            let was_escaped = escaped;
            escaped = quoted && !escaped && c == '\\';
            quoted ^= c == '"' && !was_escaped;
            c == ',' && !quoted
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(fields: &[&'static str]) -> HeaderMap {
        let value = |field: &&'static str| (WWW_AUTHENTICATE, HeaderValue::from_static(field));
        fields.iter().map(value).collect()
    }

    fn auth() -> Auth {
        Auth::new(Some("ann".into()), Some(Password::new("secret")))
    }

    #[test]
    fn several_challenges_in_one_field_are_told_apart() {
        let field = r#"Basic realm="a, \"b", Digest realm="c", nonce="n=", qop="auth, auth-int", Negotiate"#;
        let found = challenges(field);
        assert_eq!(found[0], ("Basic".into(), r#"realm="a, \"b""#.into()));
        assert_eq!(
            found[1],
            ("Digest".into(), r#"realm="c", nonce="n=", qop="auth, auth-int""#.into())
        );
        assert_eq!(found[2], ("Negotiate".into(), String::new()));
    }

    #[test]
    fn digest_is_taken_up_only_where_basic_is_not_offered() {
        let digest = r#"Digest realm="c", nonce="n", qop="auth""#;
        assert!(!auth().learn(&asked(&[r#"Basic realm="a""#, digest])));
        assert!(!auth().learn(&asked(&["Bearer"])));
        assert!(!Auth::new(None, None).learn(&asked(&[digest])));
        let auth = auth();
        assert!(auth.learn(&asked(&[digest])));
        assert!(matches!(*lock(&auth.scheme), Scheme::Digest { .. }));
        assert!(auth.learn(&asked(&[digest])), "a new nonce is worth another try");
    }

    #[test]
    fn only_long_bodies_of_an_unproven_account_are_primed() {
        let auth = auth();
        assert!(auth.wants_priming(1 << 20));
        assert!(!auth.wants_priming(100));
        auth.taken();
        assert!(!auth.wants_priming(1 << 20));
        assert!(!Auth::new(None, None).wants_priming(1 << 20));
    }
}
