//! Reading files over WebDAV.

use std::ops::Range;

use reqwest::{
    Response, StatusCode,
    header::{CONTENT_ENCODING, IF_NONE_MATCH, RANGE},
};

use super::{
    client::{Call, Client},
    status,
};
use crate::{ErrorKind, Get, GetOptions, Object, RemotePath, Result, http::fields};

impl Client {
    pub(super) async fn get(&self, path: &RemotePath, options: GetOptions) -> Result<Get> {
        let wanted = options.range;
        let mut headers = Vec::new();
        if let Some(range) = &wanted {
            headers.push((RANGE, fields::range(range)));
        }
        let conditional = options.if_none_match.is_some();
        if let Some(version) = options.if_none_match {
            headers.push((IF_NONE_MATCH, version.0));
        }
        let call = Call {
            operation: "get",
            path,
            method: "GET",
            folder: false,
            headers,
            destination: None,
            body: None,
        };
        let response = self.send(&call).await?;
        match (response.status(), wanted) {
            (StatusCode::NOT_MODIFIED, _) => {
                self.finish(response).await;
                Ok(Get::NotModified)
            }
            (StatusCode::OK, _) => self.whole(&call, response),
            (StatusCode::PARTIAL_CONTENT, Some(range)) => self.part(&call, response, &range),
            (StatusCode::RANGE_NOT_SATISFIABLE, Some(range)) => {
                let object = nothing(&response, range.start);
                self.finish(response).await;
                Ok(Get::Object(object))
            }
            // Open-Xchange answers so to every condition.
            (StatusCode::PRECONDITION_FAILED, range) if conditional => {
                self.finish(response).await;
                let if_none_match = None;
                Box::pin(self.get(path, GetOptions { range, if_none_match })).await
            }
            _ => {
                let error = self.failure("get", path, &response);
                self.finish(response).await;
                Err(error)
            }
        }
    }

    fn whole(&self, call: &Call<'_>, response: Response) -> Result<Get> {
        let bytes = fields::length(response.headers());
        self.object(call, response, bytes, None)
    }

    fn part(&self, call: &Call<'_>, response: Response, wanted: &Range<u64>) -> Result<Get> {
        let Some(range) = fields::covered(response.headers(), wanted) else {
            return Err(call.error(ErrorKind::Protocol, "the server answered with another range"));
        };
        if wanted.is_empty() {
            return Ok(Get::Object(nothing(&response, wanted.start)));
        }
        let bytes = range.end - range.start;
        if fields::length(response.headers()).is_some_and(|length| length != bytes) {
            return Err(call.error(ErrorKind::Protocol, "the range has another length than told"));
        }
        self.object(call, response, Some(bytes), Some(range))
    }

    fn object(
        &self,
        call: &Call<'_>,
        response: Response,
        bytes: Option<u64>,
        range: Option<Range<u64>>,
    ) -> Result<Get> {
        let headers = response.headers();
        if status::is_web_page(headers) && !call.path.as_str().contains(".htm") {
            let detail = "the server answered with a web page: a login form, or not WebDAV at all";
            return Err(call.error(ErrorKind::Protocol, detail));
        }
        let coding = fields::text(headers, CONTENT_ENCODING).unwrap_or("identity");
        if !coding.trim().eq_ignore_ascii_case("identity") {
            let detail = format!("the server sent the file in the coding {coding}, unasked");
            return Err(call.error(ErrorKind::Protocol, &detail));
        }
        Ok(Get::Object(Object {
            version: status::version(headers),
            bytes,
            range,
            server_time: fields::server_time(headers),
            body: self.transport.incoming("get", call.path, response, u64::MAX),
        }))
    }
}

fn nothing(response: &Response, start: u64) -> Object {
    let headers = response.headers();
    Object::nothing(start, status::version(headers), fields::server_time(headers))
}
