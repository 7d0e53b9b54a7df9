//! Reading an exported state: which bytes are rows of K and V, and what else it says of itself.
//!
//! The layout is that of llama.cpp's `state_write` functions behind the eight bytes of
//! `llama_context::state_seq_get_data`, at the pinned version:
//!
//! ```text
//! u32 magic 0xaf143cd8, i32 sequence, then one to three parts:
//!
//! attention (llama_kv_cache)
//!   u32 streams (1), u32 cells; nothing more where there are no cells
//!   per cell: i32 position, u32 sequences (1), i32 sequence
//!   u32 v_trans, u32 layers, u32 rot_k, u32 rot_v
//!   per layer: i32 type, u64 row bytes, then a row of K for each cell
//!   per layer, v_trans 0: i32 type, u64 row bytes, then a row of V for each cell
//!   per layer, v_trans 1: i32 type, u32 element bytes, u32 elements, then a run of cells for each element
//!   (no V at all where it is computed from K: multi-head latent attention)
//!
//! recurrence (llama_memory_recurrent)
//!   u32 cells
//!   per cell: i32 position, u32 sequences (0)
//!   u32 s_trans (0), u32 layers
//!   per recurrent layer: i32 type, u64 row bytes, then a row of R for each cell
//!   per recurrent layer: i32 type, u64 row bytes, then a row of S for each cell
//! ```
//!
//! Which parts there are depends on the model: attention; full and windowed attention
//! (`llama_kv_cache_iswa`); recurrence; attention, of one or both kinds, and recurrence
//! (`llama_memory_hybrid`). The image does not say it, so each is tried: only the right one ends where the
//! image does.
//!
//! Anything else is an image of unknown layout: still a state, but one of which nothing can be told.

use std::collections::BTreeMap;

use reprise_engine::message::CacheKind;
use reprise_engine::state::{ImageTable, Region};

const MAGIC: u32 = 0xaf14_3cd8;
/// More layers than any model has.
const MAX_LAYERS: u32 = 4096;

/// An image that was read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Image {
    pub(crate) table: ImageTable,
    /// What it consists of. Empty where the layout is unknown.
    parts: Vec<Part>,
}

/// One memory of a model.
#[derive(Debug, PartialEq, Eq)]
struct Part {
    kind: PartKind,
    /// Positions of its cells, in the order stored.
    positions: Vec<i32>,
    /// Rows of K, then of V.
    regions: Vec<Region>,
    /// What it says of itself, by short names.
    fields: Vec<(&'static str, String)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PartKind {
    /// `with_v`: whether V is kept beside K.
    Attention {
        with_v: bool,
    },
    Recurrence,
}

impl PartKind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Attention { .. } => "kv",
            Self::Recurrence => "recurrent",
        }
    }
}

impl Image {
    /// Whether its cells are those of a conversation of so many tokens, as far as its layout tells. The
    /// first attention of a model keeps every position, in order; a windowed one the last of them, in any
    /// order; a recurrence only where it stands.
    pub(crate) fn is_of(&self, tokens: usize, cache: CacheKind) -> bool {
        self.parts.iter().enumerate().all(|(index, part)| match part.kind {
            PartKind::Recurrence => part.positions.len() == 1 && ends_at(&part.positions, tokens),
            // Even a model whose every layer is windowed has an attention without layers before that one.
            PartKind::Attention { .. } if index == 0 || cache == CacheKind::Full => {
                part.positions.len() == tokens && in_order(&part.positions)
            }
            PartKind::Attention { .. } => {
                let mut positions = part.positions.clone();
                positions.sort_unstable();
                in_order(&positions) && ends_at(&positions, tokens)
            }
        })
    }
}

fn ends_at(positions: &[i32], tokens: usize) -> bool {
    positions.last().is_some_and(|last| usize::try_from(*last).is_ok_and(|last| last + 1 == tokens))
}

/// Each position one more than the one before.
fn in_order(positions: &[i32]) -> bool {
    positions.windows(2).all(|pair| pair[0].checked_add(1) == Some(pair[1]))
}

/// Reads what an image says of itself.
pub(crate) fn read(image: &[u8]) -> Image {
    use PartKind::Recurrence;
    const WITH_V: PartKind = PartKind::Attention { with_v: true };
    const WITHOUT_V: PartKind = PartKind::Attention { with_v: false };
    // Models keep V in all of their attention or in none of it.
    const MODELS: [&[PartKind]; 9] = [
        &[WITH_V],
        &[WITHOUT_V],
        &[WITH_V, WITH_V],
        &[WITHOUT_V, WITHOUT_V],
        &[Recurrence],
        &[WITH_V, Recurrence],
        &[WITHOUT_V, Recurrence],
        &[WITH_V, WITH_V, Recurrence],
        &[WITHOUT_V, WITHOUT_V, Recurrence],
    ];
    let len = image.len() as u64;
    let Some(parts) = MODELS.iter().find_map(|model| parse(image, model)) else {
        let fields = BTreeMap::from([("image.layout".to_owned(), "unknown".to_owned())]);
        return Image { table: ImageTable { len, regions: Vec::new(), fields }, parts: Vec::new() };
    };
    let kinds: Vec<&str> = parts.iter().map(|part| part.kind.as_str()).collect();
    let mut fields = BTreeMap::from([("image.layout".to_owned(), kinds.join("+"))]);
    for (index, part) in parts.iter().enumerate() {
        let part_name = if index == 0 { String::new() } else { format!("{}.", index + 1) };
        let named = |(name, value): &(&str, String)| (format!("image.{part_name}{name}"), value.clone());
        fields.extend(part.fields.iter().map(named));
    }
    // Only the first attention has a row for each token; the rest is small, and changes from end to end.
    let regions = parts.first().map(|part| part.regions.clone()).unwrap_or_default();
    Image { table: ImageTable { len, regions, fields }, parts }
}

struct Reader<'a> {
    image: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn bytes<const N: usize>(&mut self) -> Option<[u8; N]> {
        let bytes = self.image.get(self.at..self.at.checked_add(N)?)?;
        self.at += N;
        bytes.try_into().ok()
    }

    fn u32(&mut self) -> Option<u32> {
        self.bytes().map(u32::from_le_bytes)
    }

    fn i32(&mut self) -> Option<i32> {
        self.bytes().map(i32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.bytes().map(u64::from_le_bytes)
    }

    /// Steps over `count` pieces of `len` bytes and says where they begin.
    fn skip(&mut self, len: u64, count: u32) -> Option<u64> {
        let begin = self.at as u64;
        let end = len.checked_mul(u64::from(count))?.checked_add(begin)?;
        if end > self.image.len() as u64 {
            return None;
        }
        self.at = usize::try_from(end).ok()?;
        Some(begin)
    }

    /// A number of cells, and their positions, each of which belongs to so many named sequences.
    fn positions(&mut self, sequences: u32) -> Option<Vec<i32>> {
        let cells = self.u32()?;
        // A false count is found out before anything is set aside for it.
        let each = 8 + 4 * u64::from(sequences);
        if u64::from(cells) * each > (self.image.len() - self.at) as u64 {
            return None;
        }
        let mut positions = Vec::with_capacity(cells as usize);
        for _ in 0..cells {
            positions.push(self.i32()?);
            if self.u32()? != sequences {
                return None;
            }
            for _ in 0..sequences {
                if self.i32()? != 0 {
                    return None;
                }
            }
        }
        Some(positions)
    }

    /// The rows of one layer: where they lie, and their shape in words.
    fn rows(&mut self, cells: u32) -> Option<(Region, String)> {
        let (element, row) = (self.i32()?, self.u64()?);
        let offset = self.skip(row, cells)?;
        Some((Region { offset, row, rows: cells }, format!("{element}:{row}")))
    }

    fn attention(&mut self, with_v: bool) -> Option<Part> {
        if self.u32()? != 1 {
            return None;
        }
        let positions = self.positions(1)?;
        let mut part =
            Part { kind: PartKind::Attention { with_v }, positions, regions: Vec::new(), fields: Vec::new() };
        let cells = u32::try_from(part.positions.len()).ok()?;
        if cells == 0 {
            return Some(part);
        }
        let (v_trans, layers) = (self.u32()?, self.u32()?);
        let (rot_k, rot_v) = (self.u32()?, self.u32()?);
        if v_trans > 1 || layers > MAX_LAYERS {
            return None;
        }
        let mut shapes = [Vec::new(), Vec::new()];
        for (kind, shapes) in shapes.iter_mut().enumerate() {
            let is_v = kind == 1;
            for _ in 0..if is_v && !with_v { 0 } else { layers } {
                if is_v && v_trans == 1 {
                    let (element, size, elements) = (self.i32()?, self.u32()?, self.u32()?);
                    self.skip(u64::from(size).checked_mul(u64::from(cells))?, elements)?;
                    shapes.push(format!("{element}:{size}×{elements}"));
                } else {
                    let (region, shape) = self.rows(cells)?;
                    if region.row > 0 {
                        part.regions.push(region);
                    }
                    shapes.push(shape);
                }
            }
        }
        let [k, v] = shapes.map(|shapes| in_runs(&shapes));
        let rotation = format!("{rot_k}/{rot_v}");
        part.fields = vec![("v_trans", v_trans.to_string()), ("rotation", rotation), ("k", k), ("v", v)];
        Some(part)
    }

    /// Always the last part. How many layers are recurrent it does not say: as many as there are.
    fn recurrence(&mut self) -> Option<Part> {
        let positions = self.positions(0)?;
        let cells = u32::try_from(positions.len()).ok()?;
        let (s_trans, layers) = (self.u32()?, self.u32()?);
        if s_trans != 0 || layers > MAX_LAYERS {
            return None;
        }
        let mut shapes = Vec::new();
        while self.at < self.image.len() {
            if shapes.len() as u64 == 2 * u64::from(layers) {
                return None;
            }
            shapes.push(self.rows(cells)?.1);
        }
        let (r, s) = shapes.split_at_checked(shapes.len() / 2).filter(|(r, s)| r.len() == s.len())?;
        let fields = vec![("r", in_runs(r)), ("s", in_runs(s))];
        Some(Part { kind: PartKind::Recurrence, positions, regions: Vec::new(), fields })
    }
}

fn parse(image: &[u8], model: &[PartKind]) -> Option<Vec<Part>> {
    let mut reader = Reader { image, at: 0 };
    let (magic, sequence) = (reader.u32()?, reader.i32()?);
    if (magic, sequence) != (MAGIC, 0) {
        return None;
    }
    let mut parts = Vec::with_capacity(model.len());
    for kind in model {
        parts.push(match kind {
            PartKind::Attention { with_v } => reader.attention(*with_v)?,
            PartKind::Recurrence => reader.recurrence()?,
        });
    }
    (reader.at == image.len()).then_some(parts)
}

/// Equal neighbours told once, with their number: `30× 1:384`.
fn in_runs(shapes: &[String]) -> String {
    let runs = shapes.chunk_by(|a, b| a == b).map(|run| format!("{}× {}", run.len(), run[0]));
    runs.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head() -> Vec<u8> {
        let mut image = MAGIC.to_le_bytes().to_vec();
        image.extend(0_i32.to_le_bytes());
        image
    }

    /// Two layers of attention, with rows of 8 bytes of K and, if any, 6 of V.
    fn attention(image: &mut Vec<u8>, positions: &[i32], v: Option<bool>) {
        let cells = u32::try_from(positions.len()).unwrap();
        let mut put = |number: u32| image.extend(number.to_le_bytes());
        [1, cells].into_iter().for_each(&mut put);
        for position in positions {
            [position.cast_unsigned(), 1, 0].into_iter().for_each(&mut put);
        }
        if cells == 0 {
            return;
        }
        [u32::from(v == Some(true)), 2, 0, 0].into_iter().for_each(&mut put);
        let widths: &[u32] = if v.is_some() { &[8, 6] } else { &[8] };
        for row in widths {
            for layer in 0..2_u8 {
                image.extend(1_i32.to_le_bytes());
                if *row == 6 && v == Some(true) {
                    image.extend(2_u32.to_le_bytes());
                    image.extend(3_u32.to_le_bytes());
                } else {
                    image.extend(u64::from(*row).to_le_bytes());
                }
                image.extend(vec![layer; (row * cells) as usize]);
            }
        }
    }

    /// Three recurrent layers of a model of five, with 12 bytes of R and 20 of S.
    fn recurrence(image: &mut Vec<u8>, position: i32) {
        let mut put = |number: u32| image.extend(number.to_le_bytes());
        [1, position.cast_unsigned(), 0, 0, 5].into_iter().for_each(&mut put);
        for row in [12_u64, 20] {
            for layer in 0..3_u8 {
                image.extend(0_i32.to_le_bytes());
                image.extend(row.to_le_bytes());
                image.extend(vec![layer; usize::try_from(row).unwrap()]);
            }
        }
    }

    fn upto(tokens: i32) -> Vec<i32> {
        (0..tokens).collect()
    }

    fn full(cells: i32, v_trans: bool) -> Vec<u8> {
        let mut image = head();
        attention(&mut image, &upto(cells), Some(v_trans));
        image
    }

    fn layout(image: &Image) -> &str {
        &image.table.fields["image.layout"]
    }

    #[test]
    fn rows_are_found_where_they_lie() {
        let bytes = full(5, false);
        let image = read(&bytes);
        assert!(image.is_of(5, CacheKind::Full));
        assert!(!image.is_of(4, CacheKind::Full));
        let table = image.table;
        assert_eq!(table.len, bytes.len() as u64);
        let head = 16 + 5 * 12 + 16;
        let expect = [(head + 12, 8), (head + 12 + 40 + 12, 8), (head + 116, 6), (head + 158, 6)];
        for (region, (offset, row)) in table.regions.iter().zip(expect) {
            assert_eq!((region.offset, region.row, region.rows), (offset, row, 5));
        }
        assert_eq!(table.regions.len(), 4);
        assert_eq!(table.fields["image.k"], "2× 1:8");
        assert_eq!(table.fields["image.v_trans"], "0");
    }

    #[test]
    fn transposed_v_is_known_but_has_no_rows() {
        let image = read(&full(5, true));
        assert_eq!(image.table.regions.len(), 2);
        assert_eq!(image.table.fields["image.v"], "2× 1:2×3");
        assert_eq!(image.table.fields["image.v_trans"], "1");
    }

    #[test]
    fn latent_attention_keeps_no_v() {
        let mut bytes = head();
        attention(&mut bytes, &upto(4), None);
        let image = read(&bytes);
        assert_eq!((layout(&image), image.table.regions.len()), ("kv", 2));
        assert_eq!(image.table.fields["image.v"], "");
        assert!(image.is_of(4, CacheKind::Full));
    }

    #[test]
    fn a_window_holds_the_last_positions_in_any_order() {
        let with_window = |window: &[i32]| {
            let mut bytes = head();
            attention(&mut bytes, &upto(9), Some(false));
            attention(&mut bytes, window, Some(false));
            read(&bytes)
        };
        let image = with_window(&[7, 8, 4, 5, 6]);
        assert_eq!((layout(&image), image.table.regions.len()), ("kv+kv", 4));
        assert!(image.table.regions.iter().all(|region| region.rows == 9));
        assert_eq!(image.table.fields["image.2.k"], "2× 1:8");
        assert!(image.is_of(9, CacheKind::SlidingWindow));
        for wrong in [&[7, 8, 4, 4, 6][..], &[3, 4, 5, 6, 7], &[8, 4, 5, 6], &[8, 9, 10], &[]] {
            assert!(!with_window(wrong).is_of(9, CacheKind::SlidingWindow), "{wrong:?}");
        }
        assert!(!image.is_of(8, CacheKind::SlidingWindow) && !image.is_of(10, CacheKind::SlidingWindow));
    }

    #[test]
    fn a_recurrence_stands_at_the_end() {
        let mut bytes = head();
        recurrence(&mut bytes, 41);
        let image = read(&bytes);
        assert_eq!((layout(&image), image.table.regions.len()), ("recurrent", 0));
        assert_eq!(
            (&*image.table.fields["image.r"], &*image.table.fields["image.s"]),
            ("3× 0:12", "3× 0:20")
        );
        assert!(image.is_of(42, CacheKind::Recurrent));
        assert!(!image.is_of(41, CacheKind::Recurrent) && !image.is_of(43, CacheKind::Recurrent));
    }

    #[test]
    fn hybrids_are_attention_and_then_recurrence() {
        for v in [None, Some(false), Some(true)] {
            let mut bytes = head();
            attention(&mut bytes, &upto(6), v);
            let before = bytes.len();
            recurrence(&mut bytes, 5);
            let image = read(&bytes);
            assert_eq!(layout(&image), "kv+recurrent", "{v:?}");
            assert!(image.is_of(6, CacheKind::Hybrid));
            assert!(image.table.regions.iter().all(|region| region.offset < before as u64));
            let mut windowed = head();
            attention(&mut windowed, &upto(6), v);
            attention(&mut windowed, &[3, 4, 5], v);
            recurrence(&mut windowed, 5);
            assert_eq!(layout(&read(&windowed)), "kv+kv+recurrent", "{v:?}");
        }
    }

    #[test]
    fn fields_do_not_depend_on_the_length() {
        assert_eq!(read(&full(1, false)).table.fields, read(&full(9, false)).table.fields);
        assert_ne!(read(&full(1, false)).table.fields, read(&full(1, true)).table.fields);
    }

    #[test]
    fn anything_else_is_an_unknown_layout_and_never_a_panic() {
        let mut hybrid = head();
        attention(&mut hybrid, &upto(3), Some(false));
        recurrence(&mut hybrid, 2);
        for good in [full(3, false), hybrid] {
            let whole = read(&good);
            let mut other = good.clone();
            other.push(0);
            assert_eq!(layout(&read(&other)), "unknown", "one byte too many");
            for end in 0..good.len() {
                let cut = read(&good[..end]);
                // Cut between its parts it may be whole as another model's, which its fields say.
                assert!(
                    cut.table.regions.is_empty() || cut.table.fields != whole.table.fields,
                    "cut at {end}"
                );
            }
            for at in 0..good.len() {
                for flip in [1, 0x80, 0xff] {
                    let mut bad = good.clone();
                    bad[at] ^= flip;
                    let Image { table, .. } = read(&bad);
                    assert!(table.regions.iter().all(|r| r.offset + r.row * u64::from(r.rows) <= table.len));
                }
            }
            let mut vast = good;
            vast[12..16].copy_from_slice(&u32::MAX.to_le_bytes());
            assert_eq!(layout(&read(&vast)), "unknown");
        }
    }
}
