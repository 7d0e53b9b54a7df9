//! Which devices a model could run on, and what stands in the way of the others.

use std::cmp::Ordering;

use super::cuda::{compare, driver_floor, read_mask, same_pci, same_uuid};
use super::memory::usable;
use super::situation::{CudaBuild, Device, DeviceKind, Gpu, Machine, Module, Nvml, Os, Situation};
use super::trace::{Code, RemedyCode, Step};

/// A device that can be used.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate<'a> {
    /// Name of the module that serves it.
    pub(super) backend: &'a str,
    pub(super) device: &'a Device,
    /// The card NVML knows it as.
    pub(super) gpu: Option<&'a Gpu>,
    /// It shares the main memory.
    pub(super) integrated: bool,
    /// What nobody uses of its memory, in bytes.
    pub(super) free: u64,
    /// What of it a model may take, in bytes.
    pub(super) usable: u64,
}

/// Looks at all that was found, from the driver to each device.
pub(super) fn look<'a>(situation: &'a Situation, trace: &mut Vec<Step>) -> Vec<Candidate<'a>> {
    let machine = &situation.machine;
    trace.push(nvml(machine));
    if machine.on_battery == Some(true) {
        trace.push(Step::info(Code::OnBattery));
    }
    let cuda_devices = situation.modules.iter().filter(|module| is_cuda(module));
    let seen: Vec<&Device> =
        cuda_devices.flat_map(|module| &module.devices).filter(|device| is_gpu(device)).collect();
    let hidden = hidden(machine, &seen, trace);

    let mut candidates = Vec::new();
    for module in &situation.modules {
        let gpus: Vec<&Device> = module.devices.iter().filter(|device| is_gpu(device)).collect();
        if let Some(message) = &module.failure {
            trace.push(module_failed(module, message));
            continue;
        }
        if module.devices.iter().any(|device| device.kind == DeviceKind::Cpu) && gpus.is_empty() {
            continue;
        }
        trace.push(
            Step::passed(Code::ModuleLoaded)
                .with("module", module.name.as_str())
                .with("devices", u32::try_from(gpus.len()).unwrap_or(u32::MAX)),
        );
        if module.cuda.as_ref().is_some_and(|build| !driver_serves(machine, module, build, trace)) {
            continue;
        }
        for device in gpus {
            let gpu = machine.gpus.iter().find(|gpu| is_same(device, gpu));
            if hidden.iter().any(|name| *name == device.name) && is_cuda(module) {
                trace.push(
                    Step::failed(
                        Code::DeviceHidden,
                        RemedyCode::ChangeVisibleDevices,
                        "Unset CUDA_VISIBLE_DEVICES, or add this card to it, and start Reprise again.",
                    )
                    .with("device", device.name.as_str()),
                );
            } else if let Some(candidate) = candidate(module, device, gpu, trace) {
                candidates.push(candidate);
            }
        }
    }
    modules_missing(situation, trace);
    candidates
}

fn is_cuda(module: &Module) -> bool {
    module.cuda.is_some() || module.name.eq_ignore_ascii_case("cuda")
}

fn is_gpu(device: &Device) -> bool {
    matches!(device.kind, DeviceKind::Gpu | DeviceKind::IntegratedGpu)
}

fn is_same(device: &Device, gpu: &Gpu) -> bool {
    let both = |left: &Option<String>, right: &Option<String>, same: fn(&str, &str) -> bool| {
        left.as_ref().zip(right.as_ref()).map(|(left, right)| same(left, right))
    };
    both(&device.uuid, &gpu.uuid, same_uuid).or(both(&device.pci, &gpu.pci, same_pci)).unwrap_or(false)
}

fn nvml(machine: &Machine) -> Step {
    use RemedyCode::{DetectAgain, GrantAccess, InstallDriver, LoadDriver, Restart};
    let (cause, code, text) = match machine.nvml {
        Nvml::NotAsked => return Step::info(Code::Nvml).with("cause", "not_asked"),
        Nvml::Present => {
            let step =
                Step::passed(Code::Nvml).with("cards", u32::try_from(machine.gpus.len()).unwrap_or(u32::MAX));
            return match &machine.driver {
                Some(driver) => step.with("driver", driver.as_str()),
                None => step,
            };
        }
        Nvml::NoLibrary => match machine.os {
            Os::Linux => (
                "no_library",
                InstallDriver,
                "If this computer has an NVIDIA card, install its driver from your distribution, version 580 or newer, and restart.",
            ),
            Os::Windows => (
                "no_library",
                InstallDriver,
                "If this computer has an NVIDIA card, install its driver from nvidia.com, version 580 or newer.",
            ),
            Os::Other => ("no_library", DetectAgain, "NVIDIA has no driver for this operating system."),
        },
        Nvml::NoDriver if machine.os == Os::Linux => (
            "no_driver",
            LoadDriver,
            "The driver is installed and not loaded: run \"sudo modprobe nvidia\", or restart the computer.",
        ),
        Nvml::NoDriver => ("no_driver", LoadDriver, "Restart the computer, or install the driver again."),
        Nvml::NoPermission if machine.os == Os::Linux => (
            "no_permission",
            GrantAccess,
            "Let this user open /dev/nvidiactl and /dev/nvidia0, often by adding it to the group video or render.",
        ),
        Nvml::NoPermission => (
            "no_permission",
            GrantAccess,
            "Ask whoever administers this computer for access to its graphics card.",
        ),
        Nvml::VersionMismatch => {
            ("version_mismatch", Restart, "The driver was updated while it was in use: restart the computer.")
        }
        Nvml::GpuLost => (
            "gpu_lost",
            Restart,
            "A card stopped answering: restart the computer, and look after its power and heat.",
        ),
        Nvml::Failed => {
            ("failed", DetectAgain, "Choose Detect again; the diagnostics have the library's own words.")
        }
    };
    Step::failed(Code::Nvml, code, text).with("cause", cause)
}

/// Names of the CUDA devices that `CUDA_VISIBLE_DEVICES` hides.
///
/// A list of devices that was made under the variable is already without them, and in the order of CUDA, which
/// need not be NVML's. So cards are taken out only where more are seen than the variable lets through.
fn hidden<'a>(machine: &Machine, seen: &[&'a Device], trace: &mut Vec<Step>) -> Vec<&'a str> {
    let Some(value) = &machine.cuda_visible_devices else { return Vec::new() };
    // Without NVML, cards are counted as CUDA counts them.
    let counted: Vec<Gpu>;
    let gpus = if machine.gpus.is_empty() {
        counted = seen.iter().map(|device| Gpu { uuid: device.uuid.clone(), ..Gpu::default() }).collect();
        &counted
    } else {
        &machine.gpus
    };
    let mask = read_mask(value, gpus);
    let step = if mask.visible.is_empty() && mask.stopped_at.is_none() && !mask.quoted {
        // Empty: somebody asked for no cards, and that is what there is.
        Step::info(Code::VisibleDevices)
    } else if mask.quoted && seen.is_empty() {
        Step::failed(
            Code::VisibleDevices,
            RemedyCode::ChangeVisibleDevices,
            "CUDA does not understand quotation marks in CUDA_VISIBLE_DEVICES: set it without them and start Reprise again.",
        )
    } else if mask.stopped_at.as_deref().is_some_and(|entry| entry != "-1") {
        Step::failed(
            Code::VisibleDevices,
            RemedyCode::ChangeVisibleDevices,
            "CUDA_VISIBLE_DEVICES names a card that is not there or names one twice: correct it and start Reprise again.",
        )
    } else {
        Step::info(Code::VisibleDevices)
    };
    let step = step
        .with("value", value.as_str())
        .with("visible", mask.visible.iter().map(ToString::to_string).collect::<Vec<_>>());
    trace.push(match mask.stopped_at {
        Some(entry) => step.with("stopped_at", entry),
        None => step,
    });
    if seen.len() <= mask.visible.len() {
        return Vec::new();
    }
    let lets_through = |(at, device): (usize, &&Device)| {
        let index = machine.gpus.iter().position(|gpu| is_same(device, gpu)).unwrap_or(at);
        mask.visible.contains(&index)
    };
    let all = seen.iter().enumerate();
    all.filter(|entry| !lets_through(*entry)).map(|(_, device)| device.name.as_str()).collect()
}

fn module_failed(module: &Module, message: &str) -> Step {
    let text = if message.contains("libcuda") || message.contains("nvcuda") {
        "Install the NVIDIA driver, then choose Detect again."
    } else if is_cuda(module) {
        "Install the CUDA pack again; the message names what it lacks."
    } else {
        "Install Reprise again; the message names what is missing."
    };
    let code = if text.contains("driver") { RemedyCode::InstallDriver } else { RemedyCode::ReinstallModule };
    Step::failed(Code::ModuleFailed, code, text).with("module", module.name.as_str()).with("message", message)
}

/// Whether the driver is new enough; not knowing is no reason against it.
fn driver_serves(machine: &Machine, module: &Module, build: &CudaBuild, trace: &mut Vec<Step>) -> bool {
    let told = |step: Step| {
        let step = step.with("module", module.name.as_str()).with("cuda_major", build.major);
        match &machine.driver {
            Some(driver) => step.with("driver", driver.as_str()),
            None => step,
        }
    };
    let floor = driver_floor(machine.os, build.major);
    let order = |than: &str| machine.driver.as_ref().and_then(|driver| compare(driver, than));
    let Some((floor, against_least)) = floor.and_then(|floor| Some((floor, order(floor.least)?))) else {
        trace.push(told(Step::info(Code::DriverFloor)));
        return true;
    };
    if against_least == Ordering::Less {
        let step = Step::failed(
            Code::DriverFloor,
            RemedyCode::UpdateDriver,
            format!("Update the NVIDIA driver to version {} or newer, and restart.", floor.full),
        );
        trace.push(told(step).with("needs", floor.least));
        return false;
    }
    let step = told(Step::passed(Code::DriverFloor)).with("needs", floor.least);
    let limited = order(floor.full) == Some(Ordering::Less);
    trace.push(if limited { step.with("minor_version_compatibility", true) } else { step });
    true
}

fn candidate<'a>(
    module: &'a Module,
    device: &'a Device,
    gpu: Option<&'a Gpu>,
    trace: &mut Vec<Step>,
) -> Option<Candidate<'a>> {
    let named = |step: Step| step.with("device", device.name.as_str());
    if gpu.is_some_and(|gpu| gpu.lost) {
        trace.push(named(Step::failed(
            Code::GpuLost,
            RemedyCode::Restart,
            "This card stopped answering: restart the computer, and look after its power and heat.",
        )));
        return None;
    }
    let capability = gpu.and_then(|gpu| gpu.capability);
    if let (Some(build), Some(card)) = (&module.cuda, capability)
        && !build.architectures.is_empty()
    {
        let built: Vec<String> = build.architectures.iter().map(ToString::to_string).collect();
        let runs = build.architectures.iter().any(|architecture| architecture.runs_on(card));
        let step = if runs {
            Step::passed(Code::Capability)
        } else {
            let text = format!(
                "Install a CUDA pack that is built for capability {card}; this one is for {}.",
                built.join(", ")
            );
            Step::failed(Code::Capability, RemedyCode::OtherPack, text)
        };
        trace.push(named(step).with("capability", card).with("built_for", built));
        if !runs {
            return None;
        }
    }
    // Whatever is smaller holds: the two are not measured at the same moment.
    let known = |bytes: u64| (bytes > 0).then_some(bytes);
    let by_nvml = gpu.and_then(|gpu| gpu.memory_free);
    let by_module = known(device.memory_free);
    let Some(free) = by_module.into_iter().chain(by_nvml).min() else {
        trace.push(named(Step::failed(
            Code::DeviceMemoryUnknown,
            RemedyCode::DetectAgain,
            "Nobody knows how much memory this device has left: choose Detect again.",
        )));
        return None;
    };
    let total = known(device.memory_total).or(gpu.and_then(|gpu| gpu.memory_total)).unwrap_or(free);
    let integrated = device.kind == DeviceKind::IntegratedGpu || gpu.is_some_and(|gpu| gpu.integrated);
    let mut step = named(Step::info(Code::DeviceSeen))
        .with("description", device.description.as_str())
        .with("known_to_nvml", gpu.is_some())
        .with("integrated", integrated)
        .bytes("total_bytes", total)
        .bytes("free_bytes", free);
    if let Some(gpu) = gpu {
        step = step.with("laptop", gpu.laptop);
    }
    trace.push(step);
    let usable = usable(free, total);
    Some(Candidate { backend: &module.name, device, gpu, integrated, free, usable })
}

/// What is not there at all.
fn modules_missing(situation: &Situation, trace: &mut Vec<Step>) {
    let loaded = || situation.modules.iter().filter(|module| module.failure.is_none());
    let devices = || loaded().flat_map(|module| &module.devices);
    let gpus = &situation.machine.gpus;
    if !situation.modules.is_empty() && !devices().any(|device| device.kind == DeviceKind::Cpu) {
        trace.push(Step::failed(
            Code::NoCpuModule,
            RemedyCode::ReinstallModule,
            "The modules for the processor are missing: install Reprise again.",
        ));
    }
    let tried_cuda = situation.modules.iter().any(is_cuda);
    if !tried_cuda && !gpus.is_empty() {
        let step = Step::failed(
            Code::NoGpuModule,
            RemedyCode::InstallPack,
            "Install the CUDA pack in Settings, Hardware, to use the NVIDIA card.",
        );
        trace.push(step.with("cards", u32::try_from(gpus.len()).unwrap_or(u32::MAX)));
    } else if !devices().any(is_gpu) && !situation.modules.iter().any(|module| module.failure.is_some()) {
        trace.push(Step::info(Code::NoGpuModule));
    }
    let masked = situation.machine.cuda_visible_devices.is_some();
    let cuda_loaded = loaded().any(is_cuda);
    for gpu in gpus.iter().filter(|_| cuda_loaded) {
        let unseen = !devices().any(|device| is_same(device, gpu));
        let sees_unnamed =
            devices().any(|device| is_gpu(device) && device.uuid.is_none() && device.pci.is_none());
        if unseen && !sees_unnamed && !masked {
            let name = gpu.name.as_deref().or(gpu.uuid.as_deref()).unwrap_or("NVIDIA GPU");
            let step = Step::failed(
                Code::GpuNotSeen,
                RemedyCode::UpdateDriver,
                "NVIDIA's driver lists this card and CUDA does not see it: restart, or update the driver.",
            );
            trace.push(step.with("card", name));
        }
    }
}
