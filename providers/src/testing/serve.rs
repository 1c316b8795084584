//! HTTP servers in the test's own process.

use std::{error::Error as StdError, io, net::TcpListener, ops::Range, thread};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Request, Response, body::Body, body::Incoming, header::HeaderValue, server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::sync::oneshot;

/// What the servers that are written here answer.
pub(super) type Answer = Response<Full<Bytes>>;

/// Answers whatever is asked on `listener` until the returned sender is dropped. An error cuts the
/// connection.
pub(super) fn serve<F, B, E>(
    listener: TcpListener,
    answer: impl Fn(Request<Incoming>) -> F + Clone + Send + 'static,
) -> io::Result<oneshot::Sender<()>>
where
    F: Future<Output = Result<Response<B>, E>> + Send + 'static,
    B: Body<Data: Send, Error: Into<Box<dyn StdError + Send + Sync>>> + Send + 'static,
    E: Into<Box<dyn StdError + Send + Sync>> + 'static,
{
    listener.set_nonblocking(true)?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let (stop, stopped) = oneshot::channel::<()>();
    let listener = {
        let _inside = runtime.enter();
        tokio::net::TcpListener::from_std(listener)?
    };
    let accept = async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = service_fn(answer.clone());
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    };
    thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = stopped => {}
                () = accept => {}
            }
        });
        runtime.shutdown_background();
    });
    Ok(stop)
}

/// Sets a header field.
pub(super) fn set(answer: &mut Answer, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        answer.headers_mut().insert(name, value);
    }
}

/// The part of so many bytes that `bytes=2-5` names, if there is any.
pub(super) fn range(text: &str, len: usize) -> Option<Range<usize>> {
    let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    let (first, last) = (first.parse::<usize>().ok()?, last.parse::<usize>().ok()?);
    let end = last.saturating_add(1).min(len);
    (first < end).then_some(first..end)
}
