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
fn a_history_of_a_newer_version_is_said_in_the_window_and_left_as_it_is() {
    let Some(place) = Place::new("newer") else { return };
    let dir = DataDir::create(place.data()).unwrap();
    let holder = Holder::this_process("the test", Timestamp::from_millis(1));
    drop(History::open_writer(&dir, &holder).unwrap());
    let mut bytes = fs::read(dir.history_db()).unwrap();
    // SQLite's header keeps PRAGMA user_version at byte 60, big endian.
    bytes[60..64].copy_from_slice(&9999_u32.to_be_bytes());
    fs::write(dir.history_db(), &bytes).unwrap();
    let window = place.open_unready();
    window.wait_for_words("Your conversations cannot be opened", SOON);
    window.wait_for_words("newer version of Reprise", SOON);
    window.keep_screenshot("newer");
    assert_eq!(fs::read(dir.history_db()).unwrap(), bytes);
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
