//! What this instance works with: library, engine and use-cases, opened once, beside the window.

use std::path::PathBuf;

use reprise_chat::engine::{EngineFolder, EngineHandle, Limits};
use reprise_chat::history::DataDir;
use reprise_chat::{
    Chat, Library, LoadOptions, SamplingOptions, Snapshots, SystemWorld, TurnRequest, World, doctor,
};
use reprise_protocol::{Ask, Settings};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OnceCell;

use crate::refusal::Refusal;
use crate::{place, wire};

/// An engine that has nothing to do may take this long to end when it is asked; closing the window does
/// not wait longer.
const ENGINE_MAY_TAKE: Duration = Duration::from_secs(1);

/// Library, engine and use-cases.
#[derive(Debug)]
pub struct Desk {
    pub chat: Chat,
    pub engine: EngineHandle,
    pub world: SystemWorld,
    data_dir: PathBuf,
    /// Looked up once: asking the machine takes a moment.
    threads: OnceCell<Option<u32>>,
}

impl Desk {
    /// Opens the data folder. Fails where another process has it, or where it cannot be used.
    pub async fn open(dir: DataDir) -> Result<Self, Refusal> {
        let world = SystemWorld;
        let opening = dir.clone();
        let opened = tokio::task::spawn_blocking(move || {
            let library = Library::open(&opening, place::PROGRAM, world.now())?;
            place::start_log(&opening);
            Ok::<_, Refusal>(library)
        });
        let library = match opened.await {
            Ok(library) => library?,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        };
        tracing::info!(version = env!("CARGO_PKG_VERSION"), "the library is open");
        if let Err(error) = library.offer_starter(place::starter_model(), &world).await {
            tracing::warn!(code = error.code(), "the starter model cannot be offered");
        }
        let folder = EngineFolder::new(&place::engine_dir()?, &dir.logs());
        let engine = EngineHandle::start(folder, Limits { shutdown: ENGINE_MAY_TAKE, ..Limits::default() });
        let snapshots = Snapshots::open(&library, &world).await;
        let chat = Chat::new(library, engine.clone(), Arc::new(world));
        let chat = match snapshots {
            Ok(snapshots) => chat.with_snapshots(snapshots),
            Err(error) => {
                // Only a cache: every conversation is read from its text then.
                tracing::warn!(code = error.code(), "snapshots are off");
                chat.without_snapshots(&error)
            }
        };
        Ok(Self { chat, engine, world, data_dir: dir.root().to_owned(), threads: OnceCell::new() })
    }

    /// The library.
    pub fn library(&self) -> &Library {
        self.chat.library()
    }

    /// What the person chose; what is unreadable is as if it had not been.
    pub async fn settings(&self) -> Result<Settings, Refusal> {
        let kept = self.library().preferences().await?;
        Ok(kept.and_then(|value| serde_json::from_value(value).ok()).unwrap_or_default())
    }

    /// A turn as the chosen model and the settings would have it.
    pub async fn turn_request(&self, ask: Ask) -> Result<TurnRequest, Refusal> {
        let settings = self.settings().await?;
        let model = self.library().chosen_model().await?;
        Ok(TurnRequest {
            ask: wire::turn::ask(ask, &settings)?,
            model: model.path.into(),
            load: LoadOptions {
                n_ctx: settings.n_ctx,
                n_threads: self.threads().await,
                ..LoadOptions::default()
            },
            sampling: SamplingOptions { temperature: settings.temperature, ..SamplingOptions::default() },
            max_tokens: None,
            stop: Vec::new(),
            snapshots: true,
        })
    }

    async fn threads(&self) -> Option<u32> {
        let dir = self.data_dir.clone();
        let threads = || async {
            let looked_up =
                tokio::task::spawn_blocking(move || doctor::default_threads(&doctor::hardware(&dir))).await;
            looked_up.ok().flatten()
        };
        *self.threads.get_or_init(threads).await
    }
}
