//! Stopping an answer, told precisely by speaking the worker's own protocol.

use std::path::Path;

use reprise_engine::link::{Incoming, Link, Spawner};
use reprise_engine::message::{Event, EventFrame, Finished, Request, RequestFrame, RequestId, StopReason};
use reprise_engine::process::EngineFolder;
use tokio::time::timeout;

use crate::rig::{PATIENCE, Rig, SMOLLM2, ask, engine_dir, ids, long_text, model, spec, user};

/// A worker without supervision.
pub struct RawWorker(Link);

pub fn raw_worker(logs: &Path) -> RawWorker {
    RawWorker(EngineFolder::new(engine_dir(), logs).spawn().unwrap())
}

impl RawWorker {
    pub async fn ask(&self, id: u64, request: Request) {
        let frame = RequestFrame { id: RequestId(id), request };
        self.0.requests.send(frame).await.unwrap();
    }

    async fn next(&mut self) -> EventFrame {
        match timeout(PATIENCE, self.0.events.recv()).await.expect("the worker is silent") {
            Some(Incoming::Event(frame)) => frame,
            other => panic!("{other:?}"),
        }
    }

    /// Reads on until an event that fits.
    pub async fn until<T>(&mut self, mut fits: impl FnMut(Event) -> Option<T>) -> T {
        loop {
            if let Some(found) = fits(self.next().await.event) {
                return found;
            }
        }
    }

    /// Reads on until both the pong and the end of an answer were there, in either order.
    async fn until_both(&mut self, mut look: impl FnMut(&Event)) -> Finished {
        let (mut pong, mut finished) = (false, None);
        loop {
            let event = self.next().await.event;
            look(&event);
            match event {
                Event::Pong => pong = true,
                Event::Finished(end) => finished = Some(end),
                _ => {}
            }
            if let Some(end) = finished.take_if(|_| pong) {
                return end;
            }
        }
    }

    pub async fn until_closed(&mut self) {
        while let Some(Incoming::Event(_)) = timeout(PATIENCE, self.0.events.recv()).await.unwrap() {}
    }
}

/// The worker answers a ping from the thread that notes cancels, in the order they came: what follows
/// the pong was done knowing of the cancel.
#[tokio::test]
async fn an_answer_stops_within_a_token() {
    let Some(smollm2) = model(SMOLLM2) else { return };
    let logs = tempfile::tempdir().unwrap();
    let mut worker = raw_worker(logs.path());
    worker.ask(1, Request::Load(spec(&smollm2))).await;
    worker.until(|event| matches!(event, Event::Loaded(_)).then_some(())).await;
    for round in 0..3 {
        let (answer, ping) = (10 + round * 10, 11 + round * 10);
        let story = ask(user(&format!("Write story {round} about the sea.")), 400);
        worker.ask(answer, Request::Generate(story)).await;
        let mut pieces = 0;
        worker
            .until(|event| {
                pieces += u32::from(matches!(event, Event::Piece { .. }));
                (pieces == 3).then_some(())
            })
            .await;
        let target = RequestId(answer);
        worker.ask(ping + 1, Request::Cancel { target }).await;
        worker.ask(ping, Request::Ping).await;
        let (mut noted, mut after) = (false, 0);
        let finished = worker
            .until_both(|event| {
                noted |= matches!(event, Event::Pong);
                if let Event::Piece { tokens, .. } = event {
                    after += if noted { tokens.len() } else { 0 };
                }
            })
            .await;
        assert_eq!(finished.stop, StopReason::Cancelled);
        assert!(after <= 1, "{after} tokens after the cancel was read");
        assert!(finished.decode_tokens < 400);
    }
}

#[tokio::test]
async fn reading_a_prompt_stops_within_a_batch() {
    let Some(smollm2) = model(SMOLLM2) else { return };
    let logs = tempfile::tempdir().unwrap();
    let mut worker = raw_worker(logs.path());
    worker.ask(1, Request::Load(spec(&smollm2))).await;
    worker.until(|event| matches!(event, Event::Loaded(_)).then_some(())).await;
    let question = user(&long_text(900));
    worker.ask(2, Request::Generate(ask(question.clone(), 6))).await;
    let prepared = worker
        .until(|event| match event {
            Event::Prepared(prepared) => Some(prepared),
            _ => None,
        })
        .await;
    worker.until(|event| matches!(event, Event::Prefill { .. }).then_some(())).await;
    let target = RequestId(2);
    worker.ask(3, Request::Cancel { target }).await;
    worker.ask(4, Request::Ping).await;
    let (mut noted, mut after) = (false, 0);
    let cancelled = worker
        .until_both(|event| {
            noted |= matches!(event, Event::Pong);
            after += u32::from(noted && matches!(event, Event::Prefill { .. }));
        })
        .await;
    assert_eq!(cancelled.stop, StopReason::Cancelled);
    assert!(after <= 1, "{after} batches after the cancel was read");
    assert!(cancelled.prefill_tokens > 0 && cancelled.prefill_tokens < prepared.to_decode);
    assert_eq!(cancelled.decode_tokens, 0);

    // What was read stays; the rest makes the same answer as without the stop.
    worker.ask(5, Request::Generate(ask(question.clone(), 6))).await;
    let mut sampled = Vec::new();
    worker
        .until(|event| {
            match &event {
                Event::Prepared(again) => {
                    assert_eq!(again.reused, cancelled.prefill_tokens);
                    assert_eq!(again.prompt_tokens, prepared.prompt_tokens);
                }
                Event::Piece { tokens, .. } => sampled.extend(ids(tokens)),
                _ => {}
            }
            matches!(event, Event::Finished(_)).then_some(())
        })
        .await;
    let fresh = Rig::with(&smollm2).await.ask(ask(question, 6)).await;
    assert_eq!(fresh.prepared().reused, 0);
    assert_eq!(sampled, ids(&fresh.tokens));
}

/// A cancel that comes when its request is over, or was never made, stops no other.
#[tokio::test]
async fn a_late_cancel_stops_nothing_else() {
    let Some(smollm2) = model(SMOLLM2) else { return };
    let logs = tempfile::tempdir().unwrap();
    let mut worker = raw_worker(logs.path());
    worker.ask(1, Request::Load(spec(&smollm2))).await;
    worker.ask(2, Request::Generate(ask(user("Hello"), 3))).await;
    worker.until(|event| matches!(event, Event::Finished(_)).then_some(())).await;
    for target in [1, 2, 77] {
        let target = RequestId(target);
        worker.ask(3, Request::Cancel { target }).await;
    }
    worker.ask(4, Request::Generate(ask(user("Hello"), 3))).await;
    let finished = worker
        .until(|event| match event {
            Event::Finished(finished) => Some(finished),
            _ => None,
        })
        .await;
    assert_eq!((finished.stop, finished.decode_tokens), (StopReason::Length, 3));
}
