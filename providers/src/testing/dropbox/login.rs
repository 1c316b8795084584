//! OAuth 2: the page, codes, and tokens.

use std::collections::HashMap;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use hyper::http::request::Parts;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::{
    Answer, DROPBOX_APP_KEY, DROPBOX_TOKEN, State,
    answer::{self, good, oauth},
    asked::field,
    set,
};

/// How long an access token lives (oauth: "short-lived"; `expires_in` is 14400 in its example).
const EXPIRES_IN: u64 = 14_400;

/// What was handed out.
#[derive(Debug)]
pub(super) struct Tokens {
    /// Codes that were not turned in yet.
    codes: HashMap<String, Code>,
    /// Refresh tokens that are good.
    refresh: Vec<String>,
    /// Access tokens, and whether each is good still.
    access: HashMap<String, bool>,
}

/// What a code was asked for with.
#[derive(Debug)]
struct Code {
    challenge: String,
    redirect: Option<String>,
}

/// What a token is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Worth {
    Good,
    Expired,
    Unknown,
}

impl Default for Tokens {
    fn default() -> Self {
        let refresh = vec![DROPBOX_TOKEN.to_owned()];
        Self { codes: HashMap::new(), refresh, access: HashMap::new() }
    }
}

impl Tokens {
    pub(super) fn expire(&mut self) {
        self.access.values_mut().for_each(|is_good| *is_good = false);
    }

    /// "If there is a corresponding refresh token for the access token, this disables that refresh
    /// token, as well as any other access tokens" (spec, `token/revoke`).
    pub(super) fn revoke(&mut self) {
        self.refresh.clear();
        self.access.clear();
    }

    pub(super) fn worth(&self, token: &str) -> Worth {
        match self.access.get(token) {
            Some(true) => Worth::Good,
            Some(false) => Worth::Expired,
            None => Worth::Unknown,
        }
    }
}

/// `GET /oauth2/authorize` (http, "Authorization"; oauth, "Implementing PKCE"): the page, on which the
/// user of this server agrees at once.
pub(super) fn authorize(state: &mut State, parts: &Parts) -> Answer {
    let query = parts.uri.query().unwrap_or_default().as_bytes();
    let query: HashMap<String, String> = url::form_urlencoded::parse(query).into_owned().collect();
    let is = |name: &str, value: &str| query.get(name).is_some_and(|found| found == value);
    let challenge = query.get("code_challenge").cloned().unwrap_or_default();
    // A challenge of S256 is the base64url of 32 bytes without padding (RFC 7636, 4.2).
    let is_pkce = is("code_challenge_method", "S256")
        && URL_SAFE_NO_PAD.decode(&challenge).is_ok_and(|bytes| bytes.len() == 32);
    if !is("client_id", DROPBOX_APP_KEY) || !is("response_type", "code") || !is_pkce {
        return answer::of(400, "text/html", "<p>Invalid request</p>");
    }
    if !is("token_access_type", "offline") || query.contains_key("client_secret") {
        return answer::of(
            400,
            "text/html",
            "<p>This server wants it to last, without a secret</p>",
        );
    }
    let code = state.name("code-");
    let redirect = query.get("redirect_uri").cloned();
    state.tokens.codes.insert(code.clone(), Code { challenge, redirect: redirect.clone() });
    let Some(redirect) = redirect else {
        let page = format!("<p>Enter this code</p><input value=\"{code}\">");
        return answer::of(200, "text/html", page);
    };
    let mut answered = answer::of(302, "text/html", "");
    let back = query.get("state").cloned().unwrap_or_default();
    set(&mut answered, "location", &format!("{redirect}?code={code}&state={back}"));
    answered
}

/// `POST /oauth2/token` (http, "/oauth2/token"; oauth, "Implementing PKCE" and "Using refresh tokens").
pub(super) fn token(state: &mut State, parts: &Parts, body: &Bytes) -> Answer {
    let kind = field(&parts.headers, "content-type").unwrap_or_default();
    if parts.method != "POST" || kind != "application/x-www-form-urlencoded" {
        return oauth("unsupported_grant_type", "grant type must be \"authorization_code\"");
    }
    let form: HashMap<String, String> = url::form_urlencoded::parse(body).into_owned().collect();
    let text = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
    if text("client_id") != DROPBOX_APP_KEY {
        // The words are inferred.
        return oauth("invalid_client", "Invalid client_id or client_secret");
    }
    match text("grant_type") {
        "refresh_token" => {
            if !state.tokens.refresh.iter().any(|good| good == text("refresh_token")) {
                return oauth("invalid_grant", "refresh token is invalid or revoked");
            }
            granted(state, None)
        }
        "authorization_code" => {
            // A code is good once (RFC 6749, 4.1.2), whatever comes of it.
            let Some(code) = state.tokens.codes.remove(text("code")) else {
                return oauth("invalid_grant", "code doesn't exist or has expired");
            };
            if form.get("redirect_uri") != code.redirect.as_ref() {
                return oauth("invalid_grant", "redirect_uri mismatch");
            }
            let verifier = text("code_verifier");
            let is_long = (43..=128).contains(&verifier.len());
            if !is_long || URL_SAFE_NO_PAD.encode(Sha256::digest(verifier)) != code.challenge {
                return oauth("invalid_grant", "invalid code verifier");
            }
            let refresh = state.name("refresh-");
            state.tokens.refresh.push(refresh.clone());
            granted(state, Some(refresh))
        }
        _ => oauth("unsupported_grant_type", "grant type is none of ours"),
    }
}

fn granted(state: &mut State, refresh: Option<String>) -> Answer {
    let access = state.name("sl.access-");
    state.tokens.access.insert(access.clone(), true);
    let mut told =
        json!({ "access_token": access, "token_type": "bearer", "expires_in": EXPIRES_IN });
    if let (Some(refresh), Some(told)) = (refresh, told.as_object_mut()) {
        told.insert("refresh_token".to_owned(), refresh.into());
        let scope = "files.content.read files.content.write files.metadata.read";
        told.insert("scope".to_owned(), scope.into());
        told.insert("uid".to_owned(), "12345".into());
        let id = "dbid:AAH4f99T0taONIb-OurWxbNQ6ywGRopQngc";
        told.insert("account_id".to_owned(), id.into());
    }
    good(&told)
}
