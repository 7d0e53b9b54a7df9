//! Which of the devices that can be used is taken, with how many layers, and where its KV cache lies.

use super::candidates::Candidate;
use super::memory::{Load, Stack, worthwhile};
use super::situation::{KvPlace, Place, Situation, Survival};
use super::trace::{Code, RemedyCode, Step, Verdict};
use super::{CPU, narrow};

/// What the person asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// Whatever is best.
    Auto,
    /// The processor.
    Cpu,
    /// A device, or any device of a module.
    Device(String),
}

/// Devices of one module whose KV caches lie alike: what a model can be spread over.
pub(super) struct Group<'a> {
    backend: &'a str,
    kv: KvPlace,
    replay_only: bool,
    /// The roomiest first.
    members: Vec<Candidate<'a>>,
}

/// Where a model could run.
#[derive(Clone, Debug)]
pub(super) struct Offer<'a> {
    pub(super) backend: &'a str,
    pub(super) kv: KvPlace,
    pub(super) replay_only: bool,
    /// In the order in which they were filled, from the output down.
    pub(super) shares: Vec<(Candidate<'a>, Load)>,
    pub(super) layers: u32,
    /// Main memory that is there for it, in bytes.
    pub(super) host_has: Option<u64>,
    /// So many layers would have fitted on a device, and were too few.
    pub(super) too_few: Option<u32>,
}

/// What is missing for any offer, in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Short {
    pub(super) needs: u64,
    pub(super) has: u64,
}

/// Reads what was chosen.
pub(super) fn asked(situation: &Situation, trace: &mut Vec<Step>) -> Asked {
    let choice = &situation.choice;
    if choice.always_cpu {
        trace.push(Step::info(Code::AlwaysCpu));
        return Asked::Cpu;
    }
    let (asked, word) = match &choice.place {
        Place::Auto => (Asked::Auto, "auto"),
        Place::Cpu => (Asked::Cpu, "cpu"),
        Place::Device(name) if name.trim().eq_ignore_ascii_case(CPU) => (Asked::Cpu, "cpu"),
        Place::Device(name) => (Asked::Device(name.trim().to_owned()), name.as_str()),
    };
    let mut step = Step::info(Code::Choice).with("place", word);
    if let Some(layers) = choice.layers {
        step = step.with("layers", layers);
    }
    if let Some(kv) = choice.kv {
        step = step.with("kv", kv.as_str());
    }
    trace.push(step);
    if let Some(ceiling) = &situation.ceiling {
        trace.push(
            Step::info(Code::SteppedDownBefore)
                .with("layers", ceiling.layers)
                .with("kv", ceiling.kv.as_str())
                .with("context", ceiling.context)
                .remedy(
                    RemedyCode::TryMore,
                    "More failed with this model on this hardware. Choose Try more to forget that.",
                ),
        );
    }
    asked
}

/// The devices that come into question, and whether the person chose one of them.
pub(super) fn considered<'a>(
    situation: &Situation,
    asked: &Asked,
    candidates: &[Candidate<'a>],
    trace: &mut Vec<Step>,
) -> (Vec<Candidate<'a>>, bool) {
    let is = |left: &str, name: &str| left.eq_ignore_ascii_case(name);
    if let Asked::Device(name) = asked {
        let named = |candidate: &&Candidate<'_>| {
            let uuid = candidate.device.uuid.as_deref();
            let uuid = uuid.or(candidate.gpu.and_then(|gpu| gpu.uuid.as_deref()));
            is(&candidate.device.name, name)
                || is(&candidate.device.description, name)
                || uuid.is_some_and(|uuid| is(uuid, name))
        };
        let exact: Vec<Candidate<'a>> = candidates.iter().filter(named).copied().collect();
        if let Some(first) = exact.first() {
            return (vec![*first], true);
        }
        let of_module = || candidates.iter().filter(|candidate| is(candidate.backend, name)).copied();
        let discrete: Vec<Candidate<'a>> = of_module().filter(|candidate| !candidate.integrated).collect();
        if !discrete.is_empty() {
            return (discrete, true);
        }
        let integrated: Vec<Candidate<'a>> = of_module().collect();
        if !integrated.is_empty() {
            return (integrated, true);
        }
        trace.push(not_there(situation, name, candidates));
    }
    let mut discrete = Vec::new();
    for candidate in candidates {
        if candidate.integrated {
            trace.push(Step::info(Code::IntegratedSkipped).with("device", candidate.device.name.as_str()));
        } else {
            discrete.push(*candidate);
        }
    }
    (discrete, false)
}

/// A device was chosen that is not there, or that the trace has just ruled out.
fn not_there(situation: &Situation, name: &str, candidates: &[Candidate<'_>]) -> Step {
    let is = |left: &str| left.eq_ignore_ascii_case(name);
    let ruled_out = situation.modules.iter().any(|module| {
        is(&module.name)
            || module.devices.iter().any(|device| {
                is(&device.name) || is(&device.description) || device.uuid.as_deref().is_some_and(is)
            })
    });
    let exist: Vec<String> = candidates.iter().map(|candidate| candidate.device.name.clone()).collect();
    let listed = if exist.is_empty() { "there are none".to_owned() } else { exist.join(", ") };
    let (code, text) = if ruled_out {
        (Code::DeviceUnusable, format!("See the steps above, or choose another device ({listed}) or Auto."))
    } else {
        (Code::DeviceMissing, format!("Choose a device that is there ({listed}), or Auto."))
    };
    Step::failed(code, RemedyCode::ChooseAnother, text).with("device", name).with("exist", exist)
}

/// Sorts devices into what a model can be spread over, by where its states survive.
pub(super) fn offers<'a>(
    situation: &Situation,
    considered: &[Candidate<'a>],
    trace: &mut Vec<Step>,
) -> Vec<Group<'a>> {
    let mut groups: Vec<Group<'a>> = Vec::new();
    for candidate in considered {
        let Some((kv, replay_only)) = kv_place(situation, candidate, trace) else { continue };
        let alike = |group: &&mut Group<'_>| {
            group.backend == candidate.backend && group.kv == kv && group.replay_only == replay_only
        };
        if let Some(group) = groups.iter_mut().find(alike) {
            group.members.push(*candidate);
        } else {
            let backend = candidate.backend;
            groups.push(Group { backend, kv, replay_only, members: vec![*candidate] });
        }
    }
    for group in &mut groups {
        group.members.sort_by_key(|candidate| std::cmp::Reverse(candidate.usable));
    }
    if situation.qualified.on_cpu() != Survival::NotRun {
        trace.push(survival(Code::StatesOnCpu, situation.qualified.on_cpu()));
    }
    groups
}

fn survival(code: Code, found: Survival) -> Step {
    match found {
        Survival::NotRun => Step::info(code).with("tested", false),
        Survival::Passed => Step::passed(code),
        Survival::Failed => Step::failed(
            code,
            RemedyCode::QualifyAgain,
            "States do not survive here: update the driver or the pack, then run the test again.",
        ),
    }
}

/// Where the KV cache lies: on the device, else in main memory, else nowhere on this device. Where states survive on the
/// processor neither, the fault is not the device's, and it is used without keeping any.
fn kv_place(
    situation: &Situation,
    candidate: &Candidate<'_>,
    trace: &mut Vec<Step>,
) -> Option<(KvPlace, bool)> {
    let name = &candidate.device.name;
    let wanted = situation.choice.kv.unwrap_or_default();
    let forced = situation.ceiling.is_some_and(|ceiling| ceiling.kv == KvPlace::Host);
    let first = if forced { KvPlace::Host } else { wanted };
    let mut found = None;
    for kv in [KvPlace::Device, KvPlace::Host] {
        if kv == KvPlace::Device && first == KvPlace::Host {
            continue;
        }
        let code = if kv == KvPlace::Device { Code::StatesOnDevice } else { Code::StatesOnHost };
        let step = survival(code, situation.qualified.on_device(name, kv)).with("device", name.as_str());
        let holds = step.verdict != Verdict::Failed;
        trace.push(step);
        if holds {
            found = Some((kv, false));
            break;
        }
    }
    if found.is_none() && situation.qualified.on_cpu() == Survival::Failed {
        found = Some((first, true));
    }
    if situation.choice.kv == Some(KvPlace::Device) && found.is_some_and(|(kv, _)| kv == KvPlace::Host) {
        let step = Step::failed(
            Code::KvMoved,
            RemedyCode::QualifyAgain,
            "The KV cache lies in main memory instead: run the test again, or leave its place to Reprise.",
        );
        trace.push(step.with("device", name.as_str()));
    }
    found
}

/// The best offer at this context.
pub(super) fn choose<'a>(
    situation: &Situation,
    groups: &[Group<'a>],
    manual: bool,
    context: u32,
) -> Result<Offer<'a>, Short> {
    let need = &situation.need;
    let total = need.total_layers();
    let stack = Stack::of(need, context);
    let available = situation.machine.memory_available;
    let ceiling = situation.ceiling.map_or(u32::MAX, |ceiling| ceiling.layers);
    let limit = situation.choice.layers.unwrap_or(ceiling).min(total);

    let mut offers: Vec<Offer<'a>> =
        groups.iter().filter_map(|group| fill(group, &stack, limit, available)).collect();
    // Stable: of equals, the one whose module was loaded first.
    offers.sort_by_key(|offer| {
        let usable = offer.shares.iter().map(|(candidate, _)| candidate.usable).fold(0, u64::saturating_add);
        let by_kv = offer.kv == KvPlace::Host;
        (std::cmp::Reverse(offer.layers), by_kv, offer.shares.len(), std::cmp::Reverse(usable))
    });
    let missing = |offer: &Offer<'_>| {
        let needs = stack.on_host(offer.layers, offer.kv);
        offer.host_has.map_or(0, |has| narrow(needs.saturating_sub(has.into())))
    };
    let cpu = Offer {
        backend: CPU,
        kv: KvPlace::Host,
        replay_only: situation.qualified.on_cpu() == Survival::Failed,
        shares: Vec::new(),
        layers: 0,
        host_has: available,
        too_few: None,
    };
    let least = if manual || situation.choice.layers.is_some() { 1 } else { worthwhile(total).max(1) };
    let fitting = |offer: &&Offer<'a>| missing(offer) == 0;
    if let Some(offer) = offers.iter().filter(fitting).find(|offer| offer.layers >= least) {
        return Ok(offer.clone());
    }
    // Only where a device was in question at all, and would have been used.
    let had_room = groups.iter().any(|group| !group.members.is_empty()) && limit > 0;
    let too_few = had_room.then(|| offers.iter().map(|offer| offer.layers).max().unwrap_or(0));
    if missing(&cpu) == 0 {
        return Ok(Offer { too_few, ..cpu });
    }
    // Too few to be worth it, and yet all that makes the model run.
    if let Some(offer) = offers.iter().find(fitting) {
        return Ok(Offer { too_few, ..offer.clone() });
    }
    let nearest = offers.iter().chain([&cpu]).min_by_key(|offer| missing(offer)).unwrap_or(&cpu);
    let devices =
        nearest.shares.iter().map(|(candidate, _)| if candidate.integrated { 0 } else { candidate.usable });
    let shared: u64 = nearest
        .shares
        .iter()
        .filter(|(candidate, _)| candidate.integrated)
        .map(|(_, load)| load.bytes)
        .fold(0, u64::saturating_add);
    let has = devices.fold(nearest.host_has.unwrap_or(0), u64::saturating_add).saturating_add(shared);
    Err(Short { needs: has.saturating_add(missing(nearest)), has })
}

/// As many layers as the fewest devices of a group take; `None` where that is none.
fn fill<'a>(group: &Group<'a>, stack: &Stack, limit: u32, available: Option<u64>) -> Option<Offer<'a>> {
    let loads = stack.fill(group.members.iter().map(|candidate| candidate.usable), group.kv, limit);
    let shares: Vec<(Candidate<'a>, Load)> =
        group.members.iter().copied().zip(loads).filter(|(_, load)| load.layers > 0).collect();
    let layers = shares.iter().map(|(_, load)| load.layers).sum();
    let integrated = shares.iter().filter(|(candidate, _)| candidate.integrated);
    let from_host = integrated.map(|(_, load)| load.bytes).fold(0, u64::saturating_add);
    (layers > 0).then_some(Offer {
        backend: group.backend,
        kv: group.kv,
        replay_only: group.replay_only,
        shares,
        layers,
        host_has: available.map(|available| available.saturating_sub(from_host)),
        too_few: None,
    })
}
