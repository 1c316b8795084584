//! From a request to the route that answers it.

use std::sync::Arc;

use bytes::Bytes;
use hyper::http::request::Parts;
use serde_json::json;

use super::{
    Answer, Lost, Shared, Trouble,
    answer::{bad_input, of, too_many, unauthorised},
    asked::{Asked, ROUTES, Route, field},
    files, login,
    login::Worth,
    set, uploads,
};
use crate::{Clock, sync::lock};

/// Answers a request. The hosts of Dropbox are the first part of the path here.
pub(super) async fn answer(
    shared: &Arc<Shared>,
    parts: Parts,
    body: Bytes,
) -> Result<Answer, Lost> {
    let path = parts.uri.path().trim_start_matches('/').to_owned();
    let (host, path) = path.split_once('/').unwrap_or((&path, ""));
    lock(&shared.state).log.push(path.trim_start_matches("2/").to_owned());
    let troubles = troubles(shared, path);
    let mut answered = match troubles.first() {
        Some(trouble) if refusal(*trouble).is_some() => refusal(*trouble).unwrap_or_default(),
        _ => served(shared, host, path, parts, body, &troubles).await,
    };
    if troubles.contains(&Trouble::AnswerLost) {
        return Err(Lost);
    }
    let now = Clock::default().now();
    set(&mut answered, "date", &httpdate::fmt_http_date(now.into()));
    set(&mut answered, "x-dropbox-request-id", "0123456789abcdef0123456789abcdef");
    Ok(answered)
}

/// The first trouble that waits for this route.
fn troubles(shared: &Shared, path: &str) -> Vec<Trouble> {
    let mut state = lock(&shared.state);
    let waits = |(route, _): &(String, Trouble)| path.ends_with(route.as_str());
    let at = state.knobs.troubles.iter().position(waits);
    at.and_then(|at| state.knobs.troubles.remove(at))
        .map(|(_, trouble)| trouble)
        .into_iter()
        .collect()
}

/// What is answered without looking at the call.
fn refusal(trouble: Trouble) -> Option<Answer> {
    Some(match trouble {
        Trouble::TooManyRequests(wait) => too_many("too_many_requests", wait),
        // ingress: "You can assume that a plain text response is equivalent to too_many_requests."
        Trouble::TooManyRequestsInPlainText(wait) => {
            let mut answer = of(429, "text/plain; charset=utf-8", "Too many requests");
            set(&mut answer, "retry-after", &wait.to_string());
            answer
        }
        Trouble::TooManyWrites => too_many("too_many_write_operations", 1),
        Trouble::ExpiredToken => unauthorised(&json!({ ".tag": "expired_access_token" })),
        Trouble::Status(status) => of(status, "text/html", "<html>no</html>"),
        Trouble::AnswerLost | Trouble::Damaged | Trouble::BatchBusy => return None,
    })
}

async fn served(
    shared: &Arc<Shared>,
    host: &str,
    path: &str,
    parts: Parts,
    body: Bytes,
    troubles: &[Trouble],
) -> Answer {
    match (host, path) {
        ("www", "oauth2/authorize") => return login::authorize(&mut lock(&shared.state), &parts),
        ("api", "oauth2/token") => return login::token(&mut lock(&shared.state), &parts, &body),
        _ => {}
    }
    let name = path.strip_prefix("2/").unwrap_or_default();
    let Some(route) = ROUTES.iter().find(|route| route.name == name && route.host == host) else {
        return of(400, "text/plain; charset=utf-8", format!("Unknown API function: \"{name}\""));
    };
    if let Err(refused) = authorised(shared, route, &parts) {
        return refused;
    }
    let is_damaged = troubles.contains(&Trouble::Damaged);
    let body = if is_damaged { damaged(&body) } else { body };
    let asked = match Asked::new(route, parts, body) {
        Ok(asked) => asked,
        Err(refused) => return refused,
    };
    match route.name {
        "files/upload" => uploads::upload(shared, &asked).await,
        "files/upload_session/start" => uploads::start(shared, &asked),
        "files/upload_session/append_v2" => uploads::append(shared, &asked),
        "files/upload_session/finish_batch_v2" => {
            uploads::finish_batch(shared, &asked, troubles.contains(&Trouble::BatchBusy)).await
        }
        "files/download" => files::download(shared, &asked, is_damaged),
        "files/list_folder" => files::list(shared, &asked),
        "files/list_folder/continue" => files::list_on(shared, &asked),
        "files/list_folder/get_latest_cursor" => files::latest(shared, &asked),
        "files/list_folder/longpoll" => files::wait(shared, &asked).await,
        "files/get_metadata" => files::look(shared, &asked),
        "files/delete_v2" => files::delete(shared, &asked).await,
        "files/move_v2" => files::rename(shared, &asked).await,
        _ => files::make(shared, &asked).await,
    }
}

/// The account, and what the app may do (http, "Authorization" and "Error handling"; spec, `auth.AuthError`
/// and the scope of each route).
fn authorised(shared: &Shared, route: &Route, parts: &Parts) -> Result<(), Answer> {
    let given = field(&parts.headers, "authorization");
    if route.host == "notify" {
        // spec: `auth = "noauth"`. What becomes of a token that comes nevertheless: inferred.
        let why = "This API function does not take an access token.";
        return if given.is_some() { Err(bad_input(route.name, why)) } else { Ok(()) };
    }
    let missing = "Must provide HTTP header \"Authorization\" or URL parameter \"authorization\".";
    let given = given.ok_or_else(|| bad_input(route.name, missing))?;
    let malformed = "Invalid authorization value in HTTP header \"Authorization\".";
    let token = given.strip_prefix("Bearer ").ok_or_else(|| bad_input(route.name, malformed))?;
    let state = lock(&shared.state);
    let tag = match state.tokens.worth(token) {
        Worth::Good => {
            if state.knobs.taken_scopes.contains(route.scope) {
                let error = json!({ ".tag": "missing_scope", "required_scope": route.scope });
                return Err(unauthorised(&error));
            }
            return Ok(());
        }
        Worth::Expired => "expired_access_token",
        Worth::Unknown => "invalid_access_token",
    };
    Err(unauthorised(&json!({ ".tag": tag })))
}

/// The same bytes, but for one.
pub(super) fn damaged(bytes: &Bytes) -> Bytes {
    let mut bytes = bytes.to_vec();
    if let Some(byte) = bytes.first_mut() {
        *byte ^= 1;
    }
    bytes.into()
}
