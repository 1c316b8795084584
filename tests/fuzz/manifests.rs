//! The manifest, and `meta.json`.

use larder::remote::{Manifest, Meta, layout};

/// Whatever is taken for a manifest says the same after it was written, names no file that is none,
/// and can be joined with itself.
pub(crate) fn manifest(data: &[u8]) {
    if let Ok(meta) = Meta::decode(data) {
        let again = serde_json::to_vec(&meta).expect("it was read from JSON");
        assert_eq!(Meta::decode(&again).expect("it was written by larder"), meta);
    }
    let Ok(manifest) = Manifest::decode("meta.json", data) else { return };
    let (text, _) = manifest.encode();
    let again = Manifest::decode("meta.json", text.as_bytes()).expect("it was written by larder");
    assert_eq!(again, manifest);
    assert_eq!(again.encode().0, text);
    for file in manifest.data() {
        let (folder, name) = file.file.as_str().split_once('/').expect("it lies in a folder");
        assert!([layout::ENTITIES, layout::DELTAS, layout::PACKS].contains(&folder), "{folder}");
        assert!(name.split('/').all(|part| part != ".."), "{name}");
        if let Some(up_to) = &file.up_to {
            assert!(manifest.knows.includes(up_to));
        }
    }
    let _ = (manifest.entities(), manifest.bytes());
    let mut joined = manifest.clone();
    joined.join(&manifest);
    assert_eq!(joined.knows, manifest.knows);
    assert_eq!(joined.data().count(), manifest.data().count());
    let retired: Vec<_> = joined.retired.iter().map(|retired| &retired.file).collect();
    assert!(joined.data().all(|file| !retired.contains(&&file.file)));
}
