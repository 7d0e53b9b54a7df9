//! Every type that crosses to the web UI, and nothing else.
//!
//! These are wire types: plain data with serde, no behaviour, no type of a sibling crate. Domain types
//! are mapped to them in the app and in the command line. The UI's TypeScript in `ui/src/ipc/generated/`
//! is made from them by this crate's test; after a change run
//!
//! ```text
//! REPRISE_UPDATE=1 cargo test -p reprise-protocol
//! ```
//!
//! and commit the result: the same test fails on a stale file. To add a type: a module of its own or its
//! subject's, the derives of its neighbours, and a line in `tests::generated`.

mod app;
mod error;

pub use app::AppInfo;
pub use error::AppError;

#[cfg(test)]
mod tests;
