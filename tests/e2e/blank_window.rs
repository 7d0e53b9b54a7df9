//! The least that a window of this kind can be: what the app's start is measured against.

use tauri::{WebviewUrl, WebviewWindowBuilder};

fn main() -> tauri::Result<()> {
    tauri::Builder::default()
        .setup(|app| {
            let blank = WebviewUrl::CustomProtocol("about:blank".parse()?);
            WebviewWindowBuilder::new(app, "blank", blank)
                .title("Reprise")
                .inner_size(1280.0, 800.0)
                .build()?;
            Ok(())
        })
        .run(reprise_app::context())
}
