//! Small remotes that become a great deal of memory: what they say is refused, or taken a little at a
//! time.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    time::{Duration, SystemTime},
};

use larder::digest::sha256_hex;
use serde_json::{Value, json};

use crate::common::{Device, Remote};

const STAMP: &str = "2026-11-20T10:00:00.123Z";

/// The most memory that larder takes, in MiB.
const MEMORY_MIB_MAX: u64 = 256;

/// Changes a manifest behind everybody's back.
fn doctor(file: PathBuf, change: impl FnOnce(&mut Value)) {
    let mut manifest = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    change(&mut manifest);
    fs::write(file, manifest.to_string()).unwrap();
}

/// A remote with one note on it, made with these arguments.
fn founded(args: &[&str]) -> Remote {
    let remote = Remote::folder();
    let writer = Device::new("writer");
    writer.run(&[&["init", "--remote", remote.url()], args].concat()).exits(0);
    writer.write("fine.md", "all is well\n");
    writer.sync();
    remote
}

/// A record whose only field is a list of zeros: so many values in all.
fn zeros(id: u64, values: usize) -> String {
    record(id, &format!("[{}0]", "0,".repeat(values - 2)))
}

/// A list of so many objects of one key, which take most memory of all that is as long.
fn objects(count: usize) -> String {
    format!(r#"[{}{{"":0}}]"#, r#"{"":0},"#.repeat(count - 1))
}

/// A record whose only field is this.
fn record(id: u64, value: &str) -> String {
    let sibling = format!(r#"{{"dot":"zzzzzz:{id}","at":"{STAMP}","value":{value}}}"#);
    format!(
        r#"{{"id":"z{id}","clock":{{"zzzzzz":[{id},1,"{STAMP}"]}},"fields":{{"x":[{sibling}]}}}}"#
    ) + "\n"
}

/// Writes a pack of these lines, built on the generation before this one; says its row.
fn add_pack(remote: &Remote, generation: u64, lines: &str) -> Value {
    let bytes = zstd::bulk::compress(lines.as_bytes(), 1).unwrap();
    let sha256 = sha256_hex(&bytes);
    let name = format!("packs/{generation}-{}.jsonl.zst", &sha256[..16]);
    let file = remote.dir().join(&name);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, &bytes).unwrap();
    let old = SystemTime::now() - Duration::from_hours(1000);
    fs::File::options().write(true).open(&file).unwrap().set_modified(old).unwrap();
    json!({
        "file": name, "bytes": bytes.len(), "sha256": sha256,
        "textBytes": lines.len(), "entities": lines.lines().count(),
        "fromGeneration": 2, "toGeneration": 2, "holds": {"zzzzzz": 1000},
    })
}

/// A remote with a pack of these lines.
fn with_pack(lines: &str) -> Remote {
    let remote = founded(&[]);
    let row = add_pack(&remote, 1, lines);
    doctor(remote.dir().join("meta.json"), |manifest| {
        manifest["generation"] = 2.into();
        manifest["knows"]["zzzzzz"] = 1000.into();
        manifest["packs"].as_array_mut().unwrap().push(row);
    });
    remote
}

/// What a command says that has to do with little memory.
fn said(device: &Device, args: &[&str]) -> String {
    let mut command = device.command(args);
    let said = tempfile::tempfile().unwrap();
    command.stdout(said.try_clone().unwrap()).stderr(said.try_clone().unwrap());
    let mut child = command.spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut peak_kib = 0;
    while child.try_wait().unwrap().is_none() {
        let status = fs::read_to_string(&status).unwrap_or_default();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let peak = peak.and_then(|peak| peak.trim().strip_suffix(" kB")?.parse().ok());
        peak_kib = peak.unwrap_or(0).max(peak_kib);
        std::thread::sleep(Duration::from_millis(2));
    }
    let mut told = said;
    std::io::Seek::rewind(&mut told).unwrap();
    let told = std::io::read_to_string(told).unwrap();
    let peak: u64 = peak_kib >> 10;
    assert!(peak < MEMORY_MIB_MAX, "{args:?}: {peak} MiB\n{told}");
    told
}

/// What the first sync with a remote says.
fn first_sync(remote: &Remote) -> String {
    said(&Device::new("reader"), &["sync", "--remote", remote.url()])
}

/// Somebody who has synced with a remote.
fn reader(remote: &Remote) -> Device {
    let device = Device::joined("reader", remote);
    device.sync();
    device
}

#[test]
fn bombs_fill_no_memory() {
    let told = first_sync(&with_pack(&zeros(1, 7 << 20)));
    assert!(told.contains("line 1: more than 262144 values"), "{told}");

    let many: String = (1..=16).map(|id| zeros(id, 60_000)).collect();
    let told = first_sync(&with_pack(&many));
    assert!(told.contains("17 received"), "{told}");

    let remote = founded(&[]);
    doctor(remote.dir().join("meta.json"), |manifest| manifest["new"] = vec![0; 3 << 20].into());
    let told = first_sync(&remote);
    assert!(told.contains("meta.json on the remote is damaged: more than 262144 values"), "{told}");
}

/// Objects take more memory than what is in them.
#[test]
fn bombs_of_objects_fill_no_memory() {
    let told = first_sync(&with_pack(&record(1, &objects(130_000))));
    assert!(told.contains("line 1: more than 262144 values"), "{told}");
    let many: String = (1..=6).map(|id| record(id, &objects(52_000))).collect();
    let told = first_sync(&with_pack(&many));
    assert!(told.contains("7 received"), "{told}");

    // What a later form added is kept, in what was read, what was agreed, and what is written.
    let remote = founded(&[]);
    let new: Value = serde_json::from_str(&objects(52_000)).unwrap();
    let file = remote.dir().join("meta.json");
    doctor(file, |manifest| manifest["new"] = new);
    let device = reader(&remote);
    for (command, expected) in [("sync", "1 sent"), ("compact", "folded into")] {
        device.write(&format!("{command}.md"), "own\n");
        let told = said(&device, &[command]);
        assert!(told.contains(expected), "{told}");
    }
}

/// Versions of one text of which none has seen another are all kept: there would be no end to them.
#[test]
fn versions_without_end_fill_no_memory() {
    let line = |device: char| {
        let (text, device) = (device.to_string().repeat(8 << 20), format!("zzzzz{device}"));
        let dot = format!("{device}:1");
        let sibling = json!({"dot": dot, "at": STAMP, "value": text});
        json!({"id": "z", "clock": {device: [1, 1, STAMP]}, "fields": {"x": [sibling]}}).to_string()
            + "\n"
    };
    let remote = founded(&[]);
    let mut row = add_pack(&remote, 1, &('a'..='d').map(line).collect::<String>());
    row["holds"] = ('a'..='d').map(|device| (format!("zzzzz{device}"), json!(1))).collect();
    doctor(remote.dir().join("meta.json"), |manifest| {
        manifest["generation"] = 2.into();
        let knows = manifest["knows"].as_object_mut().unwrap();
        knows.extend(row["holds"].as_object().unwrap().clone());
        manifest["packs"].as_array_mut().unwrap().push(row);
    });
    let device = reader(&remote);
    for _ in 0..2 {
        let told = said(&device, &["sync"]);
        assert!(told.contains("z: stays as it is here: its versions on the remote"), "{told}");
        assert!(told.contains("an entity of 25165824 bytes, over 16777216"), "{told}");
    }
    // Nothing else waits for it, and the device sends what is its own.
    device.write("own.md", "own\n");
    let told = said(&device, &["sync"]);
    assert!(told.contains("1 sent"), "{told}");
}

/// Nobody speaks for such a file, so nothing says how much there is in it.
#[test]
fn bombs_that_nobody_names_fill_no_memory() {
    let many: String = (1..=40).map(|id| zeros(id, 131_000)).collect();
    let is_known = |manifest: &mut Value| {
        manifest["generation"] = 2.into();
        manifest["floor"] = 1.into();
        manifest["knows"]["zzzzzz"] = 1000.into();
    };
    let remote = founded(&[]);
    doctor(remote.dir().join("meta.json"), is_known);
    let device = reader(&remote);
    let orphan = add_pack(&remote, 0, &many);
    let told = said(&device, &["compact"]);
    assert!(told.contains("1 file that no longer count removed"), "{told}");
    assert!(!remote.dir().join(orphan["file"].as_str().unwrap()).exists());

    let remote = founded(&[]);
    doctor(remote.dir().join("meta.json"), is_known);
    let device = reader(&remote);
    let unseen: String = (2001..=2040).map(|id| zeros(id, 131_000)).collect();
    add_pack(&remote, 0, &(many + &unseen));
    fs::write(remote.dir().join("meta.json"), "{").unwrap();
    let told = said(&device, &["check", "--read-data", "--repair"]);
    assert!(told.contains("in files that no head names: taken up"), "{told}");
    said(&device, &["sync"]);
    let told = said(&device, &["sync"]);
    assert!(told.contains("Nothing to do: 41 records in step."), "{told}");
}

/// The only file in a folder of a remote that ends so, read as JSON.
fn only(remote: &Remote, folder: &str) -> Value {
    let mut files = fs::read_dir(remote.dir().join(folder)).unwrap();
    serde_json::from_slice(&fs::read(files.next().unwrap().unwrap().path()).unwrap()).unwrap()
}

/// Has a manifest speak of very many records.
fn speak_of_many(manifest: &mut Value, number: u64) {
    let records = (0..120_000).map(|id| (format!("e{number}x{id}"), json!(1)));
    manifest["entityVersions"] = Value::Object(records.collect());
}

/// Makes manifests of generations up to this one, each of which speaks of other records.
fn write_manifests(remote: &Remote, name: impl Fn(u64, &mut Value) -> String, count: u64) {
    let folder = if remote.dir().join("heads").exists() { "heads" } else { "meta" };
    let mut manifest = only(remote, folder);
    for number in 1..=count {
        speak_of_many(&mut manifest, number);
        manifest["generation"] = (number + 1).into();
        let name = name(number, &mut manifest);
        fs::write(remote.dir().join(folder).join(name), manifest.to_string()).unwrap();
    }
}

#[test]
fn many_heads_fill_no_memory() {
    let remote = founded(&["--commit", "devices"]);
    let head_of = |number: u64, manifest: &mut Value| {
        let device = format!("zz{number:04}");
        manifest["commit"] = json!({"id": device, "device": device, "prev": ""});
        format!("{device}.json")
    };
    write_manifests(&remote, head_of, 24);
    let told = first_sync(&remote);
    assert!(told.contains("the 32 MiB that heads may take in memory"), "{told}");
    assert!(told.contains("1 received"), "{told}");
}

#[test]
fn many_tokens_fill_no_memory() {
    for ending in ["", " (copy)"] {
        let remote = founded(&["--commit", "rename"]);
        let device = reader(&remote);
        write_manifests(&remote, |number, _| format!("{}-abcdefghij.json", number + 1), 24);
        for number in 1..=24 {
            let token = format!("head/{}-abcdefghij{ending}", number + 1);
            fs::write(remote.dir().join(token), "").unwrap();
        }
        device.write("own.md", "own\n");
        let told = said(&device, &["sync"]);
        assert!(told.contains("the 32 MiB that heads may take in memory"), "{told}");
        assert!(told.contains("1 sent"), "{told}");
        // With all tokens gone, a repair looks into the manifests that lie there.
        fs::remove_dir_all(remote.dir().join("head")).unwrap();
        said(&device, &["check", "--repair"]);
    }
}

/// Answers one request after the other: whoever lists gets this, and everything else is not there.
fn answer(stream: TcpStream, listing: &[u8]) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut stream = stream;
    loop {
        let (mut head, mut body_bytes) = (String::new(), 0);
        while !head.ends_with("\r\n\r\n") {
            let start = head.len();
            if reader.read_line(&mut head)? == 0 {
                return Ok(());
            }
            let line = head[start..].to_ascii_lowercase();
            let length = line.strip_prefix("content-length:").map(str::trim);
            body_bytes = length.and_then(|length| length.parse().ok()).unwrap_or(body_bytes);
        }
        std::io::copy(&mut (&mut reader).take(body_bytes), &mut std::io::sink())?;
        let (status, body) = match head.starts_with("PROPFIND") {
            true => ("207 Multi-Status", listing),
            false => ("404 Not Found", &b""[..]),
        };
        write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", body.len())?;
        stream.write_all(body)?;
    }
}

/// The address of a WebDAV server that lists this in every folder.
fn server_of(listing: Vec<u8>) -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let listing = std::sync::Arc::new(listing);
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let listing = listing.clone();
            // Whoever hangs up has heard enough.
            std::thread::spawn(move || drop(answer(stream, &listing)));
        }
    });
    format!("http://{address}/dav/")
}

#[test]
fn long_listings_fill_no_memory() {
    let entry = |name: &str| {
        let tag = "e".repeat(60);
        format!(
            "<response><href>/dav/{name}</href><propstat><prop><getetag>{tag}</getetag></prop>\
             <status>HTTP/1.1 200 OK</status></propstat></response>"
        )
    };
    let of = |names: &mut dyn Iterator<Item = String>| {
        let entries: String = names.map(|name| entry(&name)).collect();
        format!("<multistatus xmlns='DAV:'>{entries}</multistatus>").into_bytes()
    };
    let many = of(&mut (0..90_000).map(|number| format!("{number:0>120}")));
    let foreign = of(&mut (0..80_000).map(|number| format!("{number:Z>180}")));
    let noise = [&b"<multistatus xmlns='DAV:'>"[..], &vec![0xff; 31 << 20]].concat();
    for (listing, expected) in
        [(many, "not empty"), (foreign, "not empty"), (noise, "too long for an answer")]
    {
        assert!(listing.len() < 32 << 20, "{}", listing.len());
        let device = Device::new("reader");
        let told = said(&device, &["sync", "--remote", &server_of(listing)]);
        assert!(told.contains(expected), "{told}");
    }
}
