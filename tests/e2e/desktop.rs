//! The desktop around the window, in the place of a window manager.

use std::error::Error;

use x11rb::connection::Connection;
use x11rb::protocol::xproto::{AtomEnum, ClientMessageEvent, ConnectionExt, EventMask, MapState, Window};
use x11rb::rust_connection::RustConnection;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The title of the app's window.
const TITLE: &[u8] = b"Reprise";

/// Presses the close button of a process's window: sends what a window manager would.
pub fn press_close(display: &str, pid: u32) -> Result<()> {
    let (desktop, screen) = RustConnection::connect(Some(display))?;
    let window = shown(&desktop, screen, pid)?.ok_or("no window is shown")?;
    let [protocols, delete] = [atom(&desktop, "WM_PROTOCOLS")?, atom(&desktop, "WM_DELETE_WINDOW")?];
    let message = ClientMessageEvent::new(32, window, protocols, [delete, 0, 0, 0, 0]);
    desktop.send_event(false, window, EventMask::NO_EVENT, message)?.check()?;
    Ok(())
}

/// Whether a process shows a window.
pub fn is_shown(display: &str, pid: u32) -> bool {
    let look = || -> Result<bool> {
        let (desktop, screen) = RustConnection::connect(Some(display))?;
        Ok(shown(&desktop, screen, pid)?.is_some())
    };
    look().unwrap_or(false)
}

fn shown(desktop: &RustConnection, screen: usize, pid: u32) -> Result<Option<Window>> {
    let root = desktop.setup().roots[screen].root;
    let pid_of = atom(desktop, "_NET_WM_PID")?;
    for window in desktop.query_tree(root)?.reply()?.children {
        // A window that goes while it is looked at is none.
        let property = |name, kind| desktop.get_property(false, window, name, kind, 0, 64).ok()?.reply().ok();
        let owner = property(pid_of, AtomEnum::CARDINAL).and_then(|found| found.value32()?.next());
        let title = property(AtomEnum::WM_NAME.into(), AtomEnum::ANY).map(|found| found.value);
        let is_mapped =
            desktop.get_window_attributes(window)?.reply().is_ok_and(|w| w.map_state == MapState::VIEWABLE);
        if owner == Some(pid) && title.as_deref() == Some(TITLE) && is_mapped {
            return Ok(Some(window));
        }
    }
    Ok(None)
}

fn atom(desktop: &RustConnection, name: &str) -> Result<u32> {
    Ok(desktop.intern_atom(false, name.as_bytes())?.reply()?.atom)
}
