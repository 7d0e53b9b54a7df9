//! The least that a window of this kind can be: what the app's start is measured against. Like the app's it
//! is made hidden and shown once its page is there, which here is an empty one.

use tauri::webview::PageLoadEvent;
use tauri::{WebviewUrl, WebviewWindowBuilder};

fn main() -> tauri::Result<()> {
    tauri::Builder::default()
        .register_uri_scheme_protocol("blank", |_, _| {
            let page = b"<!doctype html><title>Reprise</title>".to_vec();
            tauri::http::Response::builder()
                .header("Content-Type", "text/html")
                .body(page)
                .unwrap_or_default()
        })
        .setup(|app| {
            let blank = WebviewUrl::CustomProtocol("blank://localhost/".parse()?);
            WebviewWindowBuilder::new(app, "blank", blank)
                .title("Reprise")
                .inner_size(1280.0, 800.0)
                .visible(false)
                .on_page_load(|window, load| {
                    if load.event() == PageLoadEvent::Finished {
                        // A window that cannot be shown is never seen by who measures.
                        let _ = window.show();
                    }
                })
                .build()?;
            Ok(())
        })
        .run(reprise_app::context())
}
