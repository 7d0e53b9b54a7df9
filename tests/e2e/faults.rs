//! Things that die: the engine, the app.

use std::time::Duration;

use crate::place::{ANSWER, Place, SOON, eventually};
use crate::processes::signal;
use crate::talk::{LONG, LONG_TITLE};

/// A worker that does not answer is given up after 20 s (`Limits::ping`), on a machine that others use.
const GIVEN_UP: Duration = Duration::from_mins(1);

#[test]
fn when_the_engine_dies_the_part_stays_and_the_next_message_works() {
    let Some(place) = Place::new("engine-killed") else { return };
    place.prefer_the_likeliest();
    let window = place.open();
    window.say(LONG);
    window.wait_for_text();
    signal(place.engine()[0], "KILL");
    window.wait_for_words("Interrupted", SOON);
    window.wait_for_words("engine stopped", SOON);
    window.keep_screenshot("interrupted");
    let part = window.answers().remove(0);
    window.say("Say hello.");
    let next = window.wait_for_beginning(2);
    assert!(!next.text.trim().is_empty());
    assert_eq!(window.answers()[0], part);
}

#[test]
fn when_the_engine_hangs_the_window_lives_and_the_next_message_works() {
    let Some(place) = Place::new("engine-hung") else { return };
    place.prefer_the_likeliest();
    let window = place.open();
    window.say(LONG);
    window.wait_for_text();
    let hung = place.engine()[0];
    signal(hung, "STOP");
    // The window answers meanwhile.
    window.click(&window.named("button", "Settings"));
    window.click(&window.named("button", "Conversations"));
    eventually("the hung engine is ended", GIVEN_UP, || (!place.engine().contains(&hung)).then_some(()));
    window.open_conversation(LONG_TITLE);
    window.wait_for_words("Interrupted", SOON);
    window.say("Say hello.");
    window.wait_for_beginning(2);
    window.keep_screenshot("goes-on");
}

#[test]
fn when_the_app_is_killed_the_part_is_there_again_and_marked() {
    let Some(place) = Place::new("app-killed") else { return };
    place.prefer_the_likeliest();
    let mut window = place.open();
    window.say(LONG);
    let part = window.wait_for_text();
    signal(place.app()[0], "KILL");
    eventually("the engine ends with its app", ANSWER, || place.engine().is_empty().then_some(()));
    window.forget();
    place.wait_until_empty();

    let window = place.open();
    window.wait_for_words("cut off when Reprise last ended", SOON);
    window.open_conversation(LONG_TITLE);
    window.wait_for_words("Interrupted", SOON);
    let kept = window.answers().remove(0);
    let beginning: String = part.text.chars().filter(|c| c.is_alphanumeric()).take(10).collect();
    let letters: String = kept.text.chars().filter(|c| c.is_alphanumeric()).collect();
    assert!(letters.contains(&beginning), "{beginning:?} in {letters:?}");
    window.keep_screenshot("reopened");
}
