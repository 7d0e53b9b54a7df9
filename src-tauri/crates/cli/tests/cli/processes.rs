//! Running commands: their lines as they come, their children, their end.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::place::{Ended, MARK, Place};

/// What none of these tests takes, however slow the machine; one that does has hung.
const HUNG: Duration = Duration::from_mins(2);

/// A command that runs, in a process group of its own as a shell would start it.
pub struct Running {
    pub child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
    stdout: JoinHandle<Vec<u8>>,
}

impl Running {
    pub fn start(command: &mut Command) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let mut child = command.spawn().unwrap();
        let mut out = child.stdout.take().unwrap();
        let err = BufReader::new(child.stderr.take().unwrap());
        let stdout = thread::spawn(move || {
            let mut bytes = Vec::new();
            out.read_to_end(&mut bytes).unwrap();
            bytes
        });
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in err.split(b'\n').map_while(Result::ok) {
                // Nobody listens any more once the test is over.
                let _ = sender.send(String::from_utf8_lossy(&line).into_owned());
            }
        });
        Self { child, lines, seen: Vec::new(), stdout }
    }

    /// The next line on standard error; `None` at its end.
    pub fn line(&mut self) -> Option<String> {
        let line = self.lines.recv_timeout(HUNG);
        if line.as_ref().is_err_and(|error| *error == std::sync::mpsc::RecvTimeoutError::Timeout) {
            self.child.kill().unwrap();
            panic!("nothing was said for long after {:?}", self.seen);
        }
        let line = line.ok()?;
        self.seen.push(line.clone());
        Some(line)
    }

    /// The first line from here on that begins so, without its beginning.
    pub fn wait_for(&mut self, start: &str) -> String {
        while let Some(line) = self.line() {
            if let Some(rest) = line.strip_prefix(start) {
                return rest.trim().to_owned();
            }
        }
        panic!("it ended without {start:?}: {:?}", self.seen);
    }

    /// As Ctrl-C in a terminal: to the whole process group.
    pub fn interrupt(&self) {
        signal("INT", &format!("-{}", self.child.id()));
    }

    /// The engine that it started.
    pub fn worker(&self) -> u32 {
        self.find_worker().expect("it has an engine")
    }

    /// The engine that it started, if it lives.
    pub fn find_worker(&self) -> Option<u32> {
        let own = self.child.id();
        pids().into_iter().find(|pid| parent(*pid) == Some(own) && name(*pid) == "reprise-engine")
    }

    pub fn end(mut self) -> Ended {
        while self.line().is_some() {}
        let status = self.child.wait().unwrap();
        let stdout = self.stdout.join().unwrap();
        Ended {
            code: status.code(),
            stdout: String::from_utf8(stdout).unwrap(),
            stderr: self.seen.iter().fold(String::new(), |all, line| all + line + "\n"),
        }
    }

    /// SIGKILL; what came until then.
    pub fn kill(mut self) -> Killed {
        // Fails where it has just ended by itself.
        let _ = self.child.kill();
        let in_time = self.child.wait().unwrap().signal().is_some();
        while self.line().is_some() {}
        Killed { said: self.seen, shown: self.stdout.join().unwrap(), in_time }
    }
}

/// What a killed command left.
pub struct Killed {
    /// The lines of standard error.
    pub said: Vec<String>,
    /// Standard output.
    pub shown: Vec<u8>,
    /// Whether it had not ended by itself.
    pub in_time: bool,
}

/// Sends a signal to a process, or to a group with a minus before it.
pub fn signal(name: &str, target: &str) {
    assert!(signal_if_there(name, target), "{target} is gone");
}

/// The same; false where there is none any more.
pub fn signal_if_there(name: &str, target: &str) -> bool {
    let line = format!("kill -s {name} -- {target} 2>/dev/null");
    Command::new("sh").args(["-c", &line]).status().unwrap().success()
}

fn pids() -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").unwrap();
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}

fn parent(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in brackets, may hold anything.
    stat.rsplit(')').next()?.split_whitespace().nth(1)?.parse().ok()
}

fn name(pid: u32) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim().to_owned()
}

/// Processes that were started for this place and live.
fn alive(place: &Path) -> Vec<u32> {
    let mark = format!("{MARK}={}", place.display());
    let of_place = |pid: &u32| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
    };
    pids().into_iter().filter(of_place).collect()
}

/// No process that was started for this place lives on, after a generous time to end.
#[track_caller]
pub fn assert_gone(place: &Place) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let alive = alive(place.root());
        if alive.is_empty() {
            return;
        }
        assert!(Instant::now() < deadline, "an engine outlives its parent: {alive:?}");
        // /proc cannot be waited for.
        thread::sleep(Duration::from_millis(2));
    }
}
