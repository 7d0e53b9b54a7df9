//! The worker process `reprise-engine`: the only code that knows llama.cpp.
//!
//! It owns the model and its one live context, renders chat templates, keeps tokens that were sampled
//! before ([`splice`]), generates, and speaks [`reprise_engine::message`] on inherited pipes. It opens
//! no database and no network, and it may die at any moment: the app expects that.
//!
//! To add a request: an arm in [`worker`], and what it does with llama.cpp in the module of that matter
//! (`model` loads, `session` computes). `unsafe` stays in [`pipes`], [`ggml`] and
//! [`state`].

pub mod bare;
mod challenge;
mod control_text;
mod decode;
pub mod desk;
pub mod ggml;
mod image;
pub mod log;
mod long_text;
mod model;
pub mod outbox;
pub mod pipes;
mod sampler;
mod session;
pub mod splice;
pub mod state;
pub mod template;
pub mod text_stream;
pub mod worker;

/// What an exported image says of itself.
#[must_use]
pub fn image_table(image: &[u8]) -> reprise_engine::state::ImageTable {
    image::read(image).table
}
