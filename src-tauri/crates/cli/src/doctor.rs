//! `reprise-cli doctor`.

use std::fmt::Write as _;
use std::process::ExitCode;

use reprise_chat::doctor::{Gpu, Hardware, Probe, Report, Survival, examine, examine_model, spec_of};
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
        let probe = args.nvml_lib.as_deref().map_or_else(Probe::new, Probe::with_library);
        let report = examine(dir.root(), &probe, &engine).await?;
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

/// `hardware` is as the probe has it. `nvml` is `{available, reason, cause, remedy, detail, driver_version,
/// cuda_version, missing}`, of which `cause` is one of `no_library`, `wrong_architecture`, `not_loadable`,
/// `no_driver`, `no_permission`, `driver_library_mismatch`, `gpu_lost`, `other`, `not_asked`, and the five from
/// `available` to `detail` say why there is none. A card in `gpus` is `{index, name, uuid, pci_bus_id,
/// memory_total, memory_free, memory_used, compute_capability, temperature_c, utilisation, power_mw,
/// power_limit_mw, processes: [{pid, name, memory_used}], missing}`. Memory is in bytes. What is null stands
/// in `missing` by its name, as `{cause, detail}`; `cause` is one of `not_supported`, `no_permission`,
/// `gpu_lost`, `not_in_this_driver`, `other`.
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

/// NVIDIA's cards and driver, or why there are none and what to do about it.
fn nvidia_text(hardware: &Hardware) -> String {
    let mut text = String::new();
    let nvml = &hardware.nvml;
    // Writing to a string cannot fail.
    if let Some(reason) = &nvml.reason {
        let _ = writeln!(text, "NVIDIA GPU  {reason}");
        if let Some(remedy) = &nvml.remedy {
            let _ = writeln!(text, "            {remedy}");
        }
    } else if hardware.gpus.is_empty() {
        text.push_str("NVIDIA GPU  the driver runs and sees none\n");
    }
    for gpu in &hardware.gpus {
        let _ = writeln!(text, "NVIDIA GPU  {}", gpu_text(gpu));
        for process in gpu.processes.iter().flatten() {
            if let Some(held) = process.memory_used {
                let name = plain(process.name.as_deref().unwrap_or("a process"));
                let _ = writeln!(text, "            {} of it held by {name} ({})", size(held), process.pid);
            }
        }
    }
    if let Some(driver) = &nvml.driver_version {
        let cuda = nvml.cuda_version.as_ref().map(|version| format!(", CUDA up to {}", plain(version)));
        let _ = writeln!(text, "Driver      {}{}", plain(driver), cuda.unwrap_or_default());
    }
    text
}

/// A card in one line; what is not known is left out.
fn gpu_text(gpu: &Gpu) -> String {
    let name = plain(gpu.name.as_deref().unwrap_or("of unknown name"));
    let memory = match (gpu.memory_free, gpu.memory_total) {
        (Some(free), Some(total)) => Some(format!("{} of {} free", size(free), size(total))),
        _ => None,
    };
    let facts = [
        memory,
        gpu.compute_capability.as_ref().map(|version| format!("compute capability {version}")),
        gpu.temperature_c.map(|degrees| format!("{degrees} °C")),
        gpu.utilisation.map(|percent| format!("{percent} % busy")),
        gpu.power_mw.map(|milliwatts| format!("{} W", milliwatts / 1000)),
    ];
    let known = facts.into_iter().flatten();
    std::iter::once(name).chain(known).collect::<Vec<_>>().join(", ")
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
    text.push_str(&nvidia_text(hardware));
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
