//! Whether states prove themselves: real states of a real model through workers that lose, mix up or never
//! read what they are given, through honest ones under other settings, and through forgeries that were sealed
//! with the real key.
//!
//! Short rounds run with the tests; `REPRISE_VERIFICATION=full` runs those whose tables are in
//! `docs/VERIFICATION.md`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, reason = "the tables are what it is run for")]

mod calibration;
mod deaths;
mod devices;
mod folder;
mod forged;
mod gpu;
mod honest;
mod kinds;
mod mutants;
#[path = "../../../llama/tests/remote/rig.rs"]
mod remote_rig;
mod rig;
