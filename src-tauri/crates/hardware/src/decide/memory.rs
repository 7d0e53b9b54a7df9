//! What goes where: how many layers a device's memory takes.

use super::situation::{KvPlace, Need};

/// Least memory of a device that is left free, in bytes: the driver, the window system and CUDA's own
/// context and cuBLAS's workspace take some hundreds of MiB that no sum of tensors shows.
pub const MARGIN_BYTES: u64 = 512 << 20;

/// And at least this share of the device's memory: one in so many (5 %).
pub const MARGIN_SHARE: u64 = 20;

/// Fewer layers than one in so many are not worth it: each token then waits for a transfer there and back,
/// and the processor does nearly all of the work anyway.
pub const WORTHWHILE_SHARE: u32 = 8;

/// What a model may take of a device with so much memory free, in bytes.
#[must_use]
pub fn usable(free: u64, total: u64) -> u64 {
    free.saturating_sub(MARGIN_BYTES.max(total.max(free) / MARGIN_SHARE))
}

/// The fewest layers that Auto gives to a device, of so many.
#[must_use]
pub fn worthwhile(total: u32) -> u32 {
    total.div_ceil(WORTHWHILE_SHARE)
}

/// What one device is given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Load {
    pub(super) layers: u32,
    pub(super) bytes: u64,
}

/// The model's layers in the order in which they leave the processor: the output, then from the last to the
/// first, as `n_gpu_layers` of llama.cpp counts (`llama_model::load_tensors`, `i_gpu_start`).
pub(super) struct Stack {
    layers: Vec<(u128, u128)>,
    compute: u128,
    input: u128,
}

impl Stack {
    pub(super) fn of(need: &Need, context: u32) -> Self {
        let blocks = need.layers.iter().rev().map(|layer| (u128::from(layer.weights), layer.kv(context)));
        let output = (u128::from(need.output), 0);
        let layers =
            if need.layers.is_empty() { Vec::new() } else { std::iter::once(output).chain(blocks).collect() };
        Self { layers, compute: need.compute.into(), input: need.input.into() }
    }

    pub(super) fn weights(&self) -> u128 {
        self.input + self.layers.iter().map(|(weights, _)| weights).sum::<u128>()
    }

    pub(super) fn kv(&self) -> u128 {
        self.layers.iter().map(|(_, kv)| kv).sum()
    }

    /// Main memory that is needed when so many layers have left.
    pub(super) fn on_host(&self, gone: u32, kv: KvPlace) -> u128 {
        let gone = (gone as usize).min(self.layers.len());
        let rest = self.layers[gone..].iter().map(|(weights, kv)| weights + kv).sum::<u128>();
        let kept = match kv {
            KvPlace::Device => 0,
            KvPlace::Host => self.layers[..gone].iter().map(|(_, kv)| kv).sum(),
        };
        let computes = gone < self.layers.len() || (kv == KvPlace::Host && kept > 0) || gone == 0;
        self.input + rest + kept + if computes { self.compute } else { 0 }
    }

    /// Fills one device after the other, each with as many layers as it takes, `limit` in all.
    ///
    /// A device that has more room never leads to fewer layers, as long as the roomiest comes first.
    pub(super) fn fill(&self, rooms: impl Iterator<Item = u64>, kv: KvPlace, limit: u32) -> Vec<Load> {
        let limit = (limit as usize).min(self.layers.len());
        let mut next = 0;
        let mut fill_one = |room: u64| {
            let mut bytes = self.compute;
            let mut load = Load::default();
            for (weights, cache) in &self.layers[next..limit] {
                let more = bytes + weights + if kv == KvPlace::Device { *cache } else { 0 };
                let Some(fits) = u64::try_from(more).ok().filter(|more| *more <= room) else { break };
                bytes = more;
                load = Load { layers: load.layers + 1, bytes: fits };
            }
            next += load.layers as usize;
            load
        };
        rooms.map(&mut fill_one).collect()
    }
}
