//! A library that cannot be opened, files that are no models.

use std::fs;

use reprise_store::{DataDir, History, Holder, Timestamp};

use crate::place::{Place, SOON};

#[test]
fn a_data_folder_that_another_program_holds_is_said_in_the_window() {
    let Some(place) = Place::new("busy") else { return };
    let holder = Holder::this_process("reprise-cli", Timestamp::from_millis(1));
    let held = History::open_writer(&DataDir::create(place.data()).unwrap(), &holder).unwrap();
    let window = place.open_unready();
    window.wait_for_words("Your conversations cannot be opened", SOON);
    window.wait_for_words("reprise-cli", SOON);
    window.keep_screenshot("busy");
    drop(held);
}

#[test]
fn a_damaged_history_is_said_in_the_window_and_left_as_it_is() {
    let Some(place) = Place::new("damaged") else { return };
    let dir = DataDir::create(place.data()).unwrap();
    let damage = vec![b'x'; 5000];
    fs::write(dir.history_db(), &damage).unwrap();
    let window = place.open_unready();
    window.wait_for_words("Your conversations cannot be opened", SOON);
    window.keep_screenshot("damaged");
    assert_eq!(fs::read(dir.history_db()).unwrap(), damage);
}
