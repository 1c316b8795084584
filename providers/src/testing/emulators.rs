//! Emulators of object stores: moto for S3, Azurite for Azure.

use std::{
    fs,
    io::{self, Read, Write},
    net::TcpStream,
    process::Command,
};

use super::servers::{Kind, find};
use crate::{BucketConfig, Credentials, Password, Service};

/// The bucket that every emulator has.
pub(super) const BUCKET: &str = "larder";

/// The account of Azurite, which everybody knows.
const AZURE_ACCOUNT: &str = "devstoreaccount1";

/// Its key, which everybody knows too.
pub const AZURE_KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// A Google service account that needs no token.
pub const GOOGLE_KEY: &str =
    r#"{"private_key": "", "private_key_id": "", "client_email": "", "disable_oauth": true}"#;

/// A permission to make containers there, signed with that key, good until 2099.
const AZURE_PERMISSION: &str = "sv=2021-08-06&ss=b&srt=sco&sp=rwdlac&se=2099-01-01T00:00:00Z\
    &spr=https,http&sig=kV1%2FDJNn7340SUtIltqF6L9gEwifTOYTqBxfQeMSrhM%3D";

/// Runs moto with one request at a time: it looks at the condition of a write, and then writes.
const MOTO_BEHIND_A_LOCK: &str = "
import sys, threading, moto.server as moto
lock, run = threading.Lock(), moto.run_simple
def one_at_a_time(host, port, app, **options):
    def locked(environ, start):
        with lock:
            return list(app(environ, start))
    run(host, port, locked, **options)
moto.run_simple = one_at_a_time
moto.main(sys.argv[1:])
";

/// The emulator's command line, for this port.
pub(super) fn command(kind: Kind, port: u16) -> io::Result<Command> {
    let port = port.to_string();
    if kind == Kind::Azurite {
        let mut command = Command::new(find("azurite-blob")?);
        command.args(["--blobHost", "127.0.0.1", "--blobPort", &port, "--silent"]);
        command.args(["--skipApiVersionCheck", "--disableTelemetry", "--inMemoryPersistence"]);
        return Ok(command);
    }
    // Beside the real one lies the Python that has its modules.
    let moto = fs::canonicalize(find("moto_server")?)?;
    let mut command = Command::new(moto.with_file_name("python3"));
    command.args(["-c", MOTO_BEHIND_A_LOCK, "-H", "127.0.0.1", "-p", &port]);
    Ok(command)
}

/// Makes the bucket in an emulator that is up.
pub(super) fn make_bucket(kind: Kind, port: u16) -> io::Result<()> {
    let target = match kind {
        Kind::Azurite => {
            format!("/{AZURE_ACCOUNT}/{BUCKET}?restype=container&{AZURE_PERMISSION}")
        }
        _ => format!("/{BUCKET}"),
    };
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    let fields = format!("Host: 127.0.0.1:{port}\r\nContent-Length: 0\r\nConnection: close");
    stream.write_all(format!("PUT {target} HTTP/1.1\r\n{fields}\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    if answer.starts_with("HTTP/1.1 20") { Ok(()) } else { Err(io::Error::other(answer)) }
}

/// Settings to reach the bucket with.
pub(super) fn config(kind: Kind, port: u16) -> BucketConfig {
    let endpoint = endpoint(kind, port).parse().ok();
    if kind == Kind::GoogleLike {
        let credentials = Credentials::AccountText(Password::new(GOOGLE_KEY));
        return BucketConfig { endpoint, ..BucketConfig::new(Service::Gcs, BUCKET, credentials) };
    }
    let (service, id, secret) = match kind {
        Kind::Azurite => (Service::Azure, AZURE_ACCOUNT, AZURE_KEY),
        _ => (Service::S3, "ann", "secret"),
    };
    let secret = Password::new(secret);
    let credentials = Credentials::Key { id: id.to_owned(), secret, session: None };
    BucketConfig { endpoint, ..BucketConfig::new(service, BUCKET, credentials) }
}

/// The address of a folder in the bucket, as a user types it.
pub(super) fn address(kind: Kind, port: u16, folder: &str) -> String {
    let at = match kind {
        Kind::Azurite => format!("az://{AZURE_ACCOUNT}@{BUCKET}"),
        Kind::GoogleLike => format!("gs://{BUCKET}"),
        _ => format!("s3://ann@{BUCKET}"),
    };
    format!("{at}/{folder}?endpoint={}", endpoint(kind, port))
}

fn endpoint(kind: Kind, port: u16) -> String {
    let account = if kind == Kind::Azurite { AZURE_ACCOUNT } else { "" };
    format!("http://127.0.0.1:{port}/{account}")
}
