//! All that was found out of states on this machine, for a list.

use std::collections::BTreeMap;

use reprise_engine::message::LoadSpec;
use reprise_store::StoreError;

use crate::qualification::{self, PREFIX, Qualification};
use crate::{Chat, LoadOptions};

/// What in a name is the model's own; everything else is the engine's, the device's and the settings'.
const MODEL: &str = "model";

/// How much of a hash stands for a model whose name was not kept.
const SHORT_HASH: usize = 12;

/// What was found out of one model in one place.
#[derive(Debug, Clone, PartialEq)]
pub struct KeptQualification {
    /// Name of the model, for people.
    pub model: String,
    /// What computes: `CPU`, or a device's name.
    pub device: String,
    /// Where the KV cache lies: `host` or `device`.
    pub kv_place: String,
    /// Type of the KV cache.
    pub kv_type: String,
    /// Whether it holds for the engine, the device and the settings of now.
    pub current: bool,
    /// What was found.
    pub found: Qualification,
}

impl Chat {
    /// All that was found out, the latest first. `load` is how models are loaded now, where none is.
    pub async fn qualifications(&self, load: &LoadOptions) -> Result<Vec<KeptQualification>, StoreError> {
        let Some(snapshots) = &self.snapshots else { return Ok(Vec::new()) };
        let notes = snapshots.with(|store| store.notes(PREFIX)).await?;
        if notes.is_empty() {
            return Ok(Vec::new());
        }
        let now = self.present(load).await;
        let mut kept: Vec<KeptQualification> =
            notes.into_iter().filter_map(|(name, value)| listed(&name, value, now.as_ref())).collect();
        kept.sort_by_key(|kept| std::cmp::Reverse(kept.found.at));
        Ok(kept)
    }

    /// Name of the loaded model, for people.
    #[must_use]
    pub fn loaded_model(&self) -> Option<String> {
        let status = self.engine.status();
        let loaded = status.borrow().loaded.clone()?;
        Some(loaded.spec.model.file_stem()?.to_string_lossy().into_owned())
    }

    /// Engine, device and settings of now, as names have them. `None` where the engine does not say.
    async fn present(&self, load: &LoadOptions) -> Option<Fields> {
        let hello = self.engine.hello().await.ok()?;
        let loaded = self.engine.status().borrow().loaded.as_ref().map(|loaded| loaded.spec.clone());
        let spec = loaded.unwrap_or_else(|| LoadSpec {
            kv_type: load.kv_type,
            flash_attention: load.flash_attention,
            rope_freq_base: load.rope_freq_base,
            offload: load.offload.clone(),
            ..LoadSpec::new("")
        });
        let mut fields = fields_of(&qualification::name(&hello, &spec, ""))?;
        fields.remove(MODEL);
        Some(fields)
    }
}

type Fields = BTreeMap<String, String>;

fn fields_of(name: &str) -> Option<Fields> {
    serde_json::from_str(name.strip_prefix(PREFIX)?).ok()
}

/// `None` where it cannot be read: then it is found out anew when it is needed.
fn listed(name: &str, value: serde_json::Value, now: Option<&Fields>) -> Option<KeptQualification> {
    let mut fields = fields_of(name)?;
    let found: Qualification = serde_json::from_value(value).ok()?;
    let hash = fields.remove(MODEL)?;
    let short = || hash.chars().take(SHORT_HASH).collect();
    let model = found.model_name.clone().unwrap_or_else(short);
    let field = |name| fields.get(name).cloned().unwrap_or_default();
    Some(KeptQualification {
        model,
        device: field("device"),
        kv_place: field("kv_place"),
        kv_type: field("kv_type"),
        current: now == Some(&fields),
        found,
    })
}
