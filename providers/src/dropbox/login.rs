//! Logging in: OAuth 2 with a code and PKCE, so that no secret of the program is needed.
//!
//! <https://developers.dropbox.com/oauth-guide>, <https://www.rfc-editor.org/rfc/rfc7636>.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};
use url::Url;

use super::{DropboxConfig, Hosts, wire::Wire};
use crate::{Error, ErrorKind, HttpConfig, Password, RemotePath, Result, Traffic, http::wrong};

/// What larder has to be allowed to do.
const SCOPES: &str = "files.content.read files.content.write files.metadata.read";

/// A login that was begun: the page that the user has to look at, and what shows that the code from
/// there was meant for us.
#[derive(Debug)]
pub struct DropboxLogin {
    app_key: String,
    hosts: Hosts,
    verifier: Password,
    state: String,
    redirect: Option<Url>,
}

impl DropboxLogin {
    /// Begins a login for the app of `app_key`. With a `redirect`, Dropbox sends the code there (the
    /// app must have registered exactly this address); without one it shows the code to the user.
    pub fn new(app_key: impl Into<String>, hosts: Hosts, redirect: Option<Url>) -> Result<Self> {
        let (verifier, state) = (Password::new(random()?), random()?);
        Ok(Self { app_key: app_key.into(), hosts, verifier, state, redirect })
    }

    /// The page on which the user lets the app in.
    pub fn url(&self) -> Result<Url> {
        let page = self.hosts.www.join("oauth2/authorize");
        let mut page = page.map_err(|_| wrong("no address for the login"))?;
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(self.verifier.expose()));
        let mut query = page.query_pairs_mut();
        query.append_pair("client_id", &self.app_key).append_pair("response_type", "code");
        query.append_pair("code_challenge", &challenge);
        query.append_pair("code_challenge_method", "S256");
        query.append_pair("token_access_type", "offline").append_pair("scope", SCOPES);
        if let Some(redirect) = &self.redirect {
            query.append_pair("redirect_uri", redirect.as_str()).append_pair("state", &self.state);
        }
        drop(query);
        Ok(page)
    }

    /// The code in the query of the address that Dropbox redirected to, or why there is none. Nothing if
    /// it comes without our `state`: it is no answer, or one for a login that somebody else began.
    pub fn code_in(&self, query: &str) -> Option<Result<String>> {
        let pairs: Vec<_> = url::form_urlencoded::parse(query.as_bytes()).collect();
        let value = |name: &str| pairs.iter().find(|pair| pair.0 == name).map(|pair| &*pair.1);
        let refused = |detail: &str| {
            Error::new(ErrorKind::Unauthorized, "login", &RemotePath::root(), detail)
        };
        value("state").filter(|state| *state == self.state)?;
        Some(match (value("code"), value("error")) {
            (Some(code), None) if !code.is_empty() => Ok(code.to_owned()),
            (_, Some("access_denied")) => Err(refused("the login was refused on Dropbox's page")),
            _ => Err(refused("Dropbox's page sent no code")),
        })
    }

    /// Turns the code in; what comes back is the refresh token.
    pub async fn finish(&self, code: &str, http: &HttpConfig) -> Result<Password> {
        let mut config = DropboxConfig::new("", &self.app_key, Password::new(""));
        config.hosts = self.hosts.clone();
        config.http = http.clone();
        let wire = Wire::new(config, Traffic::new())?;
        let mut form = vec![
            ("grant_type", "authorization_code"),
            ("code", code.trim()),
            ("client_id", &self.app_key),
            ("code_verifier", self.verifier.expose()),
        ];
        if let Some(redirect) = &self.redirect {
            form.push(("redirect_uri", redirect.as_str()));
        }
        let root = RemotePath::root();
        let granted = wire.grant("login", &root, &form).await?;
        granted.refresh_token.map(Password::new).ok_or_else(|| {
            let detail = "Dropbox gave no token that lasts: the app is not allowed to work offline";
            Error::new(ErrorKind::Unauthorized, "login", &root, detail)
        })
    }
}

/// 43 letters from the randomness that keys are made of: RFC 7636 asks for 43 to 128.
fn random() -> Result<String> {
    let provider = rustls::crypto::CryptoProvider::get_default();
    let provider = provider
        .ok_or_else(|| wrong("this program has not chosen its cryptography (rustls provider)"))?;
    let mut bytes = [0; 32];
    let filled = provider.secure_random.fill(&mut bytes);
    filled.map_err(|_| wrong("the system gives no randomness"))?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_asked_for_a_code_that_lasts_and_no_secret_stands_there() {
        crate::testing::install_crypto();
        let login = DropboxLogin::new("key1", Hosts::default(), None).unwrap();
        let page = login.url().unwrap();
        assert!(
            page.as_str().starts_with("https://www.dropbox.com/oauth2/authorize?client_id=key1")
        );
        let query: std::collections::BTreeMap<_, _> = page.query_pairs().collect();
        assert_eq!(query["token_access_type"], "offline");
        assert_eq!(query["code_challenge_method"], "S256");
        assert_eq!(query["code_challenge"].len(), 43);
        assert!(!query.contains_key("state") && !query.contains_key("redirect_uri"));
        assert!(!page.as_str().contains(login.verifier.expose()));
        assert!((43..=128).contains(&login.verifier.expose().len()));
        let other = DropboxLogin::new("key1", Hosts::default(), None).unwrap();
        assert_ne!(other.verifier.expose(), login.verifier.expose());
    }

    #[test]
    fn the_challenge_is_the_one_of_the_standard() {
        // RFC 7636, appendix B.
        let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(verifier));
        assert_eq!(challenge, "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    }

    #[test]
    fn only_the_answer_to_our_own_question_is_taken() {
        crate::testing::install_crypto();
        let redirect = Url::parse("http://localhost:7/").ok();
        let login = DropboxLogin::new("key1", Hosts::default(), redirect).unwrap();
        assert!(
            login
                .url()
                .unwrap()
                .query()
                .unwrap()
                .contains("redirect_uri=http%3A%2F%2Flocalhost%3A7%2F")
        );
        let state = login.state.clone();
        let ours = |query: &str| login.code_in(&format!("{query}&state={state}")).unwrap();
        assert_eq!(ours("code=c0de").unwrap(), "c0de");
        for query in
            ["", "code=c0de", "code=c0de&state=other", "error=access_denied&state=", "state"]
        {
            assert!(login.code_in(query).is_none(), "{query}");
        }
        assert!(ours("error=access_denied").unwrap_err().detail().contains("refused"));
        for query in ["", "code=", "code=c0de&error=server_error"] {
            assert!(ours(query).unwrap_err().detail().contains("sent no code"), "{query}");
        }
    }
}
