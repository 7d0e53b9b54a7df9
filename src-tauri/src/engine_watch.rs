//! Tells the page what the engine is, whenever that changes.

use std::sync::Arc;

use reprise_chat::engine::{DeviceKind, EngineError, Status};
use reprise_chat::history::KnownModel;
use reprise_protocol::{AppError, AppEvent, EnginePhase, EngineView, LoadedModel};

use crate::desk::Desk;
use crate::hub::{Activity, Hub};

/// Watches for as long as the app lives.
pub async fn watch(hub: Arc<Hub>) {
    let Ok(desk) = hub.desk().await else { return };
    let mut status = desk.engine.status();
    let mut activity = hub.activity();
    let mut deaths = status.borrow().deaths;
    let mut told = None;
    let mut loaded = None;
    loop {
        let now = status.borrow_and_update().clone();
        activity.mark_unchanged();
        if now.deaths > deaths
            && let Some(death) = &now.last_death
        {
            hub.tell(AppEvent::EngineLost { error: lost(&EngineError::Died(death.clone())) });
        }
        deaths = now.deaths;
        // Another model, or none, fits other states.
        let now = now.loaded.map(|loaded| loaded.spec);
        if loaded != now {
            hub.tell(AppEvent::Marks);
            loaded = now;
        }
        let engine = view(&hub, desk).await;
        if told.as_ref() != Some(&engine) {
            hub.tell(AppEvent::Engine { engine: engine.clone() });
            told = Some(engine);
        }
        let changed = tokio::select! {
            changed = status.changed() => changed,
            changed = activity.changed() => changed,
        };
        if changed.is_err() {
            return;
        }
    }
}

/// The engine as it is now.
pub async fn view(hub: &Hub, desk: &Desk) -> EngineView {
    let (status, activity) = (desk.engine.status().borrow().clone(), hub.activity().borrow().clone());
    // Names are for show: without them the rest is still true.
    let known = desk.library().with(|w| w.known_models()).await.unwrap_or_default();
    engine_view(&status, &activity, &known)
}

/// An engine that was never asked for anything.
pub fn absent() -> EngineView {
    engine_view(&Status::default(), &Activity::None, &[])
}

fn engine_view(status: &Status, activity: &Activity, known: &[KnownModel]) -> EngineView {
    let phase = match (&status.worker, activity) {
        (_, Activity::Loading { fraction, .. }) => EnginePhase::Loading { fraction: *fraction },
        (Some(_), Activity::Answering(conversation)) => {
            EnginePhase::Answering { conversation: conversation.clone() }
        }
        (None, _) => EnginePhase::Absent,
        (Some(_), Activity::None) if status.loaded.is_some() => EnginePhase::Ready,
        (Some(_), Activity::None) => EnginePhase::Idle,
    };
    let named = |path: &str, otherwise: &str, n_ctx| {
        let model = known.iter().find(|model| model.path == path);
        LoadedModel {
            id: model.map(|model| model.id.to_string()).unwrap_or_default(),
            name: model.map_or(otherwise, |model| &model.name).to_owned(),
            n_ctx,
        }
    };
    let loaded = match (activity, &status.loaded) {
        (Activity::Loading { path, .. }, _) => Some(named(path, "", 0)),
        (_, Some(loaded)) => {
            Some(named(&loaded.spec.model.to_string_lossy(), &loaded.info.name, loaded.info.n_ctx))
        }
        _ => None,
    };
    // This version computes on the CPU whatever else there is.
    let devices = status.worker.iter().flat_map(|worker| &worker.devices);
    let device = devices.into_iter().find(|device| device.kind == DeviceKind::Cpu);
    EngineView { phase, loaded, device: device.map_or("CPU", |device| &device.name).to_owned() }
}

fn lost(error: &EngineError) -> AppError {
    AppError {
        code: error.code().to_owned(),
        message: format!("{error} Your messages are saved, and so is what was written of the answer."),
        remedy: "The engine starts again by itself with your next message.".to_owned(),
    }
}
