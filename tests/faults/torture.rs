//! `larder torture` on every kind of remote: nothing that was acknowledged is lost.

use crate::common::{Device, Place, Remote};

macro_rules! on {
    ($($(#[$when:meta])? $name:ident => $place:expr, $args:expr, $mode:literal;)*) => {
        $($(#[$when])? #[test] fn $name() { torture($place, &$args, $mode); })*
    };
}

on! {
    on_a_folder => Place::Folder, [], "if-match";
    on_a_folder_by_renaming => Place::Folder, ["--commit", "rename"], "rename";
    on_a_mirrored_folder => Place::Mirrored, [], "devices";
    on_dav_server => Place::DAV_SERVER, [], "rename";
    on_apache => Place::APACHE, [], "rename";
    on_lighttpd => Place::LIGHTTPD, [], "rename";
    on_nginx => Place::NGINX, [], "rename";
    on_rclone => Place::RCLONE, [], "rename";
    on_wsgidav => Place::WSGIDAV, [], "rename";
    on_sabre => Place::SABRE, [], "rename";
    on_dropbox => Place::DROPBOX, [], "if-match";
    on_dropbox_by_renaming => Place::DROPBOX, ["--commit", "rename"], "rename";
    on_dropbox_with_a_head_for_each_device => Place::DROPBOX, ["--commit", "devices"], "devices";
    #[cfg(feature = "object-stores")]
    on_moto => Place::MOTO, [], "if-match";
    #[cfg(feature = "object-stores")]
    on_azurite => Place::AZURITE, [], "if-match";
    #[cfg(feature = "object-stores")]
    on_a_server_like_google => Place::GOOGLE_LIKE, [], "if-match";
    #[cfg(feature = "object-stores")]
    on_azurite_with_a_head_for_each_device => Place::AZURITE, ["--commit", "devices"], "devices";
    on_an_encrypted_folder => Place::Folder, ["--encrypt"], "if-match";
    on_an_encrypted_mirrored_folder => Place::Mirrored, ["--encrypt"], "devices";
    on_apache_encrypted => Place::APACHE, ["--encrypt"], "rename";
    on_nginx_with_a_head_for_each_device => Place::NGINX, ["--commit", "devices"], "devices";
}

/// For how long the devices live, unless somebody who runs the tests wants more.
const SECONDS: &str = "6";

fn torture(place: Place, args: &[&str], mode: &str) {
    let Some(remote) = Remote::start(place) else { return };
    let seconds = std::env::var("LARDER_TORTURE_SECONDS").unwrap_or_else(|_| SECONDS.to_owned());
    let runner = Device::new("runner").facing(&remote);
    let mut all = vec!["torture", remote.url(), "--json", "--duration", &seconds];
    all.extend(args);
    let told = runner.run(&all).exits(0).json();
    eprintln!("torture on {place:?} {args:?}: {told}");
    assert_eq!((&told["lost"], &told["faults"]), (&serde_json::json!([]), &serde_json::json!([])));
    assert_eq!(told["commitMode"], mode, "{told}");
    assert!(told["acknowledged"].as_u64().unwrap() > 20, "{told}");
    assert!(told["turns"]["killed"].as_u64().unwrap() > 0, "{told}");
    let left: Vec<_> = remote.files().into_keys().collect();
    assert!(left.len() <= 1, "what it made there is taken away: {left:?}");
}
