//! The real `reprise-cli` with the real engine beside it and a real model, as people and scripts use it.
//! Signals, /proc and permission bits are those of Linux; elsewhere these tests are not built.
#![cfg(target_os = "linux")]
// A test that cannot be prepared has failed.
#![allow(clippy::unwrap_used)]

mod bundles;
mod dice;
mod engines;
mod folders;
#[path = "../../../llama/tests/worker/gguf.rs"]
#[allow(dead_code, reason = "it serves the tests of the engine too")]
mod gguf;
mod hopping;
mod kills;
mod kinds;
mod library;
mod lost_device;
mod models;
mod place;
mod processes;
mod prompts;
#[path = "../../../llama/tests/remote/rig.rs"]
mod remote_rig;
mod signals;
mod state_kills;
mod states;
mod turns;
mod usage;
