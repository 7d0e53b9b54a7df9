//! The data folder and the history as their users see them, in one process and in several.
#![allow(clippy::unwrap_used)]

mod child;
mod crash;
mod damage;
mod folder;
mod lock;
mod purge;
mod snapshots;
mod states;
mod support;
mod tree;
