//! The server is as strict as Dropbox: what larder must not do fails here.

use reqwest::{Method, Response};

use super::*;

async fn token(server: &DropboxLike) -> String {
    let form = format!(
        "grant_type=refresh_token&refresh_token={DROPBOX_TOKEN}&client_id={DROPBOX_APP_KEY}"
    );
    let request = reqwest::Client::new().post(server.url().join("api/oauth2/token").unwrap());
    let request = request.header("content-type", "application/x-www-form-urlencoded");
    let answer = request.body(form).send().await.unwrap().bytes().await.unwrap();
    let granted: serde_json::Value = serde_json::from_slice(&answer).unwrap();
    granted["access_token"].as_str().unwrap().to_owned()
}

async fn sent(
    server: &DropboxLike,
    method: Method,
    at: &str,
    fields: &[(&str, &str)],
    body: &str,
) -> Response {
    let mut request = reqwest::Client::new().request(method, server.url().join(at).unwrap());
    for (name, value) in fields {
        request = request.header(*name, value.as_bytes());
    }
    request.body(body.to_owned()).send().await.unwrap()
}

const JSON: (&str, &str) = ("content-type", "application/json");
const BYTES: (&str, &str) = ("content-type", "application/octet-stream");

#[track_caller]
fn told(answer: (u16, String), status: u16, words: &str) {
    assert!(answer.0 == status && answer.1.contains(words), "{words}: {answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_with_json_are_checked() {
    let server = DropboxLike::start().unwrap();
    let bearer = format!("Bearer {}", token(&server).await);
    let auth = ("authorization", bearer.as_str());
    let call = async |at: &str, fields: &[(&str, &str)], body: &str| {
        let answer = sent(&server, Method::POST, at, fields, body).await;
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    let list = "api/2/files/list_folder";
    let root = r#"{"path":""}"#;
    told(call(list, &[auth, JSON], root).await, 200, "has_more");
    told(call(list, &[auth], root).await, 400, "Content-Type");
    told(call(list, &[auth, JSON], r#"{"path":"#).await, 400, "as JSON");
    told(call(list, &[auth, JSON], r#"{"path":"/"}"#).await, 400, "root folder");
    told(call(list, &[auth, JSON], r#"{"path":"","x":1}"#).await, 400, "unknown field");
    told(call(list, &[JSON], root).await, 400, "Authorization");
    let other = ("authorization", "Bearer x");
    told(call(list, &[other, JSON], root).await, 401, "invalid_access_token/");
    for at in ["content/2/files/list_folder", "api/2/files/no_such"] {
        told(call(at, &[auth, JSON], root).await, 400, "Unknown API function");
    }
    let wait = "notify/2/files/list_folder/longpoll";
    told(call(wait, &[JSON], r#"{"cursor":"?"}"#).await, 409, "reset/");
    told(call(wait, &[JSON], r#"{"cursor":"?","timeout":5}"#).await, 400, "timeout");
    told(call(wait, &[auth, JSON], r#"{"cursor":"?"}"#).await, 400, "access token");
    let batch = "api/2/files/upload_session/finish_batch_v2";
    told(call(batch, &[auth, JSON], r#"{"entries":[]}"#).await, 400, "1000");
    let got = sent(&server, Method::GET, list, &[auth, JSON], root).await;
    assert_eq!(got.status(), 405);
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_are_checked() {
    let server = DropboxLike::start().unwrap();
    let bearer = format!("Bearer {}", token(&server).await);
    let auth = ("authorization", bearer.as_str());
    let upload = async |fields: &[(&str, &str)]| {
        let at = "content/2/files/upload";
        let answer = sent(&server, Method::POST, at, fields, "x").await;
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    let arg = |text| ("dropbox-api-arg", text);
    let good = r#"{"path":"/a","mute":true}"#;
    told(upload(&[auth, BYTES]).await, 400, "Dropbox-API-Arg");
    told(upload(&[auth, arg(good)]).await, 400, "Content-Type");
    for (text, status, words) in [
        (r#"{"path":"/Käse","mute":true}"#, 400, "could not decode"),
        (r#"{"path":"/a"}"#, 400, "quietly"),
        (r#"{"path":"a","mute":true}"#, 409, "malformed_path"),
        (r#"{"path":"/a/","mute":true}"#, 409, "malformed_path"),
        (r#"{"path":"/a","mute":true,"mode":"update"}"#, 400, "WriteMode"),
        (
            r#"{"path":"/a","mute":true,"mode":{".tag":"update","update":"xyz"}}"#,
            400,
            "did not match pattern",
        ),
        (r#"{"path":"/a","mute":true,"content_hash":"00"}"#, 409, "content_hash_mismatch"),
        (good, 200, "\"rev\":"),
    ] {
        told(upload(&[auth, BYTES, arg(text)]).await, status, words);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_strict_conflict_the_same_content_is_no_conflict() {
    let server = DropboxLike::start().unwrap();
    let bearer = format!("Bearer {}", token(&server).await);
    let put = async |mode: &str, is_strict: bool, body: &str| {
        let arg = format!(
            "{{\"path\":\"/A\",\"mute\":true,\"mode\":{mode},\"strict_conflict\":{is_strict}}}"
        );
        let fields = [
            ("authorization", bearer.as_str()),
            ("content-type", "application/octet-stream"),
            ("dropbox-api-arg", arg.as_str()),
        ];
        let answer = sent(&server, Method::POST, "content/2/files/upload", &fields, body).await;
        let (status, text) = (answer.status().as_u16(), answer.text().await.unwrap());
        let told: serde_json::Value = serde_json::from_str(&text).unwrap();
        (status, told["rev"].as_str().unwrap_or_default().to_owned())
    };
    let (_, first) = put("\"add\"", false, "one").await;
    assert_eq!(put("\"add\"", false, "one").await, (200, first.clone()));
    assert_eq!(put("\"add\"", true, "one").await.0, 409);
    assert_eq!(put("\"overwrite\"", false, "one").await, (200, first.clone()));
    assert_eq!(put("\"add\"", false, "two").await.0, 409);
    let update = format!("{{\".tag\":\"update\",\"update\":\"{first}\"}}");
    let (status, second) = put(&update, false, "two").await;
    assert!(status == 200 && second != first);
    assert_eq!(put(&update, false, "two").await, (200, second));
    assert_eq!(put(&update, true, "two").await.0, 409);
    server.turn(|state| state.tree.remove("/a"));
    assert_eq!(put(&update, true, "two").await.0, 409);
    assert_eq!(put(&update, false, "two").await.0, 200);
}
