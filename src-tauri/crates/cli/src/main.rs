//! `reprise-cli`: the use-cases of Reprise without a window.
//!
//! Each command unpacks its arguments, calls one use-case of the crate `chat`, and shows the result: for
//! people by default, as exactly one JSON object with `--json` (its keys are a contract). Nothing here
//! is a second implementation.
//!
//! To add a command: its arguments in [`args`], a module named after it, its JSON in that module.

mod args;
mod bench;
mod bundle;
mod chat;
mod doctor;
mod history;
mod output;
mod place;
mod snapshots;

use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;
use serde_json::json;

use args::{Args, Command};
use output::{Failure, Out};

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => return usage(&error),
    };
    let out = Out::new(&args.global);
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return out.fail(&Failure::new("runtime", error.to_string(), "Close other programs.")),
    };
    let result = runtime.block_on(async {
        match &args.command {
            Command::Chat(chat) => chat::run(&args.global, chat, &out).await,
            Command::Doctor(doctor) => doctor::run(&args.global, doctor, &out).await,
            Command::History(history) => history::run(&args.global, history, &out).await,
            Command::Snapshots(snapshots) => snapshots::run(&args.global, snapshots, &out).await,
            Command::Bench(bench) => bench::run(&args.global, bench, &out).await,
        }
    });
    // Blocking work that nobody waits for any more must not hold the exit up.
    runtime.shutdown_background();
    match result {
        Ok(code) => code,
        Err(failure) => out.fail(&failure),
    }
}

/// Bad usage ends with 2; help and version are no error.
fn usage(error: &clap::Error) -> ExitCode {
    let asked = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    if std::env::args_os().any(|arg| arg == "--json") {
        match error.kind() {
            ErrorKind::DisplayHelp => output::print_json(&json!({ "help": error.render().to_string() })),
            ErrorKind::DisplayVersion => output::print_json(&json!({ "version": env!("CARGO_PKG_VERSION") })),
            _ => output::print_json(&Failure::new("bad_usage", sentence(error), "See reprise-cli --help.")),
        }
    } else {
        // A closed pipe is no reason to complain.
        let _ = error.print();
    }
    ExitCode::from(if asked { 0 } else { 2 })
}

/// What clap complains of, without the usage and the hints that follow.
fn sentence(error: &clap::Error) -> String {
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return "A command is missing.".to_owned();
    }
    let rendered = error.render().to_string();
    let said = rendered.trim_start_matches("error: ").lines().map(str::trim);
    let said = said.take_while(|line| !line.is_empty()).collect::<Vec<_>>().join(" ");
    let mut chars = said.chars();
    let first = chars.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", chars.as_str().trim_end_matches('.'))
}
