//! Whether states of a model survive on this machine, found out once for each engine, device and model, kept
//! with its figures, and acted upon.
//!
//! The worker compares ([`Qualified`]); here is decided what that means. Where what is live has to be
//! overwritten to be kept ([`CacheKind::can_trim`]), nothing is kept before the comparison went well: a
//! broken backend must not cost the live conversation. Where it went badly nothing is kept or restored, and
//! the next load takes the next [`places`].

use std::collections::BTreeMap;

use reprise_engine::EngineError;
use reprise_engine::message::{Hello, KvPlace, LoadSpec};
use reprise_engine::qualify::{Qualified, QualifySpec};
use reprise_store::Timestamp;
use serde::{Deserialize, Serialize};

use crate::challenge::{SEPARATION, TOLERANCE};
use crate::deaths::Action;
use crate::identity;
use crate::snapshots::Snapshots;
use crate::{Chat, ChatError};

/// What came of a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// A restored state continues as the uninterrupted run did, in every bit.
    Identical,
    /// It continues as a restored state always does, in every bit, and as near to the uninterrupted run as
    /// another shape of the same batches would.
    WithinTolerance,
    /// It does not: states are neither kept nor restored.
    Failed,
}

impl Verdict {
    /// The word that JSON and people see.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Identical => "identical",
            Self::WithinTolerance => "within_tolerance",
            Self::Failed => "failed",
        }
    }
}

/// A comparison that was made, with its figures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Qualification {
    /// What it came to.
    pub verdict: Verdict,
    /// Why it failed, as the end of a sentence; `None` where it did not.
    pub why: Option<String>,
    /// When, in milliseconds since 1970.
    pub at: u64,
    /// The figures.
    pub figures: Qualified,
    /// Name of the model, for people; `None` where it was not known.
    #[serde(default)]
    pub model_name: Option<String>,
}

impl Qualification {
    /// Judges figures.
    #[must_use]
    pub fn of(figures: Qualified, at: Timestamp) -> Self {
        let (verdict, why) = match judge(&figures) {
            Ok(verdict) => (verdict, None),
            Err(why) => (Verdict::Failed, Some(why)),
        };
        Self { verdict, why, at: at.as_millis(), figures, model_name: None }
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.verdict == Verdict::Failed
    }
}

fn judge(figures: &Qualified) -> Result<Verdict, String> {
    if let Some(fault) = &figures.fault {
        return Err(format!("a state could not be put back: {fault}"));
    }
    if figures.steps == 0 {
        return Err("nothing was compared".to_owned());
    }
    // Otherwise even a lost state would pass.
    if figures.control_kl < SEPARATION * TOLERANCE {
        return Err(format!(
            "the model answers too much alike with and without a memory ({:.3} nats) to tell",
            figures.control_kl
        ));
    }
    if figures.identical {
        return Ok(Verdict::Identical);
    }
    if !figures.repeatable {
        return Err("two restores of one state did not give the same".to_owned());
    }
    let furthest = figures.challenge_kl.max(figures.mean_kl);
    if furthest > TOLERANCE {
        return Err(format!(
            "a restored state answers differently ({furthest:.3} nats away, {TOLERANCE} are allowed)"
        ));
    }
    Ok(Verdict::WithinTolerance)
}

/// What a comparison holds for, as the name under which it is kept: engine build, modules, device, place of the
/// KV cache, model, and what changes numerics. Not the threads: they change the last bits of both sides.
pub(crate) fn name(hello: &Hello, spec: &LoadSpec, model: &str) -> String {
    let (device, kv) = match &spec.offload {
        Some(offload) => (offload.device.as_str(), offload.kv.as_str()),
        None => ("CPU", "host"),
    };
    let described = hello.devices.iter().find(|found| found.name == device).map(|found| &found.description);
    let modules = hello.modules.iter().map(|module| module.file.as_deref().unwrap_or(&module.name));
    let own = [
        ("engine", hello.build.clone()),
        ("modules", modules.collect::<Vec<_>>().join(", ")),
        ("device", device.to_owned()),
        ("device_description", described.cloned().unwrap_or_default()),
        ("kv_place", kv.to_owned()),
    ];
    let all: BTreeMap<&str, String> =
        identity::known_before_loading(spec, model).into_iter().chain(own).collect();
    format!("{PREFIX}{}", serde_json::json!(all))
}

/// What all names begin with.
pub(crate) const PREFIX: &str = "qualification ";

/// Where a model may be loaded, the best first: as asked, with the KV cache on the host, on the processor alone.
pub(crate) fn places(spec: &LoadSpec) -> Vec<LoadSpec> {
    let mut places = vec![spec.clone()];
    if let Some(offload) = &spec.offload {
        if offload.kv == KvPlace::Device {
            let host = reprise_engine::message::Offload { kv: KvPlace::Host, ..offload.clone() };
            places.push(LoadSpec { offload: Some(host), ..spec.clone() });
        }
        places.push(LoadSpec { offload: None, ..spec.clone() });
    }
    places
}

impl Snapshots {
    /// The comparison kept under this name.
    pub(crate) async fn qualification(&self, name: &str) -> Option<Qualification> {
        let name = name.to_owned();
        let noted = self.with(move |store| store.noted(&name)).await;
        match noted {
            Ok(noted) => noted.and_then(|value| serde_json::from_value(value).ok()),
            Err(error) => {
                tracing::warn!(code = error.code(), "a qualification could not be read");
                None
            }
        }
    }

    pub(crate) async fn keep_qualification(&self, name: &str, found: &Qualification) {
        let name = name.to_owned();
        let kept = match serde_json::to_value(found) {
            Ok(value) => self.with(move |store| store.note(&name, &value)).await,
            Err(error) => Err(reprise_store::StoreError::Storage { detail: error.to_string() }),
        };
        if let Err(error) = kept {
            // It will be found out again.
            tracing::warn!(code = error.code(), "a qualification could not be kept");
        }
    }
}

/// What came of a comparison beside everything else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Beside {
    /// It is known now.
    Compared,
    /// A turn wanted the engine.
    Wanted,
    /// Nothing could be compared.
    Nothing,
}

impl Chat {
    /// The model as it is to be loaded: as asked, unless states were found not to survive there. Then in the
    /// first place where they do, or where nobody has looked yet.
    pub(crate) async fn placed(&self, spec: LoadSpec) -> LoadSpec {
        let (Some(snapshots), Some(_)) = (&self.snapshots, &spec.offload) else { return spec };
        let Ok(hello) = self.engine.hello().await else { return spec };
        let Some(model) = snapshots.model_hash(&spec.model).await else { return spec };
        for place in places(&spec) {
            let found = snapshots.qualification(&name(&hello, &place, &model)).await;
            if !found.is_some_and(|found| found.has_failed()) {
                return place;
            }
        }
        spec
    }

    /// What was found out of the loaded model, if anything was yet.
    pub async fn qualification(&self) -> Option<Qualification> {
        let (snapshots, name) = (self.snapshots.as_ref()?, self.qualification_name().await?);
        snapshots.qualification(&name).await
    }

    async fn qualification_name(&self) -> Option<String> {
        let snapshots = self.snapshots.as_ref()?;
        let (hello, loaded) = {
            let status = self.engine.status();
            let status = status.borrow();
            (status.worker.clone()?, status.loaded.clone()?)
        };
        let model = snapshots.model_hash(&loaded.spec.model).await?;
        Some(name(&hello, &loaded.spec, &model))
    }

    /// Finds it out now for the loaded model, whatever was found before. Waits for the answer that is being
    /// written.
    pub async fn qualify(&self) -> Result<Qualification, ChatError> {
        self.openings.stop_any();
        self.wanted.notify_waiters();
        let _turn = self.turn.lock().await;
        let name = self.qualification_name().await;
        let found = self.compare(name.as_deref()).await;
        found.map_err(|error| ChatError::Engine { error, message_kept: false })
    }

    /// Compares, and keeps what came of it.
    pub(crate) async fn compare(&self, name: Option<&str>) -> Result<Qualification, EngineError> {
        let action = name.map(|name| Action::Compare(name.to_owned()));
        let figures = match (self.engine.qualify(QualifySpec::default()).await, action) {
            (Err(error @ EngineError::Died(_)), Some(action)) => {
                if self.deaths().died(action) {
                    return Err(error);
                }
                // It would die of it after every answer.
                let fault = "the engine was lost twice while it was tried".to_owned();
                Qualified { fault: Some(fault), ..Qualified::default() }
            }
            (figures, action) => {
                if let Some(action) = action {
                    self.deaths().lived(&action);
                }
                figures?
            }
        };
        let mut found = Qualification::of(figures, self.world.now());
        found.model_name = self.loaded_model();
        tracing::info!(verdict = found.verdict.as_str(), why = found.why, "states were looked at");
        if let (Some(snapshots), Some(name)) = (&self.snapshots, name) {
            snapshots.keep_qualification(name, &found).await;
        }
        Ok(found)
    }

    /// Compares beside whatever the person does, if the loaded model is still the one of this name. Not to be
    /// called while a turn is held.
    pub(crate) async fn compare_unless_wanted(&self, name: &str) -> Beside {
        let wanted = self.wanted.notified();
        tokio::pin!(wanted);
        wanted.as_mut().enable();
        // A turn that takes the lock from here on rings again.
        if self.turn.try_lock().is_err() {
            return Beside::Wanted;
        }
        let compared = async {
            if self.qualification_name().await.as_deref() != Some(name) {
                return Beside::Nothing;
            }
            match self.compare(Some(name)).await {
                Ok(_) => Beside::Compared,
                Err(error) => {
                    tracing::warn!(%error, "nothing could be found out of states");
                    Beside::Nothing
                }
            }
        };
        tokio::select! {
            biased;
            () = wanted => Beside::Wanted,
            beside = compared => beside,
        }
    }
}

#[cfg(test)]
mod tests {
    use reprise_engine::message::Offload;

    use super::*;

    fn figures() -> Qualified {
        Qualified { steps: 32, identical: true, repeatable: true, control_kl: 4.0, ..Qualified::default() }
    }

    #[test]
    fn a_comparison_passes_in_two_ways_and_fails_in_all_others() {
        let verdict = |figures: Qualified| Qualification::of(figures, Timestamp::from_millis(7));
        assert_eq!(verdict(figures()).verdict, Verdict::Identical);
        let near = Qualified { identical: false, challenge_kl: 0.01, mean_kl: 0.02, ..figures() };
        assert_eq!(verdict(near.clone()).verdict, Verdict::WithinTolerance);
        for (what, wrong) in [
            ("far at once", Qualified { challenge_kl: 0.2, ..near.clone() }),
            ("far later", Qualified { mean_kl: 0.2, ..near.clone() }),
            ("no two restores alike", Qualified { repeatable: false, ..near }),
            ("remembers nothing", Qualified { control_kl: 0.5, ..figures() }),
            ("not put back", Qualified { fault: Some("refused".to_owned()), ..figures() }),
            ("nothing compared", Qualified { steps: 0, ..figures() }),
        ] {
            let found = verdict(wrong);
            assert_eq!(found.verdict, Verdict::Failed, "{what}");
            assert!(found.why.is_some(), "{what}");
        }
    }

    #[test]
    fn what_fails_on_the_device_is_tried_on_the_host_and_then_on_the_processor() {
        let offload = |kv| Some(Offload { device: "GPU0".to_owned(), layers: 99, kv });
        let spec = |offload| LoadSpec { offload, ..LoadSpec::new("m.gguf") };
        let tried = |spec: &LoadSpec| places(spec).into_iter().map(|place| place.offload).collect::<Vec<_>>();
        let (device, host) = (offload(KvPlace::Device), offload(KvPlace::Host));
        assert_eq!(tried(&spec(device.clone())), [device, host.clone(), None]);
        assert_eq!(tried(&spec(host.clone())), [host, None]);
        assert_eq!(tried(&spec(None)), [None]);
    }

    #[test]
    fn another_engine_device_or_setting_is_another_question() {
        let hello = |build: &str| Hello {
            protocol: 1,
            pid: 1,
            build: build.to_owned(),
            modules: Vec::new(),
            devices: Vec::new(),
        };
        let spec = LoadSpec::new("m.gguf");
        let own = name(&hello("a"), &spec, "hash");
        let offload = Offload { device: "GPU0".to_owned(), layers: 1, kv: KvPlace::Device };
        let device = LoadSpec { offload: Some(offload.clone()), ..spec.clone() };
        let host = LoadSpec { offload: Some(Offload { kv: KvPlace::Host, ..offload }), ..spec.clone() };
        let others = [
            name(&hello("b"), &spec, "hash"),
            name(&hello("a"), &spec, "other"),
            name(&hello("a"), &device, "hash"),
            name(&hello("a"), &host, "hash"),
        ];
        for (index, other) in others.iter().enumerate() {
            assert!(*other != own && !others[..index].contains(other), "{other}");
        }
        assert_eq!(own, name(&hello("a"), &LoadSpec { n_threads: Some(3), ..spec }, "hash"));
    }
}
