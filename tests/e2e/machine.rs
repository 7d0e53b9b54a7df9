//! What the tests need of the machine, and what is missing.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// The app.
pub const APP: &str = env!("CARGO_BIN_EXE_reprise");

/// What was found.
#[derive(Debug)]
pub struct Machine {
    pub driver: PathBuf,
    pub xvfb: PathBuf,
    pub engine_dir: PathBuf,
    pub model: PathBuf,
}

/// Says so where it is seen: what a test prints in the usual way is not shown when it passes.
pub fn skip(why: &str) {
    // Nobody may be listening.
    let _ = writeln!(io::stderr(), "skipped, because {why}");
}

/// All that is needed; `None`, and said so, where something is missing. CI must have everything.
pub fn machine() -> Option<&'static Machine> {
    static FOUND: OnceLock<Result<Machine, String>> = OnceLock::new();
    match FOUND.get_or_init(find) {
        Ok(machine) => Some(machine),
        Err(why) => {
            assert!(std::env::var_os("CI").is_none(), "{why}");
            skip(why);
            None
        }
    }
}

fn find() -> Result<Machine, String> {
    if !cfg!(target_os = "linux") {
        return Err("the window is driven on Linux only".to_owned());
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let missing = |what: &Path| format!("{} is not there; run `make setup build`", what.display());
    let tool = |name: &str| {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path)
            .map(|folder| folder.join(name))
            .find(|tool| tool.is_file())
            .ok_or(missing(Path::new(name)))
    };
    let beside = Path::new(APP).parent().map(Path::to_owned).unwrap_or_default();
    let engine_dir = std::env::var_os("REPRISE_ENGINE_DIR").map_or(beside, PathBuf::from);
    let model = root.join("models/SmolLM2-135M-Instruct.Q4_1.gguf");
    for needed in [&engine_dir.join("reprise-engine"), &model] {
        if !needed.is_file() {
            return Err(missing(needed));
        }
    }
    Ok(Machine { driver: tool("WebKitWebDriver")?, xvfb: tool("Xvfb")?, engine_dir, model })
}
