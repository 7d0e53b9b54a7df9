//! Keeping a state after a turn, and what the next turn notices of it.

use std::time::Duration;

use reprise_chat::history::DataDir;
use reprise_chat::{Ask, ResumePath, SystemWorld, World};

use crate::args::{Global, Subject};
use crate::bench::figures::{Figures, median};
use crate::bench::memory::Growth;
use crate::bench::rig::{Rig, ms, saved, unexpected};
use crate::output::{Failure, Out};

/// Tokens of a usual answer.
const ANSWER: u32 = 300;
/// Tokens that the person's message has at least.
const ADDED: u32 = 256;
/// Tokens of the answers whose saving is disturbed.
const SHORT: u32 = 8;
/// Disturbances a run.
const DISTURBED: u32 = 10;

pub(super) async fn measure(
    global: &Global,
    dir: &DataDir,
    subject: &Subject,
    out: &Out,
) -> Result<Figures, Failure> {
    let rig = Rig::start(global, dir, subject).await?;
    rig.load_model().await?;
    let (conversation, node, _, first) = rig.converse(subject.tokens).await?;
    let ask = |parent, text: &str, run: u32| {
        let text = format!("{run}. {text}");
        Ask::Continue { conversation, parent, text }
    };
    let mut figures = Figures::default();

    let (mut work, mut engine, mut answer, mut shares) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut added, mut written, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    let (mut app_mb, mut worker_mb) = (Vec::new(), Vec::new());
    for run in 0..subject.runs {
        // Long enough that the turn counts, and new in every run.
        let more = rig.text_of(ADDED, (run + 1) * 10_000).await?;
        let ask = ask(Some(node), &more, run);
        let (app, worker) = (Growth::of(std::process::id()), Growth::of(rig.worker().await?));
        let mut turn = rig.turn(ask, ANSWER, true).await?.turn;
        let kept = saved(&mut turn).await?;
        app_mb.extend(app.so_far());
        worker_mb.extend(worker.so_far());
        let rate = turn.timing.decode_tok_s.unwrap_or(f64::NAN);
        let answer_ms = f64::from(ANSWER) * 1000.0 / rate;
        let total = turn.receipt.tokens_decoded + turn.timing.decode_tokens;
        out.step(&format!("{total} tokens more: {kept:?}"));
        work.push(kept.ms);
        engine.push(kept.engine_ms);
        answer.push(answer_ms);
        shares.push(kept.ms / answer_ms);
        added.push(kept.new_kv_bytes as f64 / 1e6);
        written.push(kept.bytes_written as f64 / 1e6);
        ratios.push(kept.bytes_written as f64 / kept.new_kv_bytes as f64);
    }
    let step = figures.case("export_and_probes", "ms", engine);
    let save = figures.case("save", "ms", work);
    figures.case("answer_of_300_tokens", "ms", answer);
    figures.case("new_kv", "MB", added);
    figures.case("written", "MB", written);
    figures.case("state", "MB", vec![first.state_bytes as f64 / 1e6]);
    figures.case("app_growth", "MB", app_mb);
    figures.case("worker_growth", "MB", worker_mb);

    let (mut idle, mut beside) = (Vec::new(), Vec::new());
    for run in 0..subject.runs * DISTURBED {
        let quiet = rig.turn(ask(Some(node), "And then?", run), SHORT, true).await?;
        let mut quiet_turn = quiet.turn;
        // Between none and all of a save.
        let part = (SystemWorld.random() % 1000) as f64 / 1000.0;
        tokio::time::sleep(Duration::from_secs_f64(part * (save - step).max(0.0) / 1000.0)).await;
        let mut disturbing = rig.turn(ask(None, "And before?", run), SHORT, true).await?;
        if quiet.path != ResumePath::Live || disturbing.path != ResumePath::Live {
            return Err(unexpected("a conversation that goes on was not live"));
        }
        // The next round begins when all is quiet. A save that was overtaken is as good.
        let _ = quiet_turn.saving.done().await;
        let _ = disturbing.turn.saving.done().await;
        idle.push(ms(quiet.ready));
        beside.push(ms(disturbing.ready));
    }
    rig.end().await;
    let alone = figures.case("next_turn_ready_idle", "ms", idle);
    let worst = beside.iter().copied().fold(f64::NAN, f64::max);
    figures.case("next_turn_ready_beside_save", "ms", beside);
    ratios.sort_by(f64::total_cmp);
    shares.sort_by(f64::total_cmp);
    figures.ratio("written_over_new", median(&ratios));
    figures.ratio("save_over_answer", median(&shares));
    figures.ratio("longest_wait_over_step", (worst - alone) / step);
    Ok(figures)
}
