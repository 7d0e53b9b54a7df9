//! The desktop around the window, in the place of a window manager.

use std::error::Error;

use x11rb::connection::Connection;
use x11rb::protocol::Event;
use x11rb::protocol::xproto::{
    AtomEnum, ClientMessageEvent, ConnectionExt, CreateWindowAux, EventMask, InputFocus, KEY_PRESS_EVENT,
    KEY_RELEASE_EVENT, MapState, Window, WindowClass,
};
use x11rb::protocol::xtest::ConnectionExt as _;
use x11rb::rust_connection::RustConnection;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The title of the app's window.
const TITLE: &[u8] = b"Reprise";

/// Keys by the number that X gives them on a PC's keyboard.
pub const ESCAPE: u8 = 9;
pub const ENTER: u8 = 36;

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

/// A dialog of a process, if it shows one.
pub fn dialog(display: &str, pid: u32) -> Option<Window> {
    let (desktop, screen) = RustConnection::connect(Some(display)).ok()?;
    let windows = windows(&desktop, screen, pid).ok()?;
    windows.into_iter().find(|(_, title)| title != TITLE).map(|(window, _)| window)
}

/// Presses a key in a window, as the keyboard does: toolkits do not heed keys that are merely sent.
pub fn press(display: &str, window: Window, key: u8) -> Result<()> {
    let (desktop, screen) = RustConnection::connect(Some(display))?;
    let root = desktop.setup().roots[screen].root;
    desktop.set_input_focus(InputFocus::PARENT, window, x11rb::CURRENT_TIME)?.check()?;
    for kind in [KEY_PRESS_EVENT, KEY_RELEASE_EVENT] {
        desktop.xtest_fake_input(kind, key, x11rb::CURRENT_TIME, root, 0, 0, 0)?.check()?;
    }
    Ok(())
}

/// The text in the clipboard.
pub fn clipboard(display: &str) -> Option<String> {
    let ask = || -> Result<Option<String>> {
        let (desktop, screen) = RustConnection::connect(Some(display))?;
        let root = desktop.setup().roots[screen].root;
        let window = desktop.generate_id()?;
        let looks = CreateWindowAux::new();
        desktop.create_window(0, window, root, 0, 0, 1, 1, 0, WindowClass::INPUT_ONLY, 0, &looks)?.check()?;
        let [clipboard, text] = [atom(&desktop, "CLIPBOARD")?, atom(&desktop, "UTF8_STRING")?];
        let time = x11rb::CURRENT_TIME;
        desktop.convert_selection(window, clipboard, text, text, time)?.check()?;
        loop {
            if let Event::SelectionNotify(told) = desktop.wait_for_event()? {
                if told.property == x11rb::NONE {
                    return Ok(None);
                }
                let found =
                    desktop.get_property(true, window, text, AtomEnum::ANY, 0, u32::MAX / 4)?.reply()?;
                return Ok(Some(String::from_utf8(found.value)?));
            }
        }
    };
    ask().ok().flatten()
}

fn shown(desktop: &RustConnection, screen: usize, pid: u32) -> Result<Option<Window>> {
    let windows = windows(desktop, screen, pid)?;
    Ok(windows.into_iter().find(|(_, title)| title == TITLE).map(|(window, _)| window))
}

/// Windows that a process shows, with their titles.
fn windows(desktop: &RustConnection, screen: usize, pid: u32) -> Result<Vec<(Window, Vec<u8>)>> {
    let root = desktop.setup().roots[screen].root;
    let pid_of = atom(desktop, "_NET_WM_PID")?;
    let mut found = Vec::new();
    for window in desktop.query_tree(root)?.reply()?.children {
        // A window that goes while it is looked at is none.
        let property = |name, kind| desktop.get_property(false, window, name, kind, 0, 64).ok()?.reply().ok();
        let owner = property(pid_of, AtomEnum::CARDINAL).and_then(|found| found.value32()?.next());
        let title = property(AtomEnum::WM_NAME.into(), AtomEnum::ANY).map(|found| found.value);
        // What shows itself past a window manager is a tip or a menu.
        let is_mapped = desktop
            .get_window_attributes(window)?
            .reply()
            .is_ok_and(|w| w.map_state == MapState::VIEWABLE && !w.override_redirect);
        if owner == Some(pid) && is_mapped {
            found.push((window, title.unwrap_or_default()));
        }
    }
    Ok(found)
}

fn atom(desktop: &RustConnection, name: &str) -> Result<u32> {
    Ok(desktop.intern_atom(false, name.as_bytes())?.reply()?.atom)
}
