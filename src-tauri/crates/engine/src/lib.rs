//! What the rest of Reprise knows of inference.
//!
//! This crate owns the messages that cross to the worker process `reprise-engine`, the frames they
//! travel in, the supervision of that process, and [`EngineHandle`], the only way to ask for
//! inference. It knows nothing of llama.cpp, of `SQLite` or of the window.
//!
//! To add something that the worker can do: a variant in [`message::Request`] and its answers in
//! [`message::Event`], a method on [`EngineHandle`], an arm in the worker's loop (crate `llama`) and
//! in the scripted worker ([`scripted`]), which lets use-cases be tested without a C++ build.

pub mod bare;
pub mod fault;
pub mod frame;
mod handle;
pub mod limits;
pub mod link;
pub mod message;
mod moving;
pub mod process;
pub mod qualify;
pub mod scripted;
pub mod state;
mod supervisor;
mod work;

pub use fault::{Death, EngineError, Fault};
pub use handle::{Direction, EngineHandle, Generation, GenerationEvent, Loaded, Status};
pub use limits::Limits;
