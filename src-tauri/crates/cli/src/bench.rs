//! `reprise-cli bench`: figures as ratios in one run, medians with their spread.

mod decode;
mod figures;
mod ipc;
mod memory;
mod resume;
mod rig;
mod save;

use std::fmt::Write as _;
use std::process::ExitCode;

use reprise_chat::history::DataDir;
use reprise_chat::{SystemWorld, World, doctor};
use serde_json::json;

use crate::args::{Bench, Global};
use crate::output::{Failure, Out};

use figures::{Case, Figures};

/// Measured in a folder of its own: nobody's library grows by it.
struct Scratch {
    dir: DataDir,
}

impl Scratch {
    /// On the disk of the data folder, where one is named and there: temporary files may lie in memory.
    fn new(global: &Global) -> Result<Self, Failure> {
        let name = format!("reprise-bench-{:032x}", SystemWorld.random());
        let above = global.data_dir.clone().filter(|dir| dir.is_dir()).unwrap_or_else(std::env::temp_dir);
        Ok(Self { dir: DataDir::create(above.join(name))? })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left behind lies in a folder whose name says what it is.
        let _ = std::fs::remove_dir_all(self.dir.root());
    }
}

pub(crate) async fn run(global: &Global, bench: &Bench, out: &Out) -> Result<ExitCode, Failure> {
    let scratch = Scratch::new(global)?;
    let dir = &scratch.dir;
    let (name, figures) = match bench {
        Bench::Decode { model, tokens, runs } => {
            ("decode", decode::measure(global, dir, model, *tokens, *runs, out).await?)
        }
        Bench::Ipc { runs } => ("ipc", ipc::measure(global, dir, *runs, out).await?),
        Bench::Resume(subject) => ("resume", resume::measure(global, dir, subject, out).await?),
        Bench::Save(subject) => ("save", save::measure(global, dir, subject, out).await?),
    };
    let hardware = doctor::hardware(&std::env::temp_dir());
    let brand = hardware.cpu.brand.unwrap_or_default();
    let machine = format!(
        "{}, {} cores, {} {}",
        brand.trim(),
        hardware.cpu.physical_cores.unwrap_or(0),
        std::env::consts::OS,
        std::env::consts::ARCH
    );
    let Figures { cases, ratios } = &figures;
    out.result(&json!({ "bench": name, "machine": machine, "cases": cases, "ratios": ratios }), || {
        table(&machine, &figures)
    });
    Ok(ExitCode::SUCCESS)
}

fn table(machine: &str, figures: &Figures) -> String {
    let mut text = format!("{machine}\n");
    for Case { name, unit, median, min, max, runs } in &figures.cases {
        // Writing to a string cannot fail.
        let _ =
            writeln!(text, "{name:<28} {median:>10.2} {unit:<8} (min {min:.2}, max {max:.2}, {runs} runs)");
    }
    for (name, value) in &figures.ratios {
        let _ = writeln!(text, "{name:<28} {:>10.3}", value.as_f64().unwrap_or(f64::NAN));
    }
    text
}
