//! `reprise-cli doctor`.

use std::fmt::Write as _;
use std::process::ExitCode;

use reprise_chat::doctor::{Report, Survival, examine, examine_model, spec_of};
use reprise_chat::engine::{EngineError, EngineHandle, LoadSpec};
use reprise_chat::history::DataDir;
use reprise_chat::{SystemWorld, Verdict};
use serde_json::{Value, json};

use crate::args::{self, Global};
use crate::output::{Failure, Out, grouped, plain, size};
use crate::place;

pub(crate) async fn run(global: &Global, args: &args::Doctor, out: &Out) -> Result<ExitCode, Failure> {
    let dir = place::log_dir(global)?;
    let engine = place::engine(global, &dir)?;
    let (engine, found) = look(global, &dir, engine, args, out).await;
    engine.shutdown().await;
    let (report, model) = found?;
    out.result(&report_json(&report, model.as_ref()), || report_text(&report, model.as_ref()));
    Ok(ExitCode::SUCCESS)
}

type Found = (Report, Option<Survival>);

async fn look(
    global: &Global,
    dir: &DataDir,
    engine: EngineHandle,
    args: &args::Doctor,
    out: &Out,
) -> (EngineHandle, Result<Found, Failure>) {
    let asked = async {
        let report = examine(dir.root(), &engine).await?;
        let offload = place::offload(&engine, &args.device).await?;
        let spec = args.model.as_deref().map(|model| spec_of(model, &report.hardware, offload)).transpose();
        Ok((report, spec.map_err(EngineError::from)?))
    };
    let (report, spec) = match asked.await {
        Ok((report, Some(spec))) => (report, spec),
        Ok((report, None)) => return (engine, Ok((report, None))),
        Err(failure) => return (engine, Err(failure)),
    };
    // Beside a running app what is found is shown and not kept.
    let kept = place::snapshots_if_free(global, out).await;
    let again = match place::engine(global, dir) {
        Ok(again) => again,
        Err(failure) => return (engine, Err(failure)),
    };
    let snapshots = kept.as_ref().map(|(_, snapshots)| snapshots);
    let (engine, found) = examine_model(engine, || again, spec, snapshots, &SystemWorld).await;
    (engine, found.map(|survival| (report, Some(survival))).map_err(Failure::from))
}

fn report_json(report: &Report, found: Option<&Survival>) -> Value {
    let model = found.map(|found| &found.info);
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
        "qualification": qualification_json(found),
    })
}

/// The figures of the place that was settled on, and under `tried` those of all.
fn qualification_json(found: Option<&Survival>) -> Value {
    let Some((found, (_, last))) = found.and_then(|found| Some((found, found.tried.last()?))) else {
        return json!({
            "verdict": "not_run",
            "challenge_kl": null,
            "control_kl": null,
            "steps_compared": null,
            "max_logit_difference": null,
            "ms": null,
        });
    };
    let figures = &last.figures;
    let tried: Vec<Value> = found
        .tried
        .iter()
        .map(|(place, found)| {
            let place = place_json(place);
            json!({ "place": place, "verdict": found.verdict.as_str(), "why": found.why })
        })
        .collect();
    json!({
        "verdict": last.verdict.as_str(),
        "why": last.why,
        "challenge_kl": figures.challenge_kl,
        "mean_kl": figures.mean_kl,
        "control_kl": figures.control_kl,
        "steps_compared": figures.steps,
        "same_tokens": figures.same_tokens,
        "max_logit_difference": figures.max_logit_difference,
        "repeatable": figures.repeatable,
        "tokens": figures.tokens,
        "state_bytes": figures.state_bytes,
        "survives_restart": found.restart.as_ref().ok(),
        "ms": figures.ms,
        "at": last.at,
        "class": figures.class,
        "tried": tried,
    })
}

fn place_json(spec: &LoadSpec) -> Value {
    match &spec.offload {
        Some(offload) => {
            json!({ "device": offload.device, "gpu_layers": offload.layers, "kv": offload.kv.as_str() })
        }
        None => json!({ "device": "CPU", "gpu_layers": 0, "kv": "host" }),
    }
}

fn report_text(report: &Report, found: Option<&Survival>) -> String {
    let model = found.map(|found| &found.info);
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
    for (place, found) in found.map(|found| &found.tried).into_iter().flatten() {
        let place = match &place.offload {
            Some(offload) => format!("{}, KV cache on the {}", offload.device, offload.kv.as_str()),
            None => "CPU".to_owned(),
        };
        let verdict = match found.verdict {
            Verdict::Identical => "survive, equal in every bit".to_owned(),
            Verdict::WithinTolerance => "survive, within what other batches differ".to_owned(),
            Verdict::Failed => {
                let why = found.why.as_deref().unwrap_or("they differ");
                format!("do not survive: {why}. None are kept or restored here")
            }
        };
        let _ = writeln!(text, "States      {verdict} ({place})");
    }
    match found.map(|found| &found.restart) {
        Some(Ok(true)) => text.push_str("Restart     a state is the same in the next process\n"),
        Some(Ok(false)) => text.push_str("Restart     a state is NOT the same in the next process\n"),
        Some(Err(why)) => {
            let _ = writeln!(text, "Restart     not tried: {}", plain(why));
        }
        None => {}
    }
    text
}
