//! ggml's backend modules and llama.cpp's build: the parts that the safe crate does not offer.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_char};
use std::path::Path;

use llama_cpp_2::llama_backend::{LlamaBackend, load_backends_from_path};
use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::{LlamaBackendDeviceType, list_llama_ggml_backend_devices};
use llama_cpp_sys_2 as sys;
use reprise_engine::message::{Device, DeviceKind, Module};

use crate::log::Captured;

/// The compute modules in the worker's own folder.
#[derive(Debug)]
pub struct Backends {
    /// What loaded.
    pub modules: Vec<Module>,
    /// What they see.
    pub devices: Vec<Device>,
    /// llama.cpp, where at least one module can compute.
    pub llama: Option<LlamaBackend>,
}

/// Loads the modules that lie beside this program, and nothing else: where none loads, llama.cpp is
/// not initialised, because it would then look for modules in places that anybody may write to.
#[must_use]
pub fn load(folder: &Path, captured: &Captured) -> Backends {
    captured.clear();
    // The crate panics on any other path, and "nothing loaded" is an answer that the app understands.
    if folder.to_str().is_some() {
        load_backends_from_path(folder);
    }
    let lines = captured.lines();
    // SAFETY: reading ggml's registry, which nobody changes at the same time: this runs once, at the
    // start, on the thread that owns llama.cpp.
    let count = unsafe { sys::ggml_backend_reg_count() };
    let modules = (0..count)
        .map(|index| {
            // SAFETY: as above, and the index is below the count.
            let name = unsafe { text(sys::ggml_backend_reg_name(sys::ggml_backend_reg_get(index))) };
            // ggml's own words: "load_backend: loaded CPU backend from /…/libggml-cpu-zen4.so".
            let told = format!("loaded {name} backend from ");
            let file = lines.iter().find_map(|line| line.split_once(&told)).map(|(_, path)| {
                let path = Path::new(path.trim());
                path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
            });
            Module { name, file }
        })
        .collect();
    let devices: Vec<Device> = list_llama_ggml_backend_devices()
        .into_iter()
        .map(|device| Device {
            name: device.name,
            description: device.description,
            backend: device.backend,
            kind: match device.device_type {
                LlamaBackendDeviceType::Cpu => DeviceKind::Cpu,
                LlamaBackendDeviceType::Accelerator => DeviceKind::Accelerator,
                LlamaBackendDeviceType::Gpu => DeviceKind::Gpu,
                LlamaBackendDeviceType::IntegratedGpu => DeviceKind::IntegratedGpu,
                LlamaBackendDeviceType::Unknown => DeviceKind::Unknown,
            },
            memory_total: device.memory_total as u64,
            memory_free: device.memory_free as u64,
        })
        .collect();
    let can_compute = devices.iter().any(|device| device.kind == DeviceKind::Cpu);
    let llama = if can_compute { LlamaBackend::init().ok() } else { None };
    Backends { modules, devices, llama }
}

/// The index by which a device is known to llama.cpp, by ggml's name of it.
pub(crate) fn device_index(name: &str) -> Option<usize> {
    list_llama_ggml_backend_devices()
        .into_iter()
        .find(|device| device.name == name)
        .map(|device| device.index)
}

/// What a device's maker calls it, by ggml's name of it.
pub(crate) fn device_description(name: &str) -> Option<String> {
    let devices = list_llama_ggml_backend_devices();
    devices.into_iter().find(|device| device.name == name).map(|device| device.description)
}

/// The build that decides whether a state can be trusted: the pinned source and its own versions.
#[must_use]
pub fn build() -> String {
    // SAFETY: these return static strings.
    let (llama, ggml) = unsafe { (text(sys::llama_version()), text(sys::ggml_version())) };
    format!("llama.cpp {llama}, ggml {ggml}, llama-cpp-sys-2 {}", env!("REPRISE_LLAMA_CRATE"))
}

/// What llama.cpp knows of a loaded model and its safe crate does not tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Traits {
    /// Positions that a windowed layer sees; 0 where none is windowed. Some architectures (Gemma 2,
    /// Llama 4) have a window that their files do not mention.
    pub(crate) window: u32,
    /// Whether it has a vocabulary: without one, llama.cpp aborts on the first question about a token.
    pub(crate) has_vocabulary: bool,
    /// Whether it writes text from left to right. Encoders and diffusion models abort when sampled.
    pub(crate) writes: bool,
}

/// Asks for them.
pub(crate) fn traits(model: &LlamaModel) -> Traits {
    const { assert!(size_of::<LlamaModel>() == size_of::<*const sys::llama_model>()) };
    // SAFETY: `LlamaModel` is `repr(transparent)` over a non-null pointer to the model (llama-cpp-2 at
    // the pinned version), which lives as long as the borrow.
    let model = unsafe { *std::ptr::from_ref(model).cast::<*const sys::llama_model>() };
    // SAFETY: these read fields of a model that is loaded and no longer changes.
    unsafe {
        let vocabulary = sys::llama_model_get_vocab(model);
        Traits {
            window: u32::try_from(sys::llama_model_n_swa(model)).unwrap_or(0),
            has_vocabulary: sys::llama_vocab_type(vocabulary) != sys::LLAMA_VOCAB_TYPE_NONE
                && sys::llama_vocab_n_tokens(vocabulary) > 0,
            writes: sys::llama_model_has_decoder(model)
                && !sys::llama_model_has_encoder(model)
                && !sys::llama_model_is_diffusion(model),
        }
    }
}

/// # Safety
/// `text` is null or a string that ends in a zero byte and lives on.
unsafe fn text(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: as promised by the caller.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}
