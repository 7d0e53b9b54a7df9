//! The one task that owns the worker: starts it, routes requests and events, watches for silence,
//! notices death, starts the next one.
//!
//! One long request at a time; further ones wait in the channel. Pings, cancels and shutdown pass by.

use std::collections::HashMap;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until, timeout};

use crate::fault::{Death, EngineError};
use crate::frame::MAX_STATE;
use crate::handle::{GenerationEvent, Loaded, Status};
use crate::limits::Limits;
use crate::link::{Incoming, Link, Loss, Spawner};
use crate::message::{
    Event, EventFrame, Finished, GenerateSpec, Hello, LoadSpec, ModelInfo, PROTOCOL_VERSION, Request,
    RequestFrame, RequestId, StopReason,
};

/// Answered at once, also while the worker computes.
#[derive(Debug)]
pub(crate) enum Quick {
    Hello(oneshot::Sender<Result<Hello, EngineError>>),
    Ping(oneshot::Sender<Result<(), EngineError>>),
    Shutdown(oneshot::Sender<()>),
}

/// One after the other.
#[derive(Debug)]
pub(crate) enum Work {
    Load {
        spec: LoadSpec,
        progress: mpsc::Sender<f32>,
        cancel: watch::Receiver<bool>,
        reply: oneshot::Sender<Result<ModelInfo, EngineError>>,
    },
    Unload(oneshot::Sender<Result<(), EngineError>>),
    Generate {
        spec: GenerateSpec,
        events: mpsc::Sender<GenerationEvent>,
        cancel: watch::Receiver<bool>,
    },
    MoveState {
        bytes: u64,
        direction: Direction,
        reply: oneshot::Sender<Result<(), EngineError>>,
    },
}

/// Which way state bytes travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Worker to app, as after an export.
    FromWorker,
    /// App to worker, as before an import.
    ToWorker,
}

/// A request that the worker is working on.
struct InFlight {
    id: RequestId,
    work: Working,
    /// When the worker last made progress on it.
    last_sign: Instant,
    /// How long it may take to the next progress.
    patience: Duration,
    cancel_sent: bool,
}

impl InFlight {
    fn deadline(&self) -> Instant {
        self.last_sign + self.patience
    }
}

enum Working {
    Load {
        spec: LoadSpec,
        progress: mpsc::Sender<f32>,
        cancel: watch::Receiver<bool>,
        reply: oneshot::Sender<Result<ModelInfo, EngineError>>,
    },
    Unload(oneshot::Sender<Result<(), EngineError>>),
    Generate {
        events: mpsc::Sender<GenerationEvent>,
        cancel: watch::Receiver<bool>,
    },
    MoveState {
        /// Bytes still to arrive here.
        awaited: u64,
        /// The worker's last word, while bytes are still in the pipe.
        said: Option<Event>,
        reply: oneshot::Sender<Result<(), EngineError>>,
    },
}

impl Working {
    /// Resolves when the person or the caller no longer wants the result.
    async fn unwanted(&mut self) {
        match self {
            Self::Load { cancel, reply, .. } => {
                tokio::select! {
                    () = wanted_no_more(cancel) => {}
                    () = reply.closed() => {}
                }
            }
            Self::Generate { events, cancel } => {
                tokio::select! {
                    () = wanted_no_more(cancel) => {}
                    () = events.closed() => {}
                }
            }
            Self::Unload(_) | Self::MoveState { .. } => std::future::pending().await,
        }
    }

    async fn die(self, death: Death) {
        let error = EngineError::Died(death);
        match self {
            Self::Load { reply, .. } => drop(reply.send(Err(error))),
            Self::Unload(reply) | Self::MoveState { reply, .. } => drop(reply.send(Err(error))),
            Self::Generate { events, .. } => {
                // Nobody listens: nothing to tell.
                let _ = events.send(GenerationEvent::Ended(Err(error))).await;
            }
        }
    }
}

async fn wanted_no_more(cancel: &mut watch::Receiver<bool>) {
    // A dropped sender is no cancellation: the closed reply channel is.
    if cancel.wait_for(|cancelled| *cancelled).await.is_err() {
        std::future::pending::<()>().await;
    }
}

struct Worker {
    link: Link,
    hello: Hello,
    pings: HashMap<RequestId, oneshot::Sender<Result<(), EngineError>>>,
    /// The watch's own ping: when it was sent, until it is answered.
    watch_ping: Option<(RequestId, Instant)>,
    next_watch_ping: Instant,
}

pub(crate) struct Supervisor {
    spawner: Box<dyn Spawner>,
    limits: Limits,
    quick: mpsc::Receiver<Quick>,
    work: mpsc::Receiver<Work>,
    status: watch::Sender<Status>,
    worker: Option<Worker>,
    in_flight: Option<InFlight>,
    next_id: u64,
}

enum Wake {
    Quick(Option<Quick>),
    Work(Option<Work>),
    Incoming(Incoming),
    State(Vec<u8>),
    Unwanted,
    Tick,
}

impl Supervisor {
    pub(crate) fn new(
        spawner: Box<dyn Spawner>,
        limits: Limits,
        quick: mpsc::Receiver<Quick>,
        work: mpsc::Receiver<Work>,
        status: watch::Sender<Status>,
    ) -> Self {
        Self {
            spawner,
            limits,
            quick,
            work,
            status,
            worker: None,
            in_flight: None,
            next_id: 1,
        }
    }

    pub(crate) async fn run(mut self) {
        loop {
            match self.next_wake().await {
                Wake::Quick(Some(Quick::Hello(reply))) => {
                    let hello = self.ensure_worker().await.map(|worker| worker.hello.clone());
                    let _ = reply.send(hello);
                }
                Wake::Quick(Some(Quick::Ping(reply))) => self.ping(reply).await,
                Wake::Quick(Some(Quick::Shutdown(reply))) => {
                    self.shut_down().await;
                    let _ = reply.send(());
                    return;
                }
                Wake::Quick(None) | Wake::Work(None) => return self.shut_down().await,
                Wake::Work(Some(work)) => self.begin(work).await,
                Wake::Incoming(Incoming::Event(frame)) => self.route(frame).await,
                Wake::Incoming(Incoming::Lost(loss)) => self.lost(loss).await,
                Wake::State(bytes) => self.state_arrived(bytes.len() as u64).await,
                Wake::Unwanted => self.cancel().await,
                Wake::Tick => self.check_silence().await,
            }
        }
    }

    async fn next_wake(&mut self) -> Wake {
        let deadline = self.next_tick();
        let idle = self.in_flight.is_none();
        let worker = &mut self.worker;
        let in_flight = &mut self.in_flight;
        tokio::select! {
            quick = self.quick.recv() => Wake::Quick(quick),
            work = self.work.recv(), if idle => Wake::Work(work),
            wake = async {
                match worker {
                    Some(Worker { link, .. }) => tokio::select! {
                        incoming = link.events.recv() =>
                            Wake::Incoming(incoming.unwrap_or(Incoming::Lost(Loss::Closed))),
                        Some(bytes) = link.state_out.recv() => Wake::State(bytes),
                    },
                    None => std::future::pending().await,
                }
            } => wake,
            () = async {
                match in_flight {
                    Some(InFlight { work, cancel_sent: false, .. }) => work.unwanted().await,
                    _ => std::future::pending().await,
                }
            } => Wake::Unwanted,
            () = async {
                match deadline {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            } => Wake::Tick,
        }
    }

    /// Only a worker that has something to do is watched.
    fn next_tick(&self) -> Option<Instant> {
        let in_flight = self.in_flight.as_ref()?;
        let worker = self.worker.as_ref()?;
        let ping = match worker.watch_ping {
            Some((_, sent)) => sent + self.limits.ping,
            None => worker.next_watch_ping,
        };
        Some(in_flight.deadline().min(ping))
    }

    fn new_id(&mut self) -> RequestId {
        let id = RequestId(self.next_id);
        self.next_id += 1;
        id
    }

    /// The running worker, or a new one. Two failures in a row are an answer.
    async fn ensure_worker(&mut self) -> Result<&mut Worker, EngineError> {
        if self.worker.is_none() {
            let worker = match self.start_worker().await {
                Ok(worker) => worker,
                Err(death) => {
                    tracing::warn!(%death, "the engine did not start, trying once more");
                    self.start_worker().await.map_err(EngineError::Died)?
                }
            };
            let hello = worker.hello.clone();
            self.status.send_modify(|status| status.worker = Some(hello));
            self.worker = Some(worker);
        }
        self.worker.as_mut().ok_or(EngineError::Closed)
    }

    async fn start_worker(&mut self) -> Result<Worker, Death> {
        let mut link = self.spawner.spawn()?;
        let first = timeout(self.limits.handshake, link.events.recv()).await;
        let death = match first {
            Ok(Some(Incoming::Event(EventFrame {
                event: Event::Hello(hello),
                ..
            }))) => {
                if hello.protocol == PROTOCOL_VERSION {
                    let next_watch_ping = Instant::now() + self.limits.ping_every;
                    let pings = HashMap::new();
                    return Ok(Worker {
                        link,
                        hello,
                        pings,
                        watch_ping: None,
                        next_watch_ping,
                    });
                }
                Death::WrongVersion {
                    theirs: hello.protocol,
                    ours: PROTOCOL_VERSION,
                }
            }
            Ok(Some(Incoming::Event(_))) => Death::Garbled("it did not introduce itself".to_owned()),
            Ok(Some(Incoming::Lost(Loss::Garbled(what)))) => Death::Garbled(what),
            Ok(Some(Incoming::Lost(Loss::Closed)) | None) => {
                return Err(Death::Exited(reap(link).await));
            }
            Err(_) => Death::Silent(self.limits.handshake.as_secs()),
        };
        kill(link).await;
        Err(death)
    }

    async fn send(&mut self, id: RequestId, request: Request) {
        if let Some(worker) = &self.worker {
            // A full channel means that the worker does not read: the watch ends it. A closed one means
            // that it died: the reading side reports that.
            let _ = worker.link.requests.try_send(RequestFrame { id, request });
        }
    }

    async fn ping(&mut self, reply: oneshot::Sender<Result<(), EngineError>>) {
        let id = self.new_id();
        match self.ensure_worker().await {
            Ok(worker) => {
                worker.pings.insert(id, reply);
                self.send(id, Request::Ping).await;
            }
            Err(error) => drop(reply.send(Err(error))),
        }
    }

    async fn begin(&mut self, work: Work) {
        let started = self.ensure_worker().await.err();
        let id = self.new_id();
        let (work, request, patience) = match work {
            Work::Load {
                spec,
                progress,
                cancel,
                reply,
            } => {
                // From here on the old model is gone, whatever becomes of the new one.
                self.status.send_modify(|status| status.loaded = None);
                let request = Request::Load(spec.clone());
                (
                    Working::Load {
                        spec,
                        progress,
                        cancel,
                        reply,
                    },
                    request,
                    self.limits.load,
                )
            }
            Work::Unload(reply) => (Working::Unload(reply), Request::Unload, self.limits.settle),
            Work::Generate { spec, events, cancel } => {
                if *cancel.borrow() {
                    let _ = events
                        .send(GenerationEvent::Ended(Ok(cancelled_before_start())))
                        .await;
                    return;
                }
                (
                    Working::Generate { events, cancel },
                    Request::Generate(spec),
                    self.limits.prefill,
                )
            }
            Work::MoveState {
                bytes,
                direction,
                reply,
            } => {
                let request = match direction {
                    Direction::FromWorker => Request::SendState { bytes },
                    Direction::ToWorker => Request::ReceiveState { bytes },
                };
                let awaited = if direction == Direction::FromWorker {
                    bytes
                } else {
                    0
                };
                if let Some(worker) = self.worker.as_ref().filter(|_| direction == Direction::ToWorker) {
                    tokio::spawn(feed_state(worker.link.state_in.clone(), bytes));
                }
                (
                    Working::MoveState {
                        awaited,
                        said: None,
                        reply,
                    },
                    request,
                    self.limits.settle,
                )
            }
        };
        if let Some(EngineError::Died(death)) = started {
            return work.die(death).await;
        }
        let now = Instant::now();
        if let Some(worker) = &mut self.worker {
            worker.watch_ping = None;
            worker.next_watch_ping = now + self.limits.ping_every;
        }
        self.in_flight = Some(InFlight {
            id,
            work,
            last_sign: now,
            patience,
            cancel_sent: false,
        });
        self.send(id, request).await;
    }

    async fn cancel(&mut self) {
        let Some(in_flight) = &mut self.in_flight else {
            return;
        };
        in_flight.cancel_sent = true;
        in_flight.last_sign = Instant::now();
        in_flight.patience = self.limits.settle;
        let target = in_flight.id;
        let id = self.new_id();
        self.send(id, Request::Cancel { target }).await;
    }

    async fn route(&mut self, EventFrame { id, event }: EventFrame) {
        let Some(worker) = &mut self.worker else { return };
        let Some(id) = id else { return };
        if let Event::Pong = event {
            if worker.watch_ping.is_some_and(|(own, _)| own == id) {
                worker.watch_ping = None;
                worker.next_watch_ping = Instant::now() + self.limits.ping_every;
            } else if let Some(reply) = worker.pings.remove(&id) {
                let _ = reply.send(Ok(()));
            }
            return;
        }
        let Some(in_flight) = self.in_flight.as_mut().filter(|in_flight| in_flight.id == id) else {
            return;
        };
        in_flight.last_sign = Instant::now();
        in_flight.patience = match &event {
            _ if in_flight.cancel_sent => self.limits.settle,
            Event::LoadProgress { .. } => self.limits.load,
            Event::Piece { .. } => self.limits.decode,
            _ => self.limits.prefill,
        };
        if event.is_last() {
            if let Working::MoveState { awaited, said, .. } = &mut in_flight.work
                && *awaited > 0
            {
                *said = Some(event);
                return;
            }
            if let Some(in_flight) = self.in_flight.take() {
                self.finish(in_flight.work, event).await;
            }
            return;
        }
        match (&mut in_flight.work, event) {
            // Progress that nobody reads in time may be dropped: the next one says more.
            (Working::Load { progress, .. }, Event::LoadProgress { fraction }) => {
                let _ = progress.try_send(fraction);
            }
            (Working::Generate { events, .. }, event) => {
                let event = match event {
                    Event::Prepared(prepared) => GenerationEvent::Prepared(prepared),
                    Event::Prefill { done } => GenerationEvent::Prefill { done },
                    Event::Piece { text, tokens } => GenerationEvent::Piece { text, tokens },
                    _ => return,
                };
                // Waits for a slow reader, and so does the worker: nothing is lost, nothing piles up.
                let _ = events.send(event).await;
            }
            _ => {}
        }
    }

    /// State bytes count as progress; the request ends when the last of them and the word are here.
    async fn state_arrived(&mut self, bytes: u64) {
        let Some(in_flight) = &mut self.in_flight else {
            return;
        };
        in_flight.last_sign = Instant::now();
        let Working::MoveState { awaited, said, .. } = &mut in_flight.work else {
            return;
        };
        *awaited = awaited.saturating_sub(bytes);
        if *awaited == 0
            && let Some(event) = said.take()
            && let Some(in_flight) = self.in_flight.take()
        {
            self.finish(in_flight.work, event).await;
        }
    }

    async fn finish(&mut self, work: Working, event: Event) {
        match (work, event) {
            (Working::Load { spec, reply, .. }, Event::Loaded(info)) => {
                let loaded = Loaded {
                    spec,
                    info: info.clone(),
                };
                self.status.send_modify(|status| status.loaded = Some(loaded));
                let _ = reply.send(Ok(info));
            }
            (Working::Load { reply, .. }, Event::Failed(fault)) => drop(reply.send(Err(fault.into()))),
            (Working::Generate { events, .. }, Event::Finished(finished)) => {
                let _ = events.send(GenerationEvent::Ended(Ok(finished))).await;
            }
            (Working::Generate { events, .. }, Event::Failed(fault)) => {
                let _ = events.send(GenerationEvent::Ended(Err(fault.into()))).await;
            }
            (Working::Unload(reply), event) => {
                self.status.send_modify(|status| status.loaded = None);
                let _ = reply.send(plain(event));
            }
            (Working::MoveState { reply, .. }, event) => drop(reply.send(plain(event))),
            (work, _) => {
                // An answer to another question: the worker is confused.
                let death = Death::Garbled("an answer to another question".to_owned());
                self.bury(death.clone()).await;
                work.die(death).await;
            }
        }
    }

    async fn lost(&mut self, loss: Loss) {
        let Some(worker) = self.worker.take() else { return };
        let death = match loss {
            Loss::Closed => Death::Exited(reap(worker.link).await),
            Loss::Garbled(what) => {
                kill(worker.link).await;
                Death::Garbled(what)
            }
        };
        self.mourn(death, worker.pings).await;
    }

    async fn check_silence(&mut self) {
        let now = Instant::now();
        let Some(in_flight) = &self.in_flight else { return };
        let Some(worker) = &mut self.worker else { return };
        let silent = match worker.watch_ping {
            Some((_, sent)) if now >= sent + self.limits.ping => Some(self.limits.ping),
            _ if now >= in_flight.deadline() => Some(now - in_flight.last_sign),
            _ => None,
        };
        if let Some(silent) = silent {
            return self.bury(Death::Silent(silent.as_secs())).await;
        }
        if worker.watch_ping.is_none() && now >= worker.next_watch_ping {
            let id = self.new_id();
            if let Some(worker) = &mut self.worker {
                worker.watch_ping = Some((id, now));
            }
            self.send(id, Request::Ping).await;
        }
    }

    /// Ends a worker that cannot be trusted any more.
    async fn bury(&mut self, death: Death) {
        if let Some(worker) = self.worker.take() {
            kill(worker.link).await;
            self.mourn(death, worker.pings).await;
        }
    }

    /// Tells everyone who waited, and starts the next worker so that it is ready when it is needed.
    async fn mourn(
        &mut self,
        death: Death,
        pings: HashMap<RequestId, oneshot::Sender<Result<(), EngineError>>>,
    ) {
        tracing::warn!(%death, "the engine is gone");
        self.status.send_modify(|status| {
            status.worker = None;
            status.loaded = None;
            status.deaths += 1;
            status.last_death = Some(death.clone());
        });
        for reply in pings.into_values() {
            let _ = reply.send(Err(EngineError::Died(death.clone())));
        }
        if let Some(in_flight) = self.in_flight.take() {
            in_flight.work.die(death).await;
        }
        if let Err(error) = self.ensure_worker().await {
            tracing::error!(%error, "no new engine could be started");
        }
    }

    async fn shut_down(&mut self) {
        let id = self.new_id();
        self.send(id, Request::Shutdown).await;
        self.in_flight = None;
        if let Some(mut worker) = self.worker.take() {
            let ended = async {
                while let Some(incoming) = worker.link.events.recv().await {
                    if matches!(incoming, Incoming::Lost(_)) {
                        break;
                    }
                }
            };
            let in_time = timeout(self.limits.shutdown, ended).await.is_ok();
            tracing::info!(in_time, "engine shut down");
            if in_time {
                drop(reap(worker.link).await)
            } else {
                kill(worker.link).await
            }
        }
    }
}

fn cancelled_before_start() -> Finished {
    Finished {
        stop: StopReason::Cancelled,
        prefill_tokens: 0,
        prefill_ms: 0.0,
        ttft_ms: None,
        decode_tokens: 0,
        decode_ms: 0.0,
    }
}

fn plain(event: Event) -> Result<(), EngineError> {
    match event {
        Event::Failed(fault) => Err(fault.into()),
        _ => Ok(()),
    }
}

/// Feeds the state path beside the control path.
async fn feed_state(sender: mpsc::Sender<Vec<u8>>, bytes: u64) {
    let mut left = bytes;
    while left > 0 {
        let size = left.min(MAX_STATE as u64);
        left -= size;
        if sender
            .send(vec![0; usize::try_from(size).unwrap_or(MAX_STATE)])
            .await
            .is_err()
        {
            return;
        }
    }
}

async fn reap(link: Link) -> String {
    let mut process = link.process;
    tokio::task::spawn_blocking(move || process.reap())
        .await
        .unwrap_or_default()
}

async fn kill(link: Link) {
    let mut process = link.process;
    // A join error can only mean that the runtime is shutting down; dropping ends the process as well.
    let _ = tokio::task::spawn_blocking(move || {
        process.kill();
        process.reap()
    })
    .await;
}
