//! Tensors whose numbers follow from their names.

use crate::gguf::{DEFAULT_ALIGNMENT, string};

/// All of seven that were tried do; with this one answers are the furthest from those of an empty context.
const SEED: u32 = 3;

/// How numbers are stored; the values are ggml's.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Element {
    F32 = 0,
    F16 = 1,
}

/// What a tensor is filled with.
enum Fill {
    /// These numbers.
    Numbers(Vec<f32>),
    /// Random numbers around zero. For each band its rows and their standard deviation.
    Bands(Vec<(u32, f32)>),
}

/// A tensor of a model.
pub struct Tensor {
    name: String,
    /// The fastest first, as GGUF has them: a matrix that maps `n` numbers to `m` is `[n, m]`.
    shape: Vec<u32>,
    element: Element,
    fill: Fill,
}

impl Tensor {
    /// A matrix that makes numbers of size 1 into numbers of size `gain`, or several such matrices.
    pub fn matrix(name: impl Into<String>, shape: &[u32], gain: f32) -> Self {
        Self::banded(name, shape[0], &[(shape[1..].iter().product(), gain)]).shaped(shape)
    }

    /// A matrix with a gain for each band of its rows, which are its outputs.
    pub fn banded(name: impl Into<String>, inputs: u32, gains: &[(u32, f32)]) -> Self {
        let deviation = |gain: f32| gain / (inputs as f32).sqrt();
        let bands: Vec<_> = gains.iter().map(|(rows, gain)| (*rows, deviation(*gain))).collect();
        let rows = bands.iter().map(|(rows, _)| rows).sum();
        Self { name: name.into(), shape: vec![inputs, rows], element: Element::F32, fill: Fill::Bands(bands) }
    }

    /// As many times the same number.
    pub fn constant(name: impl Into<String>, shape: &[u32], number: f32) -> Self {
        Self::numbers(name, (0..shape.iter().product()).map(|_| number).collect()).shaped(shape)
    }

    /// These numbers, in one dimension.
    pub fn numbers(name: impl Into<String>, numbers: Vec<f32>) -> Self {
        let shape = vec![u32::try_from(numbers.len()).unwrap()];
        Self { name: name.into(), shape, element: Element::F32, fill: Fill::Numbers(numbers) }
    }

    /// The same numbers in another shape.
    pub fn shaped(mut self, shape: &[u32]) -> Self {
        assert_eq!(shape.iter().product::<u32>(), self.count(), "{}", self.name);
        self.shape = shape.to_vec();
        self
    }

    /// The same in half the bytes.
    pub fn halved(self) -> Self {
        Self { element: Element::F16, ..self }
    }

    fn count(&self) -> u32 {
        self.shape.iter().product()
    }

    /// Bytes up to the next tensor.
    pub fn padded_bytes(&self) -> u64 {
        let each = if self.element == Element::F16 { 2 } else { 4 };
        (u64::from(self.count()) * each).next_multiple_of(DEFAULT_ALIGNMENT)
    }

    /// What a file's head says of it, when it stands at `offset` in the data.
    pub fn info(&self, offset: u64) -> Vec<u8> {
        let mut info = string(self.name.as_bytes());
        info.extend(u32::try_from(self.shape.len()).unwrap().to_le_bytes());
        info.extend(self.shape.iter().flat_map(|n| u64::from(*n).to_le_bytes()));
        info.extend((self.element as u32).to_le_bytes());
        info.extend(offset.to_le_bytes());
        info
    }

    /// Its bytes in this model, padded.
    pub fn data(&self, model: &str) -> Vec<u8> {
        let padded = usize::try_from(self.padded_bytes()).unwrap();
        let mut bytes = Vec::with_capacity(padded);
        let mut put = |number: f32| match self.element {
            Element::F32 => bytes.extend(number.to_le_bytes()),
            Element::F16 => bytes.extend(half(number).to_le_bytes()),
        };
        match &self.fill {
            Fill::Numbers(numbers) => numbers.iter().copied().for_each(put),
            Fill::Bands(bands) => {
                let mut random = Random::new(&format!("{SEED}/{model}/{}", self.name));
                for (rows, deviation) in bands {
                    (0..rows * self.shape[0]).for_each(|_| put(random.next() * deviation));
                }
            }
        }
        bytes.resize(padded, 0);
        bytes
    }
}

/// Sebastiano Vigna's splitmix64, <https://prng.di.unimi.it/splitmix64.c>.
struct Random(u64);

impl Random {
    fn new(name: &str) -> Self {
        let hash = blake3::hash(name.as_bytes());
        Self(u64::from_le_bytes(hash.as_bytes()[..8].try_into().unwrap()))
    }

    /// A number around 0 with a standard deviation of 1: the sum of four even ones, which needs neither
    /// logarithm nor sine, so that every machine gives the same bits.
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let z = (z ^ (z >> 31)).to_le_bytes();
        let sum: u32 = z.chunks_exact(2).map(|part| u32::from(u16::from_le_bytes([part[0], part[1]]))).sum();
        // Each part has a mean of 32,767.5 and a variance of 65,536² / 12.
        (sum as f32 - 131_070.0) * (3.0_f32.sqrt() / 65_536.0)
    }
}

/// IEEE 754 half precision, rounded to the nearest. Numbers too small for its normal ones become 0.
fn half(number: f32) -> u16 {
    let bits = number.to_bits();
    let sign = u16::from(number.is_sign_negative()) << 15;
    let magnitude = bits & 0x7fff_ffff;
    assert!(magnitude < 65_504.0_f32.to_bits(), "{number} is too large");
    if magnitude < 0x3880_0000 {
        return sign;
    }
    let rounded = magnitude + 0x0fff + ((magnitude >> 13) & 1) - 0x3800_0000;
    sign | u16::try_from(rounded >> 13).unwrap()
}
