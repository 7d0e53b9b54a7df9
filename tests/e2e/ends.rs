//! A second instance, and the end of the only one.

use crate::desktop;
use crate::machine::APP;
use crate::place::{Place, SOON, eventually};
use crate::processes::signal;
use crate::talk::{LONG, LONG_TITLE};

#[test]
fn a_second_instance_brings_the_first_forward_and_ends() {
    let Some(place) = Place::new("second") else { return };
    let window = place.open();
    let first = place.app();
    let mut second = place.command(APP).spawn().unwrap();
    let status = eventually("the second instance ends", SOON, || second.try_wait().unwrap());
    assert!(status.success(), "{status}");
    eventually("the first came forward", SOON, || {
        place.log().contains("this one came forward").then_some(())
    });
    assert_eq!(place.app(), first);

    // Another data folder is another instance.
    let mut other = place.command(APP).env("REPRISE_DATA_DIR", place.root().join("other")).spawn().unwrap();
    eventually("it has a window", SOON, || desktop::is_shown(place.display(), other.id()).then_some(()));
    assert_eq!(other.try_wait().unwrap(), None);
    signal(other.id(), "TERM");
    let status = eventually("it ends when it is asked to", SOON, || other.try_wait().unwrap());
    assert!(status.success(), "{status}");
    assert!(window.shows("button"));
}

#[test]
fn closing_in_mid_answer_keeps_it_and_leaves_no_process() {
    let Some(place) = Place::new("closing") else { return };
    place.prefer_the_likeliest();
    let window = place.open();
    window.say(LONG);
    window.wait_for_text();
    window.close();
    place.wait_until_empty();
    let window = place.open();
    window.open_conversation(LONG_TITLE);
    window.wait_for_words("Stopped", SOON);
}

#[test]
fn closing_does_not_wait_for_an_engine_that_hangs() {
    let Some(place) = Place::new("closing-hung") else { return };
    place.prefer_the_likeliest();
    let window = place.open();
    window.say(LONG);
    window.wait_for_text();
    signal(place.engine()[0], "STOP");
    let since = std::time::Instant::now();
    window.press_close();
    eventually("the app ends", SOON, || place.app().is_empty().then_some(()));
    // Three seconds, and some for a busy machine.
    assert!(since.elapsed().as_secs() < 8, "{:?}", since.elapsed());
    drop(window);
    place.wait_until_empty();
}

#[test]
fn a_signal_ends_it_in_order() {
    let Some(place) = Place::new("signal") else { return };
    place.prefer_the_likeliest();
    let mut window = place.open();
    window.say(LONG);
    window.wait_for_text();
    signal(place.app()[0], "TERM");
    eventually("the app ends", SOON, || place.app().is_empty().then_some(()));
    assert!(place.log().contains("closed"), "{}", place.log());
    window.forget();
    place.wait_until_empty();
}
