//! Messages with a name, and going back to one.

use reprise_store::{NodeId, Role, StoreError};

use crate::support::{Place, answer, begin, begin_answer, new_message, say, texts, tick};

#[track_caller]
fn conflict(result: Result<(), StoreError>) {
    assert_eq!(result.unwrap_err().code(), "conflict");
}

#[test]
fn a_message_has_one_name_and_keeps_its_place() {
    let place = Place::new();
    let mut writer = place.writer();
    let [one, other] = ["one", "other"].map(|title| begin(&mut writer, title));
    let first = say(&mut writer, one, None, "first");
    let second = answer(&mut writer, first, "second");
    let theirs = say(&mut writer, other, None, "theirs");
    let moments = [tick(), tick(), tick(), tick()];
    writer.name_checkpoint(second, "before the joke", moments[2]).unwrap();
    // A clock that was set back changes no order.
    writer.name_checkpoint(first, "start", moments[0]).unwrap();
    writer.name_checkpoint(theirs, "theirs", moments[1]).unwrap();
    writer.name_checkpoint(second, "  after the joke \n", moments[3]).unwrap();
    drop(writer);
    let mut writer = place.writer();
    let named = |writer: &reprise_store::History| -> Vec<_> {
        let named = writer.checkpoints(one).unwrap();
        named.into_iter().map(|named| (named.node, named.name, named.created)).collect()
    };
    let start = (first, "start".to_owned(), moments[0]);
    assert_eq!(named(&writer), [(second, "after the joke".to_owned(), moments[2]), start.clone()]);
    writer.remove_checkpoint(second).unwrap();
    writer.remove_checkpoint(second).unwrap();
    assert_eq!(named(&writer), [start]);
    assert_eq!(texts(&writer.active_path(one).unwrap()), ["first", "second"], "the message stays");
    writer.purge(one).unwrap();
    assert_eq!((named(&writer), writer.checkpoints(other).unwrap().len()), (vec![], 1));
    assert!(writer.integrity_check().unwrap().is_ok());
}

#[test]
fn a_name_is_one_to_eighty_characters() {
    let place = Place::new();
    let mut writer = place.writer();
    let id = begin(&mut writer, "");
    let system = writer.append_message(&new_message(id, None, Role::System, "Be brief.")).unwrap().id;
    let node = say(&mut writer, id, Some(system), "q");
    for name in ["", "  \t\n", &"x".repeat(81), &"点".repeat(81)] {
        conflict(writer.name_checkpoint(node, name, tick()));
    }
    conflict(writer.name_checkpoint(system, "prompt", tick()));
    assert_eq!(writer.checkpoints(id).unwrap(), []);
    for name in ["x", &format!("  {}  ", "点".repeat(80)), "\0odd'; DROP TABLE checkpoints"] {
        writer.name_checkpoint(node, name, tick()).unwrap();
        assert_eq!(writer.checkpoints(id).unwrap()[0].name, name.trim());
    }
    let nowhere = NodeId::new(tick(), 1);
    for result in [
        writer.name_checkpoint(nowhere, "x", tick()),
        writer.remove_checkpoint(nowhere),
        writer.jump_to(nowhere),
    ] {
        assert_eq!(result.unwrap_err().code(), "not_found");
    }
}

#[test]
fn going_back_ends_the_branch_exactly_there() {
    let place = Place::new();
    let mut writer = place.writer();
    let id = begin(&mut writer, "");
    let q1 = say(&mut writer, id, None, "q1");
    let a1 = answer(&mut writer, q1, "a1");
    let q2 = say(&mut writer, id, Some(a1), "q2");
    let a2 = answer(&mut writer, q2, "a2");
    let before = writer.conversation(id).unwrap();
    writer.jump_to(a1).unwrap();
    assert_eq!(texts(&writer.active_path(id).unwrap()), ["q1", "a1"]);
    let after = writer.conversation(id).unwrap();
    assert_eq!((after.updated, after.active_leaf), (before.updated, Some(a1)));
    // From there another branch begins; the first one is where it was.
    let q3 = say(&mut writer, id, Some(a1), "q3");
    let path = writer.active_path(id).unwrap();
    assert_eq!(writer.versions_along(&path).unwrap()[2], [q2, q3]);
    writer.jump_to(a2).unwrap();
    assert_eq!(texts(&writer.active_path(id).unwrap()), ["q1", "a1", "q2", "a2"]);
    let streaming = begin_answer(&mut writer, q3);
    writer.jump_to(a1).unwrap();
    assert_eq!(writer.message(streaming).unwrap().text, "");
}
