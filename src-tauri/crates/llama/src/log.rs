//! The worker's log: rotating files, and the last lines of llama.cpp in memory, because its API says
//! only "null" where its log says why. Prompts and answers are never logged.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use llama_cpp_2::{LogOptions, send_logs_to_tracing};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_appender::rolling::{RollingFileAppender, Rotation};
use tracing_subscriber::filter::{EnvFilter, LevelFilter};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

/// Where llama.cpp's lines come from.
const LLAMA: &str = "llama-cpp-2";
/// Lines kept in memory.
const KEPT: usize = 400;
/// Daily files kept on disk.
const FILES: usize = 7;

/// What llama.cpp said lately.
#[derive(Debug, Clone, Default)]
pub struct Captured {
    /// Guards the ring of lines.
    lines: Arc<Mutex<VecDeque<(Level, String)>>>,
}

impl Captured {
    /// Forgets everything.
    pub fn clear(&self) {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Errors since the last clear, oldest first.
    #[must_use]
    pub fn errors(&self) -> Vec<String> {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().filter(|(level, _)| *level == Level::ERROR).map(|(_, line)| line.clone()).collect()
    }

    /// Every line since the last clear, oldest first.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().map(|(_, line)| line.clone()).collect()
    }
}

/// Starts logging into daily files in `folder`; without a writable folder it goes to standard error,
/// which is a file too.
#[must_use]
pub fn start(folder: &Path) -> Captured {
    let captured = Captured::default();
    let filter =
        EnvFilter::try_from_env("REPRISE_LOG").unwrap_or_else(|_| EnvFilter::new("info,llama-cpp-2=warn"));
    let file = RollingFileAppender::builder()
        .rotation(Rotation::DAILY)
        .filename_prefix("engine")
        .filename_suffix("log")
        .max_log_files(FILES)
        .build(folder)
        .ok();
    let plain = tracing_subscriber::fmt::layer().with_ansi(false);
    let written = match file {
        Some(file) => plain.with_writer(Mutex::new(file)).with_filter(filter).boxed(),
        None => plain.with_writer(std::io::stderr).with_filter(filter).boxed(),
    };
    let remembered = Remember(captured.clone()).with_filter(LevelFilter::INFO);
    tracing_subscriber::registry().with(written).with(remembered).init();
    send_logs_to_tracing(LogOptions::default());
    captured
}

struct Remember(Captured);

impl<S: Subscriber> Layer<S> for Remember {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() != LLAMA {
            return;
        }
        let mut message = Message(String::new());
        event.record(&mut message);
        let mut lines = self.0.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == KEPT {
            lines.pop_front();
        }
        lines.push_back((*event.metadata().level(), message.0.trim().to_owned()));
    }
}

struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            // Writing to a string cannot fail.
            let _ = write!(self.0, "{value:?}");
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.0.push_str(value);
        }
    }
}
