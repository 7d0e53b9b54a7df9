//! How long the window takes, and what it weighs. Measured and told, not judged: `scripts/bench-window`.

use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use reprise_store::{
    ConversationId, DataDir, History, HistoryWriter, Holder, NewConversation, NewMessage, NodeId, Role,
    Timestamp, TitleSource,
};

use crate::desktop;
use crate::machine::APP;
use crate::place::{Place, SOON, eventually};
use crate::processes::{resident, signal};

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
