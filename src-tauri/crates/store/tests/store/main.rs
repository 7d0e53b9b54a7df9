//! The data folder and the history as their users see them, in one process and in several.
#![allow(clippy::unwrap_used)]

mod bundles;
mod checkpoints;
mod child;
mod choices;
mod crash;
mod damage;
mod file_hashes;
mod folder;
mod full_disk;
mod instructions;
mod lock;
mod notes;
mod purge;
mod receipts;
mod snapshot_budget;
mod snapshot_crash;
mod snapshot_damage;
mod snapshot_list;
mod snapshot_model;
mod snapshots;
mod states;
mod support;
mod tree;
