//! A server that says exactly what a test wants, right or wrong, byte for byte.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use url::Url;

use crate::{WebDav, WebDavConfig, sync::lock, testing::install_crypto};

/// One request as it came.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) method: String,
    pub(super) path: String,
    headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
    /// How long it was on the wire.
    pub(super) bytes: usize,
}

impl Seen {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let mut fields = self.headers.iter();
        fields.find(|(field, _)| field == name).map(|(_, value)| value.as_str())
    }
}

/// A server that answers with what its script says, and keeps what it was asked.
pub(super) struct Script {
    pub(super) url: Url,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Script {
    /// `answer` makes the raw answer to a request, given how many came before it.
    pub(super) fn start(answer: impl Fn(&Seen, usize) -> String + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let url = format!("http://{}/dav/", listener.local_addr().unwrap());
        let (seen, answer) = (Arc::<Mutex<Vec<Seen>>>::default(), Arc::new(answer));
        let script = Self { url: Url::parse(&url).unwrap(), seen: Arc::clone(&seen) };
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (seen, answer) = (Arc::clone(&seen), Arc::clone(&answer));
                thread::spawn(move || serve(&stream, &seen, &*answer));
            }
        });
        script
    }

    /// A server that gives these answers in turn, and the last one for ever.
    pub(super) fn of(answers: &[&str]) -> Self {
        let answers: Vec<_> = answers.iter().map(|&answer| answer.to_owned()).collect();
        Self::start(move |_, nth| answers[nth.min(answers.len() - 1)].clone())
    }

    /// What was asked so far.
    pub(super) fn seen(&self) -> Vec<Seen> {
        lock(&self.seen).clone()
    }

    /// The methods asked so far.
    pub(super) fn methods(&self) -> Vec<String> {
        self.seen().into_iter().map(|seen| seen.method).collect()
    }

    pub(super) fn config(&self) -> WebDavConfig {
        install_crypto();
        let mut config = WebDavConfig::new(self.url.clone());
        config.http.read_timeout = Duration::from_millis(500);
        config
    }

    pub(super) fn storage(&self) -> WebDav {
        WebDav::new(self.config()).unwrap()
    }

    pub(super) fn storage_of_ann(&self) -> WebDav {
        WebDav::new(self.config().with_account("ann", "s3cret")).unwrap()
    }
}

/// An answer with a body of the right length.
pub(super) fn answer(status: &str, headers: &str, body: &str) -> String {
    let date = "Date: Fri, 20 Nov 2026 10:00:00 GMT";
    let length = body.len();
    format!("HTTP/1.1 {status}\r\n{date}\r\nContent-Length: {length}\r\n{headers}\r\n{body}")
}

fn serve(stream: &TcpStream, seen: &Mutex<Vec<Seen>>, answer: &dyn Fn(&Seen, usize) -> String) {
    let mut reader = BufReader::new(stream);
    while let Some(request) = read(&mut reader) {
        let nth = {
            let mut seen = lock(seen);
            seen.push(request.clone());
            seen.len() - 1
        };
        let answer = answer(&request, nth);
        let mut writer = stream;
        let sent = writer.write_all(answer.as_bytes());
        if sent.is_err() || answer.contains("Connection: close") {
            return;
        }
    }
}

fn read(reader: &mut BufReader<&TcpStream>) -> Option<Seen> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|&read| read > 0)?;
    let mut words = line.split(' ').map(str::to_owned);
    let (method, path) = (words.next()?, words.next()?);
    let mut headers = Vec::new();
    let mut bytes = line.len();
    loop {
        let mut line = String::new();
        bytes += reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            break;
        };
        headers.push((name.to_ascii_lowercase(), value.to_owned()));
    }
    let mut seen = Seen { method, path, headers, body: Vec::new(), bytes };
    let length = seen.header("content-length").and_then(|length| length.parse().ok());
    seen.body.resize(length.unwrap_or(0), 0);
    seen.bytes += seen.body.len();
    reader.read_exact(&mut seen.body).ok()?;
    Some(seen)
}
