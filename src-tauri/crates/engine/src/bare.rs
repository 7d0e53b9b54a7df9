//! The measure of what Reprise costs: a bare llama.cpp loop by the same program.

use std::io;
use std::path::Path;
use std::process::Command;

use serde::Deserialize;

use crate::process::{PROGRAM, scrub_environment};

/// What a bare loop took.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub struct BareDecode {
    /// Tokens decoded, greedily.
    pub tokens: u32,
    /// Time for these, in milliseconds.
    pub ms: f64,
}

impl BareDecode {
    /// Runs the loop in a process of its own and waits for it. Blocks.
    pub fn run(engine_dir: &Path, model: &Path, tokens: u32, threads: u32) -> io::Result<Self> {
        let mut command = Command::new(engine_dir.join(PROGRAM));
        scrub_environment(&mut command);
        let output = command
            .arg("--bare-decode")
            .arg(std::path::absolute(model)?)
            .args([tokens.to_string(), threads.to_string()])
            .output()?;
        if !output.status.success() {
            let why = String::from_utf8_lossy(&output.stderr);
            return Err(io::Error::other(why.lines().last().unwrap_or("it failed").to_owned()));
        }
        Ok(serde_json::from_slice(&output.stdout)?)
    }
}
