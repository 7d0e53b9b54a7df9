//! The commands the window can call, one module a subject.

pub mod app_info;
