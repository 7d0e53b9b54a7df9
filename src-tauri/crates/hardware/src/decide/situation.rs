//! What a decision is made from. Plain data: the caller fills it from the probe, from what the worker
//! told of ggml's modules, from the model file, and from what the person chose.

use serde::{Deserialize, Serialize};

use super::cuda::{Architecture, Capability};

/// Everything a decision depends on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Situation {
    /// What this machine has, measured while none of our models is loaded.
    pub machine: Machine,
    /// ggml's modules, in the order they were loaded.
    pub modules: Vec<Module>,
    /// What the model takes.
    pub need: Need,
    /// What the person wants.
    pub choice: Choice,
    /// Where states were found to survive.
    pub qualified: Qualified,
    /// What the ladder came down to earlier, for this model on this hardware.
    pub ceiling: Option<Ceiling>,
}

/// Operating systems whose driver floors and remedies differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Os {
    /// Linux, also within WSL.
    #[default]
    Linux,
    /// Windows.
    Windows,
    /// Anything else: no NVIDIA driver is to be had.
    Other,
}

/// What this machine has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// The operating system.
    pub os: Os,
    /// Whether NVML answered.
    pub nvml: Nvml,
    /// The NVIDIA driver's version: `570.86.15`.
    pub driver: Option<String>,
    /// NVIDIA cards, in the order NVML numbers them.
    pub gpus: Vec<Gpu>,
    /// Main memory that programs can still get without swapping, in bytes.
    pub memory_available: Option<u64>,
    /// Cores that compute.
    pub physical_cores: Option<u32>,
    /// Hardware threads this process may use.
    pub logical_cores: Option<u32>,
    /// Whether it runs on a battery now.
    pub on_battery: Option<bool>,
    /// The variable `CUDA_VISIBLE_DEVICES` as it is set, to the letter.
    pub cuda_visible_devices: Option<String>,
}

/// Whether NVIDIA's management library answered, or what stood in the way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Nvml {
    /// It was not asked.
    #[default]
    NotAsked,
    /// It answered.
    Present,
    /// There is no such library on this machine.
    NoLibrary,
    /// The library is there, the driver is not loaded.
    NoDriver,
    /// The driver does not let this user in.
    NoPermission,
    /// Library and driver are of different versions, as after an update without a restart.
    VersionMismatch,
    /// A card has fallen off the bus.
    GpuLost,
    /// Anything else.
    Failed,
}

/// One NVIDIA card, as NVML knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gpu {
    /// The maker's name of it.
    pub name: Option<String>,
    /// `GPU-8932f937-d72c-4106-c12f-20bd9faed9f6`.
    pub uuid: Option<String>,
    /// Its place on the bus: `00000000:01:00.0`.
    pub pci: Option<String>,
    /// Its memory, in bytes.
    pub memory_total: Option<u64>,
    /// What of it nobody uses now, in bytes.
    pub memory_free: Option<u64>,
    /// CUDA compute capability.
    pub capability: Option<Capability>,
    /// It shares the machine's main memory.
    pub integrated: bool,
    /// It is a laptop's.
    pub laptop: bool,
    /// It no longer answers.
    pub lost: bool,
}

/// One of ggml's backend modules.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Module {
    /// ggml's name of the backend (`CUDA`), or the file's where it did not load.
    pub name: String,
    /// Why it did not load, in the loader's words; `None` where it did.
    pub failure: Option<String>,
    /// What it was built with, where it is a CUDA module.
    pub cuda: Option<CudaBuild>,
    /// What it sees.
    pub devices: Vec<Device>,
}

/// What a CUDA module was built with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CudaBuild {
    /// The toolkit's major version: 13.
    pub major: u32,
    /// What it has code for; empty where that is not known.
    pub architectures: Vec<Architecture>,
}

/// Kinds of device, as ggml tells them apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeviceKind {
    /// The processor.
    Cpu,
    /// A GPU with memory of its own, also one that another machine or process serves.
    Gpu,
    /// A GPU that shares the main memory.
    IntegratedGpu,
    /// Helps the processor and has no memory of its own.
    Accelerator,
    /// None of these.
    #[default]
    Unknown,
}

/// A device that a module sees.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// ggml's name: `CUDA0`.
    pub name: String,
    /// What its maker calls it.
    pub description: String,
    /// Its kind.
    pub kind: DeviceKind,
    /// Bytes; 0 where the module does not know.
    pub memory_total: u64,
    /// Bytes; 0 where the module does not know.
    pub memory_free: u64,
    /// As NVML writes it, where it is known.
    pub uuid: Option<String>,
    /// Its place on the bus, where it is known.
    pub pci: Option<String>,
}

/// What one layer takes, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// Its weights.
    pub weights: u64,
    /// What it keeps of each token of the context.
    pub kv_per_token: u64,
    /// What it keeps whatever the context is: a window, a recurrent state.
    pub kv_fixed: u64,
}

impl Layer {
    /// What it keeps at this context. Wider than any sum of `u64`, so that nonsense cannot overflow.
    pub(super) fn kv(&self, context: u32) -> u128 {
        u128::from(self.kv_per_token) * u128::from(context) + u128::from(self.kv_fixed)
    }
}

/// What the model takes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Need {
    /// Its layers, from the first to the last; empty where the file could not be read.
    pub layers: Vec<Layer>,
    /// Weights of the output layer, in bytes. It counts as one more layer, and is the first to leave the processor.
    pub output: u64,
    /// Weights that always stay in main memory (the token embeddings), in bytes.
    pub input: u64,
    /// Buffers for computing, in bytes, on each device that computes.
    pub compute: u64,
    /// Longest context it was trained for, in tokens; 0 where the file does not say.
    pub trained_context: u32,
    /// Context that is taken where nobody chose one, in tokens.
    pub usual_context: u32,
}

impl Need {
    /// A model whose layers are all alike.
    #[must_use]
    pub fn uniform(layers: u32, layer: Layer) -> Self {
        Self { layers: vec![layer; layers as usize], ..Self::default() }
    }

    /// Layers that can be given to a device: the model's own, and the output.
    #[must_use]
    pub fn total_layers(&self) -> u32 {
        if self.layers.is_empty() {
            return 0;
        }
        u32::try_from(self.layers.len()).unwrap_or(u32::MAX).saturating_add(1)
    }
}

/// Where the person wants a model to run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// Where it runs best, decided anew at each load.
    #[default]
    Auto,
    /// On the processor.
    Cpu,
    /// On the device of this name (`CUDA0`), description or UUID, or on any device of the module of this name
    /// (`cuda`). The case of the letters does not matter.
    Device(String),
}

/// Where the KV cache of offloaded layers lies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KvPlace {
    /// In the device's memory.
    #[default]
    Device,
    /// In main memory.
    Host,
}

impl KvPlace {
    /// The word that JSON and people see.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Device => "device",
            Self::Host => "host",
        }
    }
}

/// What the person chose; `None` leaves it to us.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choice {
    /// Where it runs.
    pub place: Place,
    /// This conversation always runs on the processor, whatever else is chosen.
    pub always_cpu: bool,
    /// Layers on the device, the output counted; more than the model has, for all.
    pub layers: Option<u32>,
    /// Where the KV cache lies.
    pub kv: Option<KvPlace>,
    /// Context size, in tokens.
    pub context: Option<u32>,
    /// Whether a smaller context may be taken where memory is short.
    pub context_may_shrink: bool,
    /// Threads that compute.
    pub threads: Option<u32>,
}

/// Whether states survive at one place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Survival {
    /// It was not tried.
    #[default]
    NotRun,
    /// They do.
    Passed,
    /// They do not.
    Failed,
}

/// Where a model and its KV cache lie when it is judged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JudgedPlace {
    /// On the device of this name, the KV cache as well.
    DeviceKv(String),
    /// On the device of this name, the KV cache in main memory.
    HostKv(String),
    /// On the processor.
    Cpu,
}

/// The places that were judged for this model.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Qualified {
    /// Each place at most once; of several verdicts on one, a failed one counts.
    pub places: Vec<(JudgedPlace, Survival)>,
}

impl Qualified {
    /// What is known of a device with its KV cache there or in main memory.
    #[must_use]
    pub fn on_device(&self, device: &str, kv: KvPlace) -> Survival {
        self.find(|place| match (place, kv) {
            (JudgedPlace::DeviceKv(name), KvPlace::Device) | (JudgedPlace::HostKv(name), KvPlace::Host) => {
                name == device
            }
            _ => false,
        })
    }

    /// What is known of the processor.
    #[must_use]
    pub fn on_cpu(&self) -> Survival {
        self.find(|place| *place == JudgedPlace::Cpu)
    }

    fn find(&self, is: impl Fn(&JudgedPlace) -> bool) -> Survival {
        let mut found = Survival::NotRun;
        for (_, survival) in self.places.iter().filter(|(place, _)| is(place)) {
            match survival {
                Survival::Failed => return Survival::Failed,
                Survival::Passed => found = Survival::Passed,
                Survival::NotRun => {}
            }
        }
        found
    }
}

/// The most that may be tried, because more has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ceiling {
    /// Layers on the device; 0 for the processor alone.
    pub layers: u32,
    /// Where the KV cache lies: once in main memory, it stays there.
    pub kv: KvPlace,
    /// Context size, in tokens.
    pub context: u32,
}
