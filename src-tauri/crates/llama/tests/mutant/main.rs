//! A worker with a broken backend, to see that it is found out: `reprise-engine` in everything but what
//! happens between a context and its bytes.
//!
//! The mutation is read from the file that `REPRISE_MUTATION_FILE` names at every export and import:
//! `export` or `import`, a blank, the fault, and where only the last so many layers are touched (those that
//! are offloaded) a blank and their number; beside it, with `.other` behind its name, lies an image of
//! another conversation. Only rows of K and V are touched: sizes, positions and
//! layout stay as they should be, so that only a computation can tell. `dies_before` and `dies_after` end the
//! worker beside llama.cpp's own call; `waits_before` and `waits_after` hold it there, from when a file with
//! `.reached` behind its name appears until somebody takes it away.
//!
//! `REPRISE_REMOTE` names a remote device (`tests/remote`) that it has besides, `REPRISE_REMOTE_MODULE` the module that
//! reaches it.

mod remote;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use llama_cpp_2::context::LlamaContext;
use reprise_engine::state::ImageTable;
use reprise_llama::state::{Direct, StateAccess};
use reprise_llama::template::{RENDER_ARGUMENT, run_child_main};
use reprise_llama::{image_table, log, pipes, worker};

fn main() -> ExitCode {
    pipes::end_quietly_on_bugs();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments == [RENDER_ARGUMENT] {
        return run_child_main(std::io::stdin(), std::io::stdout());
    }
    let [_, logs] = arguments.as_slice() else {
        eprintln!("started by tests, not by people");
        return ExitCode::from(2);
    };
    let Ok(file) = std::env::var("REPRISE_MUTATION_FILE") else {
        eprintln!("REPRISE_MUTATION_FILE names no file");
        return ExitCode::from(2);
    };
    if let (Ok(endpoint), Ok(module)) =
        (std::env::var("REPRISE_REMOTE"), std::env::var("REPRISE_REMOTE_MODULE"))
    {
        remote::connect(&module, &endpoint);
    }
    match pipes::inherited() {
        Ok(pipes) => {
            let captured = log::start(logs.as_ref());
            worker::run(pipes, &captured, &Mutant { file })
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

struct Mutant {
    file: String,
}

impl Mutant {
    /// Dies as of a failed assertion in native code, or waits.
    fn stop_if_asked(&self, side: &str, when: &str, bytes: usize) {
        // A worker that measures an image of one token, while it loads, is not meant.
        if bytes < 1 << 20 {
            return;
        }
        let asked = std::fs::read_to_string(&self.file).unwrap_or_default();
        if asked.trim() == format!("{side} dies_{when}") {
            std::process::abort();
        }
        if asked.trim() == format!("{side} waits_{when}") {
            let reached = Path::new(&self.file).with_extension("reached");
            if let Err(error) = std::fs::write(&reached, "") {
                eprintln!("{}: {error}", reached.display());
                std::process::abort();
            }
            while reached.exists() {
                std::thread::sleep(Duration::from_millis(2));
            }
        }
    }

    fn mutate(&self, side: &str, image: &mut [u8]) {
        let asked = std::fs::read_to_string(&self.file).unwrap_or_default();
        let mut words = asked.split_whitespace();
        if words.next() == Some(side)
            && let Some(fault) = words.next()
        {
            let last = words.next().and_then(|layers| layers.parse().ok());
            let table = image_table(image);
            let other = std::fs::read(format!("{}.other", self.file)).unwrap_or_default();
            apply(fault, last, &table, image, &other);
        }
    }
}

impl StateAccess for Mutant {
    fn size(&self, context: &LlamaContext<'_>) -> usize {
        Direct.size(context)
    }

    fn get(&self, context: &LlamaContext<'_>, image: &mut Vec<u8>) -> bool {
        self.stop_if_asked("export", "before", Direct.size(context));
        let got = Direct.get(context, image);
        self.mutate("export", image);
        self.stop_if_asked("export", "after", image.len());
        got
    }

    fn set(&self, context: &mut LlamaContext<'_>, image: &[u8]) -> bool {
        let mut image = image.to_vec();
        self.mutate("import", &mut image);
        self.stop_if_asked("import", "before", image.len());
        let set = Direct.set(context, &image);
        self.stop_if_asked("import", "after", image.len());
        set
    }
}

/// The regions of K come first, those of V behind them, a region a layer. Only the last layers are touched, where
/// their number is given; "first", "middle" and "upper half" are said of those.
fn apply(fault: &str, last: Option<usize>, table: &ImageTable, image: &mut [u8], other: &[u8]) {
    let all = table.regions.len() / 2;
    let untouched = all - last.unwrap_or(all).min(all);
    let layers = all - untouched;
    let touched = |index: usize| index % all >= untouched;
    let regions = || table.regions.iter().enumerate().filter(|(index, _)| touched(*index)).map(|(_, r)| r);
    let rows = table.regions.first().map_or(0, |region| region.rows as usize);
    let zero = |image: &mut [u8], wanted: &dyn Fn(usize, bool, usize) -> bool| {
        for (index, region) in table.regions.iter().enumerate().filter(|(index, _)| touched(*index)) {
            for row in (0..rows).filter(|row| wanted(index % all - untouched, index < all, *row)) {
                image[span(region.offset, region.row, row)].fill(0);
            }
        }
    };
    match fault {
        // What the original defect came to: the bytes went where no computation reads.
        "all" => zero(image, &|_, _, _| true),
        "k_only" => zero(image, &|_, k, _| k),
        "v_only" => zero(image, &|_, k, _| !k),
        "upper_half_of_layers" => zero(image, &|layer, _, _| layer >= layers / 2),
        "first_layer" => zero(image, &|layer, _, _| layer == 0),
        "middle_layer" => zero(image, &|layer, _, _| layer == layers / 2),
        "last_layer" => zero(image, &|layer, _, _| layer + 1 == layers),
        "first_half_of_positions" => zero(image, &|_, _, row| row < rows / 2),
        "first_64_positions" => zero(image, &|_, _, row| row < 64),
        "32_positions_in_the_middle" => zero(image, &|_, _, row| (rows / 2..rows / 2 + 32).contains(&row)),
        "last_position" => zero(image, &|_, _, row| row + 1 == rows),
        "one_row_of_one_layer" => zero(image, &|layer, k, row| layer == layers / 2 && !k && row == rows / 2),
        "32_rows_of_one_layer" => {
            zero(image, &|layer, _, row| layer == layers / 2 && (rows / 2..rows / 2 + 32).contains(&row));
        }
        "shifted_by_one" => {
            for region in regions() {
                for row in (1..rows).rev() {
                    let from = span(region.offset, region.row, row - 1);
                    image.copy_within(from, span(region.offset, region.row, row).start);
                }
            }
        }
        "other_conversation" => {
            let theirs = image_table(other);
            for (index, (region, their)) in table.regions.iter().zip(&theirs.regions).enumerate() {
                if !touched(index) {
                    continue;
                }
                for row in 0..rows {
                    let from = span(their.offset, their.row, row % (their.rows as usize).max(1));
                    image[span(region.offset, region.row, row)].copy_from_slice(&other[from]);
                }
            }
        }
        // No fault: attention does not see the order of cells.
        "rows_swapped_alike" => {
            for region in regions() {
                for row in (0..rows.saturating_sub(1)).step_by(2) {
                    let (low, high) =
                        (span(region.offset, region.row, row), span(region.offset, region.row, row + 1));
                    let (left, right) = image.split_at_mut(high.start);
                    left[low].swap_with_slice(&mut right[..usize::try_from(region.row).unwrap_or(0)]);
                }
            }
        }
        _ => {}
    }
}

fn span(offset: u64, len: u64, row: usize) -> std::ops::Range<usize> {
    let at = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    let from = at(offset) + at(len) * row;
    from..from + at(len)
}
