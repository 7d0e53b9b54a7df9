//! Making a conversation ready, on its way to the page: in order, progress ten times a second at most.

use std::time::Duration;

use reprise_chat::history::ConversationId;
use reprise_chat::{OpenEvent, OpenRequest, Opening, Trigger};
use reprise_protocol::{AppEvent, NotYet, ResumeTrigger, ResumeUpdate};
use tauri::ipc::Channel;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::hub::{Activity, Hub};
use crate::refusal::Refusal;
use crate::wire;

/// Progress is sent this often at most.
const EVERY: Duration = Duration::from_millis(100);

/// Makes a conversation ready. Fails only before anything was begun; whatever comes after that is an update.
pub async fn resume(
    hub: &Hub,
    conversation: ConversationId,
    trigger: ResumeTrigger,
    page: Channel<ResumeUpdate>,
) -> Result<(), Refusal> {
    let desk = hub.desk().await?;
    let trigger = wire::resume::trigger(trigger);
    let request = match desk.open_request(conversation, trigger).await? {
        Some(request) => request,
        // Who only looks or begins to write hears of it when it matters.
        None if trigger != Trigger::Replay => {
            send(&page, ResumeUpdate::NotYet { why: NotYet::NotLoaded });
            return Ok(());
        }
        None => {
            let Refusal(error) = reprise_chat::ChatError::NoModel.into();
            send(&page, ResumeUpdate::Failed { error });
            return Ok(());
        }
    };
    let (events, received) = mpsc::channel(64);
    let model = model_of(&request);
    let (opened, ()) = tokio::join!(
        desk.chat.open(request, events),
        pass_on(received, |update| {
            if let ResumeUpdate::Loading { fraction } = update {
                hub.is_doing(Activity::Loading { path: model.clone(), fraction });
            } else {
                is_loaded(hub, &model);
            }
            send(&page, update);
        })
    );
    is_loaded(hub, &model);
    let last = match opened {
        Ok(Opening::Ready { node, resumed }) => {
            // Something else is live now; a state that failed is not used any more.
            hub.tell(AppEvent::Marks);
            ResumeUpdate::Ready {
                message: node.to_string(),
                resumed: resumed.and_then(wire::resume::resumed),
            }
        }
        Ok(Opening::NotYet(why)) => ResumeUpdate::NotYet { why: wire::resume::not_yet(why) },
        Ok(Opening::Stopped) => ResumeUpdate::Stopped,
        Err(error) => {
            let Refusal(error) = error.into();
            tracing::info!(code = error.code, "a conversation was not made ready");
            ResumeUpdate::Failed { error }
        }
    };
    send(&page, last);
    Ok(())
}

fn send(page: &Channel<ResumeUpdate>, update: ResumeUpdate) {
    // A page that is gone needs not be told.
    let _ = page.send(update);
}

fn model_of(request: &OpenRequest) -> String {
    request.model.display().to_string()
}

/// The model is loaded, or was given up, unless a turn is loading another one by now.
fn is_loaded(hub: &Hub, model: &str) {
    let ours = matches!(&*hub.activity().borrow(), Activity::Loading { path, .. } if path == model);
    if ours {
        hub.is_doing(Activity::None);
    }
}

/// Tells of each event, of reading only so often, and of the last that was read in any case.
async fn pass_on(mut events: mpsc::Receiver<OpenEvent>, mut tell: impl FnMut(ResumeUpdate)) {
    let mut reading: Option<Reading> = None;
    let mut waiting: Option<ResumeUpdate> = None;
    let mut told: Option<Instant> = None;
    loop {
        let due = waiting.is_some().then(|| told.map_or_else(Instant::now, |told| told + EVERY));
        let event = tokio::select! {
            // Telling comes first: a stream that never pauses must not put it off.
            biased;
            () = async { match due {
                Some(due) => sleep_until(due).await,
                None => std::future::pending().await,
            } } => {
                waiting.take().into_iter().for_each(&mut tell);
                told = Some(Instant::now());
                continue;
            }
            event = events.recv() => event,
        };
        let update = match event {
            None => break,
            Some(OpenEvent::Reading { done, of, reason }) => {
                let (tok_s, left_ms) = reading.get_or_insert_with(|| Reading::from(done)).pace(done, of);
                let reason = reason.map(wire::resume::reason);
                waiting = Some(ResumeUpdate::Reading { done, of, tok_s, left_ms, reason });
                continue;
            }
            Some(OpenEvent::Loading { fraction }) => ResumeUpdate::Loading { fraction },
            Some(OpenEvent::Checking) => ResumeUpdate::Checking,
        };
        waiting.take().into_iter().for_each(&mut tell);
        // Whatever was read before began anew.
        reading = None;
        tell(update);
    }
    waiting.into_iter().for_each(tell);
}

/// Since when a text is read, and from where.
struct Reading {
    since: Instant,
    from: u32,
}

impl Reading {
    fn from(done: u32) -> Self {
        Self { since: Instant::now(), from: done }
    }

    /// Tokens per second, and milliseconds that are left at that rate.
    fn pace(&self, done: u32, of: u32) -> (Option<f64>, Option<f64>) {
        let (read, elapsed) = (done.saturating_sub(self.from), self.since.elapsed());
        let tok_s = (read > 0 && !elapsed.is_zero()).then(|| f64::from(read) / elapsed.as_secs_f64());
        // What was read before the first report counts as nothing: nobody saw how long it took.
        (tok_s, wire::turn::left_ms(elapsed, read, of.saturating_sub(self.from)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(done: u32) -> OpenEvent {
        OpenEvent::Reading { done, of: 1000, reason: None }
    }

    /// Updates, and when they came, in milliseconds; each event comes so many milliseconds after the one before.
    async fn told(events: Vec<(u64, OpenEvent)>) -> Vec<(u128, ResumeUpdate)> {
        let (sender, received) = mpsc::channel(64);
        let since = Instant::now();
        let mut told = Vec::new();
        let sending = async {
            for (wait, event) in events {
                tokio::time::sleep(Duration::from_millis(wait)).await;
                sender.send(event).await.unwrap();
            }
            drop(sender);
        };
        tokio::join!(sending, pass_on(received, |update| told.push((since.elapsed().as_millis(), update))));
        told
    }

    #[tokio::test(start_paused = true)]
    async fn reading_is_told_ten_times_a_second_and_its_end_in_any_case() {
        let mut events = vec![(0, OpenEvent::Checking)];
        events.extend((1..=100).map(|step| (10, reading(step * 10))));
        let told = told(events).await;
        assert_eq!(told[0].1, ResumeUpdate::Checking);
        let moments: Vec<u128> = told[1..].iter().map(|(at, _)| *at).collect();
        assert!((10..=12).contains(&moments.len()), "{moments:?}");
        let gaps = moments.windows(2).rev().skip(1);
        assert!(gaps.into_iter().all(|pair| pair[1] - pair[0] >= 100), "{moments:?}");
        let Some((
            _,
            ResumeUpdate::Reading { done: 1000, of: 1000, tok_s: Some(rate), left_ms: Some(left), .. },
        )) = told.last()
        else {
            panic!("{:?}", told.last())
        };
        assert!((rate - 1000.0).abs() < 1.0 && left.abs() < 0.01, "{rate} {left}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_waits_is_told_before_what_comes_after_it_and_while_nothing_comes() {
        let told = told(vec![
            (0, reading(100)),
            (10, reading(200)),
            // The engine was lost; another one begins anew.
            (10, OpenEvent::Loading { fraction: 0.5 }),
            (10, OpenEvent::Checking),
            (10, reading(100)),
            (10, reading(300)),
            (900, reading(500)),
        ])
        .await;
        let seen: Vec<(u128, u32)> = told
            .iter()
            .map(|(at, update)| match update {
                ResumeUpdate::Reading { done, .. } => (*at, *done),
                _ => (*at, 0),
            })
            .collect();
        assert_eq!(seen, [(0, 100), (20, 200), (20, 0), (30, 0), (100, 300), (950, 500)]);
        let ResumeUpdate::Reading { tok_s: Some(rate), left_ms: Some(left), .. } = &told[5].1 else {
            panic!("{:?}", told[5])
        };
        // 400 in 910 ms since the second beginning, and 500 are left.
        assert!((rate - 439.6).abs() < 0.1 && (left - 1137.5).abs() < 0.1, "{rate} {left}");
    }
}
