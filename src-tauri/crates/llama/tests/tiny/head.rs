//! What the head of a new file needs, beside reading one and editing it.

use crate::gguf::{ARRAY, Gguf};
use crate::tensor::Tensor;

const U32: u32 = 4;
const F32: u32 = 6;

impl Gguf {
    /// A head with those of these entries whose names the predicate takes, and no tensors.
    pub fn with_entries_of(other: &Self, keep: impl Fn(&str) -> bool) -> Self {
        let entries = other.entries.iter().filter(|(name, ..)| keep(name)).cloned().collect();
        Self { version: 3, n_tensors: 0, entries, tensor_infos: Vec::new(), data_start: 0, ends: [0; 3] }
    }

    /// An array of numbers of four bytes.
    pub fn numbers(&self, name: &str) -> Vec<i32> {
        // Behind the type of its elements and their count.
        let elements = self.value(name).unwrap()[12..].chunks_exact(4);
        elements.map(|element| i32::from_le_bytes(element.try_into().unwrap())).collect()
    }

    pub fn set_f32(&mut self, name: &str, value: f32) {
        self.set(name, F32, value.to_le_bytes().to_vec());
    }

    pub fn set_u32s(&mut self, name: &str, values: &[u32]) {
        let mut bytes = U32.to_le_bytes().to_vec();
        bytes.extend((values.len() as u64).to_le_bytes());
        bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        self.set(name, ARRAY, bytes);
    }

    /// Names the tensors in the order in which their data follows.
    pub fn set_tensors(&mut self, tensors: &[Tensor]) {
        self.n_tensors = tensors.len() as u64;
        self.tensor_infos.clear();
        let mut offset = 0;
        for tensor in tensors {
            self.tensor_infos.extend(tensor.info(offset));
            offset += tensor.padded_bytes();
        }
    }
}
