//! What this instance works with: library, engine and use-cases, opened once, beside the window.

use std::path::{Path, PathBuf};

use reprise_chat::engine::{EngineFolder, EngineHandle, Limits};
use reprise_chat::history::{ConversationId, DataDir};
use reprise_chat::{
    Chat, ChatError, Library, LoadOptions, OpenRequest, SamplingOptions, Snapshots, SystemWorld, Trigger,
    TurnRequest, World, doctor,
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
            load: self.load_with(&settings).await,
            sampling: SamplingOptions { temperature: settings.temperature, ..SamplingOptions::default() },
            max_tokens: None,
            stop: Vec::new(),
            snapshots: true,
        })
    }

    /// An opening as the chosen model and the settings would have it; `None` where no model is chosen.
    pub async fn open_request(
        &self,
        conversation: ConversationId,
        trigger: Trigger,
    ) -> Result<Option<OpenRequest>, Refusal> {
        let load = self.load_options().await?;
        let model = self.chosen_model().await?;
        Ok(model.map(|model| OpenRequest { conversation, model, load, snapshots: true, trigger }))
    }

    /// The file of the chosen model.
    pub async fn chosen_model(&self) -> Result<Option<PathBuf>, Refusal> {
        match self.library().chosen_model().await {
            Ok(model) => Ok(Some(model.path.into())),
            Err(ChatError::NoModel) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// How a model is loaded as the settings are.
    pub async fn load_options(&self) -> Result<LoadOptions, Refusal> {
        Ok(self.load_with(&self.settings().await?).await)
    }

    async fn load_with(&self, settings: &Settings) -> LoadOptions {
        LoadOptions {
            n_ctx: settings.n_ctx,
            n_threads: self.threads().await,
            kv_type: wire::model::kv_type(settings.kv_type),
            ..LoadOptions::default()
        }
    }

    /// The folder of all data.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
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
