//! What draws the page: a graphics card, or the processor, which then has the model to decode as well.

use std::time::Duration;

/// How long text is gathered before it is sent: an eye sees no more, and a page that draws each token draws
/// too often.
const GATHER: Duration = Duration::from_millis(40);

/// The same where the processor draws: on two cores, drawing 25 times a second took a third of the decode
/// rate.
const GATHER_ON_PROCESSOR: Duration = Duration::from_millis(200);

/// How the page is drawn here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drawing {
    /// By whatever the system chose.
    AsUsual,
    /// There is no graphics card. Composing the page by one that is only played takes more of the processor
    /// than drawing it there at once.
    OnProcessor,
}

impl Drawing {
    /// Looks for a graphics card.
    #[cfg(target_os = "linux")]
    pub fn here() -> Self {
        let played = std::env::var_os("LIBGL_ALWAYS_SOFTWARE").is_some_and(|value| value != "0");
        let named = |folder: &str, beginning: &str| {
            let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
            entries.into_iter().any(|entry| entry.file_name().to_string_lossy().starts_with(beginning))
        };
        let card = named("/dev/dri", "renderD") || named("/dev", "nvidiactl");
        if played || !card { Self::OnProcessor } else { Self::AsUsual }
    }

    /// Other systems know best.
    #[cfg(not(target_os = "linux"))]
    pub fn here() -> Self {
        Self::AsUsual
    }

    /// How long text is gathered before it is sent to the page.
    pub fn gather(self) -> Duration {
        match self {
            Self::AsUsual => GATHER,
            Self::OnProcessor => GATHER_ON_PROCESSOR,
        }
    }

    /// Has the page of a window drawn so.
    pub fn apply(self, window: &tauri::WebviewWindow) {
        if self == Self::AsUsual {
            return;
        }
        tracing::info!("there is no graphics card; the processor draws");
        #[cfg(target_os = "linux")]
        {
            use webkit2gtk::{HardwareAccelerationPolicy, SettingsExt, WebViewExt};
            let applied = window.with_webview(|webview| {
                if let Some(settings) = webview.inner().settings() {
                    settings.set_hardware_acceleration_policy(HardwareAccelerationPolicy::Never);
                }
            });
            if let Err(error) = applied {
                tracing::warn!(%error, "the window's drawing could not be chosen");
            }
        }
    }
}
