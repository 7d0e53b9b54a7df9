//! The data folder and the history as their users see them, in one process and in several.
#![allow(clippy::unwrap_used)]

mod child;
mod choices;
mod crash;
mod damage;
mod folder;
mod lock;
mod purge;
mod support;
mod tree;
