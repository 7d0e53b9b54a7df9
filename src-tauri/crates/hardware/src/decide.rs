//! What a model runs on: a pure function from a [`Situation`] to a [`Plan`], with a trace that says why.
//!
//! Nothing here looks at the machine, the clock or the environment. `situation` is all that goes in, `trace`
//! how it explains itself; `cuda` knows NVIDIA's floors, `candidates` judges devices, `memory` counts bytes, and
//! `ladder` says what to try when a plan failed all the same.
//!
//! To add a rule: a [`Code`] with its word, the step where the rule is applied, a remedy wherever it can fail,
//! and named cases in `tests/decide.rs`.

mod candidates;
mod cuda;
mod ladder;
mod memory;
mod place;
mod situation;
mod trace;

use std::fmt;

use serde::{Deserialize, Serialize};

use candidates::Candidate;
pub use cuda::{Architecture, Capability, DriverFloor, Reach, driver_floor};
pub use ladder::{Failure, LEAST_CONTEXT, explain, next_lower};
pub use memory::{MARGIN_BYTES, MARGIN_SHARE, WORTHWHILE_SHARE, usable, worthwhile};
pub use situation::{
    Ceiling, Choice, CudaBuild, Device, DeviceKind, Gpu, JudgedPlace, KvPlace, Layer, Machine, Module, Need,
    Nvml, Os, Place, Qualified, Situation, Survival,
};
pub use trace::{Code, Remedy, RemedyCode, Step, Value, Verdict};

use memory::Stack;
use place::{Asked, Offer};

/// The backend of a plan that uses no device.
pub const CPU: &str = "CPU";

/// ggml takes no more threads than this (`GGML_MAX_N_THREADS`).
pub const MOST_THREADS: u32 = 512;

/// What one device does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// ggml's name of the device.
    pub device: String,
    /// Its layers, the output counted.
    pub layers: u32,
    /// What it takes of the device's memory at most, in bytes.
    pub bytes: u64,
}

/// What a model runs on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The module that computes: `CUDA`, or [`CPU`] where no device is used.
    pub backend: String,
    /// Devices, the one with the model's first layers first; empty on the processor alone.
    pub devices: Vec<Share>,
    /// Layers on devices, the output counted, from the last one on.
    pub layers: u32,
    /// Layers in all, the output counted.
    pub of: u32,
    /// Where the KV cache of offloaded layers lies.
    pub kv: KvPlace,
    /// Context size, in tokens.
    pub context: u32,
    /// Whether the ladder may make it smaller.
    pub context_may_shrink: bool,
    /// Threads that compute.
    pub threads: u32,
    /// States do not survive here: they are neither kept nor restored.
    pub replay_only: bool,
}

/// Whether a model fits, in one word and its figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fit", rename_all = "snake_case")]
pub enum Fit {
    /// All of its layers are on devices.
    AllOnGpu,
    /// Some are.
    Layers {
        /// Layers on devices, the output counted.
        layers: u32,
        /// Layers in all, the output counted.
        of: u32,
    },
    /// The processor does it all.
    CpuOnly,
    /// It does not run.
    TooLarge {
        /// What it would take, in bytes.
        needs: u64,
        /// What there is, in bytes.
        has: u64,
    },
}

impl fmt::Display for Fit {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let giga = |bytes: u64| bytes as f64 / 1e9;
        match *self {
            Self::AllOnGpu => write!(out, "all on GPU"),
            Self::Layers { layers, of } => write!(out, "{layers} of {of} layers"),
            Self::CpuOnly => write!(out, "CPU only"),
            Self::TooLarge { needs, has } => {
                write!(out, "too large: needs {:.1} GB, has {:.1} GB", giga(needs), giga(has))
            }
        }
    }
}

/// What was decided, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Decision {
    /// What the model runs on; `None` where it is too large for this machine.
    pub plan: Option<Plan>,
    /// The same in one word.
    pub fit: Fit,
    /// How it came about, step by step.
    pub trace: Vec<Step>,
}

/// Decides what a model runs on. The same situation always gives the same decision.
#[must_use]
pub fn decide(situation: &Situation) -> Decision {
    let mut trace = Vec::new();
    let asked = place::asked(situation, &mut trace);
    let candidates = if asked == Asked::Cpu { Vec::new() } else { candidates::look(situation, &mut trace) };
    let (considered, manual) = place::considered(situation, &asked, &candidates, &mut trace);
    let offers = place::offers(situation, &considered, &mut trace);

    let wanted = context(situation, &mut trace);
    let mut chosen = place::choose(situation, &offers, manual, wanted);
    let mut n_ctx = wanted;
    while situation.choice.context_may_shrink && chosen.is_err() && n_ctx > LEAST_CONTEXT {
        let smaller = (n_ctx / 2).max(LEAST_CONTEXT);
        let again = place::choose(situation, &offers, manual, smaller);
        n_ctx = smaller;
        // What does not help is not done: the figures that are told are those of the wanted context.
        if again.is_ok() || n_ctx == LEAST_CONTEXT {
            chosen = again.or(chosen);
            break;
        }
    }
    if chosen.is_err() {
        n_ctx = wanted;
    }
    if n_ctx < wanted {
        let step = Step::failed(
            Code::ContextReduced,
            RemedyCode::SmallerModel,
            "Memory is too short for the context you wanted: free memory, or choose a smaller model.",
        );
        trace.push(step.with("wanted", wanted).with("context", n_ctx));
    }
    need(situation, n_ctx, &mut trace);
    let offer = match chosen {
        Ok(offer) => offer,
        Err(short) => {
            let step = Step::failed(
                Code::TooLarge,
                RemedyCode::SmallerModel,
                "Choose a smaller model, a smaller quantisation of this one, or a smaller context.",
            );
            trace.push(step.bytes("needs_bytes", short.needs).bytes("has_bytes", short.has));
            return Decision { plan: None, fit: Fit::TooLarge { needs: short.needs, has: short.has }, trace };
        }
    };
    layers(situation, &offer, manual, &mut trace);
    memory_of(situation, &offer, &considered, n_ctx, &mut trace);
    let threads = threads(situation, &mut trace);
    let plan = plan(situation, &offer, n_ctx, threads);
    trace.push(
        Step::passed(Code::Plan)
            .with("backend", plan.backend.as_str())
            .with("devices", plan.devices.iter().map(|share| share.device.clone()).collect::<Vec<_>>())
            .with("layers", plan.layers)
            .with("of", plan.of)
            .with("kv", plan.kv.as_str())
            .with("context", plan.context)
            .with("threads", plan.threads),
    );
    let fit = match plan.layers {
        0 => Fit::CpuOnly,
        layers if layers == plan.of => Fit::AllOnGpu,
        layers => Fit::Layers { layers, of: plan.of },
    };
    Decision { plan: Some(plan), fit, trace }
}

fn plan(situation: &Situation, offer: &Offer<'_>, context: u32, threads: u32) -> Plan {
    // The output leaves first and lies on the device that was filled first: the last one of the model.
    let filled = offer.shares.iter().rev().map(|(candidate, load)| Share {
        device: candidate.device.name.clone(),
        layers: load.layers,
        bytes: load.bytes,
    });
    Plan {
        backend: offer.backend.to_owned(),
        devices: filled.collect(),
        layers: offer.layers,
        of: situation.need.total_layers(),
        kv: offer.kv,
        context,
        context_may_shrink: situation.choice.context_may_shrink,
        threads,
        replay_only: offer.replay_only,
    }
}

/// The context that is wanted: chosen or usual, never longer than the model was trained for.
fn context(situation: &Situation, trace: &mut Vec<Step>) -> u32 {
    let need = &situation.need;
    let trained = if need.trained_context == 0 { u32::MAX } else { need.trained_context };
    let usual = if need.usual_context == 0 { LEAST_CONTEXT } else { need.usual_context };
    let chosen = situation.choice.context;
    let mut context = chosen.filter(|context| *context > 0).unwrap_or(usual).min(trained);
    if let Some(chosen) = chosen.filter(|chosen| *chosen != context) {
        let text = if chosen == 0 {
            "A context of no tokens holds nothing: choose a size, or leave it to Reprise."
        } else {
            "The model was trained for no longer context: choose at most that."
        };
        let step = Step::failed(Code::ContextReduced, RemedyCode::SmallerContext, text);
        trace.push(step.with("wanted", chosen).with("context", context));
    }
    if let Some(ceiling) = &situation.ceiling {
        context = context.min(ceiling.context.max(1));
    }
    trace.push(Step::info(Code::Context).with("context", context).with("trained", need.trained_context));
    context
}

fn need(situation: &Situation, context: u32, trace: &mut Vec<Step>) {
    if situation.need.layers.is_empty() {
        trace.push(Step::failed(
            Code::ModelUnknown,
            RemedyCode::CheckModel,
            "The file tells nothing of the model's layers: check that it is whole, or fetch it again.",
        ));
        return;
    }
    let stack = Stack::of(&situation.need, context);
    trace.push(
        Step::info(Code::Need)
            .bytes("weights_bytes", narrow(stack.weights()))
            .bytes("kv_bytes", narrow(stack.kv()))
            .bytes("compute_bytes", situation.need.compute)
            .with("layers", situation.need.total_layers()),
    );
}

/// How many layers went, and whether that is what was wanted.
fn layers(situation: &Situation, offer: &Offer<'_>, manual: bool, trace: &mut Vec<Step>) {
    let of = situation.need.total_layers();
    let told = |step: Step| step.with("layers", offer.layers).with("of", of);
    let wanted = situation.choice.layers.map(|wanted| wanted.min(of));
    if let Some(wanted) = wanted.filter(|wanted| *wanted > offer.layers && *wanted > 0) {
        let step = Step::failed(
            Code::LayersReduced,
            RemedyCode::FreeDeviceMemory,
            "Free memory of the device, choose a smaller context, or leave the layers to Reprise.",
        );
        trace.push(told(step).with("wanted", wanted));
    } else if let Some(few) = offer.too_few {
        let step = Step::failed(
            Code::TooFewLayers,
            RemedyCode::FreeDeviceMemory,
            "Free memory of the device, or choose a smaller model or context.",
        );
        let step = step.with("layers", few).with("of", of).with("least", worthwhile(of));
        trace.push(step);
    }
    if offer.layers > 0 {
        let code = if offer.layers == of { Code::LayersAll } else { Code::LayersPartial };
        trace.push(told(if offer.layers == of { Step::passed(code) } else { Step::info(code) }));
    } else if manual {
        trace.push(Step::failed(
            Code::ChoiceNotHeld,
            RemedyCode::ChooseAnother,
            "The model runs on the processor instead of the device you chose: see the steps above, or choose Auto.",
        ));
    }
    if offer.replay_only {
        trace.push(Step::failed(
            Code::ReplayOnly,
            RemedyCode::QualifyAgain,
            "States of this model survive nowhere here, so conversations are read again. Test again after an update.",
        ));
    }
}

/// What each memory is given.
fn memory_of(
    situation: &Situation,
    offer: &Offer<'_>,
    considered: &[Candidate<'_>],
    context: u32,
    trace: &mut Vec<Step>,
) {
    for (candidate, load) in &offer.shares {
        trace.push(
            Step::passed(Code::DeviceMemory)
                .with("device", candidate.device.name.as_str())
                .with("layers", load.layers)
                .bytes("needs_bytes", load.bytes)
                .bytes("usable_bytes", candidate.usable)
                .bytes("free_bytes", candidate.free),
        );
    }
    if offer.shares.len() > 1 {
        let names: Vec<String> =
            offer.shares.iter().map(|(candidate, _)| candidate.device.name.clone()).collect();
        trace.push(Step::info(Code::Split).with("devices", names));
    }
    let used = |name: &str| offer.shares.iter().any(|(candidate, _)| candidate.device.name == name);
    for candidate in considered.iter().filter(|candidate| !used(&candidate.device.name)) {
        if offer.layers > 0 {
            trace.push(Step::info(Code::DeviceNotNeeded).with("device", candidate.device.name.as_str()));
        }
    }
    let needs = narrow(Stack::of(&situation.need, context).on_host(offer.layers, offer.kv));
    let step = match offer.host_has {
        Some(has) => Step::passed(Code::HostMemory).bytes("needs_bytes", needs).bytes("available_bytes", has),
        None => Step::info(Code::HostMemory).bytes("needs_bytes", needs),
    };
    trace.push(step);
}

/// One thread a physical core, where nobody chose otherwise: hyper-threads share what computes.
fn threads(situation: &Situation, trace: &mut Vec<Step>) -> u32 {
    let known = |cores: Option<u32>| cores.filter(|cores| *cores > 0);
    let machine = &situation.machine;
    let logical = known(machine.logical_cores);
    let most = logical.unwrap_or(MOST_THREADS).min(MOST_THREADS);
    let usual = known(machine.physical_cores).or(logical).unwrap_or(1).min(most);
    let threads = match situation.choice.threads {
        None | Some(0) => usual,
        Some(chosen) => chosen.min(most),
    };
    if let Some(chosen) = situation.choice.threads.filter(|chosen| *chosen != threads) {
        let step = Step::failed(
            Code::ThreadsReduced,
            RemedyCode::FewerThreads,
            format!("Choose between 1 and {most} threads, or leave the number to Reprise."),
        );
        trace.push(step.with("wanted", chosen).with("threads", threads));
    }
    trace.push(Step::info(Code::Threads).with("threads", threads));
    threads
}

fn narrow(bytes: u128) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}
