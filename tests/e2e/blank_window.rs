//! The least that a window of this kind can be: what the app's start is measured against.

use tauri::webview::PageLoadEvent;
use tauri::{WebviewUrl, WebviewWindowBuilder};

fn main() -> tauri::Result<()> {
    tauri::Builder::default()
        .setup(|app| {
            let blank = WebviewUrl::CustomProtocol("about:blank".parse()?);
            WebviewWindowBuilder::new(app, "blank", blank)
                .title("Reprise")
                .inner_size(1280.0, 800.0)
                .visible(false)
                .on_page_load(|window, load| {
                    if load.event() == PageLoadEvent::Finished
                        && let Err(error) = window.show()
                    {
                        eprintln!("the blank window cannot be shown: {error}");
                    }
                })
                .build()?;
            Ok(())
        })
        .run(reprise_app::context())
}
