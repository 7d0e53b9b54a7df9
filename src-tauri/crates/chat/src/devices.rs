//! What a person asks to compute on, as the engine knows it.

use reprise_engine::message::{KvPlace, Offload};
use reprise_engine::{EngineError, EngineHandle, Fault};

/// More layers than any model has: all of them.
pub const ALL_LAYERS: u32 = 9999;

/// What is to be offloaded for `backend`: `auto` and `cpu` (nothing), `cuda` (the first of its devices), or the
/// name of a device. Starts the engine where it has to look.
pub async fn offload_for(
    engine: &EngineHandle,
    backend: &str,
    layers: Option<u32>,
    kv: KvPlace,
) -> Result<Option<Offload>, EngineError> {
    if backend == "auto" || backend == "cpu" || layers == Some(0) {
        return Ok(None);
    }
    let hello = engine.hello().await?;
    let found = hello.devices.iter().find(|device| {
        device.name.eq_ignore_ascii_case(backend)
            || (backend == "cuda" && device.backend.eq_ignore_ascii_case("cuda"))
    });
    let device = found.ok_or_else(|| Fault::NoSuchDevice { device: backend.to_owned() })?;
    Ok(Some(Offload { device: device.name.clone(), layers: layers.unwrap_or(ALL_LAYERS), kv }))
}
