//! Reading files over WebDAV.

use std::ops::Range;

use futures::stream;
use reqwest::{
    Response, StatusCode,
    header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, IF_NONE_MATCH, RANGE},
};

use super::{
    client::{Call, Client},
    status,
};
use crate::{ErrorKind, Get, GetOptions, Object, RemotePath, Result};

impl Client {
    pub(super) async fn get(&self, path: &RemotePath, options: GetOptions) -> Result<Get> {
        let wanted = options.range;
        let mut headers = Vec::new();
        if let Some(range) = &wanted {
            // No header can ask for nothing; one byte tells whether the file is there.
            let last = range.end.max(range.start + 1) - 1;
            headers.push((RANGE, format!("bytes={}-{last}", range.start)));
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
        let bytes = length(&response);
        self.object(call, response, bytes, None)
    }

    fn part(&self, call: &Call<'_>, response: Response, wanted: &Range<u64>) -> Result<Get> {
        let covered = status::text(response.headers(), CONTENT_RANGE).and_then(content_range);
        let fits = |range: &Range<u64>| {
            range.start == wanted.start && range.end <= wanted.end.max(wanted.start + 1)
        };
        let Some(range) = covered.filter(fits) else {
            return Err(call.error(ErrorKind::Protocol, "the server answered with another range"));
        };
        if wanted.is_empty() {
            return Ok(Get::Object(nothing(&response, wanted.start)));
        }
        let bytes = range.end - range.start;
        if length(&response).is_some_and(|length| length != bytes) {
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
        let coding = status::text(headers, CONTENT_ENCODING).unwrap_or("identity");
        if !coding.trim().eq_ignore_ascii_case("identity") {
            let detail = format!("the server sent the file in the coding {coding}, unasked");
            return Err(call.error(ErrorKind::Protocol, &detail));
        }
        Ok(Get::Object(Object {
            version: status::version(headers),
            bytes,
            range,
            server_time: status::server_time(headers),
            body: self.incoming("get", call.path, response),
        }))
    }
}

fn nothing(response: &Response, start: u64) -> Object {
    Object {
        version: status::version(response.headers()),
        bytes: Some(0),
        range: Some(start..start),
        server_time: status::server_time(response.headers()),
        body: Box::pin(stream::empty()),
    }
}

fn length(response: &Response) -> Option<u64> {
    status::text(response.headers(), CONTENT_LENGTH)?.trim().parse().ok()
}

/// The bytes that `bytes 0-4/10` stands for.
pub(crate) fn content_range(field: &str) -> Option<Range<u64>> {
    let (range, _) = field.trim().strip_prefix("bytes")?.trim_start().split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last) = (first.trim().parse().ok()?, last.trim().parse::<u64>().ok()?);
    let end = last.checked_add(1)?;
    (first < end).then_some(first..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges_are_read_with_care() {
        assert_eq!(content_range("bytes 0-4/10"), Some(0..5));
        assert_eq!(content_range("bytes 7-7/*"), Some(7..8));
        let last = format!("bytes 0-{}/*", u64::MAX);
        for broken in ["", "bytes */10", "bytes 4-3/10", "lines 0-4/10", last.as_str()] {
            assert_eq!(content_range(broken), None, "{broken}");
        }
    }
}
