//! Use-cases over a real library and a scripted engine: logic, not proof of inference.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod archive;
mod bench_desk;
mod branches;
mod bundle_rig;
mod bundles;
mod checkpoints;
mod deaths;
mod forged_bundles;
mod library;
mod models;
mod opening;
mod outlook;
mod qualification;
mod queue;
mod resume;
mod storage;
mod turns;
