//! What the person can see and decide of what is kept: snapshots, named messages, models, and whether states survive.

use reprise_store::{ModelId, Timestamp};

use crate::opening::{WORDS, kept_once};
use crate::place::{ANSWER, Place, SOON, Window};

impl Window<'_> {
    fn settings(&self, page: &str) {
        self.click(&self.named("button", "Settings"));
        self.click(&self.named("button", page));
    }
}

#[test]
fn snapshots_are_listed_pinned_checked_and_cleared_and_no_message_goes() {
    let Some(place) = Place::new("storage") else { return };
    kept_once(&place);
    let window = place.open();
    window.settings("Storage");
    window.wait_for_words("used by 1 snapshot", SOON);
    window.click(&window.named("button", "Pin the snapshot of Harbour"));
    window.wait("it is pinned", SOON, |window| window.has("button", "Unpin the snapshot of Harbour"));
    window.click(&window.named("button", "Verify all"));
    window.wait_for_words("1 whole", SOON);
    window.keep_screenshot("verified");
    window.click(&window.named("button", "Clear all…"));
    window.wait_for_words("No message is touched", SOON);
    window.keep_screenshot("asked");
    window.click(&window.named("button", "Clear 1"));
    window.wait_for_words("1 snapshot removed", SOON);
    window.click(&window.named("button", "Conversations"));
    window.open_conversation("Harbour");
    window.wait("its text is there", SOON, |window| window.turns().len() == 2);
}

#[test]
fn whether_states_survive_is_shown_and_found_out_again() {
    let Some(place) = Place::new("survival") else { return };
    kept_once(&place);
    let window = place.open();
    window.come_back_to("Harbour", "verified");
    window.settings("Hardware");
    window.wait("it can be tested", ANSWER, |window| {
        window.has("button", "Test: ") || window.has("button", "Run again: ")
    });
    let looked = || place.log().matches("states were looked at").count();
    let before = looked();
    let button = if window.has("button", "Test: ") { "Test: " } else { "Run again: " };
    window.click(&window.named("button", button));
    window.wait("it was found out", ANSWER, |window| {
        looked() > before && window.has("button", "Run again: ") && window.text().contains("Identical")
    });
    window.keep_screenshot("identical");
}

#[test]
fn a_named_message_is_come_back_to_and_a_branch_begins_there() {
    let Some(place) = Place::new("named") else { return };
    place.prefer_the_likeliest();
    let window = place.open();
    window.say("Name a colour.");
    window.wait_for_beginning(1);
    window.say("Name a fruit.");
    window.wait_for_beginning(2);
    // What appears under the pointer is reached by the keyboard too.
    let more = "document.querySelectorAll('article[data-message]')[1].querySelector('button[aria-label=\"More\"]').click()";
    window.js(more, &[]);
    window.click(&window.named("menuitem", "Name this point"));
    window.type_into(&window.named("textbox", "Name of this point"), "The colour");
    window.click(&window.named("button", "Save"));
    window.wait_for_words("The colour", SOON);
    window.js("document.querySelector('header button[aria-label=\"More\"]').click()", &[]);
    window.click(&window.named("menuitem", "Named points"));
    window.click(&window.named("button", "Jump to"));
    window.wait_for_words("You are at “The colour”", SOON);
    window.wait("what came later is not shown", SOON, |window| window.turns().len() == 2);
    window.keep_screenshot("jumped");
    window.say("Name a bird.");
    window.wait_for_beginning(2);
    window.wait_for_words("2/2", SOON);
    window.keep_screenshot("branch");
}

#[test]
fn between_two_models_the_price_is_told_before_anything_is_loaded() {
    let Some(place) = Place::with_a_model_of_its_own("crossing") else { return };
    place.prefer_the_likeliest();
    let (starter, own) = (place.starter().to_owned(), place.model().to_owned());
    place.had_one_with(0, "Harbour", WORDS, &starter);
    place.write_history(|writer| {
        let moment = Timestamp::from_millis(1_700_000_000_000);
        for (number, (path, name)) in [(&starter, "Starter"), (&own, "Other")].into_iter().enumerate() {
            let id = ModelId::new(moment, number as u128);
            writer.choose_model_file(id, &path.display().to_string(), name, moment).unwrap();
        }
    });
    let window = place.open();
    window.open_conversation("Harbour");
    window.wait_for_words("wrote the last answer", SOON);
    window.wait_for_words("not measured here yet", SOON);
    window.take_the_composer();
    window.keep_screenshot("asked");
    assert!(place.engine().is_empty(), "nothing is loaded before the person chose");
    window.click(&window.named("button", "Use SmolLM2"));
    window.wait_for_words("Started from the text", ANSWER);
    assert!(!window.text().contains("wrote the last answer"));
    window.keep_screenshot("chosen");
}
