//! How a conversation was made ready when it was opened.

use reprise_store::{KeptReceipts, NodeId, StoreError, Timestamp};
use rusqlite::Connection;
use serde_json::json;

use crate::support::{Place, answer, begin, say, tick};

#[test]
fn receipts_are_kept_in_the_order_in_which_they_were_written() {
    let place = Place::new();
    let mut writer = place.writer();
    let conversation = begin(&mut writer, "");
    let question = say(&mut writer, conversation, None, "q");
    let node = answer(&mut writer, question, "a");
    // The clock is set back in between.
    let moments = [5_000, 6_000, 2_000, 2_000, 7_000].map(Timestamp::from_millis);
    for (n, at) in moments.into_iter().enumerate() {
        writer.keep_receipt(node, at, &json!({ "path": "restored", "n": n })).unwrap();
    }
    drop(writer);
    let reader = place.reader();
    let found = reader.receipts_of(&[question, node]).unwrap();
    assert_eq!(found.len(), 1, "{found:?}");
    let expected = moments.into_iter().enumerate().map(|(n, at)| (at, json!({ "path": "restored", "n": n })));
    assert_eq!(found[&node], KeptReceipts { kept: expected.collect(), before: 0 });
    assert_eq!(reader.receipts_of(&[]).unwrap().len(), 0);
}

#[test]
fn only_the_last_eight_of_a_message_are_kept() {
    let place = Place::new();
    let mut writer = place.writer();
    let conversation = begin(&mut writer, "");
    let [one, other] = ["one", "other"].map(|text| say(&mut writer, conversation, None, text));
    writer.keep_receipt(other, tick(), &json!("untouched")).unwrap();
    for n in 0..20 {
        writer.keep_receipt(one, tick(), &json!(n)).unwrap();
        let kept = &writer.receipts_of(&[one]).unwrap()[&one];
        let numbers: Vec<_> = kept.kept.iter().map(|(_, value)| value.as_i64().unwrap()).collect();
        let first = (n - 7).max(0);
        assert_eq!(numbers, (first..=n).collect::<Vec<_>>());
        assert_eq!(i64::from(kept.before), first);
    }
    let other = &writer.receipts_of(&[other]).unwrap()[&other];
    assert_eq!((other.kept.len(), other.before), (1, 0));
}

#[test]
fn receipts_go_with_their_message_and_are_refused_without_one() {
    let place = Place::new();
    let mut writer = place.writer();
    let conversation = begin(&mut writer, "");
    let node = say(&mut writer, conversation, None, "q");
    writer.keep_receipt(node, tick(), &json!({})).unwrap();
    writer.purge(conversation).unwrap();
    assert_eq!(writer.receipts_of(&[node]).unwrap().len(), 0);
    for gone in [node, NodeId::new(tick(), 1)] {
        let error = writer.keep_receipt(gone, tick(), &json!({})).unwrap_err();
        assert!(matches!(error, StoreError::NotFound { .. }), "{error:?}");
    }
    assert!(writer.integrity_check().unwrap().is_ok());
}

#[test]
fn one_that_cannot_be_read_does_not_take_the_others_with_it() {
    let place = Place::new();
    let mut writer = place.writer();
    let conversation = begin(&mut writer, "");
    let node = say(&mut writer, conversation, None, "q");
    (0..10).for_each(|n| writer.keep_receipt(node, tick(), &json!(n)).unwrap());
    drop(writer);
    let conn = Connection::open(place.data().history_db()).unwrap();
    conn.execute_batch(
        "PRAGMA ignore_check_constraints = 1; UPDATE receipts SET receipt = '{' WHERE nth = 5",
    )
    .unwrap();
    drop(conn);
    let found = place.reader().receipts_of(&[node]).unwrap();
    assert_eq!((found[&node].kept.len(), found[&node].before), (7, 2));
}
