//! Things of the user's that stand where a record wants its file.

use super::*;

#[tokio::test]
async fn a_folder_and_a_file_of_one_name_stop_nothing_else() {
    let (mut a, mut b) = pair().await;
    a.write("todo", "a file\n");
    b.write("todo/x.md", "in a folder\n");
    b.write("zebra.md", "Hello\n");
    a.sync().await;
    b.sync().await;
    a.sync().await;
    assert_eq!(a.read("zebra.md"), "Hello\n");
    b.write("zebra.md", "Hello you\n");
    b.sync().await;
    a.sync().await;
    assert_eq!(a.read("zebra.md"), "Hello you\n");
    assert_eq!(a.read("todo"), "a file\n");
    assert_eq!(b.read("todo/x.md"), "in a folder\n");
}

#[cfg(unix)]
#[tokio::test]
async fn a_symlink_in_the_way_stops_nothing_else() {
    let (mut a, mut b) = pair().await;
    let outside = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(outside.path(), a.path("link")).unwrap();
    b.write("link/x.md", "through a link\n");
    b.write("zebra.md", "Hello\n");
    b.sync().await;
    a.sync().await;
    assert_eq!(a.read("zebra.md"), "Hello\n");
    assert!(names_in(outside.path()).is_empty());
    a.write("zebra.md", "Hello you\n");
    a.sync().await;
    b.sync().await;
    assert_eq!(b.read("zebra.md"), "Hello you\n");
}
