//! Coming back to a conversation: it is made ready when it is opened, by what proved itself or from its text, and
//! the window says so.

use std::fs::{self, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reprise_store::{
    Budget, ConversationId, DataDir, History, HistoryWriter, Holder, ModelRef, NewConversation, NewMessage,
    NodeId, Role, SnapshotStore, Timestamp, TitleSource,
};
use serde_json::json;

use crate::place::{ANSWER, Place, SOON, Window};
use crate::talk::LONG;

/// Words of one exchange: with the model's tokens for them well above the shortest state that is kept.
pub const WORDS: usize = 400;

/// What is written in the list and in the history of one conversation.
fn text_of(title: &str, words: usize) -> String {
    let told = ["river", "stone", "winter", "lamp", "garden", "letter", "harbour", "clock"];
    let words: Vec<&str> = (0..words).map(|n| told[(n * 7 + n / 5 + title.len()) % told.len()]).collect();
    format!("{title}: {}", words.join(" "))
}

/// When a conversation was had, its question and its answer.
fn ids(number: u64) -> (Timestamp, NodeId, NodeId) {
    let now = Timestamp::from_millis(1_700_000_000_000 + number * 60_000);
    let number = u128::from(number);
    (now, NodeId::new(now, 1000 + number * 2), NodeId::new(now, 1001 + number * 2))
}

impl Place {
    pub fn write_history(&self, change: impl FnOnce(&mut HistoryWriter)) {
        let holder = Holder::this_process("the test", Timestamp::from_millis(1));
        change(&mut History::open_writer(&DataDir::create(self.data()).unwrap(), &holder).unwrap());
    }

    /// Conversations that were had before, elsewhere: their text is there, and nothing was computed of them.
    fn had_before(&self, titles: &[&str], words: usize) {
        for (number, title) in (0..).zip(titles) {
            self.had_one(number, title, words);
        }
    }

    /// One of them; `number` tells it from the others.
    fn had_one(&self, number: u64, title: &str, words: usize) {
        self.had_one_with(number, title, words, self.model());
    }

    /// The same with another model.
    pub fn had_one_with(&self, number: u64, title: &str, words: usize, model: &Path) {
        let (now, asked, answer) = ids(number);
        let name = model.file_stem().unwrap().to_string_lossy().into_owned();
        let path = model.display().to_string();
        self.write_history(|writer| {
            let new = NewConversation {
                id: ConversationId::new(now, u128::from(number)),
                title: title.to_owned(),
                title_source: TitleSource::Custom,
                model: Some(ModelRef { path, name }),
                seed: 7,
            };
            let conversation = writer.create_conversation(&new).unwrap().id;
            let said = |id, parent, role, text| NewMessage { id, conversation, parent, role, text };
            writer.append_message(&said(asked, None, Role::User, text_of(title, words))).unwrap();
            let text = "That is a fine list of words.".to_owned();
            writer.append_message(&said(answer, Some(asked), Role::Assistant, text)).unwrap();
        });
    }

    fn prefer(&self, settings: &serde_json::Value) {
        self.write_history(|writer| writer.save_preferences(settings).unwrap());
    }

    /// Everything that was saved is in the file itself, and nothing in its journal.
    fn settle_snapshots(&self) {
        self.write_history(|writer| {
            let budget = Budget::default_for(u64::MAX, Arc::new(|| None));
            drop(SnapshotStore::open(writer, budget, [0; 32], Timestamp::from_millis(1)).unwrap());
        });
    }

    /// One byte of a saved state is not what it was.
    fn turn_a_bit(&self) {
        self.settle_snapshots();
        let path = self.data().join("snapshots.db");
        let mut file = OpenOptions::new().read(true).write(true).open(path).unwrap();
        // Most of the file is pieces of states.
        let middle = file.metadata().unwrap().len() / 2;
        let mut byte = [0];
        file.seek(SeekFrom::Start(middle)).unwrap();
        file.read_exact(&mut byte).unwrap();
        file.seek(SeekFrom::Start(middle)).unwrap();
        file.write_all(&[byte[0] ^ 0x10]).unwrap();
    }
}

impl Window<'_> {
    /// As somebody who is about to write.
    pub fn take_the_composer(&self) {
        let composer = self.named("textbox", "");
        self.click(&composer);
    }

    /// Opens a conversation and has it made ready, the model loaded for it.
    pub fn come_back_to(&self, title: &str, words: &str) {
        self.open_conversation(title);
        self.wait("its text is shown", SOON, |window| !window.turns().is_empty());
        self.take_the_composer();
        self.wait_for_words(words, ANSWER);
    }

    /// Reads a conversation that was had before, and waits until its state is on the disk.
    fn read_once(&self, title: &str, read: &str, saved: &str) {
        self.come_back_to(title, read);
        self.wait_for_words(saved, ANSWER);
    }
}

/// A conversation that was read once, so that its state is there, in a window that is closed again.
pub fn kept_once(place: &Place) {
    place.prefer_the_likeliest();
    place.had_before(&["Harbour"], WORDS);
    let window = place.open();
    window.read_once("Harbour", "Started from the text", "Snapshot saved");
    window.close();
    place.wait_until_empty();
}

#[test]
fn a_conversation_is_ready_and_verified_before_anything_is_sent() {
    let Some(place) = Place::new("reopened") else { return };
    kept_once(&place);
    let window = place.open();
    window.open_conversation("Harbour");
    window.wait("its text is shown", SOON, |window| window.turns().len() == 2);
    assert!(place.engine().is_empty(), "no model is loaded because somebody looks");
    window.take_the_composer();
    window.wait_for_words("verified", ANSWER);
    window.wait_for_words("1 earlier", SOON);
    window.keep_screenshot("verified");
    window.say("And now a bridge.");
    window.wait_for_beginning(2);
    window.wait_for_words("Went on from memory", SOON);
    window.keep_screenshot("went-on");
}

#[test]
fn in_chinese_too() {
    let Some(place) = Place::new("reopened-chinese") else { return };
    place.prefer(&json!({ "temperature": 0.0, "language": "zh-CN" }));
    place.had_before(&["港口"], WORDS);
    let window = place.open();
    window.read_once("港口", "已从文本开始", "快照已保存");
    window.close();
    place.wait_until_empty();
    let window = place.open();
    window.come_back_to("港口", "已验证");
    window.keep_screenshot("verified");
}

#[test]
fn a_turned_bit_is_found_and_said_and_the_text_read() {
    let Some(place) = Place::new("turned-bit") else { return };
    kept_once(&place);
    place.turn_a_bit();
    let window = place.open();
    window.come_back_to("Harbour", "damaged");
    window.wait_for_words("Replayed", SOON);
    assert!(!window.text().contains("verified"));
    window.keep_screenshot("damaged");
    window.wait_for_words("Snapshot saved", ANSWER);
}

#[test]
fn another_model_file_is_noticed_and_said() {
    let Some(place) = Place::with_a_model_of_its_own("model-changed") else { return };
    kept_once(&place);
    // llama.cpp reads what the header names; what stands behind changes nothing but the file.
    OpenOptions::new().append(true).open(place.model()).unwrap().write_all(b"changed").unwrap();
    let window = place.open();
    window.come_back_to("Harbour", "the model file changed since this snapshot");
    window.keep_screenshot("changed");
}

#[test]
fn without_the_file_of_snapshots_the_text_is_read() {
    let Some(place) = Place::new("snapshots-gone") else { return };
    kept_once(&place);
    for name in ["snapshots.db", "snapshots.db-wal", "snapshots.db-shm"] {
        let path = place.data().join(name);
        if path.exists() {
            fs::remove_file(path).unwrap();
        }
    }
    let window = place.open();
    window.come_back_to("Harbour", "Replayed");
    assert_eq!(window.turns().len(), 2, "no word is lost with it");
    window.wait_for_words("Snapshot saved", ANSWER);
}

#[test]
fn hopping_among_three_while_one_answers_disturbs_nothing() {
    let Some(place) = Place::new("hopping") else { return };
    place.prefer_the_likeliest();
    place.had_before(&["Harbour", "Mountain", "Library"], WORDS);
    let window = place.open();
    // Each is read once, so that a state of it is there.
    for title in ["Harbour", "Mountain", "Library"] {
        window.read_once(title, "Started from the text", "Snapshot saved");
    }
    window.say(LONG);
    let before = window.wait_for_text();
    for title in ["Harbour", "Mountain", "Harbour"] {
        window.open_conversation(title);
        window.wait("its text is shown", SOON, |window| window.turns().len() == 2);
        // Longer than one waits before a conversation is made ready.
        let since = Instant::now();
        while since.elapsed() < Duration::from_millis(700) {
            assert!(!window.text().contains("Replaying"), "an answer is being written");
        }
    }
    window.open_conversation("Library");
    window.wait("it went on", ANSWER, |window| {
        window.answers().last().is_some_and(|now| now.text.len() > before.text.len())
    });
    let stop = window.named("button", "Stop");
    window.click(&stop);
    window.wait_for_answer(2);
    // Passing by is no visit.
    window.open_conversation("Mountain");
    window.open_conversation("Harbour");
    window.wait_for_words("verified", ANSWER);
    window.keep_screenshot("harbour");
    window.open_conversation("Mountain");
    window.wait_for_words("verified", ANSWER);
    // One receipt from the first reading, one of now: none from passing by.
    window.wait_for_words("1 earlier", SOON);
}

#[test]
fn a_replay_can_be_cancelled_and_the_message_sent() {
    let Some(place) = Place::new("cancelled") else { return };
    place.prefer_the_likeliest();
    place.had_before(&["Harbour"], 3000);
    let window = place.open();
    window.open_conversation("Harbour");
    window.wait("its text is shown", SOON, |window| window.turns().len() == 2);
    window.take_the_composer();
    let cancel = window.wait_for("it is being read", ANSWER, |window| {
        window.text().contains("tokens/s").then(|| window.named("button", "Cancel"))
    });
    window.keep_screenshot("reading");
    window.click(&cancel);
    window.wait_for_words("Read it now", SOON);
    window.say("Go on.");
    window.wait_for_beginning(2);
    window.keep_screenshot("answered");
}

#[test]
fn where_the_limit_is_reached_a_state_goes_and_no_word() {
    let Some(place) = Place::new("limit") else { return };
    place.prefer_the_likeliest();
    place.had_before(&["Harbour", "Mountain"], WORDS);
    let window = place.open();
    window.read_once("Harbour", "Started from the text", "Snapshot saved");
    window.close();
    place.wait_until_empty();
    place.settle_snapshots();
    // One state may take half of the limit; three are more than all of it.
    let taken = fs::metadata(place.data().join("snapshots.db")).unwrap().len();
    place.write_history(|writer| writer.set_snapshot_budget(Some(taken * 5 / 2)).unwrap());
    place.had_one(2, "Library", WORDS);
    let window = place.open();
    for title in ["Mountain", "Library"] {
        window.read_once(title, "Started from the text", "Snapshot saved");
    }
    window.come_back_to("Harbour", "Replayed");
    assert_eq!(window.turns().len(), 2);
    assert!(!window.text().contains("verified"), "its state had to go");
    window.keep_screenshot("evicted");
}

/// Waits in the page for words, from the click on: looking from outside would cost more than what is measured.
const CLICK_TO_WORDS: &str = r#"
const [title, words] = arguments;
const row = [...document.querySelectorAll("[role=option], li button, li a, nav a, nav button")].find((e) => e.innerText.includes(title));
window.measured = undefined;
const began = performance.now();
row.click();
const look = () => {
  if (document.querySelector("[role=log]")?.innerText.includes(words)) window.measured = performance.now() - began;
  else requestAnimationFrame(look);
};
requestAnimationFrame(look);
"#;

#[test]
#[ignore = "a measurement: scripts/bench-window"]
fn measured_from_the_click_to_ready_and_verified() {
    let Some(place) = Place::for_measuring("click-to-ready") else { return };
    place.prefer_the_likeliest();
    // About 4,096 tokens each.
    place.had_before(&["Harbour", "Mountain"], 4_050);
    let window = place.open();
    for title in ["Harbour", "Mountain"] {
        window.read_once(title, "Started from the text", "Snapshot saved");
    }
    let mut clicks = Vec::new();
    for round in 0..10 {
        let title = ["Harbour", "Mountain"][round % 2];
        // Receipts of before are shown at once: it is a further one that is waited for.
        let further = format!("{} earlier", round / 2 + 1);
        window.js(CLICK_TO_WORDS, &[title.into(), further.into()]);
        let ms = window.wait_for("it is ready", SOON, |window| {
            window.js("return window.measured ?? null", &[]).as_f64()
        });
        assert!(window.text().contains("verified"));
        clicks.push(ms);
    }
    clicks.sort_by(f64::total_cmp);
    let receipts = receipts(&place.data());
    println!("click to ready, verified: median {:.0} ms, all {clicks:.0?}", clicks[clicks.len() / 2]);
    println!("of that the five checks: {receipts:?}");
}

/// What was restored, as the receipts say: milliseconds, and tokens.
fn receipts(data: &Path) -> Vec<(f64, u64)> {
    let history = History::open_reader(&DataDir::at(data).unwrap()).unwrap();
    let mut found = Vec::new();
    for number in 0..2 {
        let (_, _, leaf) = ids(number);
        for kept in history.receipts_of(&[leaf]).unwrap().into_values() {
            for (_, receipt) in kept.kept {
                if receipt["path"] == "restored" {
                    let ms = receipt["ms"].as_f64().unwrap_or_default();
                    found.push((ms, receipt["tokens_total"].as_u64().unwrap_or_default()));
                }
            }
        }
    }
    found
}
