//! Arguments of the command line.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};

/// Chat with local GGUF models.
#[derive(Debug, Parser)]
#[command(name = "reprise-cli", version, arg_required_else_help = true)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Global {
    /// Folder of the conversations [default: the app's]
    #[arg(long, global = true, value_name = "DIR", env = "REPRISE_DATA_DIR", hide_env_values = true)]
    pub(crate) data_dir: Option<PathBuf>,
    /// Folder of the engine, its libraries and modules [default: beside this program]
    #[arg(long, global = true, value_name = "DIR", env = "REPRISE_ENGINE_DIR", hide_env_values = true)]
    pub(crate) engine_dir: Option<PathBuf>,
    /// Print exactly one JSON object on standard output
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Print results only
    #[arg(long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Tell each step on standard error
    #[arg(short, long, global = true)]
    pub(crate) verbose: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Take a turn in a new or a stored conversation
    Chat(Box<Chat>),
    /// Show what this machine and the engine are
    Doctor(Doctor),
    /// The library of conversations
    #[command(subcommand)]
    History(History),
    /// The cache of states, from which conversations resume
    #[command(subcommand)]
    Snapshots(Snapshots),
    /// Measure, as ratios in one run
    #[command(subcommand)]
    Bench(Bench),
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Chat {
    /// The model file
    #[arg(long, value_name = "GGUF")]
    pub(crate) model: PathBuf,
    /// Go on with this conversation
    #[arg(long, value_name = "ID")]
    pub(crate) conversation: Option<String>,
    /// Answer behind this message, as a branch
    #[arg(long, value_name = "NODE", requires = "conversation")]
    pub(crate) parent: Option<String>,
    /// The message; several are taken one after the other in one process
    #[arg(long, value_name = "TEXT", required_unless_present = "prompt_file", allow_hyphen_values = true)]
    pub(crate) prompt: Vec<String>,
    /// Read the message from a file (- for standard input)
    #[arg(long, value_name = "FILE", conflicts_with = "prompt")]
    pub(crate) prompt_file: Option<PathBuf>,
    /// Instructions for the model, at the beginning of a conversation
    #[arg(long, value_name = "TEXT", conflicts_with = "conversation", allow_hyphen_values = true)]
    pub(crate) system: Option<String>,
    /// Seed of the sampling [default: the conversation's own]
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// 0: always the likeliest token [default: 0.8]
    #[arg(long, value_name = "F", value_parser = finite)]
    pub(crate) temperature: Option<f32>,
    /// Keep the k likeliest tokens [default: 40]
    #[arg(long, value_name = "K")]
    pub(crate) top_k: Option<i32>,
    /// Keep the likeliest tokens that add up to this probability [default: 0.95]
    #[arg(long, value_name = "F", value_parser = share)]
    pub(crate) top_p: Option<f32>,
    /// Keep tokens at least this share as likely as the likeliest [default: 0.05]
    #[arg(long, value_name = "F", value_parser = share)]
    pub(crate) min_p: Option<f32>,
    /// Make tokens that came lately less likely; 1 is off [default: 1]
    #[arg(long, value_name = "F", value_parser = positive)]
    pub(crate) repeat_penalty: Option<f32>,
    /// A text that ends the answer; may be given several times
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub(crate) stop: Vec<String>,
    /// Tokens of the answer at most
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_tokens: Option<u32>,
    /// Context in tokens [default: the model's, at most 8192]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) n_ctx: Option<u32>,
    /// Element type of the KV cache
    #[arg(long, value_name = "TYPE", value_enum, default_value_t = KvType::F16)]
    pub(crate) kv_type: KvType,
    /// Compute attention in the fused way
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = FlashAttention::Auto)]
    pub(crate) flash_attn: FlashAttention,
    /// Base frequency of the rotary position embedding [default: the model's]
    #[arg(long, value_name = "F", value_parser = positive)]
    pub(crate) rope_freq_base: Option<f32>,
    /// Threads for reading and writing [default: one a physical core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) threads: Option<u32>,
    #[command(flatten)]
    pub(crate) device: Device,
    /// Neither restore nor keep the model's state
    #[arg(long)]
    pub(crate) no_snapshots: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum KvType {
    #[value(name = "f16")]
    F16,
    #[value(name = "q8_0")]
    Q8_0,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum FlashAttention {
    Auto,
    On,
    Off,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Doctor {
    /// Load this model too
    #[arg(long, value_name = "GGUF")]
    pub(crate) model: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) device: Device,
    /// NVIDIA's management library [default: the driver's]
    #[arg(long, value_name = "FILE", env = "REPRISE_NVML_LIB", hide_env_values = true)]
    pub(crate) nvml_lib: Option<PathBuf>,
}

/// What to compute on.
#[derive(Debug, ClapArgs)]
pub(crate) struct Device {
    /// What to compute on: auto, cpu, cuda, or a device that `doctor` lists; auto is the processor in this version
    #[arg(long, value_name = "BACKEND", default_value = "auto")]
    pub(crate) backend: String,
    /// Layers on that device, from the last one on [default: all]
    #[arg(long, value_name = "N")]
    pub(crate) gpu_layers: Option<u32>,
    /// Where their KV cache lies
    #[arg(long, value_name = "PLACE", value_enum, default_value_t = KvPlace::Device)]
    pub(crate) kv_place: KvPlace,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum KvPlace {
    Device,
    Host,
}

#[derive(Debug, Subcommand)]
pub(crate) enum History {
    /// All conversations, the latest first
    List {
        /// Those in the trash
        #[arg(long)]
        trashed: bool,
    },
    /// One conversation
    Show {
        id: String,
        /// Every branch, not only the one that is shown
        #[arg(long)]
        all: bool,
    },
    /// Find text
    Search {
        query: String,
        /// Hits at most
        #[arg(long, value_name = "N", default_value_t = 20)]
        limit: usize,
    },
    /// Write a conversation to standard output or a file
    Export {
        id: String,
        /// json and markdown are text; a bundle is one file with everything, for `history import`
        #[arg(long, value_enum, default_value_t = ExportFormat::Json)]
        format: ExportFormat,
        /// Instead of standard output; of a bundle, instead of ID.reprise in this folder
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
        /// Replace the file of a bundle if it is there
        #[arg(long)]
        overwrite: bool,
        /// Leave the model's state out of a bundle
        #[arg(long)]
        no_snapshots: bool,
    },
    /// Take in a conversation from a bundle, with its text and its state
    Import {
        /// What `history export --format bundle` wrote
        file: PathBuf,
        /// Take the text alone, as from people whose word you would not take for the model's state
        #[arg(long)]
        no_snapshots: bool,
    },
    /// Put a conversation into the trash
    Trash { id: String },
    /// Take a conversation out of the trash
    Restore { id: String },
    /// Erase a conversation for good
    Purge { id: String },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportFormat {
    Json,
    Markdown,
    Bundle,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Snapshots {
    /// All of them, the one used last first
    List,
    /// Read every one and compare it with what was saved
    Verify,
    /// Drop the least recently used
    Prune {
        /// Bytes that may stay [default: the budget]
        #[arg(long, value_name = "BYTES")]
        budget: Option<u64>,
    },
    /// Drop all of them; no message is touched
    Clear,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Bench {
    /// Decode rate through Reprise against a bare llama.cpp loop
    Decode {
        /// The model file
        #[arg(long, value_name = "GGUF")]
        model: PathBuf,
        /// Tokens a run
        #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(16..))]
        tokens: u32,
        /// Runs of each
        #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
        runs: u32,
    },
    /// Coming back to a conversation: from its state and from its text
    Resume(Subject),
    /// Keeping a state after a turn
    Save(Subject),
    /// Round trips and state bytes between app and worker
    Ipc {
        /// Runs of each
        #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
        runs: u32,
    },
}

/// The conversation that is measured.
#[derive(Debug, ClapArgs)]
pub(crate) struct Subject {
    /// The model file
    #[arg(long, value_name = "GGUF")]
    pub(crate) model: PathBuf,
    /// Its length in tokens
    #[arg(long, value_name = "N", default_value_t = 4096, value_parser = clap::value_parser!(u32).range(512..=1_000_000))]
    pub(crate) tokens: u32,
    /// Runs of each
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) runs: u32,
    /// Element type of the KV cache
    #[arg(long, value_name = "TYPE", value_enum, default_value_t = KvType::F16)]
    pub(crate) kv_type: KvType,
    #[command(flatten)]
    pub(crate) device: Device,
}

fn number(text: &str) -> Result<f32, String> {
    text.parse::<f32>().ok().filter(|n| n.is_finite()).ok_or_else(|| "not a number".to_owned())
}

fn finite(text: &str) -> Result<f32, String> {
    number(text).and_then(|n| if n >= 0.0 { Ok(n) } else { Err("must be 0 or more".to_owned()) })
}

fn positive(text: &str) -> Result<f32, String> {
    number(text).and_then(|n| if n > 0.0 { Ok(n) } else { Err("must be more than 0".to_owned()) })
}

fn share(text: &str) -> Result<f32, String> {
    number(text).and_then(|n| if (0.0..=1.0).contains(&n) { Ok(n) } else { Err("must be 0 to 1".to_owned()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_holds_together() {
        <Args as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn numbers_out_of_range_are_bad_usage() {
        let parse = |args: &[&str]| {
            let all = ["reprise-cli", "chat", "--model", "m", "--prompt", "p"].iter().chain(args);
            Args::try_parse_from(all)
        };
        assert!(parse(&["--temperature", "0.5"]).is_ok());
        for bad in
            [["--temperature", "NaN"], ["--temperature", "-1"], ["--top-p", "2"], ["--max-tokens", "0"]]
        {
            assert!(parse(&bad).is_err(), "{bad:?}");
        }
    }
}
