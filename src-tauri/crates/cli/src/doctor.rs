//! `reprise-cli doctor`.

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use reprise_chat::doctor::{Report, examine, try_model};
use reprise_chat::engine::{EngineHandle, ModelInfo};
use reprise_chat::history::DataDir;
use serde_json::{Value, json};

use crate::args::{self, Global};
use crate::output::{Failure, Out, grouped, size};
use crate::place;

pub(crate) async fn run(global: &Global, args: &args::Doctor, out: &Out) -> Result<ExitCode, Failure> {
    place::check_backend(&args.backend)?;
    let dir = place::log_dir(global)?;
    let engine = place::engine(global, &dir)?;
    let found = look(&dir, &engine, args.model.as_deref()).await;
    engine.shutdown().await;
    let (report, model) = found?;
    out.result(&report_json(&report, model.as_ref()), || report_text(&report, model.as_ref()));
    Ok(ExitCode::SUCCESS)
}

async fn look(
    dir: &DataDir,
    engine: &EngineHandle,
    model: Option<&Path>,
) -> Result<(Report, Option<ModelInfo>), Failure> {
    let report = examine(dir.root(), engine).await?;
    let model = match model {
        None => None,
        Some(path) => Some(try_model(engine, path, &report.hardware).await?),
    };
    Ok((report, model))
}

fn report_json(report: &Report, model: Option<&ModelInfo>) -> Value {
    let backends: Vec<Value> = report
        .engine
        .modules
        .iter()
        .map(|module| {
            let devices: Vec<Value> = report
                .engine
                .devices
                .iter()
                .filter(|device| device.backend == module.name)
                .map(|device| {
                    json!({
                        "name": device.name,
                        "description": device.description,
                        "type": device.kind.as_str(),
                        "memory_total": device.memory_total,
                        "memory_free": device.memory_free,
                    })
                })
                .collect();
            json!({ "name": module.name, "module": module.file, "devices": devices })
        })
        .collect();
    let decision = report.decision.as_ref().map(|decision| {
        let trace: Vec<Value> = decision
            .trace
            .iter()
            .map(|step| {
                json!({ "step": step.step, "ok": step.ok, "measured": step.measured, "remedy": step.remedy })
            })
            .collect();
        json!({
            "backend": decision.backend,
            "device": decision.device,
            "gpu_layers": decision.gpu_layers,
            "kv": if decision.kv_on_device { "device" } else { "host" },
            "n_ctx": model.map_or(decision.n_ctx, |model| model.n_ctx),
            "trace": trace,
        })
    });
    json!({
        "hardware": report.hardware,
        "engine": { "build": report.engine.build },
        "backends": backends,
        "decision": decision,
        "model": model,
        "qualification": {
            "verdict": "not_run",
            "challenge_kl": null,
            "control_kl": null,
            "steps_compared": null,
            "max_logit_difference": null,
            "ms": null,
        },
    })
}

fn report_text(report: &Report, model: Option<&ModelInfo>) -> String {
    let mut text = String::new();
    let hardware = &report.hardware;
    let cores = hardware.cpu.physical_cores.map_or("an unknown number of".to_owned(), |n| n.to_string());
    let brand = hardware.cpu.brand.as_deref().unwrap_or("unknown");
    // Writing to a string cannot fail.
    let _ = writeln!(text, "Processor   {brand}, {cores} cores");
    if let (Some(total), Some(free)) = (hardware.memory.total, hardware.memory.available) {
        let _ = writeln!(text, "Memory      {} of {} available", size(free), size(total));
    }
    if let Some(free) = hardware.disk.free {
        let _ = writeln!(text, "Disk        {} free for your data", size(free));
    }
    if let Some(reason) = &hardware.nvml.reason {
        let _ = writeln!(text, "NVIDIA GPU  {reason}");
    }
    let _ = writeln!(text, "Engine      {}", report.engine.build);
    for module in &report.engine.modules {
        let file = module.file.as_deref().unwrap_or("built in");
        let _ = writeln!(text, "Module      {} ({file})", module.name);
    }
    match &report.decision {
        Some(decision) => {
            let _ = writeln!(text, "Runs on     {}", decision.device);
        }
        None => text.push_str("Runs on     nothing: no compute module could be loaded\n"),
    }
    if let Some(model) = model {
        let parameters = grouped(model.n_params / 1_000_000);
        let _ = writeln!(
            text,
            "Model       {}, {} M parameters, {}, context {} of {} tokens",
            model.name,
            parameters,
            size(model.size),
            grouped(u64::from(model.n_ctx)),
            grouped(u64::from(model.n_ctx_train))
        );
    }
    text
}
