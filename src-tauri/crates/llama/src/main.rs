//! Entry of `reprise-engine`. Started by Reprise, not by people.

use std::path::PathBuf;
use std::process::ExitCode;

use reprise_llama::template::{RENDER_ARGUMENT, run_child_main};
use reprise_llama::{bare, log, pipes, state, worker};

fn main() -> ExitCode {
    pipes::end_quietly_on_bugs();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        [RENDER_ARGUMENT] => run_child_main(std::io::stdin(), std::io::stdout()),
        [bare::ARGUMENT, model, tokens, threads] => bare::main(model, tokens, threads),
        ["--log-dir", logs] => match pipes::inherited() {
            Ok(pipes) => {
                let captured = log::start(&PathBuf::from(logs));
                worker::run(pipes, &captured, &state::Direct)
            }
            Err(error) => started_by_hand(&error.to_string()),
        },
        _ => started_by_hand("no pipes were passed to it"),
    }
}

fn started_by_hand(why: &str) -> ExitCode {
    eprintln!(
        "reprise-engine is the engine of Reprise, which starts it itself ({why}). Run reprise or reprise-cli."
    );
    ExitCode::from(2)
}
