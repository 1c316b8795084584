//! Writing, moving and deleting over WebDAV.

use reqwest::{
    Response, StatusCode,
    header::{CONTENT_TYPE, HeaderName, IF_MATCH, IF_NONE_MATCH},
};

use super::{
    client::{Call, Client},
    status,
};
use crate::{Body, ErrorKind, Move, Put, PutMode, RemotePath, Result};

/// A body from this size on may be answered before it was sent whole.
const LONG_BODY_BYTES: u64 = 16 * 1024;

impl Client {
    pub(super) async fn put(&self, path: &RemotePath, body: Body, mode: PutMode) -> Result<Put> {
        let mut headers = vec![(CONTENT_TYPE, "application/octet-stream".to_owned())];
        match &mode {
            PutMode::Overwrite => {}
            PutMode::Create => headers.push((IF_NONE_MATCH, "*".to_owned())),
            PutMode::Update(version) => headers.push((IF_MATCH, version.0.clone())),
        }
        let call = Call {
            operation: "put",
            path,
            method: "PUT",
            folder: false,
            headers,
            destination: None,
            body: Some(body),
        };
        let mut sent = self.send(&call).await;
        // A file that is to be updated has its folder.
        if !matches!(mode, PutMode::Update(_)) && self.may_lack_folders(&call, &sent).await? {
            if let Ok(response) = sent {
                self.finish(response).await;
            }
            sent = self.send(&call).await;
        }
        let response = sent?;
        let outcome = match response.status() {
            _ if is_done(&response) => Ok(Put::Done(status::version(response.headers()))),
            StatusCode::PRECONDITION_FAILED if mode != PutMode::Overwrite => Ok(Put::Lost),
            StatusCode::NOT_FOUND if matches!(mode, PutMode::Update(_)) => Ok(Put::Lost),
            _ => Err(self.refused(&call, &response)),
        };
        self.finish(response).await;
        outcome
    }

    /// Makes the folders above the path of `call`, if a missing one can be the reason for this
    /// answer: 409 by the book, 404 (rclone), 500 (nginx), or a connection that the server gave up
    /// in the middle of a long body. Whether the call is worth sending again.
    ///
    /// After a 500 or a broken connection the file may have been written. There it is only worth it
    /// if a folder was really missing: a second conditional write would meet the first one and
    /// call it lost.
    async fn may_lack_folders(&self, call: &Call<'_>, sent: &Result<Response>) -> Result<bool> {
        let body_bytes = call.body.as_ref().map_or(0, Body::len);
        let (asks, certain) = match sent {
            Ok(response) => match response.status().as_u16() {
                404 | 409 => (true, true),
                status => (status == 500, false),
            },
            Err(error) => {
                let broke = error.kind() == ErrorKind::Unreachable;
                (broke && body_bytes > LONG_BODY_BYTES, false)
            }
        };
        if !asks || call.path.parent().is_none_or(|parent| parent.is_root()) {
            return Ok(false);
        }
        match self.make_parents(call.path).await {
            Ok(made) => Ok(made || certain),
            Err(error) if certain => Err(error),
            Err(_) => Ok(false),
        }
    }

    /// Makes the folders above `path`, but not the root; whether one of them is new.
    async fn make_parents(&self, path: &RemotePath) -> Result<bool> {
        let above = std::iter::successors(path.parent(), RemotePath::parent);
        let mut folders: Vec<_> = above.filter(|folder| !folder.is_root()).collect();
        let mut made = false;
        while let Some(folder) = folders.pop() {
            made |= self.make_folder(&folder).await?;
        }
        Ok(made)
    }

    /// Makes a folder; whether it is new.
    pub(super) async fn make_folder(&self, folder: &RemotePath) -> Result<bool> {
        let call = plain("make_folder", folder, "MKCOL", true);
        let response = self.send(&call).await?;
        let status = response.status();
        let outcome = match status {
            _ if is_done(&response) => Ok(true),
            StatusCode::METHOD_NOT_ALLOWED | StatusCode::MOVED_PERMANENTLY => Ok(false),
            StatusCode::CONFLICT => {
                Err(call.error(ErrorKind::NotFound, "the folder above it is not there"))
            }
            _ => Err(self.refused(&call, &response)),
        };
        self.finish(response).await;
        // So a server may answer if somebody else made it meanwhile (Apache, rclone).
        let may_be_there = matches!(status.as_u16(), 403 | 423 | 500);
        if outcome.is_err()
            && may_be_there
            && matches!(self.exists("make_folder", folder, true).await, Ok(true))
        {
            return Ok(false);
        }
        outcome
    }

    pub(super) async fn delete(&self, path: &RemotePath) -> Result<()> {
        let Err(refusal) = self.try_delete(path, false).await? else {
            return Ok(());
        };
        // nginx knows a folder by the slash at its end only.
        if refusal.status != StatusCode::CONFLICT {
            return Err(refusal.error);
        }
        self.try_delete(path, true).await?.map_err(|_| refusal.error)
    }

    async fn try_delete(
        &self,
        path: &RemotePath,
        folder: bool,
    ) -> Result<std::result::Result<(), Refusal>> {
        let call = plain("delete", path, "DELETE", folder);
        let response = self.send(&call).await?;
        let status = response.status();
        let is_gone = matches!(status, StatusCode::NOT_FOUND | StatusCode::GONE);
        let outcome = if is_done(&response) || is_gone {
            Ok(())
        } else {
            Err(Refusal { status, error: self.refused(&call, &response) })
        };
        self.finish(response).await;
        Ok(outcome)
    }

    /// Renames a file. Losers are told in a dozen ways (412, 404, 403, 405, 409, 423, 500, 207), so
    /// no refusal is believed: only a source that is seen to be gone makes the move a lost one.
    pub(super) async fn move_exclusive(&self, from: &RemotePath, to: &RemotePath) -> Result<Move> {
        let Err(refusal) = self.try_move(from, to).await? else {
            return Ok(Move::Done);
        };
        if !self.exists("move", from, false).await? {
            return Ok(Move::Lost);
        }
        let mut refusal = refusal;
        loop {
            let other_address =
                matches!(refusal.status.as_u16(), 400 | 502) && self.try_another_destination();
            // A folder that is missing above the target is told in as many ways as a lost race.
            let has_parent = to.parent().is_some_and(|parent| !parent.is_root());
            let new_folder = !other_address && has_parent && self.make_parents(to).await?;
            if !other_address && !new_folder {
                return Err(refusal.error);
            }
            refusal = match self.try_move(from, to).await? {
                Ok(()) => return Ok(Move::Done),
                Err(_) if !self.exists("move", from, false).await? => return Ok(Move::Lost),
                Err(refusal) if other_address => refusal,
                Err(refusal) => return Err(refusal.error),
            };
        }
    }

    /// Asks for a move once; a refusal that may mean anything is the inner error.
    async fn try_move(
        &self,
        from: &RemotePath,
        to: &RemotePath,
    ) -> Result<std::result::Result<(), Refusal>> {
        let mut call = plain("move", from, "MOVE", false);
        call.headers = vec![(HeaderName::from_static("overwrite"), "F".to_owned())];
        call.destination = Some(to);
        let response = self.send(&call).await?;
        let status = response.status();
        let refusal = (!is_done(&response)).then(|| self.refused(&call, &response));
        self.finish(response).await;
        let Some(error) = refusal else {
            return Ok(Ok(()));
        };
        let kind = match error.kind() {
            ErrorKind::Unauthorized | ErrorKind::Throttled { .. } => return Err(error),
            _ if status == StatusCode::OK => return Err(error),
            kind @ (ErrorKind::Forbidden | ErrorKind::Full | ErrorKind::Server) => kind,
            ErrorKind::Unsupported if status == StatusCode::NOT_IMPLEMENTED => {
                ErrorKind::Unsupported
            }
            _ => ErrorKind::Busy,
        };
        let detail = format!("the server refused the move, and the file is still there ({status})");
        let error = call.error(kind, &detail);
        Ok(Err(Refusal { status, error }))
    }

    fn refused(&self, call: &Call<'_>, response: &Response) -> crate::Error {
        if response.status() == StatusCode::OK {
            let detail = "the server answered with a web page: a login form, or not WebDAV at all";
            return call.error(ErrorKind::Protocol, detail);
        }
        self.failure(call.operation, call.path, response)
    }
}

/// A write that was not done, for a reason still to be found out.
struct Refusal {
    status: StatusCode,
    error: crate::Error,
}

/// Whether the answer to a write says that it was done. A multi-status says that some of it was
/// not, and a 200 with a web page comes from somebody else than the storage.
fn is_done(response: &Response) -> bool {
    let status = response.status();
    status.is_success()
        && status != StatusCode::MULTI_STATUS
        && !(status == StatusCode::OK && status::is_web_page(response.headers()))
}

fn plain<'a>(
    operation: &'static str,
    path: &'a RemotePath,
    method: &'static str,
    folder: bool,
) -> Call<'a> {
    Call { operation, path, method, folder, headers: Vec::new(), destination: None, body: None }
}
