//! A worker made of a script: logic is tested with it, without a C++ build. It proves nothing about
//! inference.
//!
//! Its vocabulary is the characters themselves (token id = code point), its template is
//! `<role>content\n`, and it keeps a live context as the real worker does, so prefix reuse can be
//! counted. What it answers, and how it misbehaves, is queued beforehand.

mod state;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::fault::{Death, Fault};
use crate::frame::MAX_STATE;
use crate::link::{Incoming, Link, Loss, Spawner, WorkerProcess};
use crate::message::{
    CacheKind, Device, DeviceKind, Event, EventFrame, Finished, GenerateSpec, Hello, LoadSpec, ModelInfo,
    Module, PROTOCOL_VERSION, Prepared, Request, RequestFrame, RequestId, Role, StopReason, TemplateOrigin,
    TokenId,
};
use crate::qualify::Qualified;
use crate::state::{Exported, ImageId, Pieces, PromptTokens, RestoreSpec, Twice};

pub use state::OnRestore;

/// One thing the scripted worker does while it answers.
#[derive(Debug, Clone)]
pub enum Act {
    /// Says this text, a piece a character.
    Say(String),
    /// Waits; a cancel ends the answer meanwhile.
    Wait(Duration),
    /// Goes on and on until it is cancelled.
    Babble,
    /// Goes on and on and does not listen, not even to a cancel.
    Rave,
    /// Refuses.
    Fail(Fault),
    /// Ends as a killed process does.
    Die,
    /// Sends nothing any more and answers no ping.
    Freeze,
    /// Sends something that is not the protocol.
    Garble,
}

/// How a worker starts.
#[derive(Debug, Clone)]
pub enum Start {
    /// As it should.
    Well,
    /// With this protocol version.
    OfVersion(u32),
    /// It ends at once.
    Dying,
    /// It introduces itself and ends.
    Fleeting,
    /// It says nothing.
    Silent,
}

#[derive(Debug, Default)]
struct Script {
    starts: VecDeque<Start>,
    loads: VecDeque<Vec<Act>>,
    answers: VecDeque<Vec<Act>>,
    readings: VecDeque<Vec<Act>>,
    restores: VecDeque<OnRestore>,
    /// How a model remembers; `None`: with full attention.
    cache: Option<CacheKind>,
    /// `None`: goes on until it is cancelled.
    comparisons: VecDeque<Option<Qualified>>,
    /// Whether a state answers otherwise once it is overwritten with its own image.
    exports_change: bool,
    /// Names of all requests that came.
    asked: Vec<&'static str>,
    deaths: VecDeque<&'static str>,
    held: Option<(&'static str, oneshot::Receiver<()>)>,
    prompts: Vec<String>,
    specs: Vec<GenerateSpec>,
    spawned: u32,
    running: Vec<tokio::task::AbortHandle>,
}

/// Queues what scripted workers do, and tells what they were asked. Clones share one script.
#[derive(Debug, Clone, Default)]
pub struct ScriptedEngine {
    script: Arc<Mutex<Script>>,
}

impl ScriptedEngine {
    /// Workers that start well and answer `ok`.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn with<T>(&self, f: impl FnOnce(&mut Script) -> T) -> T {
        f(&mut self.script.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// How the next worker starts.
    pub fn on_start(&self, start: Start) {
        self.with(|script| script.starts.push_back(start));
    }

    /// What happens at the next load before it succeeds.
    pub fn on_load(&self, acts: Vec<Act>) {
        self.with(|script| script.loads.push_back(acts));
    }

    /// What happens at the next answer.
    pub fn on_answer(&self, acts: Vec<Act>) {
        self.with(|script| script.answers.push_back(acts));
    }

    /// What happens at the next reading that has something to decode, when half of it is decoded. There is
    /// nothing to say.
    pub fn on_reading(&self, acts: Vec<Act>) {
        self.with(|script| script.readings.push_back(acts));
    }

    /// What happens at the next restore.
    pub fn on_restore(&self, act: OnRestore) {
        self.with(|script| script.restores.push_back(act));
    }

    /// Models remember in this way from the next load on. Where their tail cannot be removed, an export
    /// overwrites what is live.
    pub fn remembers_by(&self, cache: CacheKind) {
        self.with(|script| script.cache = Some(cache));
    }

    /// What the next comparison finds; without it states survive in every bit.
    pub fn on_qualify(&self, found: Qualified) {
        self.with(|script| script.comparisons.push_back(Some(found)));
    }

    /// The next comparison takes until it is cancelled.
    pub fn compare_for_ever(&self) {
        self.with(|script| script.comparisons.push_back(None));
    }

    /// From now on a state answers otherwise once an export has overwritten it.
    pub fn change_on_export(&self) {
        self.with(|script| script.exports_change = true);
    }

    /// How often this was asked, by its name on the wire.
    #[must_use]
    pub fn times_asked(&self, request: &str) -> usize {
        self.with(|script| script.asked.iter().filter(|asked| **asked == request).count())
    }

    /// The worker dies when it next hears this request, by its name on the wire.
    pub fn die_at(&self, request: &'static str) {
        self.with(|script| script.deaths.push_back(request));
    }

    /// The worker holds still when it next hears this request, until it is told to go on or the sender is
    /// dropped.
    #[must_use]
    pub fn hold_at(&self, request: &'static str) -> oneshot::Sender<()> {
        let (go_on, held) = oneshot::channel();
        self.with(|script| script.held = Some((request, held)));
        go_on
    }

    /// The deaths that are still to come.
    #[must_use]
    pub fn deaths_left(&self) -> usize {
        self.with(|script| script.deaths.len())
    }

    /// The prompts that were rendered so far.
    #[must_use]
    pub fn prompts(&self) -> Vec<String> {
        self.with(|script| script.prompts.clone())
    }

    /// What was asked so far.
    #[must_use]
    pub fn specs(&self) -> Vec<GenerateSpec> {
        self.with(|script| script.specs.clone())
    }

    /// Kills every running worker, as from outside.
    pub fn kill(&self) {
        self.with(|script| script.running.drain(..).for_each(|worker| worker.abort()));
    }

    /// How many workers were started.
    #[must_use]
    pub fn spawned(&self) -> u32 {
        self.with(|script| script.spawned)
    }
}

impl Spawner for ScriptedEngine {
    fn spawn(&mut self) -> Result<Link, Death> {
        let start = self.with(|script| {
            script.spawned += 1;
            script.starts.pop_front().unwrap_or(Start::Well)
        });
        let (requests, requests_rx) = mpsc::channel(64);
        let (events_tx, events) = mpsc::channel(256);
        let (state_in, state_in_rx) = mpsc::channel(4);
        let (state_out_tx, state_out) = mpsc::channel(4);
        let worker = ScriptedWorker {
            engine: self.clone(),
            requests: requests_rx,
            events: events_tx,
            state_in: state_in_rx,
            state_out: state_out_tx,
            n_ctx: None,
            live: Vec::new(),
            images: state::Images::default(),
            trial: None,
        };
        let task = tokio::spawn(worker.run(start));
        self.with(|script| script.running.push(task.abort_handle()));
        Ok(Link { requests, events, state_in, state_out, process: Box::new(ScriptedProcess(task)) })
    }
}

#[derive(Debug)]
struct ScriptedProcess(tokio::task::JoinHandle<()>);

impl WorkerProcess for ScriptedProcess {
    fn reap(&mut self) -> String {
        self.0.abort();
        "the script ended it".to_owned()
    }

    fn kill(&mut self) {
        self.0.abort();
    }
}

struct ScriptedWorker {
    engine: ScriptedEngine,
    requests: mpsc::Receiver<RequestFrame>,
    events: mpsc::Sender<Incoming>,
    state_in: mpsc::Receiver<Vec<u8>>,
    state_out: mpsc::Sender<Vec<u8>>,
    n_ctx: Option<u32>,
    live: Vec<TokenId>,
    images: state::Images,
    /// The tokens of a state on trial.
    trial: Option<Vec<TokenId>>,
}

/// A comparison in which states survive in every bit.
fn survives() -> Qualified {
    Qualified { steps: 32, identical: true, repeatable: true, control_kl: 5.0, ..Qualified::default() }
}

/// The worker is gone: leave every loop.
struct Gone;

/// How a list of acts ended.
enum Outcome {
    Done,
    Cancelled,
    Failed(Fault),
}

impl ScriptedWorker {
    async fn run(mut self, start: Start) {
        let protocol = match start {
            Start::Well | Start::Fleeting => PROTOCOL_VERSION,
            Start::OfVersion(version) => version,
            Start::Dying => return,
            Start::Silent => return std::future::pending().await,
        };
        let hello = Hello {
            protocol,
            pid: 0,
            build: "scripted".to_owned(),
            modules: vec![Module { name: "CPU".to_owned(), file: None }],
            devices: vec![Device {
                name: "CPU".to_owned(),
                description: "a script".to_owned(),
                backend: "CPU".to_owned(),
                kind: DeviceKind::Cpu,
                memory_total: 1 << 34,
                memory_free: 1 << 33,
            }],
        };
        let hello = Event::Hello(hello);
        // Either way the end of this task is the end of the worker.
        let _ = match start {
            Start::Fleeting => self.send(None, hello).await,
            _ => self.serve(hello).await,
        };
    }

    async fn serve(&mut self, hello: Event) -> Result<(), Gone> {
        self.send(None, hello).await?;
        while let Some(RequestFrame { id, request }) = self.requests.recv().await {
            self.engine.with(|script| script.asked.push(request.name()));
            if self.engine.with(|script| script.deaths.front().is_some_and(|at| *at == request.name())) {
                self.engine.with(|script| script.deaths.pop_front());
                return Ok(());
            }
            let held = self.engine.with(|script| script.held.take_if(|(at, _)| *at == request.name()));
            if let Some((_, go_on)) = held {
                // An error: whoever held it has gone.
                let _ = go_on.await;
            }
            let event = match request {
                Request::Ping => Event::Pong,
                Request::Load(spec) => self.load(id, spec).await?,
                Request::Unload => {
                    self.n_ctx = None;
                    self.live.clear();
                    Event::Unloaded
                }
                Request::Generate(spec) => self.generate(id, spec).await?,
                Request::Prepare(spec) => self.prepare(&spec),
                Request::Count { text } => {
                    Event::Counted { tokens: u32::try_from(text.chars().count()).unwrap_or(u32::MAX) }
                }
                Request::Export => self.export(),
                Request::Restore(spec) => self.restore(spec)?,
                Request::Qualify(_) => match self.engine.with(|script| script.comparisons.pop_front()) {
                    Some(None) => {
                        self.act(id, vec![Act::Babble], &mut 0).await?;
                        Event::Failed(Fault::Cancelled)
                    }
                    found => Event::Qualified(found.flatten().unwrap_or_else(survives)),
                },
                Request::Accept => match self.trial.take() {
                    Some(tokens) => {
                        self.live = tokens;
                        Event::Accepted
                    }
                    None => Event::Failed(Fault::NotLoaded),
                },
                Request::Discard => {
                    self.trial = None;
                    self.live.clear();
                    Event::Discarded
                }
                request if request.moves_state() => self.move_state(request).await?,
                Request::Shutdown => return Ok(()),
                _ => continue,
            };
            self.send(Some(id), event).await?;
        }
        Ok(())
    }

    async fn send(&self, id: Option<RequestId>, event: Event) -> Result<(), Gone> {
        self.events.send(Incoming::Event(EventFrame { id, event })).await.map_err(|_| Gone)
    }

    async fn load(&mut self, id: RequestId, spec: LoadSpec) -> Result<Event, Gone> {
        self.live.clear();
        self.trial = None;
        self.send(Some(id), Event::LoadProgress { fraction: 0.5 }).await?;
        let acts = self.engine.with(|script| script.loads.pop_front()).unwrap_or_default();
        match self.act(id, acts, &mut 0).await? {
            Outcome::Cancelled => return Ok(Event::Failed(Fault::Cancelled)),
            Outcome::Failed(fault) => return Ok(Event::Failed(fault)),
            Outcome::Done => {}
        }
        let n_ctx = spec.n_ctx.unwrap_or(4096);
        self.n_ctx = Some(n_ctx);
        Ok(Event::Loaded(ModelInfo {
            name: spec.model.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
            architecture: "script".to_owned(),
            n_params: 1,
            size: 1,
            n_layer: 1,
            n_vocab: 0x11_0000,
            n_ctx_train: n_ctx,
            n_ctx,
            n_threads: 1,
            cache: self.cache(),
            template: TemplateOrigin::ChatMl,
            token_identity: "code points".to_owned(),
            state: Some(state::traits()),
            why_no_state: None,
            load_ms: 1.0,
        }))
    }

    async fn generate(&mut self, id: RequestId, spec: GenerateSpec) -> Result<Event, Gone> {
        let Some(n_ctx) = self.n_ctx else {
            return Ok(Event::Failed(Fault::NotLoaded));
        };
        if self.trial.take().is_some() {
            // Never accepted: never used.
            self.live.clear();
        }
        let reading = spec.reading;
        let prompt = render(&spec);
        let tokens = tokens_of(&prompt);
        let known_kept = common_prefix(&spec.known, &tokens);
        self.engine.with(|script| {
            script.prompts.push(prompt);
            script.specs.push(spec);
        });
        if tokens.is_empty() {
            return Ok(Event::Failed(Fault::PromptEmpty));
        }
        let live = common_prefix(&self.live, &tokens);
        let reused = if reading { live } else { live.min(tokens.len() - 1) };
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        if count(tokens.len()) >= n_ctx {
            return Ok(Event::Failed(Fault::PromptTooLong { tokens: count(tokens.len()), n_ctx }));
        }
        let prepared = Prepared {
            prompt_tokens: count(tokens.len()),
            reused: count(reused),
            to_decode: count(tokens.len() - reused),
            known_kept: count(known_kept),
            new_tokens: tokens[known_kept..].to_vec(),
            prepare_ms: 0.1,
        };
        let to_decode = prepared.to_decode;
        self.send(Some(id), Event::Prepared(prepared)).await?;
        if reading {
            return self.read(id, tokens, reused).await;
        }
        self.live = tokens;
        self.send(Some(id), Event::Prefill { done: to_decode }).await?;
        let acts = self.engine.with(|script| script.answers.pop_front());
        let acts = acts.unwrap_or_else(|| vec![Act::Say("ok".to_owned())]);
        let mut said = 0;
        let stop = match self.act(id, acts, &mut said).await? {
            Outcome::Done => StopReason::End,
            Outcome::Cancelled => StopReason::Cancelled,
            Outcome::Failed(fault) => return Ok(Event::Failed(fault)),
        };
        Ok(Event::Finished(Finished {
            ttft_ms: Some(1.0),
            decode_ms: 1.0,
            ..finished(stop, to_decode, said)
        }))
    }

    /// Reads a conversation of which so many tokens are live.
    async fn read(&mut self, id: RequestId, tokens: Vec<TokenId>, live: usize) -> Result<Event, Gone> {
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        if live == tokens.len() {
            return Ok(Event::Finished(finished(StopReason::End, 0, 0)));
        }
        let half = live + (tokens.len() - live) / 2;
        self.live = tokens[..half].to_vec();
        self.send(Some(id), Event::Prefill { done: count(half - live) }).await?;
        let acts = self.engine.with(|script| script.readings.pop_front()).unwrap_or_default();
        match self.act(id, acts, &mut 0).await? {
            Outcome::Done => {}
            Outcome::Cancelled => {
                return Ok(Event::Finished(finished(StopReason::Cancelled, count(half - live), 0)));
            }
            Outcome::Failed(fault) => return Ok(Event::Failed(fault)),
        }
        let done = count(tokens.len() - live);
        self.live = tokens;
        self.send(Some(id), Event::Prefill { done }).await?;
        Ok(Event::Finished(finished(StopReason::End, done, 0)))
    }

    async fn act(&mut self, id: RequestId, acts: Vec<Act>, said: &mut u32) -> Result<Outcome, Gone> {
        for act in acts {
            match act {
                Act::Say(text) => {
                    for character in text.chars() {
                        self.say(id, character, said).await?;
                    }
                }
                Act::Wait(time) => {
                    let until = tokio::time::Instant::now() + time;
                    loop {
                        tokio::select! {
                            () = tokio::time::sleep_until(until) => break,
                            cancelled = self.attend(id) => if cancelled? { return Ok(Outcome::Cancelled) },
                        }
                    }
                }
                Act::Babble => loop {
                    self.say(id, 'a', said).await?;
                    tokio::select! {
                        () = tokio::time::sleep(Duration::from_millis(1)) => {}
                        cancelled = self.attend(id) => if cancelled? { return Ok(Outcome::Cancelled) },
                    }
                },
                Act::Rave => loop {
                    self.say(id, 'a', said).await?;
                    tokio::time::sleep(Duration::from_millis(1)).await;
                },
                Act::Fail(fault) => return Ok(Outcome::Failed(fault)),
                Act::Die => return Err(Gone),
                Act::Freeze => std::future::pending().await,
                Act::Garble => {
                    let loss = Loss::Garbled("not a message".to_owned());
                    let _ = self.events.send(Incoming::Lost(loss)).await;
                    std::future::pending::<()>().await;
                }
            }
        }
        Ok(Outcome::Done)
    }

    async fn say(&mut self, id: RequestId, character: char, said: &mut u32) -> Result<(), Gone> {
        let tokens = tokens_of(character.encode_utf8(&mut [0; 4]));
        self.live.extend(&tokens);
        *said += 1;
        self.send(Some(id), Event::Piece { text: character.to_string(), tokens }).await
    }

    /// Answers pings while it works; true where the request is cancelled.
    async fn attend(&mut self, current: RequestId) -> Result<bool, Gone> {
        let RequestFrame { id, request } = self.requests.recv().await.ok_or(Gone)?;
        match request {
            Request::Cancel { target } => Ok(target == current),
            Request::Ping => self.send(Some(id), Event::Pong).await.map(|()| false),
            Request::Shutdown => Err(Gone),
            request if request.moves_state() => {
                let event = self.move_state(request).await?;
                self.send(Some(id), event).await.map(|()| false)
            }
            _ => Ok(false),
        }
    }

    fn prepare(&self, spec: &GenerateSpec) -> Event {
        if self.n_ctx.is_none() {
            return Event::Failed(Fault::NotLoaded);
        }
        let tokens = tokens_of(&render(spec));
        if tokens.is_empty() {
            return Event::Failed(Fault::PromptEmpty);
        }
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let live = count(common_prefix(&self.live, &tokens));
        Event::Prompt(PromptTokens { tokens, live, live_total: count(self.live.len()), keeps: 0 })
    }

    fn cache(&self) -> CacheKind {
        self.engine.with(|script| script.cache).unwrap_or(CacheKind::Full)
    }

    fn export(&mut self) -> Event {
        if self.live.is_empty() {
            return Event::Failed(Fault::StateUnavailable { detail: "nothing is live".to_owned() });
        }
        let (image, table) = self.images.export(&self.live);
        let tokens = self.live.clone();
        let changed = self.engine.with(|script| script.exports_change);
        let fingerprint = if changed { state::control() } else { state::fingerprint_of(&tokens) };
        let overwritten = !self.cache().can_trim();
        if overwritten {
            self.trial = Some(std::mem::take(&mut self.live));
        }
        Event::Exported(Box::new(Exported {
            image,
            table,
            overwritten: overwritten
                .then(|| Twice { before: state::fingerprint_of(&tokens), after: fingerprint.clone() }),
            fingerprints: vec![fingerprint],
            checkpoint: None,
            tokens,
            export_ms: 1.0,
            challenge_ms: 1.0,
        }))
    }

    fn restore(&mut self, spec: RestoreSpec) -> Result<Event, Gone> {
        self.live.clear();
        let mut restored = self.images.restore(&spec);
        match self.engine.with(|script| script.restores.pop_front()) {
            Some(OnRestore::Die) => return Err(Gone),
            Some(OnRestore::Refuse(why)) => restored.fault = Some(why),
            Some(OnRestore::Forget) => restored.fingerprints = vec![state::control()],
            None => {}
        }
        self.trial = restored.fault.is_none().then_some(spec.tokens);
        Ok(Event::Restored(restored))
    }

    async fn move_state(&mut self, request: Request) -> Result<Event, Gone> {
        let chunks = |image: ImageId, chunks: &[Pieces], images: &state::Images| {
            chunks.iter().map(|pieces| images.chunk(image, pieces)).collect::<Result<Vec<_>, _>>()
        };
        Ok(match request {
            Request::Hash { image, chunks: wanted } => match chunks(image, &wanted, &self.images) {
                Ok(chunks) => Event::Hashed {
                    hashes: chunks.iter().map(|chunk| blake3::hash(chunk).to_hex().to_string()).collect(),
                },
                Err(fault) => Event::Failed(fault),
            },
            Request::Ship { image, chunks: wanted } => match chunks(image, &wanted, &self.images) {
                Ok(chunks) => {
                    for frame in chunks.concat().chunks(MAX_STATE) {
                        self.state_out.send(frame.to_vec()).await.map_err(|_| Gone)?;
                    }
                    Event::StateSent
                }
                Err(fault) => Event::Failed(fault),
            },
            Request::Receive { bytes, chunks } => {
                let mut image = vec![0; usize::try_from(bytes).unwrap_or(0)];
                let mut came = Vec::new();
                let wanted: u64 = chunks.iter().map(Pieces::bytes).sum();
                while (came.len() as u64) < wanted {
                    let frame = self.state_in.recv().await.ok_or(Gone)?;
                    if frame.is_empty() {
                        return Ok(Event::Failed(Fault::Cancelled));
                    }
                    came.extend(frame);
                }
                if !chunks.iter().all(|pieces| pieces.lie_within(bytes)) {
                    let detail = "they reach beyond the image".to_owned();
                    return Ok(Event::Failed(Fault::BadPieces { detail }));
                }
                let mut rest = came.as_slice();
                for pieces in &chunks {
                    let (chunk, after) = rest.split_at(usize::try_from(pieces.bytes()).unwrap_or(0));
                    state::scatter(pieces, chunk, &mut image);
                    rest = after;
                }
                self.images.received = Some(image);
                Event::StateReceived
            }
            Request::Release { image } => {
                self.images.release(image);
                Event::Released
            }
            Request::SendState { bytes } => {
                let mut left = bytes;
                while left > 0 {
                    let size = left.min(MAX_STATE as u64);
                    let frame = vec![0; usize::try_from(size).unwrap_or(MAX_STATE)];
                    self.state_out.send(frame).await.map_err(|_| Gone)?;
                    left -= size;
                }
                Event::StateSent
            }
            Request::ReceiveState { bytes } => {
                let mut left = bytes;
                while left > 0 {
                    let frame = self.state_in.recv().await.ok_or(Gone)?;
                    left = left.saturating_sub(frame.len() as u64);
                }
                Event::StateReceived
            }
            _ => Event::Failed(Fault::NotLoaded),
        })
    }
}

/// As slow as a processor is: a token a millisecond.
fn finished(stop: StopReason, prefill_tokens: u32, decode_tokens: u32) -> Finished {
    Finished {
        stop,
        prefill_tokens,
        prefill_ms: f64::from(prefill_tokens),
        ttft_ms: None,
        checkpoint_ms: None,
        decode_tokens,
        decode_ms: 0.0,
    }
}

/// Empty where there is nothing to read.
fn render(spec: &GenerateSpec) -> String {
    let last = spec.messages.iter().rposition(|message| message.role != Role::User);
    let messages = match (spec.reading, last) {
        (false, _) => &spec.messages[..],
        (true, None) => return String::new(),
        (true, Some(last)) => &spec.messages[..=last],
    };
    let mut prompt = String::new();
    for message in messages {
        for part in ["<", message.role.as_str(), ">", &message.content, "\n"] {
            prompt.push_str(part);
        }
    }
    // Where nothing is answered, as every next message of the person begins.
    prompt + if spec.reading { "<user>" } else { "<assistant>" }
}

fn tokens_of(text: &str) -> Vec<TokenId> {
    text.chars().map(|c| TokenId(i32::try_from(u32::from(c)).unwrap_or(0))).collect()
}

fn common_prefix(a: &[TokenId], b: &[TokenId]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}
