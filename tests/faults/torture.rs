//! `larder torture` on every kind of remote: nothing that was acknowledged is lost.

use crate::common::{Device, Place, Remote};

macro_rules! on {
    ($($(#[$when:meta])? $name:ident => $place:expr, $args:expr;)*) => {
        $($(#[$when])? #[test] fn $name() { torture($place, &$args); })*
    };
}

on! {
    on_a_folder => Place::Folder, [];
    on_a_folder_by_renaming => Place::Folder, ["--commit", "rename"];
    on_a_mirrored_folder => Place::Mirrored, [];
    on_dav_server => Place::DAV_SERVER, [];
    on_apache => Place::APACHE, [];
    on_lighttpd => Place::LIGHTTPD, [];
    on_nginx => Place::NGINX, [];
    on_rclone => Place::RCLONE, [];
    on_wsgidav => Place::WSGIDAV, [];
    on_sabre => Place::SABRE, [];
    on_dropbox => Place::DROPBOX, [];
    on_dropbox_by_renaming => Place::DROPBOX, ["--commit", "rename"];
    on_dropbox_with_a_head_for_each_device => Place::DROPBOX, ["--commit", "devices"];
    #[cfg(feature = "object-stores")]
    on_moto => Place::MOTO, [];
    #[cfg(feature = "object-stores")]
    on_azurite => Place::AZURITE, [];
    #[cfg(feature = "object-stores")]
    on_a_server_like_google => Place::GOOGLE_LIKE, [];
    #[cfg(feature = "object-stores")]
    on_azurite_with_a_head_for_each_device => Place::AZURITE, ["--commit", "devices"];
    on_an_encrypted_folder => Place::Folder, ["--encrypt"];
    on_an_encrypted_mirrored_folder => Place::Mirrored, ["--encrypt"];
    on_apache_encrypted => Place::APACHE, ["--encrypt"];
    on_nginx_with_a_head_for_each_device => Place::NGINX, ["--commit", "devices"];
}

/// For how long the devices live, unless somebody who runs the tests wants more.
const SECONDS: &str = "6";

fn torture(place: Place, args: &[&str]) {
    let Some(remote) = Remote::start(place) else { return };
    let seconds = std::env::var("LARDER_TORTURE_SECONDS").unwrap_or_else(|_| SECONDS.to_owned());
    let runner = Device::new("runner").facing(&remote);
    let mut all = vec!["torture", remote.url(), "--json", "--duration", &seconds];
    all.extend(args);
    let told = runner.run(&all).exits(0).json();
    eprintln!("torture on {place:?} {args:?}: {told}");
    assert_eq!((&told["lost"], &told["faults"]), (&serde_json::json!([]), &serde_json::json!([])));
    assert!(told["acknowledged"].as_u64().unwrap() > 20, "{told}");
    assert!(told["turns"]["killed"].as_u64().unwrap() > 0, "{told}");
    let left: Vec<_> = remote.files().into_keys().collect();
    assert!(left.len() <= 1, "what it made there is taken away: {left:?}");
}
