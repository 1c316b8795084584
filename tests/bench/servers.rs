//! The servers that peers talk to.

use std::{
    convert::Infallible,
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    os::unix::fs::MetadataExt as _,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use futures::stream;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::{
    Request, Response,
    body::{Bytes, Frame, Incoming},
    header::{HeaderName, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use larder_providers::testing::{Kind, Server};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    process::ChildStdout,
};

/// What a peer speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wire {
    WebDav,
    Git,
    Rsync,
    Unison,
}

/// A server that runs until it is dropped.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    /// What keeps it running.
    _keep: Keep,
}

#[derive(Debug)]
enum Keep {
    Server { _server: Server },
    Task { _task: tokio::task::AbortHandle },
    Child(Child),
}

impl Wire {
    /// Starts a server over the empty folder `dir`. WebDAV has a folder of its own.
    pub(crate) fn serve(
        self,
        dir: &Path,
        runtime: &tokio::runtime::Runtime,
    ) -> anyhow::Result<Running> {
        match self {
            Self::WebDav => {
                // Without rclone the one that is always there.
                let server = Server::start(Kind::Rclone);
                let server = server.or_else(|| Server::start(Kind::DavServerBare));
                let server = server.context("no WebDAV server starts")?;
                let port = server.url().port().context("a server without a port")?;
                Ok(Running { address: local(port), _keep: Keep::Server { _server: server } })
            }
            Self::Git => {
                let dir = dir.to_owned();
                let listener = runtime.block_on(tokio::net::TcpListener::bind(local(0)))?;
                let address = listener.local_addr()?;
                let task = runtime.spawn(async move { git(listener, &dir).await }).abort_handle();
                Ok(Running { address, _keep: Keep::Task { _task: task } })
            }
            Self::Rsync => {
                let config = dir.join("rsyncd.conf");
                fs::write(&config, rsyncd(dir)?)?;
                let port = free_port()?;
                let mut command = Command::new("rsync");
                command.args(["--daemon", "--no-detach", "--address=127.0.0.1"]);
                command.arg(format!("--port={port}")).arg(format!("--config={}", config.display()));
                child(command, port)
            }
            Self::Unison => {
                let port = free_port()?;
                let mut command = Command::new("unison");
                command.args(["-host", "127.0.0.1", "-socket", &port.to_string()]);
                command.env("UNISON", dir.join("archive")).env("HOME", dir);
                child(command, port)
            }
        }
    }
}

impl Drop for Keep {
    fn drop(&mut self) {
        match self {
            Self::Child(child) => {
                // It may have ended by itself.
                let _ = child.kill();
                let _ = child.wait();
            }
            Self::Task { _task: task } => task.abort(),
            Self::Server { .. } => {}
        }
    }
}

/// The settings of rsync's daemon, which as root would give up its rights.
fn rsyncd(dir: &Path) -> anyhow::Result<String> {
    let served = dir.join("notes");
    fs::create_dir(&served)?;
    let is_root = fs::metadata(&served)?.uid() == 0;
    let user = if is_root { "uid = 0\ngid = 0\n" } else { "" };
    let served = served.display();
    Ok(format!("use chroot = no\n{user}[notes]\npath = {served}\nread only = no\n"))
}

fn local(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind(local(0))?.local_addr()?.port())
}

fn child(mut command: Command, port: u16) -> anyhow::Result<Running> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let keep = Keep::Child(command.spawn()?);
    let asked = Instant::now();
    while TcpStream::connect(local(port)).is_err() {
        anyhow::ensure!(asked.elapsed() < Duration::from_secs(15), "{command:?} did not come up");
        thread::sleep(Duration::from_millis(20));
    }
    Ok(Running { address: local(port), _keep: keep })
}

/// Serves the repositories in a folder by git's own CGI program, as web servers do.
async fn git(listener: tokio::net::TcpListener, dir: &Path) {
    while let Ok((stream, _)) = listener.accept().await {
        let dir = dir.to_owned();
        let service = service_fn(move |request| {
            let dir = dir.clone();
            async move {
                let answer = http_backend(request, &dir).await;
                Ok::<_, Infallible>(answer.unwrap_or_else(|error| {
                    eprintln!("git http-backend: {error:#}");
                    failed()
                }))
            }
        });
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

type Streamed = http_body_util::combinators::UnsyncBoxBody<Bytes, std::io::Error>;

fn failed() -> Response<Streamed> {
    let nothing = http_body_util::Empty::new().map_err(|never: Infallible| match never {});
    let mut failed = Response::new(nothing.boxed_unsync());
    *failed.status_mut() = hyper::StatusCode::INTERNAL_SERVER_ERROR;
    failed
}

/// One request through the CGI, both ways streamed.
async fn http_backend(
    request: Request<Incoming>,
    dir: &Path,
) -> anyhow::Result<Response<Streamed>> {
    let (head, mut body) = request.into_parts();
    let header = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
    let mut command = tokio::process::Command::new("git");
    command.arg("http-backend").env_clear();
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("GIT_PROJECT_ROOT", dir).env("GIT_HTTP_EXPORT_ALL", "1").env("HOME", dir);
    command.env("REQUEST_METHOD", head.method.as_str()).env("PATH_INFO", head.uri.path());
    command.env("QUERY_STRING", head.uri.query().unwrap_or_default());
    // Whoever has a name may push.
    command.env("REMOTE_USER", "bench").env("REMOTE_ADDR", "127.0.0.1");
    for (name, variable) in [
        ("content-type", "CONTENT_TYPE"),
        ("content-length", "CONTENT_LENGTH"),
        ("content-encoding", "HTTP_CONTENT_ENCODING"),
        ("git-protocol", "GIT_PROTOCOL"),
    ] {
        command.envs(header(name).map(|value| (variable, value)));
    }
    let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut child = pipes.spawn()?;
    let mut input = child.stdin.take().context("no standard input")?;
    let output = BufReader::new(child.stdout.take().context("no standard output")?);
    tokio::spawn(async move {
        while let Some(Ok(frame)) = body.frame().await {
            let Ok(data) = frame.into_data() else { continue };
            // It reads as much as it wants to.
            if input.write_all(&data).await.is_err() {
                break;
            }
        }
        drop(input);
        let _ = child.wait().await;
    });
    answer(output).await
}

/// Reads the head of a CGI answer; the rest of it is the body.
async fn answer(mut output: BufReader<ChildStdout>) -> anyhow::Result<Response<Streamed>> {
    let mut response = Response::builder();
    loop {
        let mut line = String::new();
        anyhow::ensure!(output.read_line(&mut line).await? > 0, "it ended within its headers");
        let line = line.trim_end();
        let Some((name, value)) = line.split_once(": ") else { break };
        response = match name {
            "Status" => response.status(value.get(..3).unwrap_or_default()),
            _ => response.header(HeaderName::try_from(name)?, HeaderValue::try_from(value)?),
        };
    }
    let chunks = stream::unfold(output, |mut output| async move {
        let mut chunk = Vec::with_capacity(1 << 16);
        match output.read_buf(&mut chunk).await {
            Ok(0) => None,
            Ok(_) => Some((Ok(Frame::data(Bytes::from(chunk))), output)),
            Err(error) => Some((Err(error), output)),
        }
    });
    Ok(response.body(StreamBody::new(chunks).boxed_unsync())?)
}
