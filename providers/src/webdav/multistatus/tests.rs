use proptest::prelude::*;

use super::*;

const APACHE: &str = r#"<?xml version="1.0" encoding="utf-8"?>
<D:multistatus xmlns:D="DAV:" xmlns:ns0="DAV:">
<D:response xmlns:lp1="DAV:" xmlns:lp2="http://apache.org/dav/props/">
<D:href>/dav/head/</D:href>
<D:propstat><D:prop><lp1:resourcetype><D:collection/></lp1:resourcetype>
<lp1:getlastmodified>Fri, 20 Nov 2026 10:00:00 GMT</lp1:getlastmodified>
<lp1:getetag>"1000-644c3"</lp1:getetag></D:prop><D:status>HTTP/1.1 200 OK</D:status></D:propstat>
<D:propstat><D:prop><D:getcontentlength/></D:prop><D:status>HTTP/1.1 404 Not Found</D:status></D:propstat>
</D:response>
<D:response xmlns:lp1="DAV:"><D:href>/dav/head/1-a&amp;b%20c</D:href>
<D:propstat><D:prop><lp1:resourcetype/><lp1:getcontentlength>12</lp1:getcontentlength>
<lp1:getlastmodified>Fri, 20 Nov 2026 10:00:01 GMT</lp1:getlastmodified>
<lp1:getetag>W/"c-644c3"</lp1:getetag></D:prop><D:status>HTTP/1.1 200 OK</D:status></D:propstat>
</D:response></D:multistatus>"#;

#[test]
fn reads_what_apache_writes() {
    let read = parse(APACHE.as_bytes()).unwrap();
    assert_eq!(read.len(), 2);
    assert_eq!((read[0].href.as_str(), read[0].is_folder), ("/dav/head/", true));
    assert_eq!(read[0].version, Some(Version("\"1000-644c3\"".into())));
    assert_eq!((read[1].href.as_str(), read[1].bytes), ("/dav/head/1-a&b%20c", Some(12)));
    assert!(!read[1].is_folder);
    assert_eq!(read[1].version, None, "a weak tag is no version");
    assert_eq!(read[1].modified.unwrap().to_rfc3339(), "2026-11-20T10:00:01+00:00");
}

#[test]
fn reads_what_others_write() {
    let xml = r#"<?xml version="1.0"?><!DOCTYPE x><multistatus xmlns="DAV:">
      <sync-token>http://x/1</sync-token>
      <response><href><![CDATA[http://h:80/a]]></href><status>HTTP/1.1 404 Not Found</status></response>
      <other xmlns="urn:x"/>
      <response><href> /b </href><propstat><prop>
        <getetag>unquoted</getetag><x:getetag xmlns:x="urn:x">foreign</x:getetag>
        <lockdiscovery><activelock><lockroot><href>/evil</href></lockroot></activelock></lockdiscovery>
        <getcontentlength>many</getcontentlength><getlastmodified>2026-11-20T10:00:00Z</getlastmodified>
      </prop></propstat></response>
      <response><href>/c</href><propstat><prop><getcontentlength>7</getcontentlength></prop>
        <status>HTTP/1.1 403 Forbidden</status></propstat></response>
      <response/>
    </multistatus>"#;
    let read = parse(xml.as_bytes()).unwrap();
    assert!(read[0].is_missing());
    assert_eq!(read[0].href, "http://h:80/a");
    assert_eq!((read[1].href.as_str(), read[1].bytes), ("/b", None));
    assert_eq!(read[1].version, Some(Version("\"unquoted\"".into())));
    assert!(read[1].modified.is_some());
    assert_eq!((read[2].href.as_str(), read[2].bytes), ("/c", None));
    assert_eq!(read[3], Resource::default());
}

#[test]
fn an_empty_multistatus_is_an_empty_answer() {
    assert_eq!(parse(b"\xef\xbb\xbf<D:multistatus xmlns:D='DAV:'/>").unwrap(), []);
}

#[test]
fn what_is_broken_cut_or_something_else_is_refused() {
    let cut = &APACHE.as_bytes()[..APACHE.len() - 20];
    let deep = format!("<D:multistatus xmlns:D='DAV:'>{}", "<a>".repeat(100));
    let bomb = "<!DOCTYPE a [<!ENTITY b 'x'>]><D:multistatus xmlns:D='DAV:'>&b;</D:multistatus>";
    for bad in [
        cut,
        b"",
        b"<html><body>Sign in</body></html>",
        b"{\"error\":1}",
        b"<multistatus/>",
        b"<D:multistatus xmlns:D='DAV:'></D:other>",
        deep.as_bytes(),
        bomb.as_bytes(),
    ] {
        assert!(parse(bad).is_err(), "{}", String::from_utf8_lossy(bad));
    }
}

#[test]
fn more_resources_than_anybody_needs_are_refused() {
    let many = "<response><href>/a</href></response>".repeat(RESOURCES_MAX + 1);
    let error = parse(format!("<multistatus xmlns='DAV:'>{many}</multistatus>").as_bytes());
    assert!(error.unwrap_err().contains("more than"));
}

#[test]
fn bytes_that_are_no_text_do_not_become_many() {
    let half = usize::try_from(ANSWER_BYTES_MAX / 2).unwrap();
    let error = parse(&vec![0xff; half]).unwrap_err();
    assert_eq!(error, "it is too long for an answer that is not UTF-8");
    assert!(parse(&vec![0xff; half / 2]).unwrap_err().contains("no multistatus"));
}

proptest! {
    #[test]
    fn never_panics_on_noise(noise in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = parse(&noise);
    }

    #[test]
    fn never_panics_on_damage(
        changes in prop::collection::vec((0..APACHE.len(), any::<u8>()), 1..8),
        cut in 0..APACHE.len(),
    ) {
        let mut xml = APACHE.as_bytes().to_vec();
        for (at, byte) in changes {
            xml[at] = byte;
        }
        let _ = parse(&xml);
        xml.truncate(cut);
        let _ = parse(&xml);
    }
}
