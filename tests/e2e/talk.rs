//! What a person does in a conversation, and sees of it.

use std::time::Duration;

use serde_json::Value;

use crate::place::{ANSWER, SOON, Window};

/// Enter, as WebDriver spells it.
const ENTER: &str = "\u{e007}";
const ESCAPE: &str = "\u{e00c}";

/// Its answer takes minutes.
pub const LONG: &str = "Write a very long story about the sea and the people who live beside it.";

/// How its conversation is listed.
pub const LONG_TITLE: &str = "Write a very long story";

/// One turn as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    pub speaker: String,
    pub text: String,
    /// Whether nothing more is written to it.
    pub whole: bool,
}

/// Turns that are on the screen; an answer that can be copied is whole.
const TURNS: &str = r#"
return [...document.querySelectorAll("article[data-message]")].map((turn) => ({
  speaker: turn.querySelector("h2")?.textContent.trim() ?? "",
  text: turn.innerText,
  whole: turn.querySelector('button[aria-label="Copy"], button[title^="Copy"]') !== null,
}));
"#;

impl Window<'_> {
    pub fn turns(&self) -> Vec<Turn> {
        let turns = self.js(TURNS, &[]);
        let text = |turn: &Value, key: &str| turn[key].as_str().unwrap_or_default().to_owned();
        let turns = turns.as_array().into_iter().flatten();
        turns
            .map(|turn| Turn {
                speaker: text(turn, "speaker"),
                text: text(turn, "text"),
                whole: turn["whole"].as_bool().unwrap_or_default(),
            })
            .collect()
    }

    /// Answers on the screen.
    pub fn answers(&self) -> Vec<Turn> {
        self.turns().into_iter().filter(|turn| turn.speaker == "Reprise").collect()
    }

    /// Types a message and sends it.
    pub fn say(&self, text: &str) {
        let composer = self.named("textbox", "Message");
        self.type_into(&composer, text);
        self.type_into(&composer, ENTER);
        self.wait("the message is shown", SOON, |window| {
            window.turns().iter().any(|turn| turn.speaker == "You" && turn.text.contains(text))
        });
    }

    /// Waits until there are this many answers and the last one is whole.
    pub fn wait_for_answer(&self, count: usize) -> Turn {
        self.wait_for("the answer is whole", ANSWER, |window| {
            let answers = window.answers();
            let last = answers.last().filter(|last| last.whole && answers.len() == count).cloned();
            last.filter(|_| !window.has("button", "Stop"))
        })
    }

    /// Waits until there are this many answers and the last one has text, and stops it: a small model that
    /// was interrupted before may go on for ever.
    pub fn wait_for_beginning(&self, count: usize) -> Turn {
        self.wait_for("an answer has begun", ANSWER, |window| {
            let answers = window.answers();
            let begun = |last: &&Turn| last.whole || written(&last.text).len() > 40;
            answers.last().filter(|last| answers.len() == count && begun(last)).cloned()
        });
        let composer = self.named("textbox", "Message");
        self.type_into(&composer, ESCAPE);
        self.wait_for_answer(count)
    }

    /// Waits until the last answer holds some text and more is to come.
    pub fn wait_for_text(&self) -> Turn {
        self.wait_for("some of the answer is there", ANSWER, |window| {
            let last = window.answers().into_iter().last()?;
            (!last.whole && written(&last.text).len() > 40).then_some(last)
        })
    }

    /// Waits for words anywhere in the window.
    pub fn wait_for_words(&self, words: &str, limit: Duration) {
        self.wait(&format!("“{words}” is shown"), limit, |window| window.text().contains(words));
    }

    /// Opens a conversation of the list by its title.
    pub fn open_conversation(&self, title: &str) {
        let rows = r#"
const [title] = arguments;
const seen = [...document.querySelectorAll("nav a, nav button, aside a, aside button, [role=option], [role=listitem] button, li button, li a")];
return seen.find((e) => e.innerText.includes(title)) ?? null;"#;
        let row = self.wait_for(title, SOON, |window| window.element(rows, &[title.into()]));
        self.click(&row);
    }
}

/// The letters of an answer, without what stands around it.
fn written(text: &str) -> String {
    text.chars().filter(|c| c.is_alphanumeric()).collect()
}
