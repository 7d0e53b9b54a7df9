//! What NVML is asked about a card. Each question stands alone: one that fails hides no other.

use std::collections::BTreeMap;

use nvml_wrapper::Device;
use nvml_wrapper::enum_wrappers::device::TemperatureSensor;
use nvml_wrapper::enums::device::UsedGpuMemory;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::struct_wrappers::device::{MemoryInfo, ProcessInfo};

use crate::gpu::{Gpu, GpuProcess, GpuSample, Missing, MissingCause};

/// No machine has more; a library that claims so is not believed.
const MOST_CARDS: u32 = 64;

/// A process's name is not read beyond this many bytes.
const PROCESS_NAME: usize = 256;

/// Collects why values are not there.
#[derive(Default)]
pub(crate) struct Gaps {
    pub(crate) missing: BTreeMap<String, Missing>,
    /// An answer said that a card, or NVML as a whole, is of no use before it is started anew.
    pub(crate) lost: bool,
}

impl Gaps {
    /// The value, or a note of why there is none.
    pub(crate) fn take<T>(&mut self, name: &str, answer: Result<T, NvmlError>) -> Option<T> {
        match answer {
            Ok(value) => Some(value),
            Err(error) => {
                self.note(name, &error);
                None
            }
        }
    }

    fn note(&mut self, name: &str, error: &NvmlError) {
        let cause = match error {
            NvmlError::NotSupported => MissingCause::NotSupported,
            NvmlError::NoPermission | NvmlError::OperatingSystem => MissingCause::NoPermission,
            NvmlError::GpuLost | NvmlError::ResetRequired => MissingCause::GpuLost,
            NvmlError::FailedToLoadSymbol(_) | NvmlError::FunctionNotFound => MissingCause::NotInThisDriver,
            _ => MissingCause::Other,
        };
        self.lost |= cause == MissingCause::GpuLost || matches!(error, NvmlError::Uninitialized);
        self.missing.insert(name.to_owned(), Missing { cause, detail: error.to_string() });
    }
}

/// All cards, each asked by `ask`, also one that cannot be reached.
pub(crate) fn each<T>(
    nvml: &nvml_wrapper::Nvml,
    gaps: &mut Gaps,
    mut ask: impl FnMut(u32, Result<Device<'_>, NvmlError>) -> (T, bool),
) -> Vec<T> {
    let count = gaps.take("gpus", nvml.device_count()).unwrap_or_default().min(MOST_CARDS);
    let mut cards = Vec::new();
    for index in 0..count {
        let (card, lost) = ask(index, nvml.device_by_index(index));
        gaps.lost |= lost;
        cards.push(card);
    }
    cards
}

/// The card, and whether it was lost.
pub(crate) fn describe(
    nvml: &nvml_wrapper::Nvml,
    index: u32,
    device: Result<Device<'_>, NvmlError>,
) -> (Gpu, bool) {
    let mut gaps = Gaps::default();
    let device = match device {
        Ok(device) => device,
        Err(error) => {
            for name in SAMPLED.iter().chain(DESCRIBED) {
                gaps.note(name, &error);
            }
            return (Gpu { index, missing: gaps.missing, ..Gpu::default() }, gaps.lost);
        }
    };
    let memory = memory(&device, &mut gaps);
    let capability = gaps.take("compute_capability", device.cuda_compute_capability());
    let pci = gaps.take("pci_bus_id", device.pci_info());
    let gpu = Gpu {
        index,
        name: gaps.take("name", device.name()),
        uuid: gaps.take("uuid", device.uuid()),
        // NVML's own string has eight digits of the domain; a GPU's function is always 0.
        pci_bus_id: pci.map(|pci| format!("{:04x}:{:02x}:{:02x}.0", pci.domain, pci.bus, pci.device)),
        memory_total: memory.as_ref().map(|memory| memory.total),
        memory_free: memory.as_ref().map(|memory| memory.free),
        memory_used: memory.as_ref().map(|memory| memory.used),
        compute_capability: capability.map(|version| format!("{}.{}", version.major, version.minor)),
        temperature_c: gaps.take("temperature_c", device.temperature(TemperatureSensor::Gpu)),
        utilisation: utilisation(&device, &mut gaps),
        power_mw: gaps.take("power_mw", device.power_usage()),
        power_limit_mw: gaps.take("power_limit_mw", device.enforced_power_limit()),
        processes: processes(nvml, &device, &mut gaps),
        missing: BTreeMap::new(),
    };
    (Gpu { missing: gaps.missing, ..gpu }, gaps.lost)
}

/// What [`sample`] reads.
const SAMPLED: &[&str] =
    &["memory_total", "memory_free", "memory_used", "temperature_c", "utilisation", "power_mw"];

/// What [`describe`] reads besides.
const DESCRIBED: &[&str] =
    &["name", "uuid", "pci_bus_id", "compute_capability", "power_limit_mw", "processes"];

/// What changes from second to second, and whether the card was lost.
pub(crate) fn sample(index: u32, device: Result<Device<'_>, NvmlError>) -> (GpuSample, bool) {
    let mut gaps = Gaps::default();
    let device = match device {
        Ok(device) => device,
        Err(error) => {
            for name in SAMPLED {
                gaps.note(name, &error);
            }
            return (GpuSample { index, missing: gaps.missing, ..GpuSample::default() }, gaps.lost);
        }
    };
    let memory = memory(&device, &mut gaps);
    let sample = GpuSample {
        index,
        memory_total: memory.as_ref().map(|memory| memory.total),
        memory_free: memory.as_ref().map(|memory| memory.free),
        memory_used: memory.as_ref().map(|memory| memory.used),
        temperature_c: gaps.take("temperature_c", device.temperature(TemperatureSensor::Gpu)),
        utilisation: utilisation(&device, &mut gaps),
        power_mw: gaps.take("power_mw", device.power_usage()),
        missing: BTreeMap::new(),
    };
    (GpuSample { missing: gaps.missing, ..sample }, gaps.lost)
}

/// Drivers before 510 cannot be asked in the only way that the library's wrapper knows.
fn memory(device: &Device<'_>, gaps: &mut Gaps) -> Option<MemoryInfo> {
    match device.memory_info() {
        Ok(memory) => Some(memory),
        Err(error) => {
            for name in ["memory_total", "memory_free", "memory_used"] {
                gaps.note(name, &error);
            }
            None
        }
    }
}

fn utilisation(device: &Device<'_>, gaps: &mut Gaps) -> Option<u32> {
    gaps.take("utilisation", device.utilization_rates()).map(|rates| rates.gpu.min(100))
}

fn processes(nvml: &nvml_wrapper::Nvml, device: &Device<'_>, gaps: &mut Gaps) -> Option<Vec<GpuProcess>> {
    let halves = [
        ("compute_processes", device.running_compute_processes()),
        ("graphics_processes", device.running_graphics_processes()),
    ];
    if let [(_, Err(error)), (_, Err(_))] = &halves {
        gaps.note("processes", error);
        return None;
    }
    // One that computes and draws is listed twice, with all that it holds.
    let mut held: BTreeMap<u32, Option<u64>> = BTreeMap::new();
    for (name, half) in halves {
        for process in gaps.take(name, half).unwrap_or_default() {
            let bytes = held.entry(process.pid).or_default();
            *bytes = (*bytes).max(used(&process));
        }
    }
    let mut processes: Vec<GpuProcess> = held
        .into_iter()
        .map(|(pid, memory_used)| GpuProcess { pid, name: program(nvml, pid), memory_used })
        .collect();
    processes.sort_by_key(|process| std::cmp::Reverse(process.memory_used));
    Some(processes)
}

fn used(process: &ProcessInfo) -> Option<u64> {
    match process.used_gpu_memory {
        UsedGpuMemory::Used(bytes) => Some(bytes),
        UsedGpuMemory::Unavailable => None,
    }
}

/// Without its folders, which may name a person.
fn program(nvml: &nvml_wrapper::Nvml, pid: u32) -> Option<String> {
    let whole = nvml.sys_process_name(pid, PROCESS_NAME).ok()?;
    let name = whole.rsplit(['/', '\\']).next().unwrap_or_default().trim();
    (!name.is_empty()).then(|| name.to_owned())
}
