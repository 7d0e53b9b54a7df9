//! Beginning, stopping, editing, choosing, coming back.

use crate::place::{Place, SOON};
use crate::talk::LONG;

#[test]
fn a_first_message_is_answered_and_is_there_after_a_restart() {
    let Some(place) = Place::new("first-run") else { return };
    place.prefer_the_likeliest();
    let window = place.open();
    window.keep_screenshot("opened");
    assert_eq!(window.title().unwrap(), "Reprise");
    window.say("Say hello in five words.");
    let answer = window.wait_for_answer(1);
    assert!(!answer.text.trim().is_empty());
    window.wait_for_words("Started from the text", SOON);
    window.keep_screenshot("answered");
    window.say("Now say goodbye.");
    window.wait_for_answer(2);
    window.wait_for_words("Went on from memory", SOON);
    window.close();
    place.wait_until_empty();

    let window = place.open();
    window.open_conversation("Say hello in five words.");
    window.wait("the history is there", SOON, |window| window.turns().len() == 4);
    let again = window.answers().remove(0);
    let first_line =
        |text: &str| text.lines().map(str::trim).find(|line| line.len() > 8).unwrap_or_default().to_owned();
    assert_eq!(first_line(&again.text), first_line(&answer.text));
    window.keep_screenshot("reopened");
}

#[test]
fn an_answer_can_be_stopped_and_what_came_stays() {
    let Some(place) = Place::new("stop") else { return };
    place.prefer_the_likeliest();
    let window = place.open();
    window.say(LONG);
    window.wait_for_text();
    let stop = window.named("button", "Stop");
    window.click(&stop);
    let stopped = window.wait_for_answer(1);
    assert!(stopped.text.contains("Stopped"), "{}", stopped.text);
    window.keep_screenshot("stopped");
}

#[test]
fn an_edited_message_makes_a_branch_and_both_can_be_shown() {
    let Some(place) = Place::new("edit") else { return };
    place.prefer_the_likeliest();
    let window = place.open();
    window.say("Name a colour.");
    window.wait_for_answer(1);
    // What appears under the pointer is reached by the keyboard too.
    window.js("document.querySelector('button[aria-label^=\"Edit\"]').click()", &[]);
    let editor = window.named("textbox", "Edit your message");
    window.clear(&editor);
    window.type_into(&editor, "Name a fruit.");
    window.click(&window.named("button", "Send again"));
    window.wait("the edited message is shown", SOON, |window| {
        window.turns().first().is_some_and(|turn| turn.text.contains("Name a fruit."))
    });
    window.wait_for_answer(1);
    window.wait_for_words("2/2", SOON);
    window.keep_screenshot("edited");
    window.click(&window.named("button", "Previous version"));
    window.wait_for_words("1/2", SOON);
    window.wait("the first version is shown", SOON, |window| {
        window.turns().first().is_some_and(|turn| turn.text.contains("Name a colour."))
    });
    window.close();
    place.wait_until_empty();
    let window = place.open();
    window.open_conversation("Name a colour.");
    window.wait_for_words("1/2", SOON);
}

#[test]
fn theme_and_language_change_at_once_and_are_kept() {
    let Some(place) = Place::new("settings") else { return };
    let window = place.open();
    let background = "return getComputedStyle(document.body).backgroundColor";
    window.click(&window.named("button", "Settings"));
    window.click(&window.named("radio", "Light"));
    let light = window.js(background, &[]);
    window.click(&window.named("radio", "Dark"));
    window.wait("the colours change", SOON, |window| window.js(background, &[]) != light);
    window.keep_screenshot("dark");
    window.click(&window.named("radio", "简体中文"));
    window.wait_for_words("设置", SOON);
    window.keep_screenshot("chinese");
    let dark = window.js(background, &[]);
    window.close();
    place.wait_until_empty();
    let window = place.open();
    window.wait("it is still dark", SOON, |window| window.js(background, &[]) == dark);
    window.wait_for_words("对话", SOON);
}
