//! A state taken within a prompt, where the next turn is sure to come by: for models whose states cannot be trimmed.
//!
//! Taking it costs the answer a copy and no more. What proves it is asked when the answer is there: the
//! image is set, the rest of the prompt is read again, and what follows must be what followed then.

use std::time::Instant;

use reprise_engine::Fault;
use reprise_engine::message::{ChatMessage, GenerateSpec, Role, TokenId};
use reprise_engine::state::{Checkpoint, Fingerprint, ImageId, Twice};

use super::{Session, count, ms_since};
use crate::challenge;
use crate::image;
use crate::model::PREFILL_BATCH;
use crate::outbox::Reply;
use crate::splice;

/// A state that was taken in the prompt of the last answer.
pub(super) struct Taken {
    image: Vec<u8>,
    /// Tokens whose cells it holds.
    tokens: Vec<TokenId>,
    /// The rest of the prompt.
    rest: Vec<TokenId>,
    /// What followed that.
    then: Option<Fingerprint>,
    export_ms: f64,
}

impl Session<'_> {
    /// How many tokens of a prompt the next one is sure to begin with: a conversation that goes on after any
    /// answer, as its template writes it. None where nothing is answered: such a prompt ends at that place.
    pub(super) fn keeps(&self, spec: &GenerateSpec, prompt: &[TokenId]) -> u32 {
        if spec.reading || self.info.cache.can_trim() {
            return 0;
        }
        let mut later = spec.messages.clone();
        let say = |role, content: &str| ChatMessage { role, content: content.to_owned() };
        later.push(say(Role::Assistant, "Yes."));
        later.push(say(Role::User, "Go on."));
        match self.render(&later, spec.began) {
            Ok(later) => count(splice::kept_in(&self.tokenizer, &later, prompt)),
            // A template that cannot be asked this is told when it is to be used.
            Err(_) => 0,
        }
    }

    /// Reads a prompt behind the live tokens, and takes a state on the way where one is wanted. Says how many tokens
    /// were read: fewer where it was cancelled.
    ///
    /// Batches end at that place whether a state is taken or not: other batches would give other last bits, and
    /// an answer must not depend on what was worth keeping.
    pub(super) fn read_prompt(
        &mut self,
        prompt: &[TokenId],
        keeps: u32,
        wanted: bool,
        reply: &Reply,
    ) -> Result<usize, Fault> {
        self.forget_taken();
        let (live, at) = (self.live.len(), keeps as usize);
        if at <= live || at >= prompt.len() {
            return self.prefill(&prompt[live..], 0, reply);
        }
        let before = self.prefill(&prompt[live..at], 0, reply)?;
        if before < at - live {
            return Ok(before);
        }
        if wanted {
            self.take(&prompt[at..]);
        }
        let read = before + self.prefill(&prompt[at..], before, reply)?;
        if read == prompt.len() - live
            && let (Some(taken), Some(context)) = (&mut self.taken, &self.context)
        {
            let logits = context.get_logits_ith(last_of(&taken.rest));
            taken.then = Some(challenge::fingerprint(&taken.rest, logits));
        }
        Ok(read)
    }

    fn take(&mut self, rest: &[TokenId]) {
        let began = Instant::now();
        let Some(context) = &self.context else { return };
        let mut image = self.shelf.spare();
        if self.access.get(context, &mut image) {
            let (tokens, rest, export_ms) = (self.live.clone(), rest.to_vec(), ms_since(began));
            self.taken = Some(Taken { image, tokens, rest, then: None, export_ms });
        } else {
            self.shelf.give_back(image);
        }
    }

    /// What taking a state in the last prompt cost, in milliseconds.
    pub(super) fn taken_ms(&self) -> Option<f64> {
        self.taken.as_ref().map(|taken| taken.export_ms)
    }

    pub(super) fn forget_taken(&mut self) {
        if let Some(taken) = self.taken.take() {
            self.shelf.give_back(taken.image);
        }
    }

    /// Asks what proves the state that was taken, and the probes at its end. The context holds nothing that is
    /// worth anything afterwards.
    pub(super) fn prove_taken(&mut self, probes: &[Vec<TokenId>]) -> Result<Option<Checkpoint>, Fault> {
        let Some(mut taken) = self.taken.take() else { return Ok(None) };
        let Some(before) = taken.then.take() else {
            self.shelf.give_back(taken.image);
            return Ok(None);
        };
        match self.prove(&taken, before, probes) {
            Ok(mut checkpoint) => {
                checkpoint.image = self.shelf.put(taken.image);
                Ok(Some(checkpoint))
            }
            Err(fault) => {
                self.shelf.give_back(taken.image);
                Err(fault)
            }
        }
    }

    fn prove(
        &mut self,
        taken: &Taken,
        before: Fingerprint,
        probes: &[Vec<TokenId>],
    ) -> Result<Checkpoint, Fault> {
        let unavailable = |detail: &str| Fault::StateUnavailable { detail: detail.to_owned() };
        let image = image::read(&taken.image);
        if !image.is_of(taken.tokens.len(), self.info.cache) {
            return Err(unavailable("its cells are not those of the prompt"));
        }
        self.reset_to(&taken.image, &taken.tokens)?;
        for batch in taken.rest.chunks(PREFILL_BATCH as usize) {
            self.decode_batch(batch)?;
        }
        let Some(context) = &self.context else { return Err(Fault::NotLoaded) };
        let after = challenge::fingerprint(&taken.rest, context.get_logits_ith(last_of(&taken.rest)));
        self.reset_to(&taken.image, &taken.tokens)?;
        let fingerprints = self.ask(probes, Some(&taken.image))?;
        if !fingerprints.iter().chain([&before, &after]).all(Fingerprint::is_finite) {
            return Err(unavailable("its answers are not numbers"));
        }
        Ok(Checkpoint {
            image: ImageId(0),
            tokens: taken.tokens.clone(),
            table: image.table,
            fingerprints,
            proof: Twice { before, after },
            export_ms: taken.export_ms,
        })
    }

    /// Sets an image in the context in place of what it holds; the tokens are live then.
    pub(super) fn reset_to(&mut self, image: &[u8], tokens: &[TokenId]) -> Result<(), Fault> {
        let mut context = self.empty()?;
        self.live.clear();
        let put = self.put(&mut context, image, tokens.len());
        put.map_err(|detail| Fault::StateUnavailable { detail })?;
        self.context = Some(context);
        self.live.extend_from_slice(tokens);
        Ok(())
    }
}

/// Where the logits of the last token are, when tokens were decoded batch by batch.
fn last_of(tokens: &[TokenId]) -> i32 {
    let in_last = (tokens.len().max(1) - 1) % PREFILL_BATCH as usize;
    i32::try_from(in_last).unwrap_or(0)
}
