//! What the machine is and what the engine found on it.

mod survival;

use std::path::Path;

use reprise_engine::message::{DEFAULT_MAX_CONTEXT, DeviceKind, Hello, LoadSpec, Offload};
use reprise_engine::{EngineError, EngineHandle, Fault};
use reprise_hardware::Os;

use crate::places::model_path;

pub use reprise_hardware::{Gpu, Hardware, Probe};
pub use survival::{Survival, examine_model};

/// How the engine loads a model for a conversation where nobody chose anything but the place.
pub fn spec_of(model: &Path, hardware: &Hardware, offload: Option<Offload>) -> Result<LoadSpec, Fault> {
    let n_threads = default_threads(hardware);
    Ok(LoadSpec { n_threads, offload, ..LoadSpec::new(model_path(model)?) })
}

/// One step of the choice what to run on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Stable snake-case name.
    pub step: &'static str,
    /// Whether it came out well.
    pub ok: bool,
    /// What was found.
    pub measured: String,
    /// What to do about it, where it did not.
    pub remedy: Option<&'static str>,
}

/// What conversations run on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// ggml's backend, in lower case.
    pub backend: String,
    /// ggml's device.
    pub device: String,
    /// Layers on a GPU.
    pub gpu_layers: u32,
    /// Whether the KV cache is in device memory.
    pub kv_on_device: bool,
    /// Context in tokens, unless the model has less.
    pub n_ctx: u32,
    /// How it came to this.
    pub trace: Vec<Step>,
}

/// Everything that is known.
#[derive(Debug, Clone)]
pub struct Report {
    /// The machine.
    pub hardware: Hardware,
    /// The engine.
    pub engine: Hello,
    /// What conversations run on; `None` where nothing can compute.
    pub decision: Option<Decision>,
}

/// Asks the machine, through `probe`, and the engine.
pub async fn examine(data_dir: &Path, probe: &Probe, engine: &EngineHandle) -> Result<Report, EngineError> {
    let hello = engine.hello().await?;
    let (look, folder) = (probe.clone(), data_dir.to_owned());
    // A driver may take a second to wake its card.
    let hardware = tokio::task::spawn_blocking(move || look.look(&folder)).await;
    let hardware = hardware.unwrap_or_else(|_| reprise_hardware::host(data_dir));
    let decision = decide(&hello, &hardware);
    Ok(Report { hardware, engine: hello, decision })
}

/// One thread a physical core: more of them wait for one another.
#[must_use]
pub fn default_threads(hardware: &Hardware) -> Option<u32> {
    hardware.cpu.physical_cores.and_then(|cores| u32::try_from(cores).ok()).filter(|cores| *cores > 0)
}

/// This machine, without asking the engine or a driver: at once.
#[must_use]
pub fn hardware(data_dir: &Path) -> Hardware {
    reprise_hardware::host(data_dir)
}

/// This version computes on the CPU whatever else there is; it says so instead of choosing.
fn decide(hello: &Hello, hardware: &Hardware) -> Option<Decision> {
    let cpu = hello.devices.iter().find(|device| device.kind == DeviceKind::Cpu)?;
    let module = hello.modules.iter().find(|module| module.name == cpu.backend);
    let file = module.and_then(|module| module.file.clone()).unwrap_or_else(|| cpu.backend.clone());
    Some(Decision {
        backend: cpu.backend.to_lowercase(),
        device: cpu.name.clone(),
        gpu_layers: 0,
        kv_on_device: false,
        n_ctx: DEFAULT_MAX_CONTEXT,
        trace: vec![Step { step: "cpu_module", ok: true, measured: file, remedy: None }, gpu_step(hardware)],
    })
}

/// What is known of NVIDIA's cards, and what would make one known.
fn gpu_step(hardware: &Hardware) -> Step {
    let step = |measured, remedy| Step { step: "gpu", ok: false, measured, remedy: Some(remedy) };
    if let Some(cause) = hardware.nvml.cause {
        return step(cause.reason().to_owned(), cause.remedy(Os::here()));
    }
    let names: Vec<&str> =
        hardware.gpus.iter().map(|gpu| gpu.name.as_deref().unwrap_or("an NVIDIA GPU")).collect();
    if names.is_empty() {
        return step("NVIDIA's driver runs and sees no GPU.".to_owned(), "None is needed without a GPU.");
    }
    step(
        format!("{}; this version chooses the CPU by itself", names.join(", ")),
        "Choose the GPU with --backend, if a module for it is listed.",
    )
}
