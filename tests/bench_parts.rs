//! What the benchmark stands on: that notes are the same bytes everywhere, and that the proxy counts
//! right.

#[path = "bench/counts/guard.rs"]
mod guard;
#[path = "bench/parts/mod.rs"]
mod parts;

use std::{net::SocketAddr, time::Duration};

use larder::digest::sha256_hex;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use guard::Counts;
use parts::{
    mersenne::Mersenne,
    notes::{self, Notes},
    proxy::{Counted, Proxy},
};

#[test]
fn notes_are_those_of_the_generator_in_python() {
    let first: String = Notes::new(1).take(20).collect();
    assert_eq!(first.len(), 23_393);
    let all: String = Notes::new(1).take(1000).collect();
    assert_eq!(all.len(), 1_141_796);
    assert_eq!(
        sha256_hex(all.as_bytes()),
        "21fe6d4047fdcfd32efd10c85adb41fb71ccffdf9e37776ab86e74735331b0a2"
    );
}

#[test]
fn edits_are_those_of_the_generator_in_python() {
    let dir = tempfile::tempdir().unwrap();
    notes::fill(dir.path(), 1000, 1).unwrap();
    notes::touch(dir.path(), 1000, 100, 7).unwrap();
    notes::touch(dir.path(), 1000, 1, 8).unwrap();
    let mut all = Vec::new();
    for number in 0..1000 {
        all.extend(std::fs::read(dir.path().join(notes::name(number))).unwrap());
    }
    assert_eq!(all.len(), 1_144_010);
    assert_eq!(
        sha256_hex(&all),
        "4ffe9fd6235c127926698d55dba29135333eb78d08ec1265c440cb3cc02ab8fe"
    );
}

#[test]
fn a_sample_has_no_number_twice() {
    for (limit, count) in [(10, 10), (100_000, 100), (5, 1)] {
        let mut sample = Mersenne::new(3).sample(limit, count);
        assert!(sample.iter().all(|number| *number < limit));
        sample.sort_unstable();
        sample.dedup();
        assert_eq!(sample.len(), count);
    }
}

/// A server that answers each request on a connection with the next of these texts.
async fn scripted(
    requests: &'static [&'static str],
    answers: &'static [&'static str],
) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        for (request, answer) in requests.iter().zip(answers) {
            let mut got = String::new();
            while !got.ends_with(request) {
                let mut part = [0; 100];
                let count = stream.read(&mut part).await.unwrap();
                assert_ne!(count, 0, "{got:?} instead of {request:?}");
                got += std::str::from_utf8(&part[..count]).unwrap();
            }
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    address
}

/// Says something and waits for an answer that ends in this way; gives the answer's length.
async fn ask(stream: &mut TcpStream, words: &str, end: &str) -> u64 {
    stream.write_all(words.as_bytes()).await.unwrap();
    let mut got = String::new();
    while !got.ends_with(end) {
        let mut part = [0; 100];
        let count = stream.read(&mut part).await.unwrap();
        assert_ne!(count, 0, "{got:?} does not end in {end:?}");
        got += std::str::from_utf8(&part[..count]).unwrap();
    }
    got.len() as u64
}

#[tokio::test]
async fn requests_and_bytes_are_counted_both_ways() {
    let put =
        "PUT /a?b HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    let get = "GET /a HTTP/1.1\r\nhost: x\r\n\r\n";
    let server = scripted(
        &["3\r\nabc\r\n0\r\n\r\n", "\r\n\r\n"],
        &[
            "HTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nxyz\r\n0\r\n\r\n",
        ],
    )
    .await;
    let delay = Duration::from_millis(30);
    let proxy = Proxy::http(server, delay).await.unwrap();
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    let started = std::time::Instant::now();
    let mut down = ask(&mut stream, put, "\r\n\r\n").await;
    let first = proxy.counted();
    assert_eq!(first, Counted { requests: 1, up: put.len() as u64, down });
    let answered = ask(&mut stream, get, "xyz\r\n0\r\n\r\n").await;
    assert!(started.elapsed() >= 2 * delay);
    down += answered;
    let up = (put.len() + get.len()) as u64;
    assert_eq!(proxy.counted(), Counted { requests: 2, up, down });
    let second = Counted { requests: 1, up: get.len() as u64, down: answered };
    assert_eq!(proxy.counted().since(first), second);
}

#[tokio::test]
async fn a_plain_connection_is_counted_too() {
    let server = scripted(&["hello"], &["good day"]).await;
    let proxy = Proxy::tcp(server).await.unwrap();
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    ask(&mut stream, "hello", "good day").await;
    assert_eq!(proxy.counted(), Counted { requests: 1, up: 5, down: 8 });
}

#[test]
fn what_became_more_expensive_is_found() {
    let counts = |pairs: &[(&str, u64)]| -> Counts {
        pairs.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
    };
    let baseline = counts(&[("join", 1000), ("merge", 1000), ("scan", 1000), ("old", 1)]);
    let fine = counts(&[("join", 1309), ("merge", 600), ("scan", 1000), ("old", 1)]);
    assert_eq!(guard::breaches(&baseline, &fine), [""; 0]);
    let bad = counts(&[("join", 1310), ("merge", 599), ("new", 1), ("scan", 1000)]);
    insta::assert_snapshot!(guard::breaches(&baseline, &bad).join("\n"), @r"
    join: 1310 instructions are 131 % of the baseline's 1000; 60 to 130 are fine
    merge: 599 instructions are 59 % of the baseline's 1000; 60 to 130 are fine
    new: not in the baseline
    old: in the baseline, and not counted
    ");
    assert_eq!(guard::collected("==7== Events    : Ir\n==7== Collected : 123456\n"), Some(123_456));
    assert_eq!(guard::collected("valgrind: no"), None);
}
