//! Reading an exported state: which bytes are rows of K and V, and what else it says of itself.
//!
//! The layout is that of llama.cpp's `llama_kv_cache::state_write` behind the eight bytes of
//! `llama_context::state_seq_get_data`, at the pinned version:
//!
//! ```text
//! u32 magic 0xaf143cd8, i32 sequence
//! u32 streams (1), u32 cells
//! per cell: i32 position, u32 sequences (1), i32 sequence
//! u32 v_trans, u32 layers, u32 rot_k, u32 rot_v
//! per layer: i32 type, u64 row bytes, then a row of K for each cell
//! per layer, v_trans 0: i32 type, u64 row bytes, then a row of V for each cell
//! per layer, v_trans 1: i32 type, u32 element bytes, u32 elements, then a run of cells for each element
//! ```
//!
//! Anything else is an image of unknown layout: still a state, but one of which nothing can be told.

use std::collections::BTreeMap;

use reprise_engine::state::{ImageTable, Region};

const MAGIC: u32 = 0xaf14_3cd8;
/// More layers than any model has.
const MAX_LAYERS: u32 = 4096;

/// An image that was read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Image {
    pub(crate) table: ImageTable,
    /// Positions of its cells, in the order stored. Empty where the layout is unknown.
    pub(crate) positions: Vec<i32>,
}

/// Reads what an image says of itself.
pub(crate) fn read(image: &[u8]) -> Image {
    parse(image).unwrap_or_else(|| Image {
        table: ImageTable {
            len: image.len() as u64,
            regions: Vec::new(),
            fields: BTreeMap::from([("image.layout".to_owned(), "unknown".to_owned())]),
        },
        positions: Vec::new(),
    })
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
}

fn parse(image: &[u8]) -> Option<Image> {
    let mut reader = Reader { image, at: 0 };
    let (magic, sequence, streams) = (reader.u32()?, reader.i32()?, reader.u32()?);
    if (magic, sequence, streams) != (MAGIC, 0, 1) {
        return None;
    }
    let cells = reader.u32()?;
    // Twelve bytes each: a false count is found out before anything is set aside for it.
    if u64::from(cells) * 12 > image.len() as u64 {
        return None;
    }
    let mut positions = Vec::with_capacity(cells as usize);
    for _ in 0..cells {
        let (position, sequences, sequence) = (reader.i32()?, reader.u32()?, reader.i32()?);
        if (sequences, sequence) != (1, 0) {
            return None;
        }
        positions.push(position);
    }
    let v_trans = reader.u32()?;
    let layers = reader.u32()?;
    let (rot_k, rot_v) = (reader.u32()?, reader.u32()?);
    if v_trans > 1 || layers > MAX_LAYERS {
        return None;
    }
    let mut regions = Vec::new();
    let mut shapes = [Vec::new(), Vec::new()];
    for (kind, shapes) in shapes.iter_mut().enumerate() {
        for _ in 0..layers {
            let element = reader.i32()?;
            if kind == 1 && v_trans == 1 {
                let (size, elements) = (reader.u32()?, reader.u32()?);
                let run = u64::from(size).checked_mul(u64::from(cells))?;
                reader.skip(run, elements)?;
                shapes.push(format!("{element}:{size}×{elements}"));
            } else {
                let row = reader.u64()?;
                let offset = reader.skip(row, cells)?;
                if row > 0 && cells > 0 {
                    regions.push(Region { offset, row, rows: cells });
                }
                shapes.push(format!("{element}:{row}"));
            }
        }
    }
    if reader.at != image.len() {
        return None;
    }
    let [k, v] = shapes.map(|shapes| in_runs(&shapes));
    let fields = [
        ("image.layout", "kv".to_owned()),
        ("image.v_trans", v_trans.to_string()),
        ("image.rotation", format!("{rot_k}/{rot_v}")),
        ("image.k", k),
        ("image.v", v),
    ];
    Some(Image {
        table: ImageTable {
            len: image.len() as u64,
            regions,
            fields: fields.map(|(name, value)| (name.to_owned(), value)).into(),
        },
        positions,
    })
}

/// Equal neighbours told once, with their number: `30× 1:384`.
fn in_runs(shapes: &[String]) -> String {
    let runs = shapes.chunk_by(|a, b| a == b).map(|run| format!("{}× {}", run.len(), run[0]));
    runs.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An image of `cells` cells and two layers, with rows of 8 bytes of K and 6 of V.
    fn image(cells: u32, v_trans: bool) -> Vec<u8> {
        let mut image = Vec::new();
        let mut put = |number: u32| image.extend(number.to_le_bytes());
        [MAGIC, 0, 1, cells].into_iter().for_each(&mut put);
        (0..cells).for_each(|position| [position, 1, 0].into_iter().for_each(&mut put));
        [u32::from(v_trans), 2, 0, 0].into_iter().for_each(&mut put);
        for row in [8_u32, 6] {
            for layer in 0..2_u8 {
                image.extend(1_i32.to_le_bytes());
                if row == 6 && v_trans {
                    image.extend(2_u32.to_le_bytes());
                    image.extend(3_u32.to_le_bytes());
                } else {
                    image.extend(u64::from(row).to_le_bytes());
                }
                image.extend(vec![layer; (row * cells) as usize]);
            }
        }
        image
    }

    #[test]
    fn rows_are_found_where_they_lie() {
        let bytes = image(5, false);
        let Image { table, positions } = read(&bytes);
        assert_eq!(positions, [0, 1, 2, 3, 4]);
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
        let Image { table, positions } = read(&image(5, true));
        assert_eq!((positions.len(), table.regions.len()), (5, 2));
        assert_eq!(table.fields["image.v"], "2× 1:2×3");
        assert_eq!(table.fields["image.v_trans"], "1");
    }

    #[test]
    fn fields_do_not_depend_on_the_length() {
        assert_eq!(read(&image(1, false)).table.fields, read(&image(9, false)).table.fields);
        assert_ne!(read(&image(1, false)).table.fields, read(&image(1, true)).table.fields);
    }

    #[test]
    fn anything_else_is_an_unknown_layout_and_never_a_panic() {
        let good = image(3, false);
        let mut other = good.clone();
        other.push(0);
        assert!(read(&other).table.regions.is_empty(), "one byte too many");
        for end in 0..good.len() {
            assert!(read(&good[..end]).table.regions.is_empty(), "cut at {end}");
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
        assert!(read(&vast).positions.is_empty());
    }
}
