//! Tests of the product as a whole: how it is laid out, and what its programs do when started.
//!
//! One binary, one module a subject. A test that needs something this machine lacks writes
//! `skipped, because …` straight to standard error, past the capture of the test harness.

mod architecture;
mod page_rights;
mod shipped;
