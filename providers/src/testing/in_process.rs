//! dav-server inside the test's own process.

use std::{convert::Infallible, io, net::TcpListener, path::Path, sync::Arc, thread};

use bytes::{Bytes, BytesMut};
use dav_server::{DavHandler, body::Body, fakels::FakeLs, localfs::LocalFs};
use futures::TryStreamExt;
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::sync::{Mutex, oneshot};

/// Serves `dir` on `listener` until the returned sender is dropped.
///
/// `one_at_a_time` makes it a server that does everything right; without it, it checks conditions
/// and then acts, and readers see half-written files: a server as they are.
pub(super) fn serve(
    listener: TcpListener,
    dir: &Path,
    one_at_a_time: bool,
) -> io::Result<oneshot::Sender<()>> {
    listener.set_nonblocking(true)?;
    let handler = DavHandler::builder()
        .filesystem(LocalFs::new(dir, true, false, false))
        .locksystem(FakeLs::new())
        .build_handler();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let (stop, stopped) = oneshot::channel::<()>();
    let turn = one_at_a_time.then(|| Arc::new(Mutex::new(())));
    thread::spawn(move || {
        runtime.block_on(async move {
            tokio::select! {
                _ = stopped => {}
                _ = accept(listener, handler, turn) => {}
            }
        });
        runtime.shutdown_background();
    });
    Ok(stop)
}

async fn accept(
    listener: TcpListener,
    handler: DavHandler,
    turn: Option<Arc<Mutex<()>>>,
) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    loop {
        let (stream, _) = listener.accept().await?;
        let (handler, turn) = (handler.clone(), turn.clone());
        let service = service_fn(move |request| {
            let (handler, turn) = (handler.clone(), turn.clone());
            async move { Ok::<_, Infallible>(answer(&handler, turn, request).await) }
        });
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

async fn answer(
    handler: &DavHandler,
    turn: Option<Arc<Mutex<()>>>,
    request: Request<Incoming>,
) -> Response<Body> {
    let Some(turn) = turn else {
        return handler.handle(request).await;
    };
    let _mine = turn.lock().await;
    let (parts, body) = handler.handle(request).await.into_parts();
    // Read to the end while nobody else can write.
    let whole: Result<BytesMut, io::Error> = body
        .try_fold(BytesMut::new(), |mut whole, chunk: Bytes| async move {
            whole.extend_from_slice(&chunk);
            Ok(whole)
        })
        .await;
    let whole = whole.map(BytesMut::freeze).unwrap_or_default();
    Response::from_parts(parts, Body::from(whole))
}
