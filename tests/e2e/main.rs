//! The app in its real window, with the real engine and a real model, as a person uses it: through
//! WebDriver, on a display that nobody sees.
//!
//! Each test has folders, a display and a driver of its own ([`place`]). Elements are found by role, name
//! and visible text. Waiting is by condition, with a limit. Pictures lie in `target/e2e/`. A test that
//! needs something this machine lacks writes `skipped, because …` straight to standard error.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod conversations;
mod desktop;
mod ends;
mod faults;
mod hostile_text;
mod keeping;
mod machine;
mod opening;
mod outside;
mod place;
mod processes;
mod starting;
mod talk;
mod trouble;
mod webdriver;
