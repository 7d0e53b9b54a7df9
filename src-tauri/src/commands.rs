//! The commands the window can call, one module a subject. Nothing else calls them.

pub mod conversations;
pub mod drafts;
pub mod models;
pub mod outside;
pub mod qualifications;
pub mod resumes;
pub mod settings;
pub mod start;
pub mod storage;
pub mod turns;

use std::sync::Arc;

use tauri::State;

use crate::hub::Hub;

/// What each command gets first.
type Shared<'a> = State<'a, Arc<Hub>>;
