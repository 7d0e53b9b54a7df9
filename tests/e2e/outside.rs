//! What leaves the window: addresses to a browser, text to the clipboard.

use crate::desktop;
use crate::hostile_text::store;
use crate::place::{Place, SOON, eventually};

const ADDRESS: &str = "https://example.org/a?b=c";
/// The link of the answer.
const LINK: &str = r#"return document.querySelector("[role=log] [role=link]");"#;

#[test]
fn an_address_is_opened_only_when_the_person_has_seen_it() {
    let Some(place) = Place::new("link") else { return };
    store(&place, &[format!("Read [the page]({ADDRESS}).")]);
    let window = place.open();
    window.open_conversation("Hostile text");
    let pid = place.app()[0];
    for (key, opened) in [(desktop::ESCAPE, 0), (desktop::ENTER, 1)] {
        let link = window.wait_for("the link is there", SOON, |window| window.element(LINK, &[]));
        window.click(&link);
        let dialog = eventually("a dialog asks", SOON, || desktop::dialog(place.display(), pid));
        assert_eq!(place.browsed().len(), 0, "nothing is opened before it was answered");
        window.keep_screenshot("asked");
        desktop::press(place.display(), dialog, key).unwrap();
        eventually("the dialog is gone", SOON, || {
            desktop::dialog(place.display(), pid).is_none().then_some(())
        });
        if opened == 1 {
            eventually("the browser is asked", SOON, || (place.browsed().len() == 1).then_some(()));
        }
    }
    assert_eq!(place.browsed(), [ADDRESS], "once, and not when it was declined");
}

#[test]
fn a_copy_of_an_answer_reaches_the_clipboard() {
    let Some(place) = Place::new("clipboard") else { return };
    let text = "**Bold** 你好 🙂\nsecond line";
    store(&place, &[text.to_owned()]);
    let window = place.open();
    window.open_conversation("Hostile text");
    let copy = r#"return [...document.querySelectorAll('article.it button')].find((one) => (one.ariaLabel ?? one.title).startsWith("Copy"));"#;
    let copy = window.wait_for("the answer can be copied", SOON, |window| window.element(copy, &[]));
    window.click(&copy);
    let copied = eventually("the clipboard holds it", SOON, || desktop::clipboard(place.display()));
    assert_eq!(copied, text);
}
