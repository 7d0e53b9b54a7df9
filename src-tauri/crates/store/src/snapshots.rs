//! `snapshots.db`: saved states, in pieces that are named by their content. A cache: it may be lost,
//! damaged or deleted at any time, and nothing is lost with it but time.
//!
//! - `layout` cuts an image into chunks and puts it together again; it knows nothing else.
//! - `save` writes chunks first and the sealed `manifest` last; `find` and `reader` give them back, and
//!   nothing passes for whole that is not: first the seal, then the sense, then every piece.
//! - `store` is the writer, `budget` decides what goes when there is too much, `verify` looks at all.
//! - `db`, `opening` and `key` hold the file, what becomes of a damaged one, and the secret of the seals.
//! - `listing` gives parts of the list, and what a mark in a list of conversations is made from.
//! - `file_hash` names model files by their content, `notes` keeps what was found out about them.

pub(crate) mod budget;
pub(crate) mod damage;
pub(crate) mod db;
pub(crate) mod file_hash;
pub(crate) mod find;
pub(crate) mod hash;
pub(crate) mod key;
pub(crate) mod layout;
pub(crate) mod listing;
pub(crate) mod manifest;
pub(crate) mod notes;
pub(crate) mod opening;
pub(crate) mod reader;
pub(crate) mod save;
pub(crate) mod store;
pub(crate) mod verify;

#[cfg(test)]
mod tests;
