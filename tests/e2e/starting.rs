//! How long the window takes, what it weighs, and what it costs the model. Measured and told, not judged:
//! `scripts/bench-window`.

use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use reprise_chat::doctor;
use reprise_chat::engine::BareDecode;
use reprise_store::{
    ConversationId, DataDir, History, HistoryWriter, Holder, ListFilter, NewConversation, NewMessage, NodeId,
    Role, Timestamp, TitleSource,
};

use crate::desktop;
use crate::machine::APP;
use crate::place::{Place, SOON, eventually};
use crate::processes::{resident, signal};
use crate::talk;

const CONVERSATIONS: u64 = 10_000;
const ROUNDS: usize = 7;

/// A history as somebody has it after years.
fn fill(writer: &mut HistoryWriter) {
    for number in 0..CONVERSATIONS {
        let now = Timestamp::from_millis(1_700_000_000_000 + number * 60_000);
        let new = NewConversation {
            id: ConversationId::new(now, u128::from(number)),
            title: format!("Conversation number {number}"),
            title_source: TitleSource::Derived,
            model: None,
            seed: number,
        };
        let conversation = writer.create_conversation(&new).unwrap().id;
        let text = format!("The message of conversation {number}.");
        let id = NodeId::new(now, u128::from(number));
        writer
            .append_message(&NewMessage { id, conversation, parent: None, role: Role::User, text })
            .unwrap();
    }
}

/// From the start of a process to its window being there.
fn start(place: &Place, program: &Path) -> (Duration, Child) {
    let since = Instant::now();
    let child = place.command(program).env_remove("TAURI_WEBVIEW_AUTOMATION").spawn().unwrap();
    eventually("the window is shown", SOON, || desktop::is_shown(place.display(), child.id()).then_some(()));
    (since.elapsed(), child)
}

fn end(mut child: Child) {
    signal(child.id(), "TERM");
    eventually("it ends", SOON, || child.try_wait().unwrap());
}

/// Median, and the spread around it.
fn told(mut times: Vec<Duration>) -> String {
    times.sort();
    let ms = |time: &Duration| time.as_secs_f64() * 1000.0;
    let (low, high) = (&times[0], &times[times.len() - 1]);
    format!("{:.0} ms ({:.0} to {:.0})", ms(&times[times.len() / 2]), ms(low), ms(high))
}

#[test]
#[ignore = "a measurement, for scripts/bench-window"]
fn the_start_of_the_window_with_a_long_history() {
    let Some(place) = Place::new("bench") else { return };
    let holder = Holder::this_process("the bench", Timestamp::from_millis(1));
    fill(&mut History::open_writer(&DataDir::create(place.data()).unwrap(), &holder).unwrap());
    let blank = Path::new(APP).with_file_name("examples/blank-window");
    let (mut ours, mut least, mut weight, mut blank_weight) = (Vec::new(), Vec::new(), 0, 0);
    for _ in 0..ROUNDS {
        let (time, child) = start(&place, &blank);
        least.push(time);
        blank_weight = resident(child.id());
        end(child);
        let (time, child) = start(&place, Path::new(APP));
        ours.push(time);
        weight = resident(child.id());
        end(child);
    }
    println!("blank window, shown with its page: {}", told(least));
    println!("window shown with its page, {CONVERSATIONS} conversations: {}", told(ours));
    let mb = |bytes: u64| bytes as f64 / 1e6;
    println!("app process resident, no model: {:.0} MB (blank: {:.0} MB)", mb(weight), mb(blank_weight));
}

/// Tokens that an answer has at least before it is stopped.
const ANSWER: u32 = 200;

#[test]
#[ignore = "a measurement, for scripts/bench-window"]
fn decoding_with_the_window_open() {
    let Some(place) = Place::for_measuring("bench-decode") else { return };
    place.prefer_the_likeliest();
    let program = Path::new(APP).parent().unwrap();
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/SmolLM2-135M-Instruct.Q4_1.gguf");
    let threads = doctor::default_threads(&doctor::hardware(place.root())).unwrap_or(1);
    let window = place.open();
    let (mut pairs, mut rates) = (Vec::new(), Vec::new());
    for round in 1..=5 {
        if round > 1 {
            window.click(&window.named("button", "New conversation"));
        }
        window.say(talk::LONG);
        window.wait_for_text();
        // Long enough that the beginning weighs little; how many tokens came is read below.
        std::thread::sleep(Duration::from_secs(5));
        window.click(&window.named("button", "Stop"));
        window.wait_for_answer(1);
        let reader = History::open_reader(&DataDir::at(place.data()).unwrap()).unwrap();
        let latest = &reader.list(ListFilter::default()).unwrap()[0];
        let answer = reader.active_path(latest.id).unwrap().pop().unwrap();
        let stats = answer.stats.unwrap();
        let tokens = u32::try_from(stats["decode_tokens"].as_u64().unwrap()).unwrap();
        let rate = stats["decode_tok_s"].as_f64().unwrap();
        assert!(tokens > ANSWER, "{tokens} tokens say little");
        let bare = BareDecode::run(program, &model, tokens, threads).unwrap();
        pairs.push(rate * bare.ms / 1000.0 / f64::from(bare.tokens));
        rates.push(rate);
    }
    for samples in [&mut pairs, &mut rates] {
        samples.sort_by(f64::total_cmp);
    }
    println!("decode with the window open: {:.0} tokens/s", rates[2]);
    println!("over a bare loop: {:.3} ({:.3} to {:.3})", pairs[2], pairs[0], pairs[4]);
}
