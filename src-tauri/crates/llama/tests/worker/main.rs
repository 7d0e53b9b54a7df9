//! The real worker with real models, through the handle that the app uses.
//!
//! Where a model file is missing a test says so and passes; on the build server that is a set-up error.
//! Every worker computes with one thread, so that tests beside each other do not disturb one another and
//! answers are the same everywhere the same instructions are.
#![expect(clippy::unwrap_used, reason = "what a test cannot go on without fails it")]

mod answering;
mod bad_files;
mod gguf;
mod hostile_templates;
mod kinds;
mod loading;
mod processes;
mod reading;
mod reuse;
mod rig;
#[path = "../templates/sandbox.rs"]
mod sandbox;
mod secrecy;
mod states;
mod stopping;
