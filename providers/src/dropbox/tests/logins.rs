//! Tokens: made anew, refused, taken back; and logging in.

use super::*;
use crate::HttpConfig;

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_expired_is_made_anew_and_nobody_notices() {
    let server = DropboxLike::start().unwrap();
    let (dropbox, _) = storage(&server);
    put(&dropbox, "a", "one", PutMode::Create).await.unwrap();
    assert_eq!(server.log(), ["oauth2/token", "files/upload"]);
    server.expire_tokens();
    assert_eq!(read(&dropbox, "a").await, "one");
    assert_eq!(server.log(), ["files/download", "oauth2/token", "files/download"]);
    // Once: a token that is refused although it is new is a refusal.
    server.trouble("files/download", Trouble::ExpiredToken);
    server.trouble("files/download", Trouble::ExpiredToken);
    let refused = dropbox.read(&path("a"), 10).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::LoggedOut, "{refused}");
    // Many at once make one new token.
    server.expire_tokens();
    assert_eq!(read(&dropbox, "a").await, "one");
    server.log();
    join_all((0..8).map(async |_| read(&dropbox, "a").await)).await;
    assert!(!server.log().contains(&"oauth2/token".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_was_taken_back_is_told() {
    let server = DropboxLike::start().unwrap();
    let (dropbox, _) = storage(&server);
    put(&dropbox, "a", "one", PutMode::Create).await.unwrap();
    server.revoke();
    let ended = dropbox.read(&path("a"), 10).await.unwrap_err();
    assert_eq!(ended.kind(), ErrorKind::LoggedOut);
    assert!(ended.detail().contains("has ended: it was revoked"), "{ended}");
    let config = DropboxConfig { app_key: "another".into(), ..server.config("/notes") };
    let unknown = Dropbox::new(config, Traffic::new()).unwrap();
    let refused = unknown.read(&path("a"), 10).await.unwrap_err();
    assert!(refused.detail().contains("does not know the key of this app"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_process_uses_the_token_that_is_good_still() {
    let server = DropboxLike::start().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let process = || {
        let access_file = Some(dir.path().join("dropbox.json"));
        let config = DropboxConfig { access_file, ..server.config("/notes") };
        Dropbox::new(config, Traffic::new()).unwrap()
    };
    put(&process(), "a", "one", PutMode::Create).await.unwrap();
    server.log();
    assert_eq!(read(&process(), "a").await, "one");
    assert_eq!(server.log(), ["files/download"]);
    server.expire_tokens();
    assert_eq!(read(&process(), "a").await, "one");
    assert_eq!(server.log(), ["files/download", "oauth2/token", "files/download"]);
    assert_eq!(read(&process(), "a").await, "one");
    assert_eq!(server.log(), ["files/download"]);
}

/// The page of the server, on which the user agrees at once.
async fn visit(page: url::Url) -> reqwest::Response {
    let policy = reqwest::redirect::Policy::none();
    let client = reqwest::Client::builder().redirect(policy).build().unwrap();
    client.get(page).send().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_is_turned_in_for_a_login_that_lasts() {
    let server = DropboxLike::start().unwrap();
    let (hosts, http) = (Hosts::at(&server.url()).unwrap(), HttpConfig::default());
    let login = DropboxLogin::new(DROPBOX_APP_KEY, hosts.clone(), None).unwrap();
    let page = visit(login.url().unwrap()).await.text().await.unwrap();
    let code = page.split('"').nth(1).unwrap().to_owned();
    let stranger = DropboxLogin::new(DROPBOX_APP_KEY, hosts.clone(), None).unwrap();
    let token = login.finish(&format!(" {code}\n"), &http).await.unwrap();
    let config = DropboxConfig { refresh_token: token, ..server.config("") };
    let dropbox = Dropbox::new(config, Traffic::new()).unwrap();
    put(&dropbox, "a", "one", PutMode::Create).await.unwrap();
    // A code is good once, and for who has the verifier.
    let again = login.finish(&code, &http).await.unwrap_err();
    assert!(again.detail().contains("does not take this code"), "{again}");
    let page = visit(login.url().unwrap()).await.text().await.unwrap();
    let stolen = stranger.finish(page.split('"').nth(1).unwrap(), &http).await.unwrap_err();
    assert_eq!(stolen.kind(), ErrorKind::Unauthorized, "{stolen}");
    let unknown = DropboxLogin::new("nobodysapp", hosts, None).unwrap();
    assert_eq!(visit(unknown.url().unwrap()).await.status(), 400);
    assert!(unknown.finish("code", &http).await.unwrap_err().detail().contains("key of this app"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_comes_by_a_redirect_too() {
    let server = DropboxLike::start().unwrap();
    let (hosts, http) = (Hosts::at(&server.url()).unwrap(), HttpConfig::default());
    let redirect = url::Url::parse("http://localhost:53682/").unwrap();
    let login = DropboxLogin::new(DROPBOX_APP_KEY, hosts, Some(redirect)).unwrap();
    let answer = visit(login.url().unwrap()).await;
    let back = answer.headers()["location"].to_str().unwrap().to_owned();
    let back = url::Url::parse(&back).unwrap();
    let code = login.code_in(back.query().unwrap()).unwrap().unwrap();
    login.finish(&code, &http).await.unwrap();
}
