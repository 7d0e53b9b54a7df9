//! The one task that owns the worker: starts it, routes requests and events, watches for silence,
//! notices death, starts the next one.
//!
//! One long request at a time; further ones wait in the channel. Pings, cancels and the wish to stop
//! pass by. The loop waits for nothing but its own `select!` and, bounded by [`Limits`], for a worker
//! to start or to end.

use std::collections::HashMap;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until, timeout};

use crate::fault::{Death, EngineError};
use crate::handle::{GenerationEvent, Loaded, Status};
use crate::limits::Limits;
use crate::link::{Incoming, Link, Loss, Spawner};
use crate::message::{Event, EventFrame, Hello, PROTOCOL_VERSION, Request, RequestFrame, RequestId};
use crate::moving::{Move, Moving, Step};
use crate::work::{InFlight, Quick, Stir, Stop, Work, Working, deliver};

/// Where the handles' wishes arrive.
pub(crate) struct Inbox {
    pub(crate) stop: mpsc::Receiver<Stop>,
    pub(crate) quick: mpsc::Receiver<Quick>,
    pub(crate) work: mpsc::Receiver<Work>,
    pub(crate) moves: mpsc::Receiver<Move>,
}

struct Ping {
    sent: Instant,
    reply: oneshot::Sender<Result<(), EngineError>>,
}

struct Worker {
    link: Link,
    hello: Hello,
    /// Whether it was ever given work. One that dies before that is not replaced at once: its successor
    /// would most likely die in the same way, and so on without end.
    was_asked: bool,
    /// Pings of others.
    pings: HashMap<RequestId, Ping>,
    /// The watch's own ping: when it was sent, until it is answered.
    watch_ping: Option<(RequestId, Instant)>,
    next_watch_ping: Instant,
}

impl Worker {
    fn restart_watch(&mut self, now: Instant, ping_every: Duration) {
        self.watch_ping = None;
        self.next_watch_ping = now + ping_every;
        for ping in self.pings.values_mut() {
            ping.sent = now;
        }
    }

    /// When the oldest unanswered ping was sent.
    fn oldest_ping(&self) -> Option<Instant> {
        let others = self.pings.values().map(|ping| ping.sent);
        others.chain(self.watch_ping.map(|(_, sent)| sent)).min()
    }
}

pub(crate) struct Supervisor {
    spawner: Box<dyn Spawner>,
    limits: Limits,
    inbox: Inbox,
    status: watch::Sender<Status>,
    worker: Option<Worker>,
    in_flight: Option<InFlight>,
    /// State bytes on their way, beside the request in flight.
    moving: Option<Moving>,
    stopping: Option<Stop>,
    next_id: u64,
}

enum Wake {
    Stop(Stop),
    Quick(Quick),
    Work(Work),
    Incoming(Incoming),
    Move(Move),
    Moved(Step),
    Stir(Stir),
    /// The watch's time has come; when it should have.
    Tick(Instant),
}

impl Supervisor {
    pub(crate) fn new(
        spawner: Box<dyn Spawner>,
        limits: Limits,
        inbox: Inbox,
        status: watch::Sender<Status>,
    ) -> Self {
        Self {
            spawner,
            limits,
            inbox,
            status,
            worker: None,
            in_flight: None,
            moving: None,
            stopping: None,
            next_id: 1,
        }
    }

    pub(crate) async fn run(mut self) {
        while self.stopping.is_none() {
            match self.next_wake().await {
                Wake::Stop(stop) => self.stopping = Some(stop),
                Wake::Quick(Quick::Hello(reply)) => {
                    let hello = self.ensure_worker().await.map(|worker| worker.hello.clone());
                    let _ = reply.send(hello);
                }
                Wake::Quick(Quick::Ping(reply)) => self.ping(reply).await,
                Wake::Work(work) => self.begin(work).await,
                Wake::Incoming(Incoming::Event(frame)) => self.route(frame).await,
                Wake::Incoming(Incoming::Lost(loss)) => self.lost(loss).await,
                Wake::Move(wish) => self.begin_move(wish).await,
                Wake::Moved(step) => self.moved(&step),
                Wake::Stir(Stir::Unwanted) => self.cancel(),
                Wake::Stir(Stir::Delivered) => self.restart_watch(),
                Wake::Tick(due) => self.check_silence(due).await,
            }
        }
        self.shut_down().await;
        if let Some(Stop(Some(reply))) = self.stopping.take() {
            // The caller may have stopped waiting.
            let _ = reply.send(());
        }
    }

    async fn next_wake(&mut self) -> Wake {
        let deadline = self.next_tick();
        let idle = self.in_flight.is_none();
        let stalled = self.in_flight.as_ref().is_some_and(InFlight::is_stalled);
        let resting = self.moving.is_none();
        let worker = &mut self.worker;
        let in_flight = &mut self.in_flight;
        let moving = &mut self.moving;
        tokio::select! {
            // `None`: every handle was dropped. The other channels end at the same moment.
            stop = self.inbox.stop.recv() => Wake::Stop(stop.unwrap_or(Stop(None))),
            Some(quick) = self.inbox.quick.recv() => Wake::Quick(quick),
            Some(work) = self.inbox.work.recv(), if idle => Wake::Work(work),
            Some(wish) = self.inbox.moves.recv(), if resting => Wake::Move(wish),
            wake = async {
                let Some(Worker { link, .. }) = worker else {
                    return std::future::pending().await;
                };
                let Link { events, state_in, state_out, .. } = link;
                tokio::select! {
                    incoming = events.recv(), if !stalled =>
                        Wake::Incoming(incoming.unwrap_or(Incoming::Lost(Loss::Closed))),
                    step = async {
                        match moving {
                            Some(moving) => moving.step(state_in, state_out).await,
                            None => std::future::pending().await,
                        }
                    } => Wake::Moved(step),
                }
            } => wake,
            stir = async {
                match in_flight {
                    Some(in_flight) => in_flight.stir().await,
                    None => std::future::pending().await,
                }
            } => Wake::Stir(stir),
            due = async {
                match deadline {
                    Some(at) => {
                        sleep_until(at).await;
                        at
                    }
                    None => std::future::pending().await,
                }
            } => Wake::Tick(due),
        }
    }

    /// Only a worker that has something to do is watched, and only while it is listened to.
    fn next_tick(&self) -> Option<Instant> {
        let worker = self.worker.as_ref()?;
        let pong = worker.oldest_ping().map(|sent| sent + self.limits.ping);
        let in_flight = self.in_flight.as_ref();
        if let Some(in_flight) = in_flight.filter(|in_flight| in_flight.is_stalled()) {
            return in_flight.cancel_sent.then(|| in_flight.deadline());
        }
        let busy = in_flight.is_some() || self.moving.is_some();
        let watch = (busy && worker.watch_ping.is_none()).then_some(worker.next_watch_ping);
        let moved = self.moving.as_ref().map(|moving| moving.deadline(self.limits.settle));
        [pong, watch, moved, in_flight.map(InFlight::deadline)].into_iter().flatten().min()
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
                Err(EngineError::Died(death)) if death.may_pass() => {
                    tracing::warn!(%death, "the engine did not start, trying once more");
                    self.start_worker().await?
                }
                first => first?,
            };
            let hello = worker.hello.clone();
            self.status.send_modify(|status| status.worker = Some(hello));
            self.worker = Some(worker);
        }
        self.worker.as_mut().ok_or(EngineError::Closed)
    }

    async fn start_worker(&mut self) -> Result<Worker, EngineError> {
        let death = match self.spawner.spawn() {
            Err(death) => death,
            Ok(mut link) => {
                let first = tokio::select! {
                    first = timeout(self.limits.handshake, link.events.recv()) => first,
                    stop = self.inbox.stop.recv() => {
                        self.stopping = Some(stop.unwrap_or(Stop(None)));
                        kill(link).await;
                        return Err(EngineError::Closed);
                    }
                };
                match first {
                    Ok(Some(Incoming::Event(EventFrame { event: Event::Hello(hello), .. })))
                        if hello.protocol == PROTOCOL_VERSION =>
                    {
                        return Ok(Worker {
                            link,
                            hello,
                            was_asked: false,
                            pings: HashMap::new(),
                            watch_ping: None,
                            next_watch_ping: Instant::now() + self.limits.ping_every,
                        });
                    }
                    Ok(Some(Incoming::Lost(Loss::Closed)) | None) => Death::Exited(reap(link).await),
                    other => {
                        kill(link).await;
                        match other {
                            Ok(Some(Incoming::Event(EventFrame { event: Event::Hello(hello), .. }))) => {
                                Death::WrongVersion { theirs: hello.protocol, ours: PROTOCOL_VERSION }
                            }
                            Ok(Some(Incoming::Lost(Loss::Garbled(what)))) => Death::Garbled(what),
                            Ok(_) => Death::Garbled("it did not introduce itself".to_owned()),
                            Err(_) => Death::Silent(self.limits.handshake.as_secs()),
                        }
                    }
                }
            }
        };
        self.status.send_modify(|status| {
            status.deaths += 1;
            status.last_death = Some(death.clone());
        });
        Err(EngineError::Died(death))
    }

    fn send(&self, id: RequestId, request: Request) {
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
                worker.pings.insert(id, Ping { sent: Instant::now(), reply });
                self.send(id, Request::Ping);
            }
            Err(error) => drop(reply.send(Err(error))),
        }
    }

    async fn begin(&mut self, work: Work) {
        if work.is_unwanted() {
            return work.end_unbegun();
        }
        if let Err(error) = self.ensure_worker().await {
            return work.fail(error);
        }
        let (work, request, patience) = match work {
            Work::Load { spec, progress, cancel, reply } => {
                // From here on the old model is gone, whatever becomes of the new one.
                self.status.send_modify(|status| status.loaded = None);
                let mut request = spec.clone();
                // The worker runs in another folder.
                request.model = std::path::absolute(&spec.model).unwrap_or(request.model);
                let work = Working::Load { spec, progress, cancel, reply };
                (work, Request::Load(request), self.limits.load)
            }
            Work::Unload(reply) => (Working::Unload(reply), Request::Unload, self.limits.settle),
            Work::Generate { spec, events, cancel } => {
                let work = Working::Generate { events, cancel, unsent: None };
                (work, Request::Generate(spec), self.limits.prefill)
            }
            Work::Ask { request, reply } => {
                let can_end = matches!(request, Request::Qualify(_));
                (Working::Ask { reply, can_end }, request, self.limits.settle)
            }
        };
        let id = self.new_id();
        self.in_flight = Some(InFlight { id, work, last_sign: Instant::now(), patience, cancel_sent: false });
        if let Some(worker) = &mut self.worker {
            worker.was_asked = true;
        }
        self.restart_watch();
        self.send(id, request);
    }

    async fn begin_move(&mut self, wish: Move) {
        if wish.is_unwanted() {
            return;
        }
        if let Err(error) = self.ensure_worker().await {
            return wish.fail(error);
        }
        let Move { request, path, reply } = wish;
        let id = self.new_id();
        self.moving = Some(Moving::new(id, path, reply));
        if let Some(worker) = &mut self.worker {
            worker.was_asked = true;
            if self.in_flight.is_none() {
                worker.restart_watch(Instant::now(), self.limits.ping_every);
            }
        }
        self.send(id, request);
    }

    fn moved(&mut self, step: &Step) {
        if let Some(moving) = &mut self.moving {
            moving.moved(step);
            self.end_move();
        }
    }

    fn end_move(&mut self) {
        if let Some(moving) = self.moving.take_if(|moving| moving.is_done()) {
            moving.finish();
        }
    }

    fn cancel(&mut self) {
        let Some(in_flight) = &mut self.in_flight else {
            return;
        };
        in_flight.cancel_sent = true;
        in_flight.last_sign = Instant::now();
        in_flight.patience = self.limits.settle;
        let target = in_flight.id;
        let id = self.new_id();
        self.send(id, Request::Cancel { target });
    }

    async fn route(&mut self, EventFrame { id, event }: EventFrame) {
        let Some(worker) = &mut self.worker else { return };
        let Some(id) = id else { return };
        if let Event::Pong = event {
            if worker.watch_ping.is_some_and(|(own, _)| own == id) {
                worker.watch_ping = None;
                worker.next_watch_ping = Instant::now() + self.limits.ping_every;
            } else if let Some(ping) = worker.pings.remove(&id) {
                // The caller may have stopped waiting.
                let _ = ping.reply.send(Ok(()));
            }
            return;
        }
        if let Some(moving) = self.moving.as_mut().filter(|moving| moving.id == id) {
            moving.heard(event);
            return self.end_move();
        }
        let Some(in_flight) = self.in_flight.as_mut().filter(|in_flight| in_flight.id == id) else {
            return;
        };
        // After a cancel only the end counts: a worker that talks on for ever does not listen.
        if !in_flight.cancel_sent {
            in_flight.last_sign = Instant::now();
            in_flight.patience = match (&in_flight.work, &event) {
                (Working::Load { .. }, _) => self.limits.load,
                (_, Event::Piece { .. }) => self.limits.decode,
                (Working::Generate { .. }, _) => self.limits.prefill,
                _ => self.limits.settle,
            };
        }
        match (&mut in_flight.work, event) {
            (_, event) if event.is_last() => self.finish(event).await,
            // Progress that nobody reads in time may be dropped: the next one says more.
            (Working::Load { progress, .. }, Event::LoadProgress { fraction }) => {
                let _ = progress.try_send(fraction);
            }
            (Working::Generate { events, unsent, .. }, event) => {
                let event = match event {
                    Event::Prepared(prepared) => GenerationEvent::Prepared(prepared),
                    Event::Prefill { done } => GenerationEvent::Prefill { done },
                    Event::Piece { text, tokens } => GenerationEvent::Piece { text, tokens },
                    _ => return,
                };
                // Waits for a slow reader, and so does the worker: nothing is lost, nothing piles up.
                if let Err(mpsc::error::TrySendError::Full(event)) = events.try_send(event) {
                    *unsent = Some(event);
                }
            }
            _ => {}
        }
    }

    /// Ends the request in flight with the worker's last word on it.
    async fn finish(&mut self, event: Event) {
        let Some(in_flight) = self.in_flight.take() else {
            return;
        };
        match (in_flight.work, event) {
            (Working::Load { spec, reply, .. }, Event::Loaded(info)) => {
                let loaded = Loaded { spec, info: info.clone() };
                self.status.send_modify(|status| status.loaded = Some(loaded));
                let _ = reply.send(Ok(info));
            }
            (Working::Load { reply, .. }, Event::Failed(fault)) => drop(reply.send(Err(fault.into()))),
            (Working::Generate { events, .. }, Event::Finished(finished)) => {
                deliver(events, vec![GenerationEvent::Ended(Ok(finished))]);
            }
            (Working::Generate { events, .. }, Event::Failed(fault)) => {
                deliver(events, vec![GenerationEvent::Ended(Err(fault.into()))]);
            }
            (Working::Unload(reply), Event::Unloaded) => {
                self.status.send_modify(|status| status.loaded = None);
                let _ = reply.send(Ok(()));
            }
            (Working::Unload(reply), Event::Failed(fault)) => drop(reply.send(Err(fault.into()))),
            (Working::Ask { reply, .. }, Event::Failed(fault)) => drop(reply.send(Err(fault.into()))),
            // Whether it answers the question is for the handle to say, which knows the question.
            (Working::Ask { reply, .. }, event) => drop(reply.send(Ok(event))),
            (work, _) => {
                self.in_flight = Some(InFlight { work, ..in_flight });
                self.bury(Death::Garbled("an answer to another question".to_owned())).await;
            }
        }
    }

    async fn lost(&mut self, loss: Loss) {
        match loss {
            Loss::Closed => {
                let Some(worker) = self.worker.take() else { return };
                let death = Death::Exited(reap(worker.link).await);
                self.mourn(death, worker.was_asked, worker.pings).await;
            }
            Loss::Garbled(what) => self.bury(Death::Garbled(what)).await,
        }
    }

    /// Forgets past silence: the worker could not have been heard, or has just been given something.
    /// The time that a cancelled request has to end runs on.
    fn restart_watch(&mut self) {
        let now = Instant::now();
        if let Some(in_flight) = self.in_flight.as_mut().filter(|in_flight| !in_flight.cancel_sent) {
            in_flight.last_sign = now;
        }
        if let Some(worker) = &mut self.worker {
            worker.restart_watch(now, self.limits.ping_every);
        }
    }

    async fn check_silence(&mut self, due: Instant) {
        let now = Instant::now();
        if now - due > self.limits.ping_every {
            // This loop itself did not run in time: the machine slept, or is far too busy. So may the
            // worker have.
            if let Some(in_flight) = &mut self.in_flight {
                in_flight.last_sign = now;
            }
            if let Some(moving) = &mut self.moving {
                moving.last_sign = now;
            }
            return self.restart_watch();
        }
        if let Some(moving) = &mut self.moving {
            moving.excuse();
        }
        let Some(worker) = &self.worker else { return };
        let in_flight = self.in_flight.as_ref();
        let heard = !in_flight.is_some_and(InFlight::is_stalled);
        let ping_lost = heard && worker.oldest_ping().is_some_and(|sent| now >= sent + self.limits.ping);
        let overdue = in_flight.filter(|in_flight| now >= in_flight.deadline());
        let stuck = self.moving.as_ref().filter(|moving| heard && now >= moving.deadline(self.limits.settle));
        if ping_lost || overdue.is_some() || stuck.is_some() {
            let cancelled = overdue.is_some_and(|in_flight| in_flight.cancel_sent);
            if !worker.link.events.is_empty() && !cancelled {
                // It did speak; what it said is read first.
                return;
            }
            let silent = match (overdue, stuck) {
                (Some(in_flight), _) => now - in_flight.last_sign,
                (None, Some(moving)) => now - moving.last_sign,
                (None, None) => self.limits.ping,
            };
            return self.bury(Death::Silent(silent.as_secs())).await;
        }
        let busy = in_flight.is_some() || self.moving.is_some();
        if heard && busy && worker.watch_ping.is_none() && now >= worker.next_watch_ping {
            let id = self.new_id();
            if let Some(worker) = &mut self.worker {
                worker.watch_ping = Some((id, now));
            }
            self.send(id, Request::Ping);
        }
    }

    /// Ends a worker that cannot be trusted any more.
    async fn bury(&mut self, death: Death) {
        if let Some(worker) = self.worker.take() {
            kill(worker.link).await;
            self.mourn(death, worker.was_asked, worker.pings).await;
        }
    }

    /// Tells everyone who waited, and starts the next worker so that it is ready when it is needed.
    async fn mourn(&mut self, death: Death, was_asked: bool, pings: HashMap<RequestId, Ping>) {
        tracing::warn!(%death, "the engine is gone");
        self.status.send_modify(|status| {
            status.worker = None;
            status.loaded = None;
            status.deaths += 1;
            status.last_death = Some(death.clone());
        });
        let error = EngineError::Died(death);
        for ping in pings.into_values() {
            let _ = ping.reply.send(Err(error.clone()));
        }
        if let Some(moving) = self.moving.take() {
            moving.fail(error.clone());
        }
        if let Some(in_flight) = self.in_flight.take() {
            in_flight.work.fail(error);
        }
        if was_asked && let Err(error) = self.ensure_worker().await {
            tracing::error!(%error, "no new engine could be started");
        }
    }

    async fn shut_down(&mut self) {
        let id = self.new_id();
        self.send(id, Request::Shutdown);
        if let Some(in_flight) = self.in_flight.take() {
            in_flight.work.fail(EngineError::Closed);
        }
        if let Some(moving) = self.moving.take() {
            moving.fail(EngineError::Closed);
        }
        let Some(mut worker) = self.worker.take() else {
            return;
        };
        let ended = async {
            // What it still says is of no use to anybody, but must not hold it up.
            while let Some(Incoming::Event(_)) = worker.link.events.recv().await {}
        };
        let in_time = timeout(self.limits.shutdown, ended).await.is_ok();
        if in_time {
            drop(reap(worker.link).await);
        } else {
            kill(worker.link).await;
        }
        self.status.send_modify(|status| {
            status.worker = None;
            status.loaded = None;
        });
        tracing::info!(in_time, "engine shut down");
    }
}

async fn reap(link: Link) -> String {
    let mut process = link.process;
    tokio::task::spawn_blocking(move || process.reap()).await.unwrap_or_default()
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
