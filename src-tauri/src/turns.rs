//! A turn on its way to the page: in order, text in small batches.

use reprise_chat::{ChatError, TurnEvent, TurnOutcome};
use reprise_protocol::{Ask, TurnUpdate};
use tauri::ipc::Channel;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use crate::desk::Desk;
use crate::drawing::Drawing;
use crate::hub::{Activity, Hub};
use crate::refusal::Refusal;
use crate::wire;

/// Takes a turn. Fails only where not even the person's message could be kept; whatever comes after
/// that is an update.
pub async fn take(hub: &Hub, ask: Ask, page: Channel<TurnUpdate>) -> Result<(), Refusal> {
    let desk = hub.desk().await?;
    let request = desk.turn_request(ask).await?;
    let model = request.model.display().to_string();
    let (events, received) = mpsc::channel(64);
    // Turns are stopped by their conversation.
    let (_never, cancel) = watch::channel(false);
    let mut reports = Reports { hub, desk, page, model: model.clone(), conversation: None, reading: None };
    let (result, ()) = tokio::join!(desk.chat.take_turn(request, events, cancel), reports.pass_on(received));
    let Some(conversation) = reports.conversation.take() else {
        return result.map(drop).map_err(Refusal::from);
    };
    reports.ended(&conversation);
    match result {
        Ok(outcome) => {
            let now = reprise_chat::World::now(&desk.world);
            let used = desk.library().with(move |w| w.model_was_used(&model, now)).await;
            if let Err(error) = used {
                tracing::warn!(code = error.code(), "it could not be noted that the model was used");
            }
            reports.done(&outcome).await;
        }
        Err(error) => reports.failed(error).await,
    }
    Ok(())
}

/// What one turn says.
struct Reports<'a> {
    hub: &'a Hub,
    desk: &'a Desk,
    page: Channel<TurnUpdate>,
    model: String,
    /// Set once the person's message is kept.
    conversation: Option<String>,
    /// Since when the prompt is read.
    reading: Option<Instant>,
}

/// Text that waits to be sent.
#[derive(Default)]
struct Gathered {
    text: String,
    tokens: u32,
    due: Option<Instant>,
}

impl Reports<'_> {
    async fn pass_on(&mut self, mut events: mpsc::Receiver<TurnEvent>) {
        let mut gathered = Gathered::default();
        let gather = Drawing::here().gather();
        loop {
            let due = gathered.due;
            let event = tokio::select! {
                // Sending comes first: a stream that never pauses must not put it off.
                biased;
                () = async { match due {
                    Some(due) => sleep_until(due).await,
                    None => std::future::pending().await,
                } } => {
                    self.send_text(&mut gathered);
                    continue;
                }
                event = events.recv() => event,
            };
            match event {
                None => break,
                Some(TurnEvent::Text { text, tokens }) => {
                    gathered.text.push_str(&text);
                    gathered.tokens = tokens;
                    gathered.due.get_or_insert_with(|| Instant::now() + gather);
                }
                Some(event) => {
                    self.send_text(&mut gathered);
                    self.pass_on_one(event).await;
                }
            }
        }
        self.send_text(&mut gathered);
    }

    fn send(&self, update: TurnUpdate) {
        // A page that is gone needs not be told; the answer is kept all the same.
        let _ = self.page.send(update);
    }

    fn send_text(&self, gathered: &mut Gathered) {
        let Gathered { text, tokens, .. } = std::mem::take(gathered);
        if !text.is_empty() {
            self.send(TurnUpdate::Text { text, tokens });
        }
    }

    async fn pass_on_one(&mut self, event: TurnEvent) {
        if let Some(conversation) = &self.conversation {
            match &event {
                TurnEvent::Loading { fraction } => {
                    let (path, fraction) = (self.model.clone(), *fraction);
                    self.hub.is_doing(Activity::Loading { path, fraction });
                }
                TurnEvent::Prepared { .. } => {
                    self.hub.is_doing(Activity::Answering(conversation.clone()));
                }
                TurnEvent::Retrying { .. } => self.hub.is_doing(Activity::None),
                _ => {}
            }
        }
        let update = match event {
            TurnEvent::Kept { conversation, message } => {
                self.conversation = Some(conversation.to_string());
                let title = self.desk.library().with(move |w| w.conversation(conversation)).await;
                match (title, self.desk.library().shown(message).await) {
                    (Ok(found), Ok(shown)) => TurnUpdate::Kept {
                        conversation: conversation.to_string(),
                        title: found.title,
                        message: wire::conversation::message_view(shown),
                    },
                    // It was written a moment ago. The turn goes on, and its end tells the rest.
                    (Err(error), _) | (_, Err(error)) => not_kept(error.into()),
                }
            }
            TurnEvent::Queued => TurnUpdate::Queued,
            TurnEvent::Loading { fraction } => TurnUpdate::Loading { fraction },
            TurnEvent::Retrying { error } => {
                let Refusal(error) = error.into();
                TurnUpdate::Retrying { error }
            }
            // The receipt, which comes with the answer, says how and why.
            TurnEvent::Resumed { .. } => return,
            TurnEvent::Prepared { tokens, reused } => {
                self.reading = Some(Instant::now());
                TurnUpdate::Prepared { tokens, reused }
            }
            TurnEvent::Reading { done, of } => {
                let elapsed = self.reading.map(|since| since.elapsed());
                TurnUpdate::Reading {
                    done,
                    of,
                    left_ms: elapsed.and_then(|e| wire::turn::left_ms(e, done, of)),
                }
            }
            TurnEvent::Answering { node } => match self.desk.library().shown(node).await {
                Ok(shown) => TurnUpdate::Answering { message: wire::conversation::message_view(shown) },
                Err(error) => not_kept(error.into()),
            },
            TurnEvent::Text { text, tokens } => TurnUpdate::Text { text, tokens },
            TurnEvent::NotKept { code, message } => {
                let remedy = "Free some disk space; it is tried again when the answer ends.";
                not_kept(Refusal::new(code, message, remedy))
            }
        };
        self.send(update);
    }

    /// The engine is free again, unless the next turn has begun already.
    fn ended(&self, conversation: &str) {
        let ours = match &*self.hub.activity().borrow() {
            Activity::Answering(other) => other == conversation,
            Activity::Loading { path, .. } => *path == self.model,
            Activity::None => false,
        };
        if ours {
            self.hub.is_doing(Activity::None);
        }
    }

    async fn done(&self, outcome: &TurnOutcome) {
        match self.desk.library().shown(outcome.node).await {
            Ok(shown) => self.send(TurnUpdate::Done {
                message: wire::conversation::message_view(shown),
                context_used: outcome.receipt.tokens_total + outcome.timing.decode_tokens,
            }),
            Err(error) => {
                let Refusal(error) = error.into();
                self.send(TurnUpdate::Failed { error, message: None });
            }
        }
    }

    async fn failed(&self, error: ChatError) {
        let part = match &error {
            ChatError::Interrupted { node, .. } => self.desk.library().shown(*node).await.ok(),
            _ => None,
        };
        let Refusal(error) = error.into();
        tracing::info!(code = error.code, "a turn failed");
        self.send(TurnUpdate::Failed { error, message: part.map(wire::conversation::message_view) });
    }
}

fn not_kept(Refusal(error): Refusal) -> TurnUpdate {
    TurnUpdate::NotKept { error }
}
