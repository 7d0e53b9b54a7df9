//! From what the use-cases know to what crosses to the page, one module a subject.

pub mod conversation;
pub mod model;
pub mod qualification;
pub mod resume;
pub mod storage;
pub mod turn;
