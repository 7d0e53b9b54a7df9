//! A conversation read ahead of its next message, as far as every next message begins with it.

use reprise_engine::Fault;
use reprise_engine::message::{ChatMessage, GenerateSpec, Role};

use super::{Prompt, Session};
use crate::splice::{self, common_prefix};

impl Session<'_> {
    /// The tokens that the conversation begins with whatever the person says next: templates write some messages
    /// otherwise once another stands behind them, so two next messages are rendered and compared.
    ///
    /// A system prompt alone is read where its template writes it before the first message. Where nothing was
    /// said yet there is nothing to read, though a template may have instructions of its own.
    pub(super) fn common_to_all_next(&self, spec: &GenerateSpec) -> Result<Prompt, Fault> {
        // What is not answered yet may still become part of another message.
        let last = spec.messages.iter().rposition(|message| message.role != Role::User);
        let Some(last) = last else { return Err(Fault::PromptEmpty) };
        let before = &spec.messages[..=last];
        let with = |content: &str| {
            let next = ChatMessage { role: Role::User, content: content.to_owned() };
            self.tokens_of(spec, &[before, &[next]].concat())
        };
        let (mut one, other) = (with("Go on.")?, with("And then?")?);
        let sure = splice::sure(&self.tokenizer, &one, &other);
        // Behind that may be live what most next messages begin with, or what is not answered yet: whoever asks
        // for that answer again needs it.
        let waits = before.len() < spec.messages.len();
        let behind = if waits && !self.info.cache.can_trim() {
            let whole = self.tokens_of(spec, &spec.messages)?;
            if whole.starts_with(&one[..sure]) { whole[sure..].to_vec() } else { Vec::new() }
        } else {
            one[sure..common_prefix(&one, &other)].to_vec()
        };
        one.truncate(sure);
        Ok(Prompt { tokens: one, keeps: 0, behind: Some(behind) })
    }
}
