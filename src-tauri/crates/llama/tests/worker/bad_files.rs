//! Files that are no models: one clear fault each, or a death that costs one worker; never a hang.

use std::fs;
use std::path::{Path, PathBuf};

use reprise_engine::message::LoadSpec;
use reprise_engine::{EngineError, Fault};
use tempfile::TempDir;
use tokio::time::timeout;

use crate::gguf::{Gguf, write_hollow};
use crate::rig::{PATIENCE, Rig, SMOLLM2, ask, fault, model, spec, user};

/// A rig, a good model, and a folder for bad ones.
struct Yard {
    rig: Rig,
    good: PathBuf,
    folder: TempDir,
}

impl Yard {
    fn new() -> Option<Self> {
        Some(Self { good: model(SMOLLM2)?, rig: Rig::start(), folder: tempfile::tempdir().unwrap() })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What loading it gives; also when that takes a worker's life.
    async fn load(&self, path: &Path) -> Result<(), EngineError> {
        let small = LoadSpec { n_ctx: Some(256), ..spec(path) };
        let loading = timeout(PATIENCE, self.rig.try_load(small));
        let outcome = loading.await.unwrap_or_else(|_| panic!("{} hangs", path.display()));
        outcome.map(drop)
    }

    async fn still_works(&self) {
        self.load(&self.good).await.unwrap();
        assert_eq!(self.rig.ask(ask(user("Hi"), 1)).await.tokens.len(), 1);
    }

    async fn check(&self, path: &Path, code: &str) -> Fault {
        let refused = fault(self.load(path).await);
        assert_eq!(refused.code(), code, "{}: {refused}", path.display());
        eprintln!("{refused}");
        self.still_works().await;
        refused
    }
}

#[tokio::test]
async fn what_is_no_model_is_refused_by_name() {
    let Some(yard) = Yard::new() else { return };
    let pid = yard.rig.pid().await;
    yard.check(&yard.path("missing.gguf"), "model_missing").await;
    yard.check(&yard.good.join("below.gguf"), "model_missing").await;
    yard.check(yard.folder.path(), "model_is_directory").await;
    for (name, content) in
        [("empty.gguf", &b""[..]), ("short.gguf", b"GG"), ("text.gguf", b"Dear reader, this is a letter.")]
    {
        fs::write(yard.path(name), content).unwrap();
        yard.check(&yard.path(name), "model_not_gguf").await;
    }
    yard.check(Path::new("/dev/zero"), "model_not_gguf").await;

    let locked = yard.path("locked.gguf");
    fs::write(&locked, b"GGUF").unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(&locked, fs::Permissions::from_mode(0o000)).unwrap();
    }
    if fs::File::open(&locked).is_ok() {
        eprintln!("skipped, because this user may read every file: an unreadable model");
    } else {
        yard.check(&locked, "model_unreadable").await;
    }
    assert_eq!(yard.rig.pid().await, pid, "no worker was lost");
}

#[tokio::test]
async fn a_truncated_model_is_damaged() {
    let Some(yard) = Yard::new() else { return };
    let pid = yard.rig.pid().await;
    let whole = fs::read(&yard.good).unwrap();
    let [header, metadata, infos] = Gguf::read(&yard.good).ends;
    let length = whole.len() as u64;
    for (name, keep) in [
        ("magic", 4),
        ("header", header - 4),
        ("no-metadata", header),
        ("metadata", u64::midpoint(header, metadata)),
        ("no-infos", metadata),
        ("infos", u64::midpoint(metadata, infos)),
        ("no-data", infos),
        ("data", u64::midpoint(infos, length)),
        ("last-byte", length - 1),
    ] {
        let path = yard.path(name);
        fs::write(&path, &whole[..usize::try_from(keep).unwrap()]).unwrap();
        yard.check(&path, "model_damaged").await;
        fs::remove_file(&path).unwrap();
    }
    assert_eq!(yard.rig.pid().await, pid, "no worker was lost");
}

#[tokio::test]
async fn contradicting_metadata_is_refused() {
    let Some(yard) = Yard::new() else { return };
    let pid = yard.rig.pid().await;
    let length = fs::metadata(&yard.good).unwrap().len();
    let path = yard.path("edited.gguf");
    let edit = |edit: fn(&mut Gguf)| {
        let mut gguf = Gguf::read(&yard.good);
        edit(&mut gguf);
        write_hollow(&gguf.head(), length + 4096, &path);
    };

    edit(|gguf| gguf.set_string("general.architecture", "abacus"));
    let refused = yard.check(&path, "model_unsupported").await;
    let architecture = "abacus".to_owned();
    assert_eq!(refused, Fault::ModelUnsupported { architecture });

    edit(|gguf| gguf.remove("general.architecture"));
    assert!(yard.load(&path).await.is_err());
    edit(|gguf| gguf.set_string("tokenizer.ggml.model", "no_vocab"));
    let refused = yard.check(&path, "model_load_failed").await;
    assert!(refused.to_string().contains("vocabulary"), "{refused}");
    edit(|gguf| gguf.set_bool("llama.attention.causal", false));
    yard.check(&path, "model_unsupported").await;
    edit(|gguf| gguf.set_strings("tokenizer.ggml.tokens", &[]));
    assert!(yard.load(&path).await.is_err());
    edit(|gguf| gguf.set_u32("llama.block_count", 31));
    assert!(yard.load(&path).await.is_err());
    edit(|gguf| gguf.set_u32("llama.attention.head_count", 0));
    assert!(yard.load(&path).await.is_err());
    yard.still_works().await;
    assert_eq!(yard.rig.pid().await, pid, "no worker was lost");
}

#[tokio::test]
async fn special_tokens_of_no_vocabulary_harm_nothing() {
    let Some(yard) = Yard::new() else { return };
    let path = yard.path("special.gguf");
    let mut gguf = Gguf::read(&yard.good);
    for name in ["bos", "eos", "unknown", "padding"] {
        gguf.set_u32(&format!("tokenizer.ggml.{name}_token_id"), u32::MAX);
    }
    gguf.set_bool("tokenizer.ggml.add_bos_token", true);
    gguf.write(&yard.good, &path);
    yard.load(&path).await.unwrap();
    assert_eq!(yard.rig.ask(ask(user("Hi"), 3)).await.tokens.len(), 3);
    yard.still_works().await;
}

/// Reproducible, and enough for this (Marsaglia's xorshift, 64 bits).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % n as u64).unwrap()
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[3]
    }
}

#[tokio::test]
async fn mutated_headers_never_hang() {
    let Some(yard) = Yard::new() else { return };
    let path = yard.path("mutated.gguf");
    let head = Gguf::read(&yard.good).head();
    let length = fs::metadata(&yard.good).unwrap().len();
    let (mut refused, mut deaths, mut loaded) = (0, 0, 0);
    let mut random = Random(0x5eed_1234_5678_9abc);
    for round in 0..60 {
        let mut bytes = head.clone();
        match round % 4 {
            // Nothing but noise behind the magic.
            0 => {
                bytes.truncate(4096);
                bytes[4..].fill_with(|| random.byte());
            }
            // Noise behind a version that is known.
            1 => {
                bytes.truncate(4096);
                bytes[8..].fill_with(|| random.byte());
                bytes[8..24].fill(0);
                (bytes[8], bytes[16]) = (random.byte(), random.byte());
            }
            // A few bytes among the counts and the first keys.
            2 => (0..4).for_each(|_| bytes[4 + random.below(1500)] = random.byte()),
            // A few bytes among the tensor infos.
            _ => {
                let infos = bytes.len() - 16_000;
                (0..4).for_each(|_| bytes[infos + random.below(15_000)] = random.byte());
            }
        }
        write_hollow(&bytes, length, &path);
        match yard.load(&path).await {
            Ok(()) => loaded += 1,
            Err(EngineError::Fault(fault)) => {
                assert!(
                    matches!(
                        fault,
                        Fault::ModelDamaged { .. }
                            | Fault::ModelLoadFailed { .. }
                            | Fault::ModelUnsupported { .. }
                            | Fault::ContextFailed { .. }
                    ),
                    "{round}: {fault:?}"
                );
                refused += 1;
            }
            Err(EngineError::Died(death)) => {
                eprintln!("round {round}: {death}");
                deaths += 1;
            }
            Err(other) => panic!("{round}: {other}"),
        }
        if round % 10 == 0 {
            yard.still_works().await;
        }
    }
    yard.still_works().await;
    eprintln!("{refused} refused, {deaths} deaths, {loaded} loaded");
    assert!(refused > 30);
}

/// Counts and lengths that nobody could allocate.
#[tokio::test]
async fn huge_counts_are_refused() {
    let Some(yard) = Yard::new() else { return };
    let pid = yard.rig.pid().await;
    let path = yard.path("huge.gguf");
    let head = Gguf::read(&yard.good).head();
    // The number of tensors, of entries, and the length of the first key.
    for at in [8, 16, 24] {
        for count in [u64::MAX, i64::MAX as u64, 1 << 40, 1 << 31] {
            let mut bytes = head.clone();
            bytes[at..at + 8].copy_from_slice(&count.to_le_bytes());
            fs::write(&path, &bytes).unwrap();
            let refused = fault(yard.load(&path).await);
            assert_eq!(refused.code(), "model_damaged", "{at} {count}: {refused}");
        }
    }
    // An array as long as no memory: its type (strings, then bytes) and its length behind a key.
    for kind in [8_u32, 0, 12] {
        for count in [u64::MAX, 1 << 40, 1 << 33] {
            let mut bytes = head[..16].to_vec();
            bytes.extend(1_u64.to_le_bytes());
            bytes.extend(1_u64.to_le_bytes());
            bytes.push(b'k');
            bytes.extend(9_u32.to_le_bytes());
            bytes.extend(kind.to_le_bytes());
            bytes.extend(count.to_le_bytes());
            bytes.resize(4096, 0);
            fs::write(&path, &bytes).unwrap();
            let refused = fault(yard.load(&path).await);
            assert_eq!(refused.code(), "model_damaged", "{kind} {count}: {refused}");
        }
    }
    yard.still_works().await;
    assert_eq!(yard.rig.pid().await, pid, "no worker was lost");
}
