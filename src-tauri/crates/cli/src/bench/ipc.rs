//! Round trips and state bytes between app and worker.

use std::time::Instant;

use reprise_chat::engine::{Direction, EngineHandle};
use reprise_chat::history::DataDir;

use crate::args::Global;
use crate::bench::figures::Figures;
use crate::bench::memory::resident_mb;
use crate::output::{Failure, Out};
use crate::place;

/// Pings a run.
const PINGS: usize = 1000;
/// State bytes a run: that of a long conversation with a small model.
const STATE: u64 = 256 << 20;

pub(super) async fn measure(
    global: &Global,
    dir: &DataDir,
    runs: u32,
    out: &Out,
) -> Result<Figures, Failure> {
    let engine = place::engine(global, dir)?;
    let hello = engine.hello().await?;
    let mut figures = Figures::default();
    if let Some(resident) = resident_mb(hello.pid) {
        figures.case("worker_idle_resident", "MB", vec![resident]);
    }
    let (mut alone, mut beside, mut from, mut to) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..runs {
        pings(&engine, PINGS, &mut alone).await?;
        from.push(move_state(&engine, Direction::FromWorker).await?);
        to.push(move_state(&engine, Direction::ToWorker).await?);
        // Control beside state bytes: they travel on a path of their own.
        let moving = tokio::spawn({
            let engine = engine.clone();
            async move { engine.move_state(4 * STATE, Direction::FromWorker).await }
        });
        while !moving.is_finished() {
            pings(&engine, 1, &mut beside).await?;
        }
        moving.await.map_err(|error| Failure::new("bench", error.to_string(), "Try again."))??;
    }
    out.step("measured");
    engine.shutdown().await;
    figures.case("control_round_trip", "µs", alone);
    figures.case("control_beside_state", "µs", beside);
    figures.case("state_from_worker", "GB/s", from);
    figures.case("state_to_worker", "GB/s", to);
    Ok(figures)
}

async fn pings(engine: &EngineHandle, count: usize, samples: &mut Vec<f64>) -> Result<(), Failure> {
    for _ in 0..count {
        let started = Instant::now();
        engine.ping().await?;
        samples.push(started.elapsed().as_secs_f64() * 1e6);
    }
    Ok(())
}

async fn move_state(engine: &EngineHandle, direction: Direction) -> Result<f64, Failure> {
    let started = Instant::now();
    engine.move_state(STATE, direction).await?;
    Ok(STATE as f64 / 1e9 / started.elapsed().as_secs_f64())
}
