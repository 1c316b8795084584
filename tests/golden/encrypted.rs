//! Encrypted remotes that were not made by larder: `fixtures/encryption/make_vectors.py` sealed golden ones
//! by what `docs/encryption.md` says.

use larder::{
    model::RemoteId,
    seal::{Inspected, KeyFiles, Passphrase, SealError, inspect},
};

use super::*;

/// The remote of the fixtures.
pub(super) const ID: &str = "018f4e3a-7c00-7000-8000-0000000000a1";

/// A golden remote in each commit mode.
const NAMES: [&str; 3] = ["if-match", "rename", "mirrored"];

fn sealed(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/encryption").join(name)
}

/// A device that faces a copy of an encrypted remote without its key, and what the key is kept in.
async fn facing(name: &str) -> (Device, KeyFiles) {
    let device = Device::on(&copy_of(&sealed(name)), 1);
    let (raw, id) = (device.storage(&Traffic::new()), RemoteId::new(ID).unwrap());
    assert_eq!(inspect(&raw).await.unwrap(), Inspected::Sealed(id.clone()));
    let files = KeyFiles::read(&raw, &id).await.unwrap();
    (device, files)
}

fn open(files: &KeyFiles) -> Option<DataKey> {
    Some(files.open(&Passphrase::new("open sesame")).unwrap())
}

#[tokio::test]
async fn remotes_that_another_program_encrypted_become_their_files() {
    for name in NAMES {
        let (mut device, files) = facing(name).await;
        let wrong = files.open(&Passphrase::new("open barley"));
        assert!(matches!(wrong, Err(SealError::WrongPassphrase)));
        // Without the key it is told what it is, and nothing is touched.
        let told = device.turn().await.unwrap_err();
        assert!(matches!(told, EngineError::Remote(RemoteError::Encrypted)), "{told}");
        assert_eq!(
            read(device.remote.path().join("meta.json")),
            read(sealed(name).join("meta.json"))
        );
        device.key = open(&files);
        let report = device.turn().await.unwrap();
        is_as_expected(&device, &fixtures().join("v1").join(name));
        assert_eq!(report.pushed, 0, "{name}: {:?}", report.plan);
        // And what this one adds is read by the next.
        fs::write(device.folder.path().join("new.md"), "new\n").unwrap();
        assert_eq!(device.turn().await.unwrap().pushed, 1);
        assert_eq!(device.newcomer(2).await.files(), device.files());
    }
}

#[tokio::test]
async fn a_remote_that_goes_back_is_noticed() {
    for name in NAMES {
        let (mut device, files) = facing(name).await;
        device.key = open(&files);
        device.turn().await.unwrap();
        fs::write(device.folder.path().join("new.md"), "new\n").unwrap();
        device.turn().await.unwrap();
        // Every head and manifest as it was: each of them is authentic.
        for folder in ["head", "meta", "heads"] {
            let _ = fs::remove_dir_all(device.remote.path().join(folder));
        }
        copy(&sealed(name), device.remote.path());
        let report = device.turn().await.unwrap();
        let went_back = report.notes.iter().any(|note| note.text.contains("went back from"));
        assert!(went_back, "{name}: {:?}", report.notes);
        assert_eq!(device.newcomer(2).await.files(), device.files());
    }
}
