//! Text that tries to run, shown in the real window.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use reprise_store::{
    ConversationId, DataDir, FinishedAnswer, History, Holder, MessageState, NewAnswer, NewConversation,
    NewMessage, NodeId, Notice, Role, StopReason, Timestamp, TitleSource,
};
use serde_json::Value;

use crate::machine::skip;
use crate::place::{Place, SOON, eventually};

/// Where the corpus sends its requests; here they go to a listener of our own.
const EVIL: &str = "https://evil.example";

/// Notes what runs and what the content policy had to stop.
const CANARY: &str = r#"
window.ran = []; window.stopped = [];
for (const name of ["alert", "confirm", "prompt", "print", "open"]) window[name] = () => { window.ran.push(name); };
document.addEventListener("securitypolicyviolation", (e) => window.stopped.push(`${e.violatedDirective} ${e.blockedURI}`));
"#;

/// Half a screen further in a direction; what is wrong with the one that is shown, and which messages it shows.
const LOOK: &str = r#"
const log = document.querySelector("[role=log]");
const bad = [...log.querySelectorAll("script, iframe, object, embed, img, style, link, meta, base, form, video, audio, template, :not(.tex, .tex *) > math, foreignObject")]
  .map((e) => e.outerHTML.slice(0, 80));
for (const e of log.querySelectorAll("*")) for (const a of e.attributes)
  if (a.name.startsWith("on") || /javascript:|data:/i.test(a.value) || a.name === "srcdoc") bad.push(`${e.tagName} ${a.name}`);
let pane = log;
while (pane && pane.scrollHeight <= pane.clientHeight + 1) pane = pane.parentElement;
const from = pane?.scrollTop ?? 0, box = log.getBoundingClientRect();
// What the screen shows is drawn a moment after it was scrolled to.
const drawn = [...log.querySelectorAll("[data-message]")].some((e) => {
  const at = e.getBoundingClientRect();
  return at.top < box.bottom - box.height / 4 && at.bottom > box.top + box.height / 4;
});
if (!drawn) return null;
pane?.scrollBy({ top: arguments[0] * pane.clientHeight / 2, behavior: "instant" });
return { bad, ids: [...log.querySelectorAll("[data-message]")].map((e) => e.dataset.message),
  ended: Math.abs((pane?.scrollTop ?? 0) - from) < 1, ran: window.ran, stopped: window.stopped };
"#;

struct Listener {
    port: u16,
    connections: Arc<AtomicUsize>,
}

fn listen() -> Listener {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let connections = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&connections);
    std::thread::spawn(move || {
        for _ in listener.incoming() {
            count.fetch_add(1, Ordering::Relaxed);
        }
    });
    Listener { port, connections }
}

/// A conversation, `Hostile text`, whose answers are these; their ids.
pub fn store(place: &Place, texts: &[String]) -> Vec<String> {
    let now = |ms: u64| Timestamp::from_millis(1_770_000_000_000 + ms);
    let holder = Holder::this_process("the test", now(0));
    let mut writer = History::open_writer(&DataDir::create(place.data()).unwrap(), &holder).unwrap();
    let new = NewConversation {
        id: ConversationId::new(now(0), 1),
        title: "Hostile text".to_owned(),
        title_source: TitleSource::Custom,
        model: None,
        seed: 1,
    };
    let conversation = writer.create_conversation(&new).unwrap().id;
    let mut parent = None;
    let mut ids = Vec::new();
    for (ms, text) in (1..).zip(texts) {
        let user = NewMessage {
            id: NodeId::new(now(ms * 10), 1),
            conversation,
            parent,
            role: Role::User,
            text: text.clone(),
        };
        let user = writer.append_message(&user).unwrap().id;
        let answer = NewAnswer { id: NodeId::new(now(ms * 10 + 1), 1), parent: user, model_name: None };
        let answer = writer.begin_answer(&answer).unwrap().id;
        let finished = FinishedAnswer {
            text: text.clone(),
            tokens: None,
            state: MessageState::Complete,
            stop: Some(StopReason::End),
            stats: None,
            receipt: None,
            notice: Some(Notice { code: None, text: text.clone() }),
            finished: now(ms * 10 + 2),
        };
        writer.finish_answer(answer, &finished).unwrap();
        ids.push(answer.to_string());
        parent = Some(answer);
    }
    ids
}

/// JavaScript's text may hold half of a character; what is stored is UTF-8, and cannot.
fn whole_characters(json: &str) -> String {
    let unit = |at: usize| {
        let digits = json.get(at..at + 6)?.strip_prefix("\\u")?;
        u16::from_str_radix(digits, 16).ok()
    };
    let mut whole = String::with_capacity(json.len());
    let mut at = 0;
    while let Some(c) = json[at..].chars().next() {
        let (text, length) = match (unit(at), unit(at + 6)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => (&json[at..at + 12], 12),
            (Some(0xd800..=0xdfff), _) => ("\\ufffd", 6),
            _ => (&json[at..at + c.len_utf8()], c.len_utf8()),
        };
        whole.push_str(text);
        at += length;
    }
    whole
}

#[test]
fn half_characters_are_replaced_and_whole_ones_kept() {
    let json = r#"["\ud83d\ude00 语 \ud800 \udc00x"]"#;
    let texts: Vec<String> = serde_json::from_str(&whole_characters(json)).unwrap();
    assert_eq!(texts, ["\u{1f600} 语 \u{fffd} \u{fffd}x"]);
}

#[test]
fn hostile_text_runs_nothing_and_asks_nobody() {
    let Some(place) = Place::new("hostile") else { return };
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("ui/src/markdown/corpus/injection.json");
    let Ok(corpus) = fs::read_to_string(&corpus) else {
        return skip("the corpus of hostile texts is not in this tree");
    };
    let listener = listen();
    let own = format!("http://127.0.0.1:{}", listener.port);
    let corpus: Value = serde_json::from_str(&whole_characters(&corpus)).unwrap();
    let texts: Vec<String> = corpus
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["text"].as_str().unwrap().replace(EVIL, &own))
        .collect();
    assert!(texts.len() > 50);
    let ids = store(&place, &texts);

    let window = place.open();
    window.js(CANARY, &[]);
    window.open_conversation("Hostile text");
    window.wait("the conversation is open", SOON, |window| !window.turns().is_empty());
    window.keep_screenshot("last");
    let mut seen = std::collections::BTreeSet::new();
    // It opens at its end. The list is long, and holds only what is on the screen: up, down, and up again,
    // because heights are found out on the way.
    let (mut direction, mut turns) = (-1, 0);
    while turns < 3 && ids.iter().any(|id| !seen.contains(id)) {
        let look = eventually("the screen is drawn", SOON, || {
            Some(window.js(LOOK, &[direction.into()])).filter(|look| !look.is_null())
        });
        assert_eq!(look["bad"], serde_json::json!([]), "in the page's tree");
        assert_eq!(look["ran"], serde_json::json!([]), "something ran");
        assert_eq!(look["stopped"], serde_json::json!([]), "only the content policy stopped it");
        let shown = look["ids"].as_array().unwrap();
        seen.extend(shown.iter().filter_map(|id| id.as_str().map(str::to_owned)));
        if look["ended"] == true {
            (direction, turns) = (-direction, turns + 1);
        }
    }
    let missed: Vec<&String> = ids.iter().filter(|id| !seen.contains(*id)).collect();
    assert!(missed.is_empty(), "{} of {} were never shown", missed.len(), ids.len());
    assert_eq!(listener.connections.load(Ordering::Relaxed), 0);

    // What was not seen above could be seen: a request of the page itself is stopped, and is told.
    window.js("new Image().src = arguments[0]; window.alert()", &[format!("{own}/image").into()]);
    eventually("the policy tells", SOON, || {
        (window.js("return window.stopped.length", &[]) == 1).then_some(())
    });
    assert_eq!(window.js("return window.ran", &[]), serde_json::json!(["alert"]));
    assert_eq!(listener.connections.load(Ordering::Relaxed), 0);
}
