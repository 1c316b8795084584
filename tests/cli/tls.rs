//! Certificates: whom larder trusts, and how it is told to trust somebody else. And redirects, which
//! lead from one server to another.

use std::{fs, net::TcpListener, path::PathBuf};

use larder_providers::testing::Kind;
use url::Url;

use crate::common::{
    Device, Place, Remote,
    tls::{Authority, answering},
};

/// A remote behind TLS, and the file of the authority that vouches for it.
struct Behind {
    authority: Authority,
    remote: Remote,
    device: Device,
}

impl Behind {
    fn start(kind: Kind) -> Option<Self> {
        let remote = Remote::start(Place::Server(kind))?;
        let behind = Self {
            authority: Authority::new("larder test"),
            remote,
            device: Device::new("laptop"),
        };
        behind.device.write("note.md", "text\n");
        behind.authority.save(&behind.ca_file());
        Some(behind)
    }

    fn ca_file(&self) -> PathBuf {
        self.device.home().join("ca.pem")
    }

    /// The address of the remote behind a certificate.
    fn url(&self, certified: &str, until: i32, asked: &str) -> String {
        let url = Url::parse(self.remote.url()).unwrap();
        let port = self.authority.stand_before(url.port().unwrap(), certified, until);
        format!("webdavs://ann@{asked}:{port}/remote")
    }

    #[track_caller]
    fn refused(&self, args: &[&str]) -> String {
        let ran = self.device.run(args);
        assert_eq!(ran.code, 1, "{ran}");
        assert!(!self.device.root().join(".larder").exists(), "a failed init leaves nothing");
        ran.stderr
    }
}

#[test]
fn a_private_authority_is_trusted_when_it_is_named() {
    let Some(behind) = Behind::start(Kind::ApacheBasic) else { return };
    let url = behind.url("127.0.0.1", 2999, "127.0.0.1");
    let said = behind.refused(&["init", "--remote", &url]);
    assert!(said.contains("the certificate of 127.0.0.1:"), "{said}");
    assert!(
        said.contains("is not trusted") && said.contains("ca_file in .larder/config.toml"),
        "{said}"
    );
    // Another authority is no help, and neither is a file that holds none.
    let (file, other) = (behind.ca_file(), behind.device.home().join("other.pem"));
    Authority::new("somebody else").save(&other);
    let said = behind.refused(&["init", "--remote", &url, "--ca-file", other.to_str().unwrap()]);
    assert!(said.contains("is not trusted"), "{said}");
    fs::write(&other, "").unwrap();
    let said = behind.refused(&["init", "--remote", &url, "--ca-file", other.to_str().unwrap()]);
    assert!(said.contains("other.pem: has no certificate in it"), "{said}");
    let said = behind.refused(&["init", "--remote", &url, "--ca-file", "nowhere.pem"]);
    assert!(said.contains("nowhere.pem: cannot be read"), "{said}");

    let device = &behind.device;
    device.run(&["init", "--remote", &url, "--ca-file", "../home/ca.pem"]).exits(0);
    let config = fs::read_to_string(device.root().join(".larder/config.toml")).unwrap();
    assert!(config.contains(&format!("ca_file = \"{}\"", file.display())), "{config}");
    device.sync();
    device.run(&["check", "--read-data"]).exits(0);
    assert!(!behind.remote.files().is_empty());
}

#[test]
fn an_authority_can_be_one_of_several_and_come_from_the_environment() {
    let Some(behind) = Behind::start(Kind::Apache) else { return };
    let url = behind.url("127.0.0.1", 2999, "127.0.0.1");
    let others = [Authority::new("one"), Authority::new("two")].map(|other| other.pem).concat();
    let file = behind.ca_file();
    fs::write(&file, format!("# all of them\n{others}{}", behind.authority.pem)).unwrap();
    let run = |args: &[&str]| {
        let output = behind.device.command(args).env("LARDER_CA_FILE", &file).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    };
    run(&["init", "--remote", &url]);
    run(&["sync"]);
    // What the environment says is not kept.
    assert_eq!(behind.device.run(&["sync"]).code, 1);
    // Nor does a bad one from an option hide behind a good one from there.
    let mut command = behind.device.command(&["sync", "--ca-file", "/nowhere.pem"]);
    assert_eq!(command.env("LARDER_CA_FILE", &file).status().unwrap().code(), Some(1));
    // In the settings it may be named as seen from the vault.
    let settings = behind.device.root().join(".larder/config.toml");
    let text = fs::read_to_string(&settings).unwrap();
    fs::write(&settings, format!("{text}ca_file = \"../home/ca.pem\"\n")).unwrap();
    behind.device.sync();
}

#[test]
fn a_certificate_for_another_name_or_of_another_time_is_refused() {
    let Some(behind) = Behind::start(Kind::Apache) else { return };
    let file = behind.ca_file();
    let refused =
        |url: &str| behind.refused(&["init", "--remote", url, "--ca-file", file.to_str().unwrap()]);
    let said = refused(&behind.url("127.0.0.1", 2999, "localhost"));
    assert!(
        said.contains("the certificate of localhost:") && said.contains("for another name"),
        "{said}"
    );
    let said = refused(&behind.url("127.0.0.1", 2020, "127.0.0.1"));
    assert!(said.contains("has expired"), "{said}");
}

#[test]
#[cfg(feature = "object-stores")]
fn an_object_store_of_ones_own_is_trusted_likewise() {
    let Some(behind) = Behind::start(Kind::Moto) else { return };
    let (address, endpoint) = behind.remote.url().split_once("?endpoint=").unwrap();
    let (endpoint, _) = endpoint.split_once('&').unwrap_or((endpoint, ""));
    let port = Url::parse(endpoint).unwrap().port().unwrap();
    let port = behind.authority.stand_before(port, "127.0.0.1", 2999);
    let url = format!("{address}?endpoint=https://127.0.0.1:{port}");
    let said = behind.refused(&["init", "--remote", &url]);
    assert!(said.contains("is not trusted") && said.contains("ca_file"), "{said}");
    let file = behind.ca_file();
    behind.device.run(&["init", "--remote", &url, "--ca-file", file.to_str().unwrap()]).exits(0);
    behind.device.sync();
}

#[test]
fn a_redirect_to_another_server_is_told_and_not_followed() {
    let other = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    other.set_nonblocking(true).unwrap();
    let there = format!("http://127.0.0.1:{}/dav/", other.local_addr().unwrap().port());
    let answer = format!(
        "HTTP/1.1 307 Elsewhere\r\nLocation: {there}?token=s3cret\r\nContent-Length: 0\r\n\
         Connection: close\r\n\r\n"
    );
    let server = answering(answer.leak());
    let (device, authority) = (Device::new("laptop"), Authority::new("larder test"));
    let file = device.home().join("ca.pem");
    authority.save(&file);
    let secure = authority.stand_before(server, "127.0.0.1", 2999);
    let file = file.to_str().unwrap();
    for url in [
        format!("webdav://ann@127.0.0.1:{server}/dav"),
        format!("webdavs://ann@127.0.0.1:{secure}/dav"),
    ] {
        let ran = device.run(&["init", "--remote", &url, "--ca-file", file, "-vvv"]).exits(1);
        assert!(
            ran.stderr.contains(&format!("the server sends us elsewhere, to {there}")),
            "{ran}"
        );
        assert!(
            ran.stderr.contains("If you trust that address: `larder remote set ADDRESS`"),
            "{ran}"
        );
        assert_eq!(
            ran.stderr.contains("which is not encrypted"),
            url.starts_with("webdavs"),
            "{ran}"
        );
        assert!(!ran.said().contains("s3cret"), "{ran}");
    }
    assert!(other.accept().is_err(), "nobody came");
}
