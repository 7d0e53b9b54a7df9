//! Model files: which are known, which one new turns use. The files are read, never touched.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use reprise_engine::Fault;
use reprise_store::{KnownModel, ModelId, StoreError};

use crate::places::model_path;
use crate::{ChatError, Library, World};

/// How every GGUF file begins. <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>
const MAGIC: &[u8; 4] = b"GGUF";

/// File name of the small model that comes with Reprise.
const STARTER: &str = "SmolLM2-135M-Instruct.Q4_1.gguf";

/// A known model file, and what it weighs now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedModel {
    /// What is known.
    pub model: KnownModel,
    /// Its size; `None` where the file is missing.
    pub bytes: Option<u64>,
}

impl Library {
    /// All models that are known, the one used last first.
    pub async fn models(&self) -> Result<Vec<ListedModel>, StoreError> {
        let listed = |model: KnownModel| {
            let file = std::fs::metadata(&model.path).ok().filter(std::fs::Metadata::is_file);
            ListedModel { bytes: file.map(|file| file.len()), model }
        };
        self.with(move |w| Ok(w.known_models()?.into_iter().map(listed).collect())).await
    }

    /// The model that new turns use.
    pub async fn chosen_model(&self) -> Result<KnownModel, ChatError> {
        let known = self.with(|w| w.known_models()).await?;
        known.into_iter().find(|model| model.chosen).ok_or(ChatError::NoModel)
    }

    /// Chooses one of the files that were dropped or picked, of which there must be one.
    pub async fn choose_model_file(&self, files: Vec<PathBuf>, world: &dyn World) -> Result<(), ChatError> {
        let [file] = &files[..] else {
            return Err(ChatError::ManyFiles { count: files.len() });
        };
        let file = model_path(file).map_err(ChatError::Model)?;
        // A network disk may be slow to answer.
        let checked = tokio::task::spawn_blocking(move || check(&file).map(|()| file)).await;
        let file = checked.map_err(|error| StoreError::Storage { detail: error.to_string() })?;
        let file = file.map_err(ChatError::Model)?;
        let now = world.now();
        let id = ModelId::new(now, world.random());
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let path = file.display().to_string();
        Ok(self.with(move |w| w.choose_model_file(id, &path, &name, now)).await?)
    }

    /// Chooses a model that is known, if its file is still one.
    pub async fn choose_model(&self, id: ModelId, world: &dyn World) -> Result<(), ChatError> {
        let known = self.with(|w| w.known_models()).await?;
        if let Some(model) = known.into_iter().find(|model| model.id == id) {
            let checked = tokio::task::spawn_blocking(move || check(Path::new(&model.path))).await;
            checked
                .map_err(|error| StoreError::Storage { detail: error.to_string() })?
                .map_err(ChatError::Model)?;
        }
        let now = world.now();
        Ok(self.with(move |w| w.choose_model(id, now)).await?)
    }

    /// Takes a model off the list.
    pub async fn forget_model(&self, id: ModelId) -> Result<(), StoreError> {
        self.with(move |w| w.forget_model(id)).await
    }

    /// Chooses the starter model where nothing is known yet and it is there.
    pub async fn offer_starter(&self, starter: Option<PathBuf>, world: &dyn World) -> Result<(), ChatError> {
        let Some(starter) = starter.filter(|path| path.is_file()) else { return Ok(()) };
        if !self.with(|w| w.known_models()).await?.is_empty() {
            return Ok(());
        }
        self.choose_model_file(vec![starter], world).await
    }
}

/// Where an installed Reprise has its starter model: in a folder beside the program.
#[must_use]
pub fn default_starter() -> Option<PathBuf> {
    Some(std::env::current_exe().ok()?.parent()?.join("models").join(STARTER))
}

/// Refuses what cannot be a model: says so before a worker has to.
fn check(path: &Path) -> Result<(), Fault> {
    let path_buf = || path.to_owned();
    let unreadable = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => Fault::ModelMissing { path: path_buf() },
        _ => Fault::ModelUnreadable { path: path_buf(), cause: error.to_string() },
    };
    let kind = std::fs::metadata(path).map_err(unreadable)?;
    if kind.is_dir() {
        return Err(Fault::ModelIsDirectory { path: path_buf() });
    }
    // A pipe or a device would keep whoever reads it waiting.
    if !kind.is_file() {
        return Err(Fault::ModelNotGguf { path: path_buf() });
    }
    let mut magic = Vec::with_capacity(MAGIC.len());
    File::open(path)
        .and_then(|file| file.take(MAGIC.len() as u64).read_to_end(&mut magic))
        .map_err(unreadable)?;
    if magic != MAGIC {
        return Err(Fault::ModelNotGguf { path: path_buf() });
    }
    Ok(())
}
