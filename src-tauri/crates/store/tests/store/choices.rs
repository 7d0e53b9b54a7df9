//! Drafts, preferences, choices, known models, and the parts of lists and trees that a window asks for.

use reprise_store::{ConversationChoices, ModelId, NodeId, Role, StoreError};

use crate::support::{Place, answer, begin, new_message, say, texts, tick};

#[test]
fn each_conversation_has_its_draft_and_the_next_one_too() {
    let place = Place::new();
    let mut writer = place.writer();
    let (one, two) = (begin(&mut writer, "one"), begin(&mut writer, "two"));
    writer.save_draft(None, "new").unwrap();
    writer.save_draft(Some(one), "first").unwrap();
    writer.save_draft(Some(one), "second").unwrap();
    let drafts = |writer: &reprise_store::History| {
        [None, Some(one), Some(two)].map(|conversation| writer.draft(conversation).unwrap())
    };
    assert_eq!(drafts(&writer), ["new", "second", ""]);
    drop(writer);
    let mut writer = place.writer();
    assert_eq!(drafts(&writer), ["new", "second", ""]);
    writer.save_draft(None, "").unwrap();
    writer.purge(one).unwrap();
    assert_eq!(writer.draft(None).unwrap(), "");
    assert_eq!(writer.draft(Some(one)).unwrap(), "", "a draft is erased with its conversation");
    let error = writer.save_draft(Some(one), "late").unwrap_err();
    assert!(matches!(error, StoreError::NotFound { .. }), "{error:?}");
}

#[test]
fn preferences_are_one_value() {
    let place = Place::new();
    let mut writer = place.writer();
    assert_eq!(writer.preferences().unwrap(), None);
    for value in [serde_json::json!({ "theme": "dark" }), serde_json::json!({ "scale": 120 })] {
        writer.save_preferences(&value).unwrap();
        assert_eq!(writer.preferences().unwrap(), Some(value));
    }
}

#[test]
fn a_conversation_has_choices_of_its_own() {
    let place = Place::new();
    let mut writer = place.writer();
    let (one, two) = (begin(&mut writer, "one"), begin(&mut writer, "two"));
    let replay = ConversationChoices { always_replay: true, ..ConversationChoices::default() };
    let cpu = ConversationChoices { always_cpu: true, ..ConversationChoices::default() };
    assert_eq!(writer.choices(one).unwrap(), ConversationChoices::default());
    writer.choose(one, replay).unwrap();
    writer.choose(two, replay).unwrap();
    writer.choose(two, cpu).unwrap();
    drop(writer);
    let mut writer = place.writer();
    assert_eq!([one, two].map(|id| writer.choices(id).unwrap()), [replay, cpu]);
    writer.purge(one).unwrap();
    assert_eq!(writer.choices(one).unwrap(), ConversationChoices::default());
    let error = writer.choose(one, replay).unwrap_err();
    assert!(matches!(error, StoreError::NotFound { .. }), "{error:?}");
    assert!(writer.integrity_check().unwrap().is_ok());
}

/// It stands beside the messages: `snapshots.db` is a cache.
#[test]
fn the_budget_of_snapshots_outlives_them() {
    let place = Place::new();
    let mut writer = place.writer();
    assert_eq!(writer.snapshot_budget().unwrap(), None);
    writer.set_snapshot_budget(Some(20_000_000_000)).unwrap();
    writer.set_snapshot_budget(Some(0)).unwrap();
    drop(crate::states::open(&writer));
    drop(writer);
    std::fs::remove_file(place.data().snapshots_db()).unwrap();
    assert_eq!(place.reader().snapshot_budget().unwrap(), Some(0));
    let mut writer = place.writer();
    writer.set_snapshot_budget(Some(u64::MAX)).unwrap();
    assert_eq!(writer.snapshot_budget().unwrap(), Some(i64::MAX as u64));
    writer.set_snapshot_budget(None).unwrap();
    assert_eq!(writer.snapshot_budget().unwrap(), None);
}

#[test]
fn one_model_is_chosen_and_a_path_keeps_its_id() {
    let place = Place::new();
    let mut writer = place.writer();
    let [a, b, c] = [1, 2, 3].map(|random| ModelId::new(tick(), random));
    writer.choose_model_file(a, "/m/a.gguf", "a", tick()).unwrap();
    writer.choose_model_file(b, "/m/b.gguf", "b", tick()).unwrap();
    let known = |writer: &reprise_store::History| -> Vec<(ModelId, bool)> {
        writer.known_models().unwrap().iter().map(|model| (model.id, model.chosen)).collect()
    };
    assert_eq!(known(&writer), [(b, true), (a, false)]);
    writer.choose_model_file(c, "/m/a.gguf", "a", tick()).unwrap();
    assert_eq!(known(&writer), [(a, true), (b, false)]);
    writer.choose_model(b, tick()).unwrap();
    writer.model_was_used("/m/a.gguf", tick()).unwrap();
    assert_eq!(known(&writer), [(a, false), (b, true)]);
    assert!(matches!(writer.choose_model(c, tick()), Err(StoreError::NotFound { .. })));
    assert_eq!(known(&writer), [(a, false), (b, true)], "a wrong id changes nothing");
    writer.forget_model(b).unwrap();
    assert_eq!(known(&writer), [(a, false)], "no other is chosen in its place");
}

#[test]
fn parts_of_the_list_are_the_list() {
    let place = Place::new();
    let mut writer = place.writer();
    for number in 0..25 {
        let conversation = begin(&mut writer, &format!("number {number}"));
        let message = say(&mut writer, conversation, None, "hello");
        answer(&mut writer, message, "hi");
        if number % 5 == 0 {
            writer.trash(conversation, tick()).unwrap();
        }
    }
    let whole = writer.list(reprise_store::ListFilter::default()).unwrap();
    let mut parts = Vec::new();
    for offset in [0, 8, 16, 24] {
        let part = writer.list_part(offset, 8).unwrap();
        assert_eq!(part.total, 20);
        parts.extend(part.rows);
    }
    assert_eq!(parts, whole);
    assert!(parts.iter().all(|row| row.messages == 2 && row.text_bytes == 7));
}

#[test]
fn versions_stand_beside_their_message_and_end_where_was_written_last() {
    let place = Place::new();
    let mut writer = place.writer();
    let conversation = begin(&mut writer, "tree");
    let system = new_message(conversation, None, Role::System, "be brief");
    let root = writer.append_message(&system).unwrap().id;
    let first = say(&mut writer, conversation, Some(root), "first");
    let poor = answer(&mut writer, first, "poor");
    let better = answer(&mut writer, first, "better");
    let second = say(&mut writer, conversation, Some(poor), "second");
    let end = answer(&mut writer, second, "end");
    let edited = say(&mut writer, conversation, Some(root), "first, edited");
    writer.set_active_leaf(conversation, Some(end)).unwrap();

    let path = writer.active_path(conversation).unwrap();
    assert_eq!(texts(&path), ["be brief", "first", "poor", "second", "end"]);
    let versions: Vec<Vec<NodeId>> = writer.versions_along(&path).unwrap();
    assert_eq!(versions, [vec![root], vec![first, edited], vec![poor, better], vec![second], vec![end]]);

    for (node, expect) in [(root, edited), (first, end), (poor, end), (better, better), (edited, edited)] {
        assert_eq!(writer.newest_end(node).unwrap(), expect);
    }
    let nowhere = NodeId::new(tick(), 1);
    assert!(matches!(writer.newest_end(nowhere), Err(StoreError::NotFound { .. })));
}
