//! What went wrong on the way to a server and back, in our words.

use std::{error::Error as StdError, io};

use rustls::CertificateError;
use url::Url;

use crate::{Error, ErrorKind, RemotePath};

/// A setting with which no connection can be made.
pub(crate) fn wrong(detail: &str) -> Error {
    Error::new(ErrorKind::Config, "connect", &RemotePath::root(), detail)
}

/// The error that a server which says nothing stands for.
pub(super) fn silent(operation: &'static str, path: &RemotePath) -> Error {
    Error::new(ErrorKind::Unreachable, operation, path, "the server has not answered in time")
}

/// The error that a request or an answer which did not get through stands for.
pub(super) fn broken(operation: &'static str, path: &RemotePath, error: reqwest::Error) -> Error {
    let server = error.url().map_or_else(|| "the server".to_owned(), server_of);
    let error = error.without_url();
    let (kind, detail) = if let Some(why) = refused_certificate(&server, &error) {
        (ErrorKind::Config, why)
    } else if error.is_connect() {
        (ErrorKind::Unreachable, format!("{server} cannot be reached"))
    } else if let Some(ours) = own_cause(&error) {
        ours
    } else {
        (ErrorKind::Unreachable, format!("the connection to {server} broke"))
    };
    Error::new(kind, operation, path, detail).with_source(error)
}

/// Who was asked: host and port, without account and path.
pub(crate) fn server_of(url: &Url) -> String {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}{port}", url.host_str().unwrap_or("the server"))
}

/// What our own error says, if it was the body to be sent that failed.
fn own_cause(error: &reqwest::Error) -> Option<(ErrorKind, String)> {
    let ours = causes(error).find_map(|cause| cause.downcast_ref::<Error>())?;
    Some((ours.kind(), ours.detail().to_owned()))
}

/// What is wrong with a certificate that made a connection fail, and what to do about it.
fn refused_certificate(server: &str, error: &(dyn StdError + 'static)) -> Option<String> {
    let rustls::Error::InvalidCertificate(why) = causes(error).find_map(tls_error)? else {
        return Some(format!("no TLS connection to {server} can be made"));
    };
    Some(match why {
        CertificateError::UnknownIssuer => format!(
            "the certificate of {server} is not trusted: nobody on this system knows who issued it. If it is \
             your own authority, name its certificate: ca_file in .larder/config.toml, or --ca-file"
        ),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!("the certificate of {server} is for another name")
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            format!(
                "the certificate of {server} has expired (or is the clock of this device wrong?)"
            )
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            format!(
                "the certificate of {server} is not valid yet: is the clock of this device wrong?"
            )
        }
        CertificateError::Revoked => format!("the certificate of {server} was revoked"),
        // What `openssl req -x509` makes unless told otherwise. The error's own type is not in reach.
        CertificateError::Other(other) if format!("{other:?}").contains("CaUsedAsEndEntity") => {
            format!(
                "the certificate of {server} is that of an authority, which no server may show: have it sign \
                 another one for the server, or make it with basicConstraints=CA:FALSE"
            )
        }
        _ => format!("the certificate of {server} is not valid"),
    })
}

/// The error of rustls, which comes bare or inside I/O errors: these name as their source what
/// caused the error that they hold, and not that error.
fn tls_error<'a>(cause: &'a (dyn StdError + 'static)) -> Option<&'a rustls::Error> {
    let mut held = cause;
    while let Some(inner) = held.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        held = inner;
    }
    held.downcast_ref()
}

/// An error and all that caused it.
pub(crate) fn causes<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error| (*error).source())
}

/// What an error and its causes say.
pub(super) fn told(error: &(dyn StdError + 'static)) -> String {
    causes(error).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_named_without_account_and_path() {
        let named = |text: &str| server_of(&Url::parse(text).unwrap());
        assert_eq!(named("https://ann:secret@dav.example/notes?key=1"), "dav.example");
        assert_eq!(named("http://[::1]:8080/"), "[::1]:8080");
        assert_eq!(named("https://dav.example:443/"), "dav.example");
        assert_eq!(named("data:x"), "the server");
    }
}
