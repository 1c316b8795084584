//! A reverse proxy for HTTP/1.1 that counts what goes through it, and can hold every request back
//! for a while, which stands for a round trip to a distant server.
//!
//! Bytes are counted on the client's connection as they come and go: request and status lines,
//! headers, chunk frames, bodies. Connecting is not held back: it is paid once per connection, and
//! programs keep theirs.

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use http_body_util::{Either, Empty};
use hyper::{
    Request, Response, StatusCode, Uri,
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// What went through a proxy so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Counted {
    /// HTTP requests; connections, where the proxy knows no more than those.
    pub(crate) requests: u64,
    /// Bytes from the client.
    pub(crate) up: u64,
    /// Bytes to the client.
    pub(crate) down: u64,
}

impl Counted {
    /// What was added since `earlier`.
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            requests: self.requests - earlier.requests,
            up: self.up - earlier.up,
            down: self.down - earlier.down,
        }
    }
}

/// A running proxy; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Proxy {
    address: SocketAddr,
    counter: Arc<Counter>,
    task: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Counter {
    requests: AtomicU64,
    up: AtomicU64,
    down: AtomicU64,
}

type Upstream = Client<HttpConnector, Incoming>;
type Answer = Response<Either<Incoming, Empty<Bytes>>>;

impl Proxy {
    /// Passes HTTP requests on to `upstream`, each after a delay.
    pub(crate) async fn http(upstream: SocketAddr, delay: Duration) -> io::Result<Self> {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client: Upstream = Client::builder(TokioExecutor::new()).build(connector);
        Self::start(move |stream| {
            let client = client.clone();
            async move { serve(stream, upstream, &client, delay).await }
        })
        .await
    }

    /// Passes bytes on to `upstream`, whatever they mean.
    pub(crate) async fn tcp(upstream: SocketAddr) -> io::Result<Self> {
        Self::start(move |mut stream: Tapped| async move {
            stream.counter.requests.fetch_add(1, Relaxed);
            if let Ok(mut server) = TcpStream::connect(upstream).await {
                let _ = server.set_nodelay(true);
                // A side that hangs up ends the connection, and that is all there is to say.
                let _ = copy_bidirectional(&mut stream, &mut server).await;
            }
        })
        .await
    }

    async fn start<F>(each: impl Fn(Tapped) -> F + Send + 'static) -> io::Result<Self>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let counter = Arc::new(Counter::default());
        let taps = counter.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // Nagle's algorithm holds small pieces back for 40 ms, here and on the way to the
                // server, which would be taken for the slowness of whoever sends them.
                let _ = stream.set_nodelay(true);
                tokio::spawn(each(Tapped { stream, counter: taps.clone() }));
            }
        });
        Ok(Self { address, counter, task })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The figures so far.
    pub(crate) fn counted(&self) -> Counted {
        let Counter { requests, up, down } = self.counter.as_ref();
        Counted { requests: requests.load(Relaxed), up: up.load(Relaxed), down: down.load(Relaxed) }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(stream: Tapped, upstream: SocketAddr, client: &Upstream, delay: Duration) {
    let counter = stream.counter.clone();
    let service = service_fn(move |request| {
        counter.requests.fetch_add(1, Relaxed);
        let client = client.clone();
        async move {
            tokio::time::sleep(delay).await;
            Ok::<_, Infallible>(pass(request, upstream, &client).await)
        }
    });
    // A client that hangs up in the middle of a request is no concern of the proxy.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn pass(mut request: Request<Incoming>, upstream: SocketAddr, client: &Upstream) -> Answer {
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let sent = match format!("http://{upstream}{path}").parse::<Uri>() {
        Ok(uri) => {
            // The Host header stays the client's, which is what a Destination is compared with.
            *request.uri_mut() = uri;
            client.request(request).await.ok()
        }
        Err(_) => None,
    };
    match sent {
        Some(answer) => answer.map(Either::Left),
        None => {
            let mut failed = Response::new(Either::Right(Empty::new()));
            *failed.status_mut() = StatusCode::BAD_GATEWAY;
            failed
        }
    }
}

/// A client's connection with a counter on it.
#[derive(Debug)]
struct Tapped {
    stream: TcpStream,
    counter: Arc<Counter>,
}

impl AsyncRead for Tapped {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.counter.up.fetch_add((buffer.filled().len() - before) as u64, Relaxed);
        read
    }
}

impl AsyncWrite for Tapped {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        if let Poll::Ready(Ok(count)) = &written {
            self.counter.down.fetch_add(*count as u64, Relaxed);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
