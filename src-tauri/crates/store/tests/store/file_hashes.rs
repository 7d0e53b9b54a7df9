//! Content hashes of model files: computed once, and again whenever the file may be another.

use std::cell::RefCell;
use std::fs::{self, File};
use std::io::Write;
use std::ops::ControlFlow;
use std::path::Path;

use reprise_store::{ContentHash, FileStamp, HashCache, NoHashCache, content_hash, content_hash_all};
use rusqlite::Connection;

use crate::states::open;
use crate::support::Place;

/// Passes on to another cache, and counts.
struct Counting<'a> {
    cache: &'a dyn HashCache,
    counts: RefCell<(usize, usize)>,
}

impl HashCache for Counting<'_> {
    fn find(&self, path: &Path, stamp: &FileStamp) -> Option<ContentHash> {
        let found = self.cache.find(path, stamp);
        self.counts.borrow_mut().0 += usize::from(found.is_some());
        found
    }

    fn keep(&self, path: &Path, stamp: &FileStamp, hash: &ContentHash) {
        self.counts.borrow_mut().1 += 1;
        self.cache.keep(path, stamp, hash);
    }
}

/// The hash, how often the cache knew it, and how often it was told to keep it.
fn hash(path: &Path, cache: &dyn HashCache) -> (ContentHash, usize, usize) {
    let counting = Counting { cache, counts: RefCell::default() };
    let hash = content_hash(path, &counting, &mut |_| ControlFlow::Continue(())).unwrap().unwrap();
    let (found, kept) = *counting.counts.borrow();
    (hash, found, kept)
}

#[test]
fn a_file_is_hashed_once_until_it_changes() {
    let place = Place::new();
    let writer = place.writer();
    let store = open(&writer);
    let model = place.path("model.gguf");
    // More than is read at once, and not a multiple of it.
    let content: Vec<u8> = (0..9_000_001_u32).map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[2]).collect();
    fs::write(&model, &content).unwrap();
    let expected = ContentHash::of(&content);
    assert_eq!(hash(&model, &store), (expected, 0, 1));
    assert_eq!(hash(&model, &store), (expected, 1, 0));
    drop(store);
    let store = open(&writer);
    assert_eq!(hash(&model, &store), (expected, 1, 0));
    assert_eq!(hash(&model, &NoHashCache), (expected, 0, 1));

    // As long as before, and as old as before: only the change time tells.
    let modified = fs::metadata(&model).unwrap().modified().unwrap();
    let mut file = File::options().write(true).open(&model).unwrap();
    file.write_all(b"other weights").unwrap();
    file.set_modified(modified).unwrap();
    drop(file);
    let meta = fs::metadata(&model).unwrap();
    assert_eq!((meta.modified().unwrap(), meta.len()), (modified, 9_000_001));
    if cfg!(unix) {
        let changed = hash(&model, &store);
        assert_ne!(changed.0, expected);
        assert_eq!((changed.1, changed.2), (0, 1));
    }

    // Another file under the same name, with the same times.
    let copy = place.path("copy.gguf");
    fs::write(&copy, &content).unwrap();
    File::options().write(true).open(&copy).unwrap().set_modified(modified).unwrap();
    fs::rename(&copy, &model).unwrap();
    assert_eq!(hash(&model, &store), (expected, 0, 1));
}

#[test]
fn a_file_that_changes_while_it_is_read_is_not_kept() {
    let place = Place::new();
    let writer = place.writer();
    let store = open(&writer);
    let model = place.path("model.gguf");
    fs::write(&model, vec![1; 9_000_000]).unwrap();
    let counting = Counting { cache: &store, counts: RefCell::default() };
    let mut more: &[u8] = b"more";
    let mut append = |_| {
        let more = std::mem::take(&mut more);
        File::options().append(true).open(&model).unwrap().write_all(more).unwrap();
        ControlFlow::Continue(())
    };
    content_hash(&model, &counting, &mut append).unwrap().unwrap();
    assert_eq!(*counting.counts.borrow(), (0, 0));
    // Replaced by another while the old one is still read to its end.
    fs::write(place.path("other"), vec![1; 9_000_008]).unwrap();
    let mut replace = |_| {
        let _ = fs::rename(place.path("other"), &model);
        ControlFlow::Continue(())
    };
    content_hash(&model, &counting, &mut replace).unwrap().unwrap();
    assert_eq!(*counting.counts.borrow(), (0, 0));
    // And stopped, there is no hash.
    let stopped = content_hash(&model, &counting, &mut |_| ControlFlow::Break(())).unwrap();
    assert_eq!((stopped, *counting.counts.borrow()), (None, (0, 0)));
}

#[test]
fn a_changed_row_does_not_make_one_file_pass_for_another() {
    let place = Place::new();
    let writer = place.writer();
    let model = place.path("model.gguf");
    fs::write(&model, "weights").unwrap();
    hash(&model, &open(&writer));
    let conn = Connection::open(place.data().snapshots_db()).unwrap();
    conn.execute("UPDATE file_hashes SET hash = zeroblob(32)", []).unwrap();
    drop(conn);
    assert_eq!(hash(&model, &open(&writer)), (ContentHash::of(b"weights"), 0, 1));
}

#[test]
fn a_model_in_several_files_has_one_hash() {
    let place = Place::new();
    let paths = ["a", "b"].map(|name| place.path(name));
    fs::write(&paths[0], "one").unwrap();
    fs::write(&paths[1], "two").unwrap();
    let all = |paths: &[&Path]| {
        content_hash_all(paths, &NoHashCache, &mut |_| ControlFlow::Continue(())).unwrap().unwrap()
    };
    let [a, b] = [&*paths[0], &*paths[1]];
    assert_eq!(all(&[a]), ContentHash::of(b"one"));
    assert_ne!(all(&[a, b]), all(&[b, a]));
    assert_ne!(all(&[a, b]), all(&[a]));
    let before = all(&[a, b]);
    fs::write(b, "twO").unwrap();
    assert_ne!(all(&[a, b]), before);
}
