//! Encrypted remotes that were not made by larder: `fixtures/encryption/make_vectors.py` sealed golden ones
//! by what `docs/encryption.md` says.

use larder::{
    model::RemoteId,
    seal::{Inspected, KeyFiles, Passphrase, SealError, inspect},
};

use super::*;

/// The remote of the fixtures.
pub(super) const ID: &str = "018f4e3a-7c00-7000-8000-0000000000a1";

#[tokio::test]
async fn remotes_that_another_program_encrypted_become_their_files() {
    for name in ["if-match", "rename", "mirrored"] {
        let remote = Arc::new(tempfile::tempdir().unwrap());
        let encrypted =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/encryption").join(name);
        copy(&encrypted, remote.path());
        let raw: SharedStorage = Arc::new(Local::new(remote.path()));
        let id = RemoteId::new(ID).unwrap();
        assert_eq!(inspect(&raw).await.unwrap(), Inspected::Sealed(id.clone()));
        let files = KeyFiles::read(&raw, &id).await.unwrap();
        let wrong = files.open(&Passphrase::new("open barley"));
        assert!(matches!(wrong, Err(SealError::WrongPassphrase)));
        let mut device = Device::on(&remote, 1);
        // Without the key it is told what it is, and nothing is touched.
        let told = device.turn().await.unwrap_err();
        assert!(matches!(told, EngineError::Remote(RemoteError::Encrypted)), "{told}");
        assert_eq!(read(remote.path().join("meta.json")), read(encrypted.join("meta.json")));
        device.key = Some(files.open(&Passphrase::new("open sesame")).unwrap());
        let report = device.turn().await.unwrap();
        let fixture = fixtures().join("v1").join(name);
        assert_eq!(device.files(), files_in(&fixture.join("expected")), "{name}");
        assert_eq!(device.conflicts(), read(fixture.join("conflicts.txt")), "{name}");
        assert_eq!(report.pushed, 0, "{name}: {:?}", report.plan);
        // And what this one adds is read by the next.
        fs::write(device.folder.path().join("new.md"), "new\n").unwrap();
        assert_eq!(device.turn().await.unwrap().pushed, 1);
        let mut other = Device::on(&remote, 2);
        other.key = device.key.clone();
        other.turn().await.unwrap();
        assert_eq!(other.files(), device.files());
    }
}

#[tokio::test]
async fn a_remote_that_goes_back_is_noticed() {
    for name in ["if-match", "rename", "mirrored"] {
        let remote = Arc::new(tempfile::tempdir().unwrap());
        let encrypted =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/encryption").join(name);
        copy(&encrypted, remote.path());
        let raw: SharedStorage = Arc::new(Local::new(remote.path()));
        let files = KeyFiles::read(&raw, &RemoteId::new(ID).unwrap()).await.unwrap();
        let mut device = Device::on(&remote, 1);
        device.key = Some(files.open(&Passphrase::new("open sesame")).unwrap());
        device.turn().await.unwrap();
        fs::write(device.folder.path().join("new.md"), "new\n").unwrap();
        device.turn().await.unwrap();
        // Every head and manifest as it was: each of them is authentic.
        for folder in ["head", "meta", "heads"] {
            let _ = fs::remove_dir_all(remote.path().join(folder));
        }
        copy(&encrypted, remote.path());
        let report = device.turn().await.unwrap();
        let went_back = report.notes.iter().any(|note| note.text.contains("went back from"));
        assert!(went_back, "{name}: {:?}", report.notes);
        let mut other = Device::on(&remote, 2);
        other.key = device.key.clone();
        other.turn().await.unwrap();
        assert_eq!(other.files(), device.files());
    }
}
