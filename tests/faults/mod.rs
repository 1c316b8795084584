//! What goes wrong underway: processes that are killed, servers that are gone, disks that are full.

mod kill;
mod outage;
#[cfg(target_os = "linux")]
mod steps;
mod torture;
