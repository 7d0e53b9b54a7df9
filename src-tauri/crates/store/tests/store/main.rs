//! The data folder and the history as their users see them, in one process and in several.
#![allow(clippy::unwrap_used)]

mod bundles;
mod child;
mod choices;
mod crash;
mod damage;
mod file_hashes;
mod folder;
mod lock;
mod notes;
mod purge;
mod snapshot_budget;
mod snapshot_crash;
mod snapshot_damage;
mod snapshot_model;
mod snapshots;
mod states;
mod support;
mod tree;
