use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use larder_providers::{
    Memory,
    layer::{Fault, FaultPlan},
};

use super::*;
use crate::digest::sha256_hex;

fn content() -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(7);
    std::iter::repeat_with(|| random.u8(..)).take(700_001).collect()
}

fn write(path: impl AsRef<Path>, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
    File::create(path)?.write_all(bytes.as_ref())
}

fn blob_of(content: &[u8]) -> Blob {
    let mut random = fastrand::Rng::with_seed(7);
    Blob::new(&sha256_hex(content), content.len() as u64, &mut random)
}

struct Desk {
    folder: tempfile::TempDir,
    memory: Memory,
    storage: SharedStorage,
    came: AtomicU64,
}

impl Desk {
    fn new(plan: FaultPlan) -> Self {
        let memory = Memory::new();
        let storage = Arc::new(Fault::new(memory.clone(), plan));
        let folder = tempfile::tempdir().unwrap();
        Self { folder, memory, storage, came: AtomicU64::new(0) }
    }

    fn part(&self) -> PathBuf {
        self.folder.path().join("blobs/x.part")
    }

    async fn fetch(&self, blob: &Blob) -> Result<()> {
        self.came.store(0, Ordering::SeqCst);
        let came = |bytes| {
            self.came.fetch_add(bytes, Ordering::SeqCst);
        };
        let path = self.part();
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut options = std::fs::File::options();
        let options = options.read(true).write(true).create(true).truncate(false);
        download(&self.storage, blob, (&options.open(&path).unwrap(), &path), &came).await
    }

    fn put_raw(&self, blob: &Blob, bytes: &[u8]) {
        self.memory.insert_raw(&RemotePath::new(&*blob.file).unwrap(), bytes.to_vec());
    }
}

#[tokio::test]
async fn what_goes_up_comes_down() {
    let (desk, content) = (Desk::new(FaultPlan::default()), content());
    let blob = blob_of(&content);
    let from = desk.folder.path().join("photo.jpg");
    write(&from, &content).unwrap();
    assert!(!is_there(&desk.storage, &blob).await.unwrap());
    upload(&desk.storage, &blob, from.clone()).await.unwrap();
    assert!(is_there(&desk.storage, &blob).await.unwrap());
    verify(&desk.storage, &blob).await.unwrap();
    desk.fetch(&blob).await.unwrap();
    assert_eq!(std::fs::read(desk.part()).unwrap(), content);

    write(&from, vec![0; content.len()]).unwrap();
    let other = Blob::new(&blob.sha256, blob.bytes, &mut fastrand::Rng::with_seed(8));
    let error = upload(&desk.storage, &other, from).await.unwrap_err();
    assert_eq!(error.storage_kind(), Some(ErrorKind::Changed));
    assert!(!is_there(&desk.storage, &other).await.unwrap());
}

#[tokio::test]
async fn a_cut_download_goes_on_where_it_ended() {
    let (desk, content) = (Desk::new(FaultPlan::default()), content());
    let blob = blob_of(&content);
    desk.put_raw(&blob, &content);
    std::fs::create_dir(desk.folder.path().join("blobs")).unwrap();
    write(desk.part(), &content[..600_000]).unwrap();
    desk.fetch(&blob).await.unwrap();
    assert_eq!(desk.came.load(Ordering::SeqCst), 100_001);
    desk.fetch(&blob).await.unwrap();
    assert_eq!(desk.came.load(Ordering::SeqCst), 0, "it is there already");

    // The beginning of something else: all of it is fetched once more.
    write(desk.part(), vec![1; 600_000]).unwrap();
    desk.fetch(&blob).await.unwrap();
    assert_eq!(desk.came.load(Ordering::SeqCst), 100_001 + 700_001);
    assert_eq!(std::fs::read(desk.part()).unwrap(), content);
    write(desk.part(), vec![1; 800_000]).unwrap();
    desk.fetch(&blob).await.unwrap();
    assert_eq!(std::fs::read(desk.part()).unwrap(), content);
}

#[tokio::test]
async fn what_is_missing_or_damaged_is_told_and_never_taken() {
    let (desk, content) = (Desk::new(FaultPlan::default()), content());
    let blob = blob_of(&content);
    assert!(matches!(desk.fetch(&blob).await, Err(RemoteError::Storage(e)) if e.is_not_found()));
    let longer = [&content[..], b"x"].concat();
    let other = vec![9; content.len()];
    for wrong in [&content[..1000], &longer, &other] {
        desk.put_raw(&blob, wrong);
        std::fs::remove_file(desk.part()).unwrap_or_default();
        let error = desk.fetch(&blob).await.unwrap_err();
        assert!(matches!(error, RemoteError::Damaged { .. }), "{error}");
        let error = verify(&desk.storage, &blob).await.unwrap_err();
        assert!(matches!(error, RemoteError::Damaged { .. }), "{error}");
    }
    assert!(!is_there(&desk.storage, &Blob { bytes: blob.bytes + 1, ..blob }).await.unwrap());
}

#[tokio::test]
async fn it_arrives_over_a_line_that_tears() {
    let content = content();
    let blob = blob_of(&content);
    for seed in 0..40 {
        let desk =
            Desk::new(FaultPlan { seed, torn: 0.6, fail_before: 0.2, ..FaultPlan::default() });
        desk.put_raw(&blob, &content);
        let mut tries = 0;
        while let Err(error) = desk.fetch(&blob).await {
            tries += 1;
            assert!(tries < 60, "seed {seed}: {error}");
        }
        assert_eq!(std::fs::read(desk.part()).unwrap(), content, "seed {seed}");
        let from = desk.part();
        let again = Blob::new(&blob.sha256, blob.bytes, &mut fastrand::Rng::with_seed(seed + 50));
        while upload(&desk.storage, &again, from.clone()).await.is_err() {
            assert!(
                !is_there(&(Arc::new(desk.memory.clone()) as SharedStorage), &again).await.unwrap()
            );
        }
        assert!(desk.memory.files().values().all(|bytes| *bytes == content), "seed {seed}");
    }
}
