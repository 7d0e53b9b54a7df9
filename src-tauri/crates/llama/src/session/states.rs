//! A session's state out of its context and into it, and the probes that prove it.

use std::collections::BTreeMap;
use std::time::Instant;

use llama_cpp_2::context::LlamaContext;
use reprise_engine::Fault;
use reprise_engine::message::TokenId;
use reprise_engine::state::{
    Checkpoint, Exported, Fingerprint, ImageId, RestoreSpec, Restored, StateTraits, Twice,
};

use super::{Session, count, ms_since};
use crate::challenge::{self, PROBES};
use crate::decode::decode_at;
use crate::ggml;
use crate::image;

impl Session<'_> {
    /// What states of this model are like. Where that cannot be found out the model serves all the same, and
    /// its conversations are read from their text.
    pub(super) fn look_at_states(&mut self) {
        if let Err(fault) = self.measure_states() {
            tracing::warn!(%fault, "states of this model cannot be kept");
            self.info.why_no_state = Some(fault.to_string());
            self.info.state = None;
            self.discard();
        }
    }

    /// Asks the probes of an empty context and reads what an image of this model says of itself. Leaves
    /// the context empty.
    fn measure_states(&mut self) -> Result<(), Fault> {
        let probes = PROBES.map(|text| self.tokenizer.probe(text));
        if probes.iter().any(Vec::is_empty) {
            return Err(unavailable("its vocabulary does not spell the questions"));
        }
        let controls = self.ask(&probes, None)?;
        if !controls.iter().all(Fingerprint::is_finite) {
            return Err(unavailable("it does not answer in numbers"));
        }
        // The context is empty again; one token makes an image that tells the rest.
        self.decode_batch(&probes[0])?;
        // Not one of the shelf's buffers: an earlier model's state may still be on its way to the disk.
        let mut buffer = Vec::new();
        let fields = match &self.context {
            Some(context) if self.access.get(context, &mut buffer) => image::read(&buffer).table.fields,
            _ => return Err(unavailable("llama.cpp gives no state")),
        };
        self.live.clear();
        if let Some(context) = &mut self.context {
            context.clear_kv_cache();
        }
        let class = self.class();
        self.info.state = Some(StateTraits { fields, controls, class });
        Ok(())
    }

    /// What decides whether two computations give equal bits.
    pub(super) fn class(&self) -> BTreeMap<String, String> {
        let mut class = vec![
            ("device", "CPU".to_owned()),
            ("modules", self.machine.clone()),
            ("threads", self.info.n_threads.to_string()),
        ];
        if let Some(offload) = self.loaded.offload() {
            class[0].1.clone_from(&offload.device);
            // Another card may be known by the same name.
            class.push(("device_description", ggml::device_description(&offload.device).unwrap_or_default()));
            class.push(("offloaded_layers", offload.layers.min(self.info.n_layer + 1).to_string()));
            class.push(("kv_place", offload.kv.as_str().to_owned()));
        }
        class.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// Takes the live state into an image and asks the probes at its end.
    ///
    /// Where the tail of the live state cannot be removed, the probes cannot be taken back either, and a
    /// restored state may lie in other cells than the one that was live, which changes the last bits of
    /// what is computed from it. There the conversation goes on from its own image: what is live
    /// afterwards was set just as a restore sets it. It is on trial until the app has compared what it
    /// answered before and after.
    pub(crate) fn export(&mut self) -> Result<Exported, Fault> {
        if self.trial.is_some() {
            return Err(unavailable("it is on trial"));
        }
        let Some(controls) = self.info.state.as_ref().map(|state| &state.controls) else {
            let why = self.info.why_no_state.clone();
            return Err(Fault::StateUnavailable { detail: why.unwrap_or_default() });
        };
        if self.live.is_empty() {
            return Err(unavailable("there is none"));
        }
        let probes: Vec<Vec<TokenId>> = controls.iter().map(|control| control.probe.clone()).collect();
        let longest = probes.iter().map(Vec::len).max().unwrap_or_default();
        if self.live.len() + longest > self.info.n_ctx as usize {
            return Err(unavailable("the context is full to the last tokens"));
        }
        let mut buffer = self.shelf.buffer();
        let exported = self.export_into(&mut buffer, &probes);
        let mut exported = match exported {
            Ok(exported) => exported,
            Err(fault) => {
                self.shelf.give_back(buffer);
                return Err(fault);
            }
        };
        if !self.info.cache.can_trim() {
            match self.checkpoint_beside(&buffer, &probes) {
                Ok(checkpoint) => exported.checkpoint = checkpoint,
                Err(fault) => {
                    self.shelf.give_back(buffer);
                    return Err(fault);
                }
            }
            self.trial = Some(std::mem::take(&mut self.live));
        }
        exported.image = self.shelf.put(buffer);
        Ok(exported)
    }

    /// The state that was taken within the prompt, proved. The live one is set again afterwards.
    fn checkpoint_beside(
        &mut self,
        live: &[u8],
        probes: &[Vec<TokenId>],
    ) -> Result<Option<Checkpoint>, Fault> {
        if self.taken.is_none() {
            return Ok(None);
        }
        let tokens = self.live.clone();
        let checkpoint = self.prove_taken(probes).unwrap_or_else(|fault| {
            tracing::warn!(%fault, "a state within the prompt is not kept");
            None
        });
        if let Err(fault) = self.reset_to(live, &tokens) {
            self.discard();
            return Err(fault);
        }
        Ok(checkpoint)
    }

    fn export_into(&mut self, buffer: &mut Vec<u8>, probes: &[Vec<TokenId>]) -> Result<Exported, Fault> {
        let began = Instant::now();
        let Some(context) = &self.context else {
            return Err(unavailable("there is none"));
        };
        if !self.access.get(context, buffer) {
            return Err(unavailable("llama.cpp gave another number of bytes than it had announced"));
        }
        let export_ms = ms_since(began);
        let image = image::read(buffer);
        if !image.is_of(self.live.len(), self.info.cache) {
            return Err(unavailable("its cells are not those of the conversation"));
        }
        let began = Instant::now();
        // One question is asked of what was live: the others are for whoever restores.
        let before =
            if self.info.cache.can_trim() { Vec::new() } else { self.ask(&probes[..1], Some(buffer))? };
        let fingerprints = self.ask(probes, Some(buffer))?;
        let challenge_ms = ms_since(began);
        if !fingerprints.iter().chain(&before).all(Fingerprint::is_finite) {
            if !before.is_empty() {
                self.discard();
            }
            return Err(unavailable("its answers are not numbers"));
        }
        let overwritten =
            before.into_iter().next().map(|before| Twice { before, after: fingerprints[0].clone() });
        Ok(Exported {
            image: ImageId(0),
            tokens: self.live.clone(),
            table: image.table,
            fingerprints,
            overwritten,
            checkpoint: None,
            export_ms,
            challenge_ms,
        })
    }

    /// Puts the image that arrived in place of the live context, on trial. Whatever fails, the context
    /// is destroyed: half-restored cells can poison later output.
    pub(crate) fn restore(&mut self, spec: &RestoreSpec) -> Result<Restored, Fault> {
        self.end_trial();
        self.live.clear();
        let Some(image) = self.shelf.take_received() else {
            // What was live is not to be found among its cells by the next prompt.
            self.context = None;
            return Err(Fault::ImageGone);
        };
        let restored = self.restore_from(spec, &image);
        self.shelf.give_back(image);
        restored
    }

    fn restore_from(&mut self, spec: &RestoreSpec, image: &[u8]) -> Result<Restored, Fault> {
        let began = Instant::now();
        let set = self.set(spec, image);
        let restore_ms = ms_since(began);
        let refused = |fault: String| Restored {
            fault: Some(fault),
            detail: String::new(),
            restore_ms,
            fingerprints: Vec::new(),
            challenge_ms: 0.0,
        };
        let detail = match set {
            Ok(detail) => detail,
            Err(NotSet::Context(fault)) => return Err(fault),
            Err(NotSet::State(why)) => {
                self.discard();
                return Ok(refused(why));
            }
        };
        self.live.clone_from(&spec.tokens);
        let began = Instant::now();
        let asked = self.ask(&spec.probes, Some(image));
        let challenge_ms = ms_since(began);
        match asked {
            Ok(fingerprints) if !fingerprints.iter().all(Fingerprint::is_finite) => {
                self.discard();
                Ok(refused("what it makes the model answer are not numbers".to_owned()))
            }
            Ok(fingerprints) => {
                self.trial = Some(std::mem::take(&mut self.live));
                Ok(Restored { fault: None, detail, restore_ms, fingerprints, challenge_ms })
            }
            Err(fault) => {
                self.discard();
                Ok(refused(fault.to_string()))
            }
        }
    }

    fn set(&mut self, spec: &RestoreSpec, image: &[u8]) -> Result<String, NotSet> {
        let refused = |why: &str| Err(NotSet::State(why.to_owned()));
        let tokens = spec.tokens.len();
        if !self.tokenizer.knows(&spec.tokens) || tokens == 0 || count(tokens) >= self.info.n_ctx {
            return refused("its tokens do not fit this model and context");
        }
        let found = image::read(image);
        if found.table != spec.table {
            return refused("the image is not laid out as it was when it was saved");
        }
        if self.info.state.as_ref().is_none_or(|state| state.fields != found.table.fields) {
            return refused("the image is not of the shape that this model and its settings give");
        }
        if !found.is_of(tokens, self.info.cache) {
            return refused("its cells are not those of the conversation");
        }
        let mut context = self.empty().map_err(NotSet::Context)?;
        let detail = self.put(&mut context, image, tokens).map_err(NotSet::State)?;
        self.context = Some(context);
        Ok(detail)
    }

    /// Sets an image in an empty context and looks whether it came to hold it; says what was seen.
    pub(super) fn put(
        &self,
        context: &mut LlamaContext<'_>,
        image: &[u8],
        tokens: usize,
    ) -> Result<String, String> {
        if !self.access.set(context, image) {
            return Err("llama.cpp refused the state".to_owned());
        }
        let (first, last) = (context.kv_cache_seq_pos_min(0), context.kv_cache_seq_pos_max(0));
        // Where not every position is kept, the first that is depends on the window.
        let begins = first == 0 || (!self.info.cache.can_trim() && first <= last);
        if !begins || usize::try_from(last).ok() != tokens.checked_sub(1) {
            return Err(format!("it holds positions {first} to {last}, not 0 to {}", tokens - 1));
        }
        let again = self.access.size(context);
        if again != image.len() {
            return Err(format!("it would be exported in {again} bytes and was imported in {}", image.len()));
        }
        Ok(format!("{} bytes, positions {first} to {last}", image.len()))
    }

    /// Uses the state on trial from now on.
    pub(crate) fn accept(&mut self) -> Result<(), Fault> {
        match self.trial.take() {
            Some(tokens) => {
                self.live = tokens;
                Ok(())
            }
            None => Err(unavailable("none is on trial")),
        }
    }

    /// Destroys the context and what it holds, and what arrived for it.
    pub(crate) fn discard(&mut self) {
        self.shelf.forget_received();
        self.forget_taken();
        self.context = None;
        self.trial = None;
        self.live.clear();
    }

    /// A state that was never accepted is never used.
    pub(super) fn end_trial(&mut self) {
        if self.trial.is_some() {
            self.discard();
        }
    }

    /// Decodes each probe behind the live state, takes its logits down, and takes the probe back: by
    /// removing its cells, or where that cannot be done by setting `image`, which is the live state.
    pub(super) fn ask(
        &mut self,
        probes: &[Vec<TokenId>],
        image: Option<&[u8]>,
    ) -> Result<Vec<Fingerprint>, Fault> {
        let end = self.live.len();
        let image = image.filter(|_| !self.info.cache.can_trim());
        let asked: Result<Vec<_>, _> = probes.iter().map(|probe| self.ask_one(probe, end, image)).collect();
        if asked.is_err() {
            // Cells may be left behind.
            self.context = None;
            self.live.clear();
        }
        asked
    }

    fn ask_one(&mut self, probe: &[TokenId], end: usize, image: Option<&[u8]>) -> Result<Fingerprint, Fault> {
        let failed = |detail: String| Fault::DecodeFailed { detail };
        let Some(mut context) = self.context.take() else {
            return Err(Fault::NotLoaded);
        };
        decode_at(&mut context, end, probe)?;
        let last = i32::try_from(probe.len()).unwrap_or(0) - 1;
        let fingerprint = challenge::fingerprint(probe, context.get_logits_ith(last));
        if end == 0 {
            context.clear_kv_cache();
        } else if let Some(image) = image {
            context.clear_kv_cache();
            self.put(&mut context, image, end).map_err(failed)?;
        } else {
            let removed = context.kv_cache_seq_rm(0, Some(count(end)), None);
            let whole = usize::try_from(context.kv_cache_seq_pos_max(0)).ok() == end.checked_sub(1);
            if removed.is_err() || !whole {
                return Err(failed("the probe's cells could not be removed".to_owned()));
            }
        }
        self.context = Some(context);
        Ok(fingerprint)
    }
}

impl<'m> Session<'m> {
    /// An empty context: the healthy one of before, with its cells and their data cleared, or a new one.
    pub(super) fn empty(&mut self) -> Result<LlamaContext<'m>, Fault> {
        match self.context.take() {
            Some(mut context) => {
                context.clear_kv_cache();
                Ok(context)
            }
            None => self.loaded.new_context(self.llama, self.captured),
        }
    }
}

/// Why a state was not set.
enum NotSet {
    /// No context could be made for it.
    Context(Fault),
    /// It is not what it should be.
    State(String),
}

fn unavailable(detail: &str) -> Fault {
    Fault::StateUnavailable { detail: detail.to_owned() }
}
