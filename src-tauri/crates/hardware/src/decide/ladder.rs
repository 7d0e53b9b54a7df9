//! What is tried next when a plan failed. Each step takes something away and gives nothing back: no number
//! of a plan ever rises, and at least one falls, so that the ladder ends after a known number of steps.

use serde::{Deserialize, Serialize};

use super::memory::worthwhile;
use super::situation::{Ceiling, KvPlace};
use super::trace::{Code, RemedyCode, Step};
use super::{CPU, Plan};

/// The ladder makes no context smaller than this, in tokens: a few long messages should still fit.
pub const LEAST_CONTEXT: u32 = 2048;

/// How a plan failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    /// A device had not enough memory, at load or in use.
    OutOfDeviceMemory,
    /// Main memory was not enough.
    OutOfHostMemory,
    /// The worker died, and died again on the same action.
    WorkerDied,
    /// A device stopped answering.
    DeviceLost,
    /// States do not survive there.
    StatesLost,
}

impl Failure {
    /// The word that JSON and people see.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OutOfDeviceMemory => "out_of_device_memory",
            Self::OutOfHostMemory => "out_of_host_memory",
            Self::WorkerDied => "worker_died",
            Self::DeviceLost => "device_lost",
            Self::StatesLost => "states_lost",
        }
    }
}

/// The next plan to try; `None` where nothing less would help.
#[must_use]
pub fn next_lower(plan: &Plan, failure: Failure) -> Option<Plan> {
    match failure {
        Failure::OutOfDeviceMemory => fewer_layers(plan)
            .or_else(|| kv_to_host(plan))
            .or_else(|| smaller_context(plan))
            .or_else(|| to_cpu(plan)),
        // Whatever leaves a device would come to main memory.
        Failure::OutOfHostMemory => smaller_context(plan),
        Failure::WorkerDied => fewer_layers(plan).or_else(|| kv_to_host(plan)).or_else(|| to_cpu(plan)),
        Failure::DeviceLost => to_cpu(plan),
        Failure::StatesLost => kv_to_host(plan).or_else(|| to_cpu(plan)).or_else(|| replay_only(plan)),
    }
}

/// What was taken away between two plans, as a step to show.
#[must_use]
pub fn explain(before: &Plan, after: &Plan, failure: Failure) -> Step {
    let (code, text) = if after.layers == 0 && before.layers > 0 {
        (Code::ToCpu, "The model now runs on the processor alone. Choose Try more to use the device again.")
    } else if after.layers < before.layers {
        (Code::FewerLayers, "Fewer layers are on the device now. Free its memory and choose Try more.")
    } else if after.kv != before.kv {
        (
            Code::KvToHost,
            "The KV cache lies in main memory now. Free the device's memory and choose Try more.",
        )
    } else if after.context < before.context {
        (Code::SmallerContext, "The context is smaller now. Free memory and choose Try more.")
    } else {
        (
            Code::ReplayOnly,
            "States are neither kept nor restored now: conversations are read again. Choose Try more after an update.",
        )
    };
    Step::failed(code, RemedyCode::TryMore, text)
        .with("failure", failure.as_str())
        .with("layers_before", before.layers)
        .with("layers", after.layers)
        .with("kv_before", before.kv.as_str())
        .with("kv", after.kv.as_str())
        .with("context_before", before.context)
        .with("context", after.context)
}

impl From<&Plan> for Ceiling {
    fn from(plan: &Plan) -> Self {
        Self { layers: plan.layers, kv: plan.kv, context: plan.context }
    }
}

/// A quarter less, but no fewer than are worth it.
fn fewer_layers(plan: &Plan) -> Option<Plan> {
    let least = worthwhile(plan.of).max(1);
    let layers = (plan.layers - plan.layers.div_ceil(4)).max(least);
    if layers >= plan.layers {
        return None;
    }
    // The first device has the first layers, and the first layers are the ones that go.
    let mut excess = plan.layers - layers;
    let mut lower = Plan { layers, ..plan.clone() };
    for share in &mut lower.devices {
        let gone = excess.min(share.layers);
        share.layers -= gone;
        excess -= gone;
    }
    lower.devices.retain(|share| share.layers > 0);
    Some(lower)
}

fn kv_to_host(plan: &Plan) -> Option<Plan> {
    let lower = Plan { kv: KvPlace::Host, ..plan.clone() };
    (plan.layers > 0 && plan.kv == KvPlace::Device).then_some(lower)
}

fn smaller_context(plan: &Plan) -> Option<Plan> {
    let context = (plan.context / 2).max(LEAST_CONTEXT);
    let lower = Plan { context, ..plan.clone() };
    (plan.context_may_shrink && context < plan.context).then_some(lower)
}

fn to_cpu(plan: &Plan) -> Option<Plan> {
    let lower =
        Plan { backend: CPU.to_owned(), devices: Vec::new(), layers: 0, kv: KvPlace::Host, ..plan.clone() };
    (plan.layers > 0).then_some(lower)
}

fn replay_only(plan: &Plan) -> Option<Plan> {
    let lower = Plan { replay_only: true, ..plan.clone() };
    (!plan.replay_only).then_some(lower)
}
