//! How the bytes of a state become chunks, and chunks the bytes again. Pure functions.
//!
//! An image is one byte string. A [`Layout`] says which parts of it are *rows*, one row a token, in
//! every region alike. A chunk is described by a [`ChunkSpec`] and holds, in this order:
//!
//! - `Rows { from, to }`: for every region of the layout in order, the bytes
//!   `offset + from * row .. offset + to * row`, concatenated;
//! - `Raw { spans }`: the bytes `offset .. offset + len` of each span in order, concatenated.
//!
//! That is all there is to it: whoever has layout and specs, in JSON for instance, can gather and
//! scatter by these two rules. Rows are cut at multiples of a block size that depends on the row
//! sizes alone, so a longer image of the same conversation has the same full blocks.

use serde::{Deserialize, Serialize};

/// A block of rows, and a piece of what is not rows, weighs at most this, in bytes. A block weighs
/// more than half of it, unless a single row across all regions is heavier.
pub const CHUNK_TARGET: u64 = 1 << 20;

/// No chunk may weigh more than this, in bytes.
pub const CHUNK_LIMIT: u64 = 8 << 20;

/// The most regions, spans or chunks that an image may be described with.
pub const PARTS_LIMIT: usize = 1 << 18;

/// Where an image has rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layout {
    /// Bytes of the whole image.
    pub len: u64,
    /// The regions by rising offset, disjoint. None where the image is not understood.
    pub regions: Vec<Region>,
}

/// A part of an image that holds one row for each token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Region {
    /// Byte of the image at which it begins.
    pub offset: u64,
    /// Bytes of one row.
    pub row: u64,
    /// How many rows; the same in every region.
    pub rows: u32,
}

/// A part of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// Byte of the image at which it begins.
    pub offset: u64,
    /// Its bytes.
    pub len: u64,
}

/// What one chunk holds. The module's beginning says in which order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChunkSpec {
    /// The same rows of every region.
    Rows {
        /// The first row.
        from: u32,
        /// The row after the last.
        to: u32,
    },
    /// Bytes outside the regions.
    Raw {
        /// Where they lie, by rising offset.
        spans: Vec<Span>,
    },
}

/// An image cut into chunks: every byte of it in exactly one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Split {
    /// Rows of a full block, a power of two; 0 where the image is cut without regard to rows.
    pub block_rows: u32,
    /// The chunks: blocks of rows first, then what lies around them.
    pub chunks: Vec<ChunkSpec>,
}

/// Why a layout or a list of chunks does not describe an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LayoutFault {
    /// The image, a region, a row, a span or a chunk has no bytes.
    #[error("a part of it is empty")]
    Empty,
    /// Two regions differ in their number of rows.
    #[error("its regions have different numbers of rows")]
    Uneven,
    /// Regions or spans overlap, or do not stand in order.
    #[error("its parts overlap or are out of order")]
    Order,
    /// A part lies outside the image, or further than numbers go.
    #[error("a part of it lies outside the image")]
    Outside,
    /// A byte belongs to no chunk or to several.
    #[error("its chunks do not cover it exactly once")]
    Coverage,
    /// A chunk is heavier than [`CHUNK_LIMIT`], or there are more than [`PARTS_LIMIT`] parts.
    #[error("it is described with too many or too large parts")]
    Limit,
    /// The bytes given are more or fewer than described.
    #[error("the bytes do not have the length that was described")]
    Length,
}

impl Layout {
    /// An image that is not understood.
    #[must_use]
    pub const fn opaque(len: u64) -> Self {
        Self { len, regions: Vec::new() }
    }

    /// Rows of each region; 0 without regions.
    #[must_use]
    pub fn rows(&self) -> u32 {
        self.regions.first().map_or(0, |region| region.rows)
    }

    /// Bytes of one row across all regions, of a valid layout.
    #[must_use]
    pub fn row_bytes(&self) -> u64 {
        self.regions.iter().map(|region| region.row).sum()
    }

    /// Refuses what is empty, overlaps, is out of order, uneven or outside the image.
    pub fn validate(&self) -> Result<(), LayoutFault> {
        if self.len == 0 {
            return Err(LayoutFault::Empty);
        }
        if self.regions.len() > PARTS_LIMIT {
            return Err(LayoutFault::Limit);
        }
        let mut end = 0;
        for region in &self.regions {
            if region.row == 0 || region.rows == 0 {
                return Err(LayoutFault::Empty);
            }
            if region.rows != self.rows() {
                return Err(LayoutFault::Uneven);
            }
            if region.offset < end {
                return Err(LayoutFault::Order);
            }
            end = region.end().filter(|end| *end <= self.len).ok_or(LayoutFault::Outside)?;
        }
        Ok(())
    }

    /// Whether these chunks hold every byte of a valid layout's image exactly once, each within the limits.
    pub fn check_cover(&self, chunks: &[ChunkSpec]) -> Result<(), LayoutFault> {
        let mut blocks = Vec::new();
        let mut spans = Vec::new();
        for chunk in chunks {
            let bytes = chunk.bytes(self)?;
            if bytes > CHUNK_LIMIT {
                return Err(LayoutFault::Limit);
            }
            match chunk {
                ChunkSpec::Rows { from, to } => blocks.push((*from, *to)),
                ChunkSpec::Raw { spans: parts } => spans.extend_from_slice(parts),
            }
            if blocks.len() + spans.len() > PARTS_LIMIT {
                return Err(LayoutFault::Limit);
            }
        }
        blocks.sort_unstable();
        let mut next = 0;
        for (from, to) in blocks {
            if from != next {
                return Err(LayoutFault::Coverage);
            }
            next = to;
        }
        if next != self.rows() {
            return Err(LayoutFault::Coverage);
        }
        spans.sort_unstable_by_key(|span| span.offset);
        let mut spans = spans.into_iter().peekable();
        for gap in self.gaps() {
            let mut at = gap.offset;
            while at < gap.offset + gap.len {
                let span = spans.next().filter(|span| span.offset == at).ok_or(LayoutFault::Coverage)?;
                at += span.len;
            }
            if at != gap.offset + gap.len {
                return Err(LayoutFault::Coverage);
            }
        }
        if spans.next().is_some() { Err(LayoutFault::Coverage) } else { Ok(()) }
    }

    /// What lies outside the regions of a valid layout, by rising offset; none of it empty.
    fn gaps(&self) -> impl Iterator<Item = Span> {
        let ends = self.regions.iter().filter_map(Region::end);
        let starts = self.regions.iter().map(|region| region.offset);
        std::iter::once(0)
            .chain(ends)
            .zip(starts.chain(std::iter::once(self.len)))
            .map(|(from, to)| Span { offset: from, len: to.saturating_sub(from) })
            .filter(|gap| gap.len > 0)
    }
}

impl Region {
    fn end(&self) -> Option<u64> {
        self.row.checked_mul(u64::from(self.rows))?.checked_add(self.offset)
    }
}

impl Split {
    /// Cuts an image: rows into blocks of a power of two tokens that weigh up to [`CHUNK_TARGET`],
    /// the rest into pieces of up to as much, small gaps gathered. Where a single token weighs more
    /// than [`CHUNK_LIMIT`] it refuses; such an image is to be described as [`Layout::opaque`].
    pub fn of(layout: &Layout) -> Result<Self, LayoutFault> {
        Self::with_target(layout, CHUNK_TARGET)
    }

    /// As [`Split::of`], with another weight in bytes for blocks and pieces.
    pub fn with_target(layout: &Layout, target: u64) -> Result<Self, LayoutFault> {
        layout.validate()?;
        let target = target.clamp(1, CHUNK_LIMIT);
        if layout.regions.is_empty() {
            let chunks = raw_pieces(layout.gaps(), target);
            return Self { block_rows: 0, chunks }.within_limits();
        }
        if layout.row_bytes() > CHUNK_LIMIT {
            return Err(LayoutFault::Limit);
        }
        let mut block_rows = 1;
        while block_rows < 1 << 30 && u64::from(block_rows) * 2 * layout.row_bytes() <= target {
            block_rows *= 2;
        }
        let rows = layout.rows();
        let mut chunks = Vec::new();
        let mut from = 0;
        while from < rows {
            let to = rows.min(from + block_rows);
            chunks.push(ChunkSpec::Rows { from, to });
            from = to;
        }
        chunks.extend(raw_pieces(layout.gaps(), target));
        Self { block_rows, chunks }.within_limits()
    }

    fn within_limits(self) -> Result<Self, LayoutFault> {
        if self.chunks.len() > PARTS_LIMIT { Err(LayoutFault::Limit) } else { Ok(self) }
    }
}

/// Gathers gaps into pieces of `target` bytes, the last one smaller.
fn raw_pieces(gaps: impl Iterator<Item = Span>, target: u64) -> Vec<ChunkSpec> {
    let mut pieces = Vec::new();
    let mut spans: Vec<Span> = Vec::new();
    let mut room = target;
    for gap in gaps {
        let mut rest = gap;
        while rest.len > 0 {
            let len = rest.len.min(room);
            spans.push(Span { offset: rest.offset, len });
            rest = Span { offset: rest.offset + len, len: rest.len - len };
            room -= len;
            if room == 0 {
                pieces.push(ChunkSpec::Raw { spans: std::mem::take(&mut spans) });
                room = target;
            }
        }
    }
    if !spans.is_empty() {
        pieces.push(ChunkSpec::Raw { spans });
    }
    pieces
}

impl ChunkSpec {
    /// How many bytes it holds. Refuses what lies outside the layout.
    pub fn bytes(&self, layout: &Layout) -> Result<u64, LayoutFault> {
        let add = |sum: u64, bytes: u64| sum.checked_add(bytes).ok_or(LayoutFault::Outside);
        if let Self::Rows { from, to } = self {
            // Without listing the parts: a long state has thousands of blocks across a hundred regions.
            if from >= to || layout.regions.is_empty() {
                return Err(LayoutFault::Empty);
            }
            if *to > layout.rows() {
                return Err(LayoutFault::Outside);
            }
            let row = layout.regions.iter().map(|region| region.row).try_fold(0, add)?;
            return row.checked_mul(u64::from(to - from)).ok_or(LayoutFault::Outside);
        }
        self.parts(layout)?.iter().map(|part| part.len).try_fold(0, add)
    }

    /// The parts of the image that it holds, in its order.
    fn parts(&self, layout: &Layout) -> Result<Vec<Span>, LayoutFault> {
        match self {
            Self::Rows { from, to } => {
                if from >= to || layout.regions.is_empty() {
                    return Err(LayoutFault::Empty);
                }
                layout.regions.iter().map(|region| region.rows_span(*from, *to, layout.len)).collect()
            }
            Self::Raw { spans } => {
                if spans.is_empty() || spans.iter().any(|span| span.len == 0) {
                    return Err(LayoutFault::Empty);
                }
                let mut end = 0;
                for span in spans {
                    if span.offset < end {
                        return Err(LayoutFault::Order);
                    }
                    end = span
                        .offset
                        .checked_add(span.len)
                        .filter(|end| *end <= layout.len)
                        .ok_or(LayoutFault::Outside)?;
                }
                Ok(spans.clone())
            }
        }
    }
}

impl Region {
    fn rows_span(&self, from: u32, to: u32, image: u64) -> Result<Span, LayoutFault> {
        let span = || {
            let offset = self.row.checked_mul(u64::from(from))?.checked_add(self.offset)?;
            let len = self.row.checked_mul(u64::from(to - from))?;
            (to <= self.rows && offset.checked_add(len)? <= image).then_some(Span { offset, len })
        };
        span().ok_or(LayoutFault::Outside)
    }
}

/// Reads a chunk out of the image into `out`, whose earlier content goes and whose memory is used again.
pub fn gather(spec: &ChunkSpec, layout: &Layout, image: &[u8], out: &mut Vec<u8>) -> Result<(), LayoutFault> {
    out.clear();
    if image.len() as u64 != layout.len {
        return Err(LayoutFault::Length);
    }
    for part in spec.parts(layout)? {
        out.extend_from_slice(image.get(range(part)?).ok_or(LayoutFault::Outside)?);
    }
    Ok(())
}

/// Puts a chunk's bytes back to where they belong in the image.
pub fn scatter(spec: &ChunkSpec, layout: &Layout, bytes: &[u8], image: &mut [u8]) -> Result<(), LayoutFault> {
    if image.len() as u64 != layout.len || bytes.len() as u64 != spec.bytes(layout)? {
        return Err(LayoutFault::Length);
    }
    let mut rest = bytes;
    for part in spec.parts(layout)? {
        let target = image.get_mut(range(part)?).ok_or(LayoutFault::Outside)?;
        let (now, later) = rest.split_at_checked(target.len()).ok_or(LayoutFault::Length)?;
        target.copy_from_slice(now);
        rest = later;
    }
    Ok(())
}

/// `parts` keeps every span inside the image, so its end cannot overflow; a 32-bit machine may still
/// be too small for it.
fn range(part: Span) -> Result<std::ops::Range<usize>, LayoutFault> {
    let from = usize::try_from(part.offset).map_err(|_| LayoutFault::Outside)?;
    let to = usize::try_from(part.offset + part.len).map_err(|_| LayoutFault::Outside)?;
    Ok(from..to)
}

#[cfg(test)]
mod tests;
