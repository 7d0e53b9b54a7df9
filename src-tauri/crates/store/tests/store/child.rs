//! Other processes: this test program, started again to run one of the functions below.

use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use reprise_store::{DataDir, History, Holder, ListFilter, NodeId, Timestamp};

use crate::support::{begin, begin_answer, finished, say, set_clock, tokens};

const DIR: &str = "REPRISE_STORE_TEST_DIR";
/// Marks our lines among those of the test harness.
const MARK: &str = "child: ";

/// A child process and the lines it says.
pub struct Spawned {
    pub process: Child,
    lines: io::Lines<BufReader<ChildStdout>>,
}

/// How to start a child that runs `function` of this module on the data folder `dir`.
pub fn command(function: &str, dir: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "--ignored", "--nocapture", &format!("child::{function}")])
        .env(DIR, dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    command
}

impl Spawned {
    pub fn start(mut command: Command) -> io::Result<Self> {
        let mut process = command.spawn()?;
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        Ok(Self { process, lines })
    }

    /// The next thing it says; `None` when it has ended.
    pub fn next(&mut self) -> Option<String> {
        loop {
            // The harness writes its own words before ours on the first line.
            let line = self.lines.next()?.ok()?;
            if let Some((_, said)) = line.split_once(MARK) {
                return Some(said.to_owned());
            }
        }
    }

    /// SIGKILL, or what comes nearest.
    pub fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Spawned {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn tell(words: &str) {
    let mut out = io::stdout().lock();
    // The parent may have gone; then there is nobody to tell.
    let _ = writeln!(out, "{MARK}{words}");
    let _ = out.flush();
}

fn dir() -> DataDir {
    DataDir::at(std::env::var_os(DIR).unwrap()).unwrap()
}

fn holder() -> Holder {
    Holder::this_process("the other one", Timestamp::from_millis(5))
}

/// Takes the writer's place, says so, and holds it until told to go, or killed.
#[test]
#[ignore = "runs only as a child process of another test"]
fn hold() {
    let mut writer = History::open_writer(&dir(), &holder()).unwrap();
    begin(&mut writer, "from the other process");
    tell("holding");
    let mut line = String::new();
    io::stdin().read_line(&mut line).unwrap();
}

/// The text of the `n`th message or answer.
pub fn text_of(n: usize) -> String {
    format!("{n}: {}", "words that are kept 恢复 ".repeat(1 + n % 40))
}

/// Writes turns without end, and tells of each only after it was acknowledged.
#[test]
#[ignore = "runs only as a child process of another test"]
fn write_forever() {
    let mut writer = History::open_writer(&dir(), &holder()).unwrap();
    let count = writer.list(ListFilter::default()).unwrap().len();
    set_clock(1_000_000 * (1 + count as u64));
    let id = begin(&mut writer, &format!("run {count}"));
    tell(&format!("conversation {id}"));
    let mut leaf: Option<NodeId> = None;
    for n in (0..).step_by(2) {
        let question = say(&mut writer, id, leaf, &text_of(n));
        tell(&format!("kept {question} {n}"));
        let answer = begin_answer(&mut writer, question);
        let text = text_of(n + 1);
        let half: String = text.chars().take(text.chars().count() / 2).collect();
        writer.update_answer(answer, &half, Some(&tokens(&half))).unwrap();
        tell(&format!("half {answer} {} {}", n + 1, half.len()));
        writer.finish_answer(answer, &finished(&text)).unwrap();
        tell(&format!("kept {answer} {}", n + 1));
        leaf = Some(answer);
    }
}

/// Reads the library, then tries to write, and tells how both went.
#[test]
#[ignore = "runs only as a child process of another test"]
fn read_and_try_to_write() {
    let path = std::env::var_os(DIR).unwrap();
    let titles = DataDir::at(&path)
        .and_then(|dir| History::open_reader(&dir)?.list(ListFilter::default()))
        .map(|list| list.into_iter().map(|row| row.title).collect::<Vec<_>>().join(","));
    tell(&titles.unwrap_or_else(|error| error.code().to_owned()));
    let written = DataDir::create(&path).and_then(|dir| History::open_writer(&dir, &holder()));
    tell(written.map_or_else(|error| error.code(), |_| "written"));
}
