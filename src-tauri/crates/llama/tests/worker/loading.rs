//! The handshake, loading, and what a request may ask of a load.

use reprise_engine::message::{
    CacheKind, DeviceKind, Event, KvType, LoadSpec, PROTOCOL_VERSION, Request, RequestId, TemplateOrigin,
};
use reprise_engine::{Direction, EngineError, Fault};
use tokio::sync::mpsc;

use crate::rig::{GEMMA, Rig, SMOLLM2, ask, fault, model, never, spec, user};
use crate::stopping::raw_worker;

#[tokio::test]
async fn the_worker_says_who_it_is() {
    let rig = Rig::start();
    let hello = rig.engine.hello().await.unwrap();
    assert_eq!(hello.protocol, PROTOCOL_VERSION);
    assert!(hello.build.starts_with("llama.cpp ") && hello.build.contains("ggml "), "{}", hello.build);
    let cpu = hello.modules.iter().find(|module| module.name == "CPU").unwrap();
    let file = cpu.file.as_deref().unwrap_or_default();
    assert!(file.contains("ggml-cpu"), "{hello:?}");
    assert!(crate::rig::engine_dir().join(file).is_file(), "{file} is not in the engine folder");
    let device = hello.devices.iter().find(|device| device.kind == DeviceKind::Cpu);
    assert!(device.unwrap().memory_total > 0, "{hello:?}");
    rig.engine.ping().await.unwrap();
}

#[tokio::test]
#[cfg(target_os = "linux")]
async fn a_worker_without_a_model_takes_little_memory() {
    let rig = Rig::start();
    let status = std::fs::read_to_string(format!("/proc/{}/status", rig.pid().await)).unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let resident: u64 = resident.trim().trim_end_matches(" kB").parse().unwrap();
    eprintln!("idle worker: {:.1} MB resident", resident as f64 / 1024.0);
    assert!(resident <= 60 * 1024, "{resident} kB");
}

#[tokio::test]
async fn loading_tells_how_far_it_is_and_what_was_found() {
    let (Some(smollm2), Some(gemma)) = (model(SMOLLM2), model(GEMMA)) else {
        return;
    };
    let rig = Rig::start();
    let (progress, mut reported) = mpsc::channel(1024);
    let asked = LoadSpec { n_ctx: Some(1000), ..spec(&smollm2) };
    let info = rig.engine.load(asked, progress, never()).await.unwrap();
    let mut fractions = Vec::new();
    while let Ok(fraction) = reported.try_recv() {
        fractions.push(fraction);
    }
    assert!(fractions.is_sorted(), "{fractions:?}");
    assert!(fractions.len() > 5 && fractions[0] < 0.2, "{fractions:?}");
    assert!((fractions[fractions.len() - 1] - 1.0).abs() < f32::EPSILON, "{fractions:?}");

    assert_eq!(info.name, "Smollm2 135M 8k Lc100K Mix1 Ep2");
    assert_eq!(info.architecture, "llama");
    assert_eq!((info.n_layer, info.n_vocab, info.n_ctx_train), (30, 49152, 8192));
    assert_eq!((info.n_ctx, info.n_threads), (1024, 1));
    assert_eq!((info.cache, info.template), (CacheKind::Full, TemplateOrigin::Model));
    assert!((130_000_000..140_000_000).contains(&info.n_params), "{info:?}");
    assert!((80_000_000..100_000_000).contains(&info.size), "{info:?}");
    assert_eq!(info.token_identity.len(), 64);
    assert!(info.load_ms > 0.0);
    assert_eq!(rig.engine.status().borrow().loaded.as_ref().unwrap().info, info);

    let other = rig.load(&gemma).await;
    assert_eq!((other.architecture.as_str(), other.n_layer), ("gemma3", 18));
    assert_eq!((other.cache, other.template), (CacheKind::SlidingWindow, TemplateOrigin::ChatMl));
    assert_ne!(other.token_identity, info.token_identity);

    let again = rig.load(&smollm2).await;
    assert_eq!(again.token_identity, info.token_identity);
    rig.engine.unload().await.unwrap();
    assert_eq!(fault(rig.try_ask(ask(user("Hello"), 1)).await), Fault::NotLoaded);
    rig.engine.unload().await.unwrap();
}

#[tokio::test]
async fn a_load_can_be_cancelled() {
    let (Some(smollm2), Some(gemma)) = (model(SMOLLM2), model(GEMMA)) else {
        return;
    };
    let logs = tempfile::tempdir().unwrap();
    let mut worker = raw_worker(logs.path());
    worker.ask(1, Request::Load(spec(&smollm2))).await;
    worker.ask(2, Request::Load(spec(&gemma))).await;
    let target = RequestId(2);
    worker.ask(3, Request::Cancel { target }).await;
    // The old model went when the load began.
    worker.ask(4, Request::Generate(ask(user("Hello"), 1))).await;
    worker.ask(5, Request::Load(spec(&gemma))).await;
    let mut ends = Vec::new();
    while ends.len() < 4 {
        ends.push(worker.until(|event| event.is_last().then_some(event)).await);
    }
    assert!(matches!(ends[0], Event::Loaded(_)), "{ends:?}");
    assert!(matches!(ends[1], Event::Failed(Fault::Cancelled)), "{ends:?}");
    assert!(matches!(ends[2], Event::Failed(Fault::NotLoaded)), "{ends:?}");
    assert!(matches!(ends[3], Event::Loaded(_)), "{ends:?}");
}

#[tokio::test]
async fn senseless_loads_harm_nothing() {
    let Some(smollm2) = model(SMOLLM2) else { return };
    let rig = Rig::start();
    let pid = rig.pid().await;
    for (n_ctx, got) in [(0, 256), (1, 256), (257, 512)] {
        let asked = LoadSpec { n_ctx: Some(n_ctx), ..spec(&smollm2) };
        assert_eq!(rig.try_load(asked).await.unwrap().n_ctx, got);
        assert_eq!(rig.ask(ask(user("Hi"), 1)).await.tokens.len(), 1);
    }
    for n_ctx in [u32::MAX, i32::MAX as u32] {
        let asked = LoadSpec { n_ctx: Some(n_ctx), ..spec(&smollm2) };
        let refused = fault(rig.try_load(asked).await);
        assert!(matches!(refused, Fault::ContextFailed { .. }), "{refused:?}");
        assert_eq!(fault(rig.try_ask(ask(user("Hi"), 1)).await), Fault::NotLoaded);
    }
    let cores = std::thread::available_parallelism().unwrap().get();
    for n_threads in [None, Some(0), Some(u32::MAX)] {
        let info = rig.try_load(LoadSpec { n_threads, ..spec(&smollm2) }).await.unwrap();
        assert_eq!(info.n_threads as usize, cores, "{n_threads:?}");
    }
    assert_eq!(rig.ask(ask(user("Hi"), 1)).await.tokens.len(), 1);
    let asked = LoadSpec { n_ctx: None, kv_type: KvType::Q8_0, ..spec(&smollm2) };
    let info = rig.try_load(asked).await.unwrap();
    assert_eq!(info.n_ctx, 8192);
    assert_eq!(rig.ask(ask(user("Hi"), 3)).await.tokens.len(), 3);
    assert_eq!(rig.pid().await, pid, "no worker was lost");
}

#[tokio::test]
async fn state_bytes_move_both_ways_beside_a_model() {
    let Some(smollm2) = model(SMOLLM2) else { return };
    let rig = Rig::with(&smollm2).await;
    for direction in [Direction::FromWorker, Direction::ToWorker] {
        for bytes in [0, 1, 1 << 20, 5_000_003] {
            rig.engine.move_state(bytes, direction).await.unwrap();
        }
    }
    assert_eq!(rig.ask(ask(user("Hi"), 1)).await.tokens.len(), 1);
}

/// A request that the worker cannot read is the end of it: nothing behind it can be trusted.
#[tokio::test]
async fn an_unreadable_request_ends_the_worker() {
    let folder = tempfile::tempdir().unwrap();
    let mut worker = raw_worker(folder.path());
    let mut bad = ask(user("Unspoken"), 1);
    // JSON has no such number: it is written as null.
    bad.sampling.temperature = f32::NAN;
    worker.ask(1, Request::Generate(bad)).await;
    worker.until_closed().await;
    let logs = std::fs::read_dir(folder.path()).unwrap();
    let logged: String = logs.map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap()).collect();
    assert!(logged.contains("unreadable request"), "{logged}");
    assert!(!logged.contains("Unspoken"), "{logged}");
}

#[tokio::test]
async fn a_closed_engine_says_so() {
    let rig = Rig::start();
    rig.engine.shutdown().await;
    assert_eq!(rig.engine.hello().await.unwrap_err(), EngineError::Closed);
}
