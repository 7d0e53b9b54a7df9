//! How fast this machine is with a model: learned as things are done, and kept, so that estimates are there right
//! after a start too.
//!
//! What is kept serves estimates only. Whether a state is worth restoring is decided by what was measured since the
//! program started: the machine may have changed since.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::snapshots::Snapshots;

/// How fast this machine is with one model and its settings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Pace {
    /// Prompt tokens per millisecond.
    pub(crate) prefill: Option<f64>,
    /// Bytes of state per millisecond, read, verified and set.
    pub(crate) restore: Option<f64>,
    /// Time to ask the probes, in milliseconds.
    pub(crate) challenge_ms: Option<f64>,
    /// Bytes of state per millisecond, exported.
    pub(crate) export: Option<f64>,
    /// Time to load the model, in milliseconds.
    pub(crate) load_ms: Option<f64>,
}

impl Pace {
    /// Takes a new measurement in; recent ones count for more.
    pub(crate) fn learn(known: &mut Option<f64>, measured: f64) {
        if measured.is_finite() && measured > 0.0 {
            *known = Some(known.map_or(measured, |known| f64::midpoint(known, measured)));
        }
    }

    /// This one where it knows something, else `kept`.
    fn or(self, kept: Self) -> Self {
        Self {
            prefill: self.prefill.or(kept.prefill),
            restore: self.restore.or(kept.restore),
            challenge_ms: self.challenge_ms.or(kept.challenge_ms),
            export: self.export.or(kept.export),
            load_ms: self.load_ms.or(kept.load_ms),
        }
    }

    /// A kept figure that is no measure is none.
    fn sound(self) -> Self {
        let sound = |figure: Option<f64>| figure.filter(|figure| figure.is_finite() && *figure > 0.0);
        Self {
            prefill: sound(self.prefill),
            restore: sound(self.restore),
            challenge_ms: sound(self.challenge_ms),
            export: sound(self.export),
            load_ms: sound(self.load_ms),
        }
    }
}

/// What was measured since the program started, by the content hash of the model.
#[derive(Debug, Default)]
pub(crate) struct Paces {
    /// Held for one look-up.
    by_model: Mutex<HashMap<String, Pace>>,
}

impl Paces {
    pub(crate) fn of(&self, model: &str) -> Pace {
        let paces = self.by_model.lock().unwrap_or_else(PoisonError::into_inner);
        paces.get(model).copied().unwrap_or_default()
    }

    pub(crate) fn learn(&self, model: &str, measured: impl FnOnce(&mut Pace)) {
        let mut paces = self.by_model.lock().unwrap_or_else(PoisonError::into_inner);
        measured(paces.entry(model.to_owned()).or_default());
    }
}

fn note_name(model: &str) -> String {
    format!("pace {model}")
}

impl Snapshots {
    /// What is known of a model, also from before the program started: for estimates.
    pub(crate) async fn known_pace(&self, model: &str) -> Pace {
        let name = note_name(model);
        let kept = self.with(move |store| store.noted(&name)).await;
        let kept = kept.ok().flatten().and_then(|value| serde_json::from_value::<Pace>(value).ok());
        self.pace(model).or(kept.unwrap_or_default().sound())
    }

    /// Keeps what is known of a model.
    pub(crate) async fn keep_pace(&self, model: &str) {
        let pace = self.known_pace(model).await;
        let name = note_name(model);
        let Ok(value) = serde_json::to_value(pace) else { return };
        if let Err(error) = self.with(move |store| store.note(&name, &value)).await {
            // It is measured again.
            tracing::debug!(code = error.code(), "a pace was not kept");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_measurement_counts_for_half_and_nonsense_for_nothing() {
        let mut known = None;
        Pace::learn(&mut known, f64::NAN);
        Pace::learn(&mut known, -1.0);
        assert_eq!(known, None);
        Pace::learn(&mut known, 4.0);
        Pace::learn(&mut known, 8.0);
        assert_eq!(known, Some(6.0));
    }

    #[test]
    fn what_was_measured_now_comes_before_what_was_kept() {
        let now = Pace { prefill: Some(2.0), ..Pace::default() };
        let kept = Pace { prefill: Some(1.0), load_ms: Some(300.0), restore: Some(-1.0), ..Pace::default() };
        let known = now.or(kept.sound());
        assert_eq!((known.prefill, known.load_ms, known.restore), (Some(2.0), Some(300.0), None));
    }
}
