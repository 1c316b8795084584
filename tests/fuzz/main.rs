//! The door to the fuzz targets: for libFuzzer if it was built with `instrument.toml`, else to see
//! again what one file does.
//!
//! One program for all targets: which one, the environment says in `LARDER_FUZZ`.

#![cfg_attr(fuzzing, no_main)]
#![allow(clippy::disallowed_methods, reason = "a program may look at its environment")]

use larder_fuzz::Target;

/// The target that the environment asks for.
fn target() -> &'static Target {
    let name = std::env::var("LARDER_FUZZ").unwrap_or_default();
    larder_fuzz::target(&name).unwrap_or_else(|| {
        let names: Vec<&str> = larder_fuzz::TARGETS.iter().map(|target| target.name).collect();
        panic!("LARDER_FUZZ is {name:?} and not one of {}", names.join(" "))
    })
}

#[cfg(fuzzing)]
mod door {
    use std::sync::LazyLock;

    static TARGET: LazyLock<&larder_fuzz::Target> = LazyLock::new(super::target);

    libfuzzer_sys::fuzz_target!(|data: &[u8]| (TARGET.run)(data));
}

#[cfg(not(fuzzing))]
fn main() -> std::io::Result<()> {
    let target = target();
    for file in std::env::args_os().skip(1) {
        (target.run)(&std::fs::read(&file)?);
        println!("{}: fine", file.display());
    }
    Ok(())
}
