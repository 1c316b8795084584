//! dav-server inside the test's own process.

use std::{convert::Infallible, io, net::TcpListener, path::Path, sync::Arc};

use bytes::{Bytes, BytesMut};
use dav_server::{DavHandler, body::Body, fakels::FakeLs, localfs::LocalFs};
use futures::TryStreamExt;
use hyper::{Request, Response, body::Incoming};
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
    let handler = DavHandler::builder()
        .filesystem(LocalFs::new(dir, true, false, false))
        .locksystem(FakeLs::new())
        .build_handler();
    let turn = one_at_a_time.then(|| Arc::new(Mutex::new(())));
    super::serve::serve(listener, move |request| {
        let (handler, turn) = (handler.clone(), turn.clone());
        async move { Ok::<_, Infallible>(answer(&handler, turn, request).await) }
    })
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
