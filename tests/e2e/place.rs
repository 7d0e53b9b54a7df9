//! A place of its own for one test: folders, a display, a driver, and the app in its real window.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use reprise_store::{DataDir, History, Holder, Timestamp};
use serde_json::Value;
use tempfile::TempDir;

use crate::desktop;
use crate::machine::{APP, Machine, machine};
use crate::processes::{self, MARK};
use crate::webdriver::{self, Element, Error, Session};

/// How long anything may take that does not compute: two cores, shared with others.
pub const SOON: Duration = Duration::from_secs(20);

/// How long an answer of the small model may take.
pub const ANSWER: Duration = Duration::from_mins(2);

/// Between two looks at a condition.
const LOOK: Duration = Duration::from_millis(50);

/// Held by each test: the engine uses every core.
static CORES: Mutex<()> = Mutex::new(());

/// Looks until there is something, for as long as `limit`.
pub fn eventually<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let since = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(since.elapsed() < limit, "{what}: not within {limit:?}");
        std::thread::sleep(LOOK);
    }
}

/// A child that ends with this value.
struct Kept(Child);

impl Drop for Kept {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// How llama.cpp's threads wait for one another.
#[derive(Debug, Clone, Copy)]
enum Threads {
    /// By sleeping: on a machine that others use too, those that spin take a hundred times as long.
    Sleeping,
    /// By spinning a while first.
    AsUsual,
}

/// Folders, a display and a driver.
pub struct Place {
    name: &'static str,
    machine: &'static Machine,
    folder: TempDir,
    model: PathBuf,
    display: String,
    threads: Threads,
    port: u16,
    // In the order in which they end.
    _driver: Kept,
    _display: Kept,
    _cores: MutexGuard<'static, ()>,
}

impl Place {
    /// `None`, and said so, where this machine lacks something.
    pub fn new(name: &'static str) -> Option<Self> {
        Self::with_threads(name, Threads::Sleeping, false)
    }

    /// The same with a model file that the test may change.
    pub fn with_a_model_of_its_own(name: &'static str) -> Option<Self> {
        Self::with_threads(name, Threads::Sleeping, true)
    }

    /// For what is measured: threads wait for one another as everywhere outside the tests.
    pub fn for_measuring(name: &'static str) -> Option<Self> {
        Self::with_threads(name, Threads::AsUsual, false)
    }

    fn with_threads(name: &'static str, threads: Threads, own_model: bool) -> Option<Self> {
        let machine = machine()?;
        let cores = CORES.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = tempfile::tempdir().unwrap();
        for part in ["config", "cache", "local", "runtime", "home", "bin"] {
            fs::create_dir(folder.path().join(part)).unwrap();
        }
        stand_in_for_the_browser(folder.path());
        let mut model = machine.model.clone();
        if own_model {
            model = folder.path().join("own.gguf");
            fs::copy(&machine.model, &model).unwrap();
        }
        let (display, kept_display) = start_display(machine);
        let port = free_port();
        let mut driver = Command::new(&machine.driver);
        environment(&mut driver, folder.path(), &display, (machine, &model), threads);
        let driver = driver
            .arg(format!("--port={port}"))
            .stdin(Stdio::null())
            .stdout(File::create(folder.path().join("driver.log")).unwrap())
            .stderr(File::create(folder.path().join("driver.err")).unwrap())
            .spawn()
            .unwrap();
        let place = Self {
            name,
            machine,
            folder,
            model,
            display,
            threads,
            port,
            _driver: Kept(driver),
            _display: kept_display,
            _cores: cores,
        };
        eventually("the driver answers", SOON, || webdriver::is_ready(port).then_some(()));
        Some(place)
    }

    pub fn root(&self) -> &Path {
        self.folder.path()
    }

    pub fn data(&self) -> PathBuf {
        self.root().join("data")
    }

    /// The model that the app is offered.
    pub fn model(&self) -> &Path {
        &self.model
    }

    /// The model that the set-up fetched.
    pub fn starter(&self) -> &Path {
        &self.machine.model
    }

    pub fn display(&self) -> &str {
        &self.display
    }

    /// Any program in the surroundings of this place.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        environment(&mut command, self.root(), &self.display, (self.machine, &self.model), self.threads);
        command.stdin(Stdio::null());
        command
    }

    /// Chooses, beforehand, that the likeliest token is always taken: a small model that draws lots may
    /// never come to an end.
    pub fn prefer_the_likeliest(&self) {
        let holder = Holder::this_process("the test", Timestamp::from_millis(1));
        let mut writer = History::open_writer(&DataDir::create(self.data()).unwrap(), &holder).unwrap();
        writer.save_preferences(&serde_json::json!({ "temperature": 0.0 })).unwrap();
    }

    /// Starts the app, and waits until its page shows something.
    pub fn open(&self) -> Window<'_> {
        let window = self.open_unready();
        window.wait("the page shows itself", SOON, |window| window.shows("button"));
        window
    }

    /// Starts the app.
    pub fn open_unready(&self) -> Window<'_> {
        let session = Session::start(self.port, APP);
        let session = session.unwrap_or_else(|error| panic!("the app cannot be started: {error}"));
        Window { place: self, session: Some(session), shot: std::cell::Cell::new(0) }
    }

    /// Addresses that a browser was asked for.
    pub fn browsed(&self) -> Vec<String> {
        let lines = fs::read_to_string(self.root().join("browsed")).unwrap_or_default();
        lines.lines().map(str::to_owned).collect()
    }

    /// Process ids of the app.
    pub fn app(&self) -> Vec<u32> {
        processes::named(self.root(), "reprise")
    }

    /// Process ids of the engine.
    pub fn engine(&self) -> Vec<u32> {
        processes::named(self.root(), "reprise-engine")
    }

    /// Nothing of the app is left: not itself, not its engine, not the processes of its page.
    pub fn wait_until_empty(&self) {
        let left = || {
            let mut left = processes::of(self.root());
            left.retain(|process| process.program != "WebKitWebDriver");
            left
        };
        let since = Instant::now();
        while !left().is_empty() {
            assert!(since.elapsed() < SOON, "still there: {:?}", left());
            std::thread::sleep(LOOK);
        }
    }

    /// All lines that the app has logged.
    pub fn log(&self) -> String {
        let entries = fs::read_dir(self.data().join("logs")).into_iter().flatten().filter_map(Result::ok);
        let logs = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("app"));
        logs.map(|entry| fs::read_to_string(entry.path()).unwrap_or_default()).collect()
    }
}

/// What opens addresses on a Linux desktop: here it writes them down.
fn stand_in_for_the_browser(root: &Path) {
    let program = root.join("bin/xdg-open");
    let script = format!("#!/bin/sh\necho \"$1\" >>'{}'\n", root.join("browsed").display());
    fs::write(&program, script).unwrap();
    let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(&program, permissions).unwrap();
}

/// Nothing of whoever runs the tests reaches the app, but for what is named here.
fn environment(
    command: &mut Command,
    root: &Path,
    display: &str,
    (machine, model): (&Machine, &Path),
    threads: Threads,
) {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let paths = std::env::split_paths(&path);
    command
        .env_clear()
        .env("PATH", std::env::join_paths([root.join("bin")].into_iter().chain(paths)).unwrap())
        .env("HOME", root.join("home"))
        .env("XDG_CONFIG_HOME", root.join("config"))
        .env("XDG_CACHE_HOME", root.join("cache"))
        .env("XDG_DATA_HOME", root.join("local"))
        .env("XDG_RUNTIME_DIR", root.join("runtime"))
        .env("DISPLAY", display)
        .env("GDK_BACKEND", "x11")
        .env("NO_AT_BRIDGE", "1")
        .env("LIBGL_ALWAYS_SOFTWARE", "1")
        .env("LANG", "C.UTF-8")
        .env("REPRISE_DATA_DIR", root.join("data"))
        .env("REPRISE_ENGINE_DIR", &machine.engine_dir)
        .env("REPRISE_STARTER_MODEL", model)
        // Without it the window cannot be driven (tauri-driver sets it, and does little else on Linux).
        .env("TAURI_WEBVIEW_AUTOMATION", "true")
        .env(MARK, root);
    match threads {
        Threads::Sleeping => command.env("OMP_WAIT_POLICY", "passive"),
        Threads::AsUsual => command,
    };
}

/// A display that nobody sees, on a number that it chooses itself.
fn start_display(machine: &Machine) -> (String, Kept) {
    let mut server = Command::new(&machine.xvfb)
        .args(["-displayfd", "1", "-screen", "0", "1280x800x24", "-nolisten", "tcp", "-noreset"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut number = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut number).unwrap();
    (format!(":{}", number.trim()), Kept(server))
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

/// The app's window, from outside.
pub struct Window<'a> {
    place: &'a Place,
    /// `None` once it has ended.
    session: Option<Session>,
    shot: std::cell::Cell<u32>,
}

impl Window<'_> {
    fn session(&self) -> &Session {
        self.session.as_ref().expect("the window is open")
    }

    /// Waits for a condition; what the page shows then is kept where it fails.
    pub fn wait(&self, what: &str, limit: Duration, holds: impl Fn(&Self) -> bool) {
        self.wait_for(what, limit, |window| holds(window).then_some(()));
    }

    /// Waits for something to be there.
    pub fn wait_for<T>(&self, what: &str, limit: Duration, look: impl Fn(&Self) -> Option<T>) -> T {
        let since = Instant::now();
        loop {
            if let Some(found) = look(self) {
                return found;
            }
            if since.elapsed() >= limit {
                self.keep_screenshot("failed");
                panic!("{what}: not within {limit:?}; the page says: {}", self.text());
            }
            std::thread::sleep(LOOK);
        }
    }

    /// What a function body gives in the page; `null` where that cannot be told just now.
    pub fn js(&self, script: &str, arguments: &[Value]) -> Value {
        self.session().run(script, arguments).unwrap_or_default()
    }

    /// Whether a selector finds something.
    pub fn shows(&self, css: &str) -> bool {
        self.session().all(css).is_ok_and(|found| !found.is_empty())
    }

    /// All visible text.
    pub fn text(&self) -> String {
        self.js("return document.body.innerText", &[]).as_str().unwrap_or_default().to_owned()
    }

    /// The visible element of this role whose accessible name is, or begins with, `name`; waited for.
    pub fn named(&self, role: &str, name: &str) -> Element {
        self.wait_for(&format!("{role} “{name}”"), SOON, |window| {
            window.session().element(BY_ROLE, &[role.into(), name.into()]).ok().flatten()
        })
    }

    /// The element that a function body gives, if it gives one.
    pub fn element(&self, script: &str, arguments: &[Value]) -> Option<Element> {
        self.session().element(script, arguments).ok().flatten()
    }

    /// Whether there is such an element now.
    pub fn has(&self, role: &str, name: &str) -> bool {
        self.session().element(BY_ROLE, &[role.into(), name.into()]).is_ok_and(|found| found.is_some())
    }

    /// Clicks, as soon as it can be clicked.
    pub fn click(&self, element: &Element) {
        let clicked = |window: &Self| -> Option<()> { window.session().click(element).ok() };
        self.wait_for("it can be clicked", SOON, clicked);
    }

    pub fn type_into(&self, element: &Element, text: &str) {
        self.session().send_keys(element, text).unwrap_or_else(|error| panic!("it cannot be typed: {error}"));
    }

    pub fn clear(&self, element: &Element) {
        self.session().clear(element).unwrap_or_else(|error| panic!("it cannot be cleared: {error}"));
    }

    pub fn title(&self) -> Result<String, Error> {
        self.session().title()
    }

    /// Keeps what the window shows now in `target/e2e/`.
    pub fn keep_screenshot(&self, what: &str) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/e2e");
        self.shot.set(self.shot.get() + 1);
        let name = format!("{}-{}-{what}.png", self.place.name, self.shot.get());
        // A picture is for people to look at; no test is about it.
        if let Ok(image) = self.session().screenshot() {
            let _ = fs::create_dir_all(&folder).and_then(|()| fs::write(folder.join(name), image));
        }
    }

    /// Ends the app as a person does: by the window's close button.
    pub fn close(mut self) {
        let app = self.place.app();
        self.press_close();
        // The driver would kill it.
        eventually("the app ends", SOON, || {
            self.place.app().iter().all(|pid| !app.contains(pid)).then_some(())
        });
        self.forget();
    }

    /// What the close button of a window manager sends.
    pub fn press_close(&self) {
        let pid = self.place.app()[0];
        desktop::press_close(&self.place.display, pid).expect("the window can be closed");
    }

    /// For an app that was killed: its session ends with it.
    pub fn forget(&mut self) {
        if let Some(session) = self.session.take() {
            let _ = session.end();
        }
    }
}

impl Drop for Window<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() && self.session.is_some() {
            self.keep_screenshot("failed");
        }
        self.forget();
    }
}

/// Finds by role and accessible name, of which `aria-label`, text and `title` are enough here.
const BY_ROLE: &str = r#"
const [role, name] = arguments;
const tags = { button: "button", link: "a[href]", textbox: "textarea, input[type=text], input:not([type])",
  heading: "h1, h2, h3, h4", radio: "input[type=radio]", checkbox: "input[type=checkbox]", combobox: "select",
  listitem: "li", dialog: "dialog", option: "option", switch: "input[role=switch]" };
const wanted = [`[role="${role}"]`, tags[role]].filter(Boolean).join(", ");
const nameOf = (e) => (e.getAttribute("aria-label")
  ?? (e.getAttribute("aria-labelledby") ?? "").split(" ").map((id) => document.getElementById(id)?.textContent ?? "").join(" ").trim()) ||
  (e.labels?.[0]?.textContent ?? "").trim() || (e.innerText ?? "").trim() || (e.getAttribute("title") ?? "") || (e.getAttribute("placeholder") ?? "");
const seen = (e) => e.getClientRects().length > 0 && getComputedStyle(e).visibility !== "hidden";
const own = [...document.querySelectorAll(wanted)].filter((e) => !e.getAttribute("role") || e.getAttribute("role") === role).filter(seen);
const found = own.find((e) => nameOf(e) === name) ?? own.find((e) => nameOf(e).startsWith(name)) ?? null;
// What is drawn in place of a system control is its label.
return ["radio", "checkbox"].includes(found?.type) ? (found.labels[0] ?? found) : found;
"#;
