//! Whether states of one model survive here, thoroughly: within the engine, and from one engine process to
//! the next.

use reprise_engine::message::{ChatMessage, GenerateSpec, LoadSpec, ModelInfo, Role, Sampling};
use reprise_engine::qualify::QualifySpec;
use reprise_engine::state::{Pieces, RestoreSpec};
use reprise_engine::{EngineError, EngineHandle, Fault, GenerationEvent};
use tokio::sync::{mpsc, watch};

use crate::challenge::{self, Reference};
use crate::qualification::{self, Qualification, Verdict};
use crate::{Snapshots, World};

/// What was found out of a model.
#[derive(Debug, Clone)]
pub struct Survival {
    /// How it is loaded: in the first place where its states survive, or in the last that there is.
    pub spec: LoadSpec,
    /// The model.
    pub info: ModelInfo,
    /// Each place that was tried, in order, and what came of it. The last is that of `spec`.
    pub tried: Vec<(LoadSpec, Qualification)>,
    /// Whether a state that one engine process gave answers the same in the next, with everything loaded anew;
    /// why it could not be tried, where it could not.
    pub restart: Result<bool, String>,
}

/// Loads a model, compares, and steps down from place to place while states do not survive. What is found is
/// kept where there is a cache of states. `start` starts another engine process; the one given is
/// shut down for it, and the one returned takes its place.
pub async fn examine_model(
    engine: EngineHandle,
    start: impl FnOnce() -> EngineHandle,
    asked: LoadSpec,
    snapshots: Option<&Snapshots>,
    world: &dyn World,
) -> (EngineHandle, Result<Survival, EngineError>) {
    let (spec, info, tried) = match settle(&engine, &asked, snapshots, world).await {
        Ok(settled) => settled,
        Err(error) => return (engine, Err(error)),
    };
    let failed = tried.last().is_none_or(|(_, found)| found.verdict == Verdict::Failed);
    if failed {
        let restart = Err("states do not survive within one process".to_owned());
        return (engine, Ok(Survival { spec, info, tried, restart }));
    }
    let kept = match give(&engine, &info).await {
        Ok(kept) => kept,
        Err(error) => {
            let restart = Err(error.to_string());
            return (engine, Ok(Survival { spec, info, tried, restart }));
        }
    };
    engine.shutdown().await;
    drop(engine);
    let engine = start();
    let restart = match load(&engine, &spec).await {
        Ok(info) => take(&engine, &info, &kept).await.map_err(|error| error.to_string()),
        Err(error) => return (engine, Err(error)),
    };
    (engine, Ok(Survival { spec, info, tried, restart }))
}

type Tried = Vec<(LoadSpec, Qualification)>;

async fn settle(
    engine: &EngineHandle,
    asked: &LoadSpec,
    snapshots: Option<&Snapshots>,
    world: &dyn World,
) -> Result<(LoadSpec, ModelInfo, Tried), EngineError> {
    let mut tried = Vec::new();
    let mut info = load(engine, asked).await?;
    for (index, place) in qualification::places(asked).into_iter().enumerate() {
        if index > 0 {
            info = load(engine, &place).await?;
        }
        let found = Qualification::of(engine.qualify(QualifySpec::default()).await?, world.now());
        if let Some(snapshots) = snapshots
            && let Some(model) = snapshots.model_hash(&place.model).await
        {
            let name = qualification::name(&engine.hello().await?, &place, &model);
            snapshots.keep_qualification(&name, &found).await;
        }
        let failed = found.has_failed();
        tried.push((place.clone(), found));
        if !failed {
            return Ok((place, info, tried));
        }
    }
    let last = tried.last().map_or_else(|| asked.clone(), |(place, _)| place.clone());
    Ok((last, info, tried))
}

async fn load(engine: &EngineHandle, spec: &LoadSpec) -> Result<ModelInfo, EngineError> {
    let (progress, _nobody) = mpsc::channel(1);
    engine.load(spec.clone(), progress, watch::channel(false).1).await
}

/// A state on its way from one process to the next.
struct Kept {
    bytes: Vec<u8>,
    spec: RestoreSpec,
    reference: Reference,
}

async fn give(engine: &EngineHandle, info: &ModelInfo) -> Result<Kept, EngineError> {
    let words = "harbour copper winter lantern violin seven garden thunder paper river ";
    let content = format!("Repeat this: {}", words.repeat(16));
    let ask = GenerateSpec {
        sampling: Sampling { temperature: 0.0, ..Sampling::default() },
        max_tokens: Some(1),
        ..GenerateSpec::new(vec![ChatMessage { role: Role::User, content }])
    };
    let mut answer = engine.generate(ask, watch::channel(false).1).await?;
    loop {
        if let GenerationEvent::Ended(ended) = answer.next().await {
            ended?;
            break;
        }
    }
    let exported = engine.export().await?;
    if let Some(twice) = &exported.overwritten {
        challenge::is_unchanged(twice)
            .map_err(|detail| EngineError::Fault(Fault::StateUnavailable { detail }))?;
        engine.accept().await?;
    }
    let (sink, mut frames) = mpsc::channel::<Vec<u8>>(4);
    let mut bytes = Vec::new();
    let collect = async {
        while let Some(frame) = frames.recv().await {
            bytes.extend(frame);
        }
    };
    let (shipped, ()) =
        tokio::join!(engine.ship(exported.image, vec![Pieces::whole(exported.table.len)], sink), collect);
    shipped?;
    let probes = exported.fingerprints.iter().map(|fingerprint| fingerprint.probe.clone()).collect();
    let class = info.state.as_ref().map(|state| state.class.clone()).unwrap_or_default();
    Ok(Kept {
        bytes,
        spec: RestoreSpec { tokens: exported.tokens, table: exported.table, probes },
        reference: Reference { fingerprints: exported.fingerprints, class },
    })
}

async fn take(engine: &EngineHandle, info: &ModelInfo, kept: &Kept) -> Result<bool, EngineError> {
    let len = kept.spec.table.len;
    let (frames, source) = mpsc::channel(4);
    let feed = async {
        for frame in kept.bytes.chunks(reprise_engine::frame::MAX_STATE) {
            if frames.send(frame.to_vec()).await.is_err() {
                break;
            }
        }
        drop(frames);
    };
    let (received, ()) = tokio::join!(engine.receive(len, vec![Pieces::whole(len)], source), feed);
    received?;
    let restored = engine.restore(kept.spec.clone()).await?;
    engine.discard().await?;
    let state = info.state.clone().unwrap_or_default();
    let then = &kept.reference.fingerprints;
    let same = restored.fingerprints.len() == then.len()
        && restored.fingerprints.iter().zip(then).all(|(now, then)| now.hash == then.hash);
    Ok(restored.fault.is_none() && same && state.class == kept.reference.class)
}
