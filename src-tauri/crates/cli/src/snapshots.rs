//! `reprise-cli snapshots`.

use std::process::ExitCode;
use std::time::Instant;

use reprise_chat::history::{DataDir, SnapshotInfo, SnapshotState};
use reprise_chat::{Snapshots, SystemWorld, list_snapshots, verify_snapshots};
use serde_json::{Value, json};

use crate::args::{self, Global};
use crate::output::{Failure, Out, duration, grouped};
use crate::place;

pub(crate) async fn run(global: &Global, args: &args::Snapshots, out: &Out) -> Result<ExitCode, Failure> {
    match args {
        args::Snapshots::List => list(&place::existing(global)?, out)?,
        args::Snapshots::Verify => return verify(&place::existing(global)?, out),
        args::Snapshots::Prune { budget } => {
            let snapshots = writer(global).await?;
            let bytes = budget.unwrap_or_else(|| snapshots.budget_bytes());
            let pruned = snapshots.prune(bytes).await?;
            let evicted: Vec<String> = pruned.evicted.iter().map(ToString::to_string).collect();
            let told = format!("{} snapshots dropped, {} bytes freed.", evicted.len(), grouped(pruned.bytes));
            out.result(&json!({ "evicted": evicted, "bytes": pruned.bytes, "budget": bytes }), || told);
        }
        args::Snapshots::Clear => {
            let dropped = writer(global).await?.clear().await?;
            let told = format!(
                "{} snapshots dropped, {} bytes freed. Conversations are read from their text next time.",
                dropped.snapshots,
                grouped(dropped.bytes)
            );
            out.result(&json!({ "dropped": dropped.snapshots, "bytes": dropped.bytes }), || told);
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn writer(global: &Global) -> Result<Snapshots, Failure> {
    let (library, _) = place::writer(global)?;
    Ok(Snapshots::open(&library, &SystemWorld).await?)
}

fn list(dir: &DataDir, out: &Out) -> Result<(), Failure> {
    let (snapshots, total) = list_snapshots(dir)?;
    let rows: Vec<Value> = snapshots.iter().map(row).collect();
    out.result(&json!({ "snapshots": rows, "total_bytes": total }), || {
        let line = |snapshot: &SnapshotInfo| {
            let state = match &snapshot.state {
                SnapshotState::Ready => String::new(),
                SnapshotState::Quarantined { why } => format!("  not used: {why}"),
            };
            format!(
                "{}  conversation {}  {} tokens  {} bytes{state}\n",
                snapshot.id,
                snapshot.conversation,
                grouped(u64::from(snapshot.n_tokens)),
                grouped(snapshot.bytes)
            )
        };
        let lines: String = snapshots.iter().map(line).collect();
        format!("{lines}{} snapshots, {} bytes on the disk.", snapshots.len(), grouped(total))
    });
    Ok(())
}

fn row(snapshot: &SnapshotInfo) -> Value {
    let (state, why) = match &snapshot.state {
        SnapshotState::Ready => ("ready", None),
        SnapshotState::Quarantined { why } => ("quarantined", Some(why)),
    };
    json!({
        "id": snapshot.id.to_string(),
        "conversation": snapshot.conversation.to_string(),
        "node": snapshot.node.to_string(),
        "tokens": snapshot.n_tokens,
        "state_bytes": snapshot.bytes,
        "stored_bytes": snapshot.own_bytes,
        "created": snapshot.created.as_millis(),
        "last_used": snapshot.last_used.as_millis(),
        "identity": snapshot.identity.to_string(),
        "state": state,
        "why": why,
        "pinned": snapshot.pinned,
    })
}

/// Ends with 1 where a snapshot is bad.
fn verify(dir: &DataDir, out: &Out) -> Result<ExitCode, Failure> {
    let began = Instant::now();
    let report = verify_snapshots(dir)?;
    let ms = began.elapsed().as_secs_f64() * 1000.0;
    let bad: Vec<Value> = report
        .bad
        .iter()
        .map(|bad| json!({ "id": bad.id.to_string(), "why": bad.why.to_string() }))
        .collect();
    let result = json!({
        "checked": report.checked,
        "ok": report.ok,
        "bad": bad,
        "bytes": report.bytes,
        "ms": ms,
    });
    out.result(&result, || {
        let lines: Vec<String> = report.bad.iter().map(|bad| format!("{}: {}\n", bad.id, bad.why)).collect();
        format!(
            "{}{} of {} snapshots are as they were saved; {} bytes read in {}.",
            lines.concat(),
            report.ok,
            report.checked,
            grouped(report.bytes),
            duration(ms)
        )
    });
    Ok(if report.bad.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
