//! Other processes: this test program, started again to run one of the functions below.

use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use reprise_store::{Begun, DataDir, History, Holder, ListFilter, NodeId, SnapshotStore, Timestamp};

use crate::states::{self, KEY, State, conversation};
use crate::support::{begin, begin_answer, finished, say, set_clock, tick, tokens};

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

    /// Lets a child that waits go on.
    pub fn go_on(&mut self) {
        writeln!(self.process.stdin.as_mut().unwrap()).unwrap();
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

/// Goes on when told to; then says what comes next.
fn step(name: &str) {
    tell(name);
    let mut line = String::new();
    io::stdin().read_line(&mut line).unwrap();
}

/// The states that [`save_step_by_step`] saves: the first, then the one that supersedes it.
pub fn stepped_states() -> [State; 2] {
    let first = State::new(1, 300);
    let second = first.longer(200);
    [first, second]
}

/// Every public step of a snapshot's life, each only when told to.
#[test]
#[ignore = "runs only as a child process of another test"]
fn save_step_by_step() {
    let writer = History::open_writer(&dir(), &holder()).unwrap();
    step("open");
    let mut store = states::open(&writer);
    let mut earlier = Vec::new();
    for state in stepped_states() {
        step("begin");
        let Begun::Save(mut save) = store.begin_save(state.layout.len).unwrap() else { panic!() };
        for (_, hash, bytes) in state.chunks() {
            step("missing");
            if store.missing(&mut save, &[hash]).unwrap()[0] {
                step("put");
                store.put_chunks(&mut save, &[(hash, &bytes)]).unwrap();
            }
        }
        let mut new = state.snapshot(conversation(1));
        new.supersede.clone_from(&earlier);
        step("commit");
        let id = store.commit(save, &new).unwrap().id;
        tell(&format!("saved {id} {}", state.tokens.len()));
        earlier = vec![id];
    }
    let id = earlier[0];
    step("touch");
    store.touch(id, tick()).unwrap();
    step("quarantine");
    store.quarantine(id, "a test").unwrap();
    step("prune");
    store.prune(0).unwrap();
    step("give back");
    store.give_back_space(u64::MAX).unwrap();
    step("clear");
    store.clear().unwrap();
    drop(store);
    tell("end");
}

/// Saves and drops without end, within a budget that makes others go, and says what it is about to do.
#[test]
#[ignore = "runs only as a child process of another test"]
fn save_and_evict_forever() {
    let writer = History::open_writer(&dir(), &holder()).unwrap();
    let (mut store, _) = SnapshotStore::open(&writer, states::budget(9_000_000), KEY, tick()).unwrap();
    let run = store.list().unwrap().iter().map(|row| row.created.as_millis()).max().unwrap_or_default();
    set_clock(run + 1_000);
    for round in 0.. {
        let seed = round % 5;
        let mut state = State::new(1 + seed, 150);
        let mut earlier = Vec::new();
        for _ in 0..3 {
            state = state.longer(60 + 10 * seed);
            let mut new = state.snapshot(conversation(seed));
            new.supersede = std::mem::take(&mut earlier);
            tell("saving");
            let Begun::Save(mut save) = store.begin_save(state.layout.len).unwrap() else { panic!() };
            let chunks = state.chunks();
            let batch: Vec<_> = chunks.iter().map(|(_, hash, bytes)| (*hash, &bytes[..])).collect();
            tell("putting");
            store.put_chunks(&mut save, &batch).unwrap();
            tell("committing");
            let id = store.commit(save, &new).unwrap().id;
            tell(&format!("saved {id} {} {}", 1 + seed, state.tokens.len()));
            earlier.push(id);
        }
        if round % 4 == 3 {
            tell("evicting");
            store.prune(3_000_000).unwrap();
            store.give_back_space(u64::MAX).unwrap();
        }
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
