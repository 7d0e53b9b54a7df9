//! The worker's loop: one thread owns everything of llama.cpp on its stack; another reads requests, so
//! that a ping, a cancel and the app's death are noticed in mid-decode.

use std::io::PipeReader;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;

use reprise_engine::Fault;
use reprise_engine::frame::{self, FrameError};
use reprise_engine::message::{Event, Hello, LoadSpec, PROTOCOL_VERSION, Request, RequestFrame};

use crate::desk::{Desk, Shelf};
use crate::ggml::{self, Backends};
use crate::log::Captured;
use crate::model;
use crate::outbox::Outbox;
use crate::pipes::{self, Pipes};
use crate::session::{Desktop, Session};
use crate::state::StateAccess;
use crate::template::SandboxedRenderer;

/// Requests that may wait; the app sends one long request at a time.
const QUEUE: usize = 16;

/// Serves until the app says so or is gone.
#[must_use]
pub fn run(pipes: Pipes, captured: &Captured, access: &dyn StateAccess) -> ExitCode {
    let Ok(program) = std::env::current_exe() else {
        tracing::error!("this program cannot tell where it is");
        return ExitCode::FAILURE;
    };
    let outbox = Outbox::new(pipes.control_out);
    let (queue, requests) = sync_channel(QUEUE);
    let (desk_queue, desk_requests) = sync_channel(QUEUE);
    let listening = outbox.clone();
    let control_in = pipes.control_in;
    thread::spawn(move || listen(control_in, &listening, &queue, &desk_queue));
    let shelf = Shelf::default();
    let desk = Desk {
        outbox: outbox.clone(),
        requests: desk_requests,
        shelf: shelf.clone(),
        state_in: pipes.state_in,
        state_out: pipes.state_out,
    };
    thread::spawn(move || desk.serve());

    let folder = program.parent().unwrap_or(&program);
    let backends = ggml::load(folder, captured);
    tracing::info!(build = ggml::build(), modules = ?backends.modules, "ready");
    outbox.send(
        None,
        Event::Hello(Hello {
            protocol: PROTOCOL_VERSION,
            pid: std::process::id(),
            build: ggml::build(),
            modules: backends.modules.clone(),
            devices: backends.devices.clone(),
        }),
    );
    let mut worker = Worker {
        outbox,
        requests,
        captured: captured.clone(),
        backends,
        renderer: SandboxedRenderer::new(program),
        shelf,
        access,
    };
    worker.serve();
    tracing::info!("shut down");
    ExitCode::SUCCESS
}

/// Reads requests until the app is gone, and then ends the process, also in mid-decode.
fn listen(
    mut pipe: PipeReader,
    outbox: &Outbox,
    queue: &SyncSender<RequestFrame>,
    desk: &SyncSender<RequestFrame>,
) {
    loop {
        match frame::read_control::<RequestFrame>(&mut pipe) {
            Ok(RequestFrame { id, request: Request::Ping }) => outbox.send(Some(id), Event::Pong),
            Ok(RequestFrame { request: Request::Cancel { target }, .. }) => outbox.cancel(target),
            Ok(RequestFrame { request: Request::Shutdown, .. }) => pipes::exit_at_once(0),
            Ok(frame) => {
                let queue = if frame.request.moves_state() { desk } else { queue };
                // Never waits here: the app's death must be noticed.
                if let Err(TrySendError::Full(_)) = queue.try_send(frame) {
                    tracing::error!("more requests than the app may send at a time");
                    pipes::exit_at_once(3);
                }
            }
            Err(FrameError::Closed) => {
                tracing::info!("the app is gone");
                pipes::exit_at_once(0);
            }
            Err(FrameError::Malformed(error)) => {
                // The parser's own words may quote the conversation.
                tracing::error!(kind = ?error.classify(), column = error.column(), "unreadable request");
                pipes::exit_at_once(3);
            }
            Err(error) => {
                tracing::error!(%error, "unreadable request");
                pipes::exit_at_once(3);
            }
        }
    }
}

struct Worker<'a> {
    outbox: Outbox,
    requests: Receiver<RequestFrame>,
    captured: Captured,
    backends: Backends,
    renderer: SandboxedRenderer,
    shelf: Shelf,
    access: &'a dyn StateAccess,
}

impl Worker<'_> {
    fn serve(&mut self) {
        let mut next = self.requests.recv().ok();
        while let Some(RequestFrame { id, request }) = next {
            next = match request {
                Request::Load(spec) => self.with_model(spec, id),
                Request::Discard => {
                    self.shelf.forget_received();
                    self.outbox.send(Some(id), Event::Discarded);
                    self.requests.recv().ok()
                }
                other => {
                    let event = without_model(&other);
                    self.outbox.send(Some(id), event);
                    self.requests.recv().ok()
                }
            };
        }
    }

    /// Loads a model and serves with it; gives back the request that wants it gone.
    fn with_model(&mut self, spec: LoadSpec, id: reprise_engine::message::RequestId) -> Option<RequestFrame> {
        // Taken out for the time of the loop, because the session borrows it.
        let Some(llama) = self.backends.llama.take() else {
            self.outbox.send(Some(id), Event::Failed(Fault::NoBackend));
            return self.requests.recv().ok();
        };
        let captured = self.captured.clone();
        let renderer = self.renderer.clone();
        let images = self.shelf.clone();
        let machine = machine(&self.backends);
        let reply = self.outbox.on(id);
        let next = match model::load(&llama, spec, &reply, &captured) {
            Err(fault) => {
                reply.send(Event::Failed(fault));
                self.requests.recv().ok()
            }
            Ok(loaded) => match Session::new(
                &loaded,
                Desktop {
                    llama: &llama,
                    captured: &captured,
                    renderer: &renderer,
                    access: self.access,
                    shelf: &images,
                    machine: &machine,
                },
            ) {
                Err(fault) => {
                    reply.send(Event::Failed(fault));
                    self.requests.recv().ok()
                }
                Ok(mut session) => {
                    let info = session.info();
                    tracing::info!(architecture = info.architecture, n_ctx = info.n_ctx, "model loaded");
                    reply.send(Event::Loaded(info.clone()));
                    self.serve_session(&mut session)
                }
            },
        };
        self.backends.llama = Some(llama);
        next
    }

    fn serve_session(&mut self, session: &mut Session<'_>) -> Option<RequestFrame> {
        loop {
            let RequestFrame { id, request } = self.requests.recv().ok()?;
            let event = match request {
                // Answered by the caller, when this model is gone.
                Request::Load(_) | Request::Unload => return Some(RequestFrame { id, request }),
                Request::Generate(spec) => {
                    let reply = self.outbox.on(id);
                    match session.generate(&spec, &reply) {
                        Ok(finished) => Event::Finished(finished),
                        Err(fault) => Event::Failed(fault),
                    }
                }
                Request::Prepare(spec) => session.prepare(spec).map_or_else(Event::Failed, Event::Prompt),
                Request::Count { text } => Event::Counted { tokens: session.count_tokens(&text) },
                Request::Export => session
                    .export()
                    .map_or_else(Event::Failed, |exported| Event::Exported(Box::new(exported))),
                Request::Restore(spec) => session.restore(&spec).map_or_else(Event::Failed, Event::Restored),
                Request::Qualify(spec) => {
                    session.qualify(spec, &self.outbox.on(id)).map_or_else(Event::Failed, Event::Qualified)
                }
                Request::Accept => session.accept().map_or_else(Event::Failed, |()| Event::Accepted),
                Request::Discard => {
                    session.discard();
                    Event::Discarded
                }
                other => without_model(&other),
            };
            self.outbox.send(Some(id), event);
        }
    }
}

/// What can be answered whether a model is loaded or not.
fn without_model(request: &Request) -> Event {
    match request {
        Request::Unload => Event::Unloaded,
        _ => Event::Failed(Fault::NotLoaded),
    }
}

/// What computes, in words: the modules that were loaded, which for the processor name its variant.
fn machine(backends: &Backends) -> String {
    let files = backends.modules.iter().map(|module| module.file.as_deref().unwrap_or(&module.name));
    files.collect::<Vec<_>>().join(", ")
}
