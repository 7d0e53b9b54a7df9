//! Coming back to a conversation: from its state, and from its text.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::Instant;

use reprise_chat::history::{ConversationId, DataDir, NodeId};
use reprise_chat::{Ask, ResumePath, TurnOutcome};

use crate::args::{Global, Subject};
use crate::bench::figures::Figures;
use crate::bench::memory::Growth;
use crate::bench::rig::{Rig, Timed, ms, prefill_ms, saved, unexpected};
use crate::output::{Failure, Out};

/// Replays beside the first reading: they take seconds each.
const REPLAYS: u32 = 2;

/// One kind of coming back, several times.
#[derive(Default)]
struct Runs {
    bytes: Vec<f64>,
    read: Vec<f64>,
    set: Vec<f64>,
    challenge: Vec<f64>,
    total: Vec<f64>,
}

impl Runs {
    fn add(&mut self, timed: &Timed) -> Result<(), Failure> {
        let receipt = &timed.turn.receipt;
        let check = |name: &str| {
            let ms = receipt.checks.iter().find(|check| check.name == name).map(|check| check.ms);
            ms.ok_or_else(|| unexpected(&format!("no check of {name}")))
        };
        self.read.push(check("integrity")?);
        self.set.push(check("restore")?);
        self.bytes.push(receipt.ms_bytes.unwrap_or(f64::NAN));
        self.challenge.push(receipt.ms_challenge.unwrap_or(f64::NAN));
        self.total.push(ms(timed.ready));
        Ok(())
    }
}

pub(super) async fn measure(
    global: &Global,
    dir: &DataDir,
    subject: &Subject,
    out: &Out,
) -> Result<Figures, Failure> {
    let mut rig = Rig::start(global, dir, subject).await?;
    rig.load_model().await?;
    let (conversation, node, first_ms, saved) = rig.converse(subject.tokens).await?;
    out.step(&format!("a state of {} bytes", saved.state_bytes));
    let ask = |what: &str, run: u32| Ask::Continue {
        conversation,
        // Behind the same answer every time, so that every run restores the same tokens.
        parent: Some(node),
        text: format!("{what} {run}: which day was the best?"),
    };

    let mut replay = vec![first_ms];
    for run in 0..REPLAYS {
        rig.distract().await?;
        let turn = rig.turn(ask("Replay", run), 1, false).await?.turn;
        expect(&turn, ResumePath::Replayed)?;
        replay.push(prefill_ms(&turn));
        out.step(&format!("replayed {} tokens", turn.receipt.tokens_decoded));
    }

    let (mut warm, mut cold, mut start) = (Runs::default(), Runs::default(), Runs::default());
    let (mut app_mb, mut worker_mb, mut tokens) = (Vec::new(), Vec::new(), Vec::new());
    for run in 0..subject.runs {
        rig.distract().await?;
        let (app, worker) = (Growth::of(std::process::id()), Growth::of(rig.worker().await?));
        let timed = restored(&rig, ask("Warm", run)).await?;
        app_mb.extend(app.so_far());
        worker_mb.extend(worker.so_far());
        tokens.push(f64::from(timed.turn.receipt.tokens_reused));
        warm.add(&timed)?;
        rig.distract().await?;
        if forget_pages(dir.root(), &["snapshots.db", "snapshots.db-wal"]) {
            cold.add(&restored(&rig, ask("Cold", run)).await?)?;
        }
    }
    let branch = branches(&rig, (conversation, node), subject).await?;
    for run in 0..subject.runs {
        rig.end().await;
        rig = Rig::start(global, dir, subject).await?;
        start.add(&restored(&rig, ask("Start", run)).await?)?;
    }
    let state_bytes = saved.state_bytes;
    let file = plain_reads(dir.root(), state_bytes, subject.runs)?;
    rig.end().await;

    let mut figures = Figures::default();
    let replay = figures.case("replay", "ms", replay);
    let bytes = figures.case("bytes", "ms", warm.bytes);
    figures.case("read_verify_send", "ms", warm.read);
    let set = figures.case("set", "ms", warm.set);
    figures.case("challenge", "ms", warm.challenge);
    let total = figures.case("total", "ms", warm.total);
    let cold_bytes = figures.case("bytes_cold", "ms", cold.bytes);
    let cold_total = figures.case("total_cold", "ms", cold.total);
    figures.case("challenge_cold", "ms", cold.challenge);
    let from_start = figures.case("total_from_cold_start", "ms", start.total);
    figures.case("bytes_from_cold_start", "ms", start.bytes);
    let branch = figures.case("branch_switch", "ms", branch);
    figures.ratio("branch_switch_over_total", branch / total);
    let file = figures.case("plain_file_read", "ms", file);
    figures.case("state", "MB", vec![state_bytes as f64 / 1e6]);
    figures.case("tokens_restored", "tokens", tokens);
    figures.case("app_growth", "MB", app_mb);
    figures.case("worker_growth", "MB", worker_mb);
    figures.ratio("replay_over_bytes", replay / bytes);
    figures.ratio("replay_over_total", replay / total);
    figures.ratio("replay_over_bytes_cold", replay / cold_bytes);
    figures.ratio("replay_over_total_cold", replay / cold_total);
    figures.ratio("replay_over_cold_start", replay / from_start);
    figures.ratio("bytes_over_unverified", bytes / (file + set));
    Ok(figures)
}

/// Going back and forth between two branches that have nothing but their beginning in common.
async fn branches(
    rig: &Rig,
    (conversation, node): (ConversationId, NodeId),
    subject: &Subject,
) -> Result<Vec<f64>, Failure> {
    let other = rig.turn(rig.other_beginning(conversation, subject.tokens).await?, 16, true).await?;
    let mut other = other.turn;
    saved(&mut other).await?;
    let mut times = Vec::new();
    for run in 0..subject.runs {
        for parent in [node, other.node] {
            let text = format!("Branch {run}: which day was the best?");
            let back = restored(rig, Ask::Continue { conversation, parent: Some(parent), text }).await?;
            times.push(ms(back.ready));
        }
    }
    Ok(times)
}

async fn restored(rig: &Rig, ask: Ask) -> Result<Timed, Failure> {
    let mut timed = rig.turn(ask, 1, true).await?;
    expect(&timed.turn, ResumePath::Restored)?;
    // The next run begins when all is quiet. Whether this state was kept makes no difference.
    let _ = timed.turn.saving.done().await;
    Ok(timed)
}

fn expect(turn: &TurnOutcome, path: ResumePath) -> Result<(), Failure> {
    if turn.receipt.path == path {
        return Ok(());
    }
    let why = turn.receipt.reason.as_ref().map(|reason| reason.message.clone()).unwrap_or_default();
    Err(unexpected(&format!("a conversation was {:?} instead of {path:?} ({why})", turn.receipt.path)))
}

/// Reading as many bytes from a plain file into memory that is used again, without any check: what a
/// program does that trusts its files.
fn plain_reads(root: &Path, bytes: u64, runs: u32) -> Result<Vec<f64>, Failure> {
    let failed = |error: std::io::Error| unexpected(&format!("a plain file could not be read ({error})"));
    let path = root.join("plain");
    std::fs::write(&path, vec![1; usize::try_from(bytes).unwrap_or(0)]).map_err(failed)?;
    let mut buffer = Vec::new();
    let mut times = Vec::new();
    for run in 0..=runs {
        buffer.clear();
        let began = Instant::now();
        File::open(&path).and_then(|mut file| file.read_to_end(&mut buffer)).map_err(failed)?;
        // The first one fills the memory.
        if run > 0 {
            times.push(ms(began.elapsed()));
        }
    }
    Ok(times)
}

/// Has the system forget what it holds of these files in memory. False where it cannot be asked to.
#[cfg(target_os = "linux")]
fn forget_pages(root: &Path, names: &[&str]) -> bool {
    use rustix::fs::{Advice, fadvise};
    names.iter().all(|name| match File::open(root.join(name)) {
        Ok(file) => file.sync_all().is_ok() && fadvise(&file, 0, None, Advice::DontNeed).is_ok(),
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    })
}

#[cfg(not(target_os = "linux"))]
fn forget_pages(_root: &Path, _names: &[&str]) -> bool {
    false
}
