//! Folders that are swapped for symlinks during turns.

use std::io;

use super::*;
use crate::vault::swap::{Swapper, fingerprint};

#[tokio::test]
async fn turns_with_swapped_folders_do_no_harm_and_the_next_mends_all() {
    let (mut a, mut b) = pair().await;
    let name = |round: usize, file: usize| format!("d/sub{}/{round}-{file}.md", file % 3);
    for file in 0..30 {
        a.write(&name(0, file), &format!("note {file}\n"));
    }
    a.sync().await;
    b.sync().await;
    let aside = tempfile::tempdir().unwrap();
    let outside = aside.path().join("outside");
    for file in (0..30).step_by(2) {
        let path = outside.join(name(0, file));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        io::Write::write_all(&mut fs::File::create(path).unwrap(), b"secret\n").unwrap();
    }
    let before = fingerprint(&outside);
    let pairs = ["d", "d/sub0", "d/sub1"].map(|folder| (b.path(folder), outside.join(folder)));
    let (mut errors, mut left) = (Vec::new(), Vec::new());
    for round in 1..8 {
        let swapper = Swapper::start(&pairs[round % 3..][..1], aside.path());
        for file in 0..30 {
            a.write(&name(round, file), &format!("note {round} {file}\n"));
            if file % 3 > 0 {
                a.write(&name(round - 1, file), &format!("note {round} {file} again\n"));
            }
        }
        fs::remove_file(a.path(&name(0, 3 * round))).unwrap();
        left.push(name(0, 3 * round + 1));
        fs::rename(a.path(&left[round - 1]), a.path(&format!("d/sub0/moved{round}.md"))).unwrap();
        a.sync().await;
        for _ in 0..3 {
            let options = TurnOptions::default();
            let turn = b.engine.turn(&b.storage, &Traffic::new(), options, &Silent).await;
            errors.extend(turn.err().map(|error| error.to_string()));
        }
        swapper.stop();
        fs::remove_file(aside.path().join("link0")).unwrap();
    }
    assert!(fingerprint(&outside) == before, "something outside was changed");
    assert!(errors.is_empty(), "{errors:?}");
    for _ in 0..3 {
        b.sync().await;
        a.sync().await;
    }
    let texts = |device: &Device| {
        let all = fingerprint(&device.path("d"));
        let inside = |path: &Path| path.strip_prefix(device.folder.path()).unwrap().to_owned();
        let all = all.into_iter().map(|(path, _, bytes)| (inside(&path), bytes));
        all.map(|(path, bytes)| (path, String::from_utf8(bytes).unwrap())).collect::<Vec<_>>()
    };
    let (a, b) = (texts(&a), texts(&b));
    assert!(a.iter().all(|(_, text)| !text.contains("secret")));
    assert_eq!(a, b);
    // Eight rounds of files, less those removed, and four folders. A file that moved is at its new
    // place; where the old one could not be reached just then, what lies there counts as new.
    let is_left = |path: &Path| left.iter().any(|left| Path::new(left) == path);
    let rest = a.iter().filter(|(path, _)| !is_left(path)).count();
    assert_eq!(rest, 8 * 30 - 7 + 4, "{a:?}");
    let moved = a.iter().filter(|(path, _)| path.to_string_lossy().contains("moved"));
    assert_eq!(moved.count(), left.len());
}
