//! What the machine is and what the engine found on it.

mod survival;

use std::path::Path;

use reprise_engine::message::{DEFAULT_MAX_CONTEXT, DeviceKind, Hello, LoadSpec, Offload};
use reprise_engine::{EngineError, EngineHandle, Fault};
use reprise_hardware::Hardware;

use crate::places::model_path;

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

/// Asks the machine and the engine.
pub async fn examine(data_dir: &Path, engine: &EngineHandle) -> Result<Report, EngineError> {
    let hello = engine.hello().await?;
    let hardware = reprise_hardware::probe(data_dir);
    let decision = decide(&hello);
    Ok(Report { hardware, engine: hello, decision })
}

/// One thread a physical core: more of them wait for one another.
#[must_use]
pub fn default_threads(hardware: &Hardware) -> Option<u32> {
    hardware.cpu.physical_cores.and_then(|cores| u32::try_from(cores).ok()).filter(|cores| *cores > 0)
}

/// This machine, without asking the engine.
#[must_use]
pub fn hardware(data_dir: &Path) -> Hardware {
    reprise_hardware::probe(data_dir)
}

/// This version computes on the CPU whatever else there is; it says so instead of choosing.
fn decide(hello: &Hello) -> Option<Decision> {
    let cpu = hello.devices.iter().find(|device| device.kind == DeviceKind::Cpu)?;
    let module = hello.modules.iter().find(|module| module.name == cpu.backend);
    let file = module.and_then(|module| module.file.clone()).unwrap_or_else(|| cpu.backend.clone());
    Some(Decision {
        backend: cpu.backend.to_lowercase(),
        device: cpu.name.clone(),
        gpu_layers: 0,
        kv_on_device: false,
        n_ctx: DEFAULT_MAX_CONTEXT,
        trace: vec![
            Step { step: "cpu_module", ok: true, measured: file, remedy: None },
            Step {
                step: "gpu",
                ok: false,
                measured: "not looked for: this version runs on the CPU only".to_owned(),
                remedy: Some("None is needed; a later version will use NVIDIA GPUs."),
            },
        ],
    })
}
