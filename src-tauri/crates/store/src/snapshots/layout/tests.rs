use proptest::prelude::*;

use super::*;

fn layout(len: u64, regions: &[(u64, u64, u32)]) -> Layout {
    let regions = regions.iter().map(|&(offset, row, rows)| Region { offset, row, rows }).collect();
    Layout { len, regions }
}

#[test]
fn a_layout_that_describes_no_image_is_refused() {
    let check = |len, regions: &[(u64, u64, u32)], fault| {
        assert_eq!(layout(len, regions).validate(), Err(fault), "{len} {regions:?}");
    };
    check(0, &[], LayoutFault::Empty);
    check(9, &[(0, 0, 1)], LayoutFault::Empty);
    check(9, &[(0, 1, 0)], LayoutFault::Empty);
    check(9, &[(0, 1, 2), (4, 1, 3)], LayoutFault::Uneven);
    check(9, &[(0, 2, 2), (3, 1, 2)], LayoutFault::Order);
    check(9, &[(5, 1, 2), (0, 1, 2)], LayoutFault::Order);
    check(9, &[(0, 1, 2), (8, 1, 2)], LayoutFault::Outside);
    check(u64::MAX, &[(1, u64::MAX, 2)], LayoutFault::Outside);
    check(u64::MAX, &[(u64::MAX, 1, 1)], LayoutFault::Outside);
    assert_eq!(layout(9, &[(1, 1, 2), (3, 3, 2)]).validate(), Ok(()));
}

#[test]
fn chunks_that_do_not_cover_exactly_once_are_refused() {
    let layout = layout(20, &[(2, 2, 4), (12, 1, 4)]);
    let rows = |from, to| ChunkSpec::Rows { from, to };
    let raw = |spans: &[(u64, u64)]| ChunkSpec::Raw {
        spans: spans.iter().map(|&(offset, len)| Span { offset, len }).collect(),
    };
    let gaps = raw(&[(0, 2), (10, 2), (16, 4)]);
    let check = |chunks: &[ChunkSpec], expect| assert_eq!(layout.check_cover(chunks), expect, "{chunks:?}");
    check(&[rows(0, 4), gaps.clone()], Ok(()));
    check(&[raw(&[(16, 3)]), rows(3, 4), raw(&[(0, 2), (10, 2), (19, 1)]), rows(0, 3)], Ok(()));
    check(&[rows(0, 4)], Err(LayoutFault::Coverage));
    check(std::slice::from_ref(&gaps), Err(LayoutFault::Coverage));
    check(&[rows(0, 3), gaps.clone()], Err(LayoutFault::Coverage));
    check(&[rows(0, 2), rows(1, 4), gaps.clone()], Err(LayoutFault::Coverage));
    check(&[rows(0, 4), rows(0, 4), gaps.clone()], Err(LayoutFault::Coverage));
    check(&[rows(0, 4), gaps.clone(), raw(&[(0, 2)])], Err(LayoutFault::Coverage));
    check(&[rows(0, 4), raw(&[(0, 3), (10, 2), (16, 4)])], Err(LayoutFault::Coverage));
    check(&[rows(0, 4), raw(&[(0, 2), (10, 10)])], Err(LayoutFault::Coverage));
    check(&[rows(0, 4), raw(&[(10, 2), (0, 2), (16, 4)])], Err(LayoutFault::Order));
    check(&[rows(0, 5), gaps.clone()], Err(LayoutFault::Outside));
    check(&[rows(0, 4), raw(&[(0, 2), (10, 2), (16, 5)])], Err(LayoutFault::Outside));
    check(&[rows(0, 4), rows(2, 2), gaps.clone()], Err(LayoutFault::Empty));
    check(&[rows(0, 4), raw(&[]), gaps], Err(LayoutFault::Empty));
}

#[test]
fn blocks_weigh_half_a_target_to_a_target() {
    // SmolLM2-135M: 30 layers, K and V rows of 384 bytes.
    let real = |rows: u32| {
        let mut regions = Vec::new();
        let mut at = 12 * u64::from(rows) + 44;
        for _ in 0..60 {
            regions.push((at, 384, rows));
            at += 384 * u64::from(rows) + 12;
        }
        layout(at - 12, &regions)
    };
    let split = Split::of(&real(1000)).unwrap();
    assert_eq!(split.block_rows, 32);
    assert_eq!(split.chunks.len(), 32 + 1, "the heads of 60 regions make one piece");
    let block = split.chunks[0].bytes(&real(1000)).unwrap();
    assert!(block > CHUNK_TARGET / 2 && block <= CHUNK_TARGET);
    assert!(Split::of(&layout(CHUNK_LIMIT + 9, &[(0, CHUNK_LIMIT + 9, 1)])).is_err());
    let heavy = Split::of(&layout(CHUNK_LIMIT, &[(0, CHUNK_LIMIT / 2, 2)])).unwrap();
    assert_eq!((heavy.block_rows, heavy.chunks.len()), (1, 2));
    let opaque = Split::of(&Layout::opaque(3 * CHUNK_TARGET + 1)).unwrap();
    assert_eq!((opaque.block_rows, opaque.chunks.len()), (0, 4));
}

#[test]
fn the_description_reads_in_json_as_documented() {
    let layout = layout(12, &[(2, 2, 4)]);
    let split = Split::with_target(&layout, 4).unwrap();
    let json = serde_json::to_value((&layout, &split)).unwrap();
    let expected = serde_json::json!([
        {"len": 12, "regions": [{"offset": 2, "row": 2, "rows": 4}]},
        {"block_rows": 2, "chunks": [
            {"rows": {"from": 0, "to": 2}},
            {"rows": {"from": 2, "to": 4}},
            {"raw": {"spans": [{"offset": 0, "len": 2}, {"offset": 10, "len": 2}]}},
        ]},
    ]);
    assert_eq!(json, expected);
    assert_eq!(serde_json::from_value::<(Layout, Split)>(json).unwrap(), (layout, split));
}

#[test]
fn bytes_of_another_length_are_refused() {
    let layout = layout(12, &[(2, 2, 4)]);
    let spec = ChunkSpec::Rows { from: 0, to: 2 };
    let mut out = vec![1];
    assert_eq!(gather(&spec, &layout, &[0; 11], &mut out), Err(LayoutFault::Length));
    assert_eq!(scatter(&spec, &layout, &[0; 4], &mut [0; 13]), Err(LayoutFault::Length));
    assert_eq!(scatter(&spec, &layout, &[0; 5], &mut [0; 12]), Err(LayoutFault::Length));
    let outside = ChunkSpec::Raw { spans: vec![Span { offset: u64::MAX, len: 2 }] };
    assert_eq!(gather(&outside, &layout, &[0; 12], &mut out), Err(LayoutFault::Outside));
}

/// Gaps, and rows of regions between them.
fn shapes() -> impl Strategy<Value = (Vec<(u64, u64)>, u64, u64)> {
    (prop::collection::vec((0_u64..9, 1_u64..40), 0..7), 1_u64..30, 1_u64..400)
}

fn build(parts: &[(u64, u64)], tail: u64, rows: u32) -> Layout {
    let mut at = 0;
    let mut regions = Vec::new();
    for &(gap, row) in parts {
        regions.push(Region { offset: at + gap, row, rows });
        at += gap + row * u64::from(rows);
    }
    Layout { len: at + tail, regions }
}

/// Bytes that depend on the row and the region, not on where they lie.
fn image(layout: &Layout) -> Vec<u8> {
    let byte = |n: u64| n.to_le_bytes()[0];
    let mut image: Vec<u8> = (0..layout.len).map(|at| byte(at * 7 + layout.len)).collect();
    for (place, region) in (0..).zip(&layout.regions) {
        let from = usize::try_from(region.offset).unwrap();
        let len = usize::try_from(u64::from(region.rows) * region.row).unwrap();
        for (n, target) in (0..).zip(&mut image[from..from + len]) {
            *target = byte(n * 31 + n / 251 + place * 17);
        }
    }
    image
}

proptest! {
    #[test]
    fn every_byte_is_in_one_chunk_and_comes_back((parts, tail, target) in shapes(), rows in 1_u32..90) {
        let layout = build(&parts, tail, rows);
        let split = Split::with_target(&layout, target).unwrap();
        prop_assert_eq!(layout.check_cover(&split.chunks), Ok(()));
        let image = image(&layout);
        let mut back = vec![0; image.len()];
        let mut times = vec![0_u8; image.len()];
        let mut bytes = Vec::new();
        for spec in &split.chunks {
            gather(spec, &layout, &image, &mut bytes).unwrap();
            prop_assert_eq!(bytes.len() as u64, spec.bytes(&layout).unwrap());
            prop_assert!(bytes.len() as u64 <= target.max(layout.row_bytes()));
            scatter(spec, &layout, &bytes, &mut back).unwrap();
            let mut marks = vec![0; image.len()];
            scatter(spec, &layout, &vec![1; bytes.len()], &mut marks).unwrap();
            times.iter_mut().zip(marks).for_each(|(times, mark)| *times += mark);
        }
        prop_assert_eq!(back, image);
        prop_assert!(times.iter().all(|times| *times == 1));
    }

    #[test]
    fn appended_rows_leave_every_full_block_as_it_was(
        (parts, tail, target) in shapes(), rows in 1_u32..60, more in 1_u32..60,
    ) {
        prop_assume!(!parts.is_empty());
        let (short, long) = (build(&parts, tail, rows), build(&parts, tail, rows + more));
        let (before, after) = (Split::with_target(&short, target).unwrap(), Split::with_target(&long, target).unwrap());
        prop_assert_eq!(before.block_rows, after.block_rows);
        let full = (rows / before.block_rows) as usize;
        let (mut one, mut other) = (Vec::new(), Vec::new());
        for (old, new) in before.chunks.iter().zip(&after.chunks).take(full) {
            prop_assert_eq!(old, new);
            gather(old, &short, &image(&short), &mut one).unwrap();
            gather(new, &long, &image(&long), &mut other).unwrap();
            prop_assert_eq!(&one, &other);
        }
    }

    /// Whatever a stranger sends is refused or covers: no panic, no overflow.
    #[test]
    fn nonsense_is_refused(
        len in any::<u64>(), regions in prop::collection::vec((any::<u64>(), any::<u64>(), any::<u32>()), 0..4),
        rows in any::<(u32, u32)>(), spans in prop::collection::vec((any::<u64>(), any::<u64>()), 0..4),
    ) {
        let layout = layout(len, &regions);
        let spans = spans.into_iter().map(|(offset, len)| Span { offset, len }).collect();
        let chunks = [ChunkSpec::Rows { from: rows.0, to: rows.1 }, ChunkSpec::Raw { spans }];
        let _ = layout.validate();
        let _ = layout.check_cover(&chunks);
        for chunk in &chunks {
            prop_assert!(gather(chunk, &layout, &[0; 8], &mut Vec::new()).is_err() || len == 8);
        }
    }
}
