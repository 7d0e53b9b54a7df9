//! A writer that is killed at any moment loses nothing that it has acknowledged.
//! (A kill leaves the system's caches: what a power cut would lose is SQLite's and the disk's to keep.)

use std::time::{Duration, Instant};

use reprise_store::{ConversationId, MessageState, NodeId};

use crate::child::{Spawned, command, text_of};
use crate::support::Place;

const ROUNDS: usize = 30;
const TIME_LIMIT: Duration = Duration::from_mins(1);

/// What the killed writer had told us.
#[derive(Default)]
struct Told {
    conversation: Option<ConversationId>,
    kept: Vec<(NodeId, usize)>,
    half: Vec<(NodeId, usize, usize)>,
}

impl Told {
    fn hear(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        match words.as_slice() {
            ["conversation", id] => self.conversation = Some(id.parse().unwrap()),
            ["kept", id, n] => self.kept.push((id.parse().unwrap(), n.parse().unwrap())),
            ["half", id, n, bytes] => {
                let (n, bytes) = (n.parse().unwrap(), bytes.parse().unwrap());
                self.half.push((id.parse().unwrap(), n, bytes));
            }
            // The last line may be cut by the kill.
            _ => {}
        }
    }
}

#[test]
fn kill_nine_loses_nothing_acknowledged() {
    let place = Place::new();
    let data = place.data();
    let begun = Instant::now();
    let mut interrupted = 0;
    let mut rounds = 0;
    let mut kept = 0;
    while rounds < ROUNDS && begun.elapsed() < TIME_LIMIT {
        let mut writer = Spawned::start(command("write_forever", data.root())).unwrap();
        let mut told = Told::default();
        // A different number each round; the kill then comes while the child is doing the next thing.
        for _ in 0..2 + rounds * 7 % 23 {
            told.hear(&writer.next().expect("the child ended by itself"));
        }
        writer.kill();
        while let Some(line) = writer.next() {
            told.hear(&line);
        }
        interrupted += check(&place, &told);
        kept += told.kept.len();
        rounds += 1;
    }
    assert!(rounds >= 5, "only {rounds} rounds in {TIME_LIMIT:?}");
    assert!(kept > 2 * rounds, "the children wrote next to nothing");
    assert!(interrupted > 0, "no kill met an answer that was being written");
}

fn check(place: &Place, told: &Told) -> usize {
    let writer = place.writer();
    for (node, n) in &told.kept {
        let message = writer.message(*node).unwrap();
        assert!(!message.damaged && message.state == MessageState::Complete);
        assert_eq!(message.text, text_of(*n));
    }
    for (node, n, bytes) in &told.half {
        let message = writer.message(*node).unwrap();
        assert!(!message.damaged && message.text.len() >= *bytes);
        assert!(text_of(*n).starts_with(&message.text));
    }
    let conversation = told.conversation.unwrap();
    for message in writer.messages(conversation).unwrap() {
        assert_ne!(message.state, MessageState::Streaming);
    }
    let path = writer.active_path(conversation).unwrap();
    assert_eq!(path.len(), writer.messages(conversation).unwrap().len());
    let report = writer.integrity_check().unwrap();
    assert!(report.is_ok(), "{report:?}");
    writer.opening().interrupted
}
