//! What snapshots take and may take, their list, and what a person does to them.

use std::fs;
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use reprise_chat::history::{DataDir, SnapshotOrder, StoreError};
use reprise_chat::{
    Ask, Chat, LoadOptions, Snapshots, Verdict, Verified, World, list_snapshots, verify_snapshots,
};
use reprise_engine::message::CacheKind;
use reprise_engine::qualify::Qualified;
use tokio::sync::watch;

use crate::bench_desk::Desk;
use crate::resume::Keeper;

#[tokio::test]
async fn the_facts_are_those_of_the_folder() {
    let keeper = Keeper::new().await;
    let chat = &keeper.desk.chat;
    let (_, one) = keeper.begin("one").await;
    keeper.begin("two").await;
    chat.pin_snapshot(one.unwrap().snapshot, true).await.unwrap();
    let facts = chat.storage().await.unwrap();
    assert_eq!((facts.snapshots, facts.pinned), (2, 1));
    assert!(facts.bytes > 0 && facts.bytes < facts.budget && facts.history > 0, "{facts:?}");
    assert!(!facts.chosen && facts.free.is_some() && facts.unusable.is_none(), "{facts:?}");
    assert_eq!(facts.folder, keeper.desk.folder.path());
}

#[tokio::test]
async fn the_list_comes_in_parts_and_names_conversations() {
    let keeper = Keeper::new().await;
    let chat = &keeper.desk.chat;
    for text in ["alpha", "beta", "gamma"] {
        keeper.begin(text).await;
    }
    let page = |order, offset, limit| async move { chat.snapshot_page(order, offset, limit).await.unwrap() };
    let part = page(SnapshotOrder::Age, 0, 2).await;
    let titles: Vec<&str> = part.rows.iter().filter_map(|row| row.title.split(' ').next()).collect();
    assert_eq!((titles, part.total), (vec!["gamma", "beta"], 3));
    assert_eq!(part.rows[0].model.as_deref(), Some("model"));
    let rest = page(SnapshotOrder::Age, 2, 2).await;
    assert!(rest.rows.len() == 1 && rest.rows[0].title.starts_with("alpha"), "{rest:?}");
    assert_eq!(page(SnapshotOrder::Size, 9, 2).await.rows, []);
    let largest = page(SnapshotOrder::Size, 0, u32::MAX).await.rows;
    assert!(largest.is_sorted_by_key(|row| std::cmp::Reverse(row.snapshot.bytes)), "{largest:?}");
}

#[tokio::test]
async fn with_nothing_set_aside_nothing_is_kept_and_everything_works() {
    let keeper = Keeper::new().await;
    let (first, _) = keeper.begin("one").await;
    let mut news = keeper.desk.chat.not_saved();
    let facts = keeper.desk.chat.set_budget(Some(0)).await.unwrap();
    assert_eq!((facts.snapshots, facts.budget, facts.chosen), (0, 0, true));
    let (second, saved) = keeper.go_on(first.conversation, "two").await;
    assert_eq!(saved, None);
    assert_eq!(keeper.desk.message(second.node).text, "ok");
    assert!(news.try_recv().is_err(), "it was wished");

    // It holds after a restart, and where the file of snapshots was deleted meanwhile.
    let keeper = keeper.restart().await;
    let (third, saved) = keeper.go_on(first.conversation, "three").await;
    assert_eq!((third.receipt.reason.unwrap().code.as_str(), saved), ("no_snapshot", None));
    let gone = |folder: &Path| fs::remove_file(folder.join("snapshots.db")).unwrap();
    let keeper = keeper.restart_after(gone).await;
    let facts = keeper.desk.chat.storage().await.unwrap();
    assert_eq!((facts.budget, facts.chosen), (0, true));
    assert_eq!(keeper.go_on(first.conversation, "four").await.1, None);
    assert_eq!(keeper.desk.path(first.conversation).len(), 8, "every message is there");

    let facts = keeper.desk.chat.set_budget(None).await.unwrap();
    assert!(!facts.chosen && facts.budget == facts.default_budget && facts.budget > 0, "{facts:?}");
    assert!(keeper.go_on(first.conversation, "five").await.1.is_some());
}

#[tokio::test]
async fn a_smaller_budget_evicts_what_was_used_longest_ago_but_nothing_pinned() {
    let keeper = Keeper::new().await;
    let chat = &keeper.desk.chat;
    let mut ids = Vec::new();
    for text in ["one", "two", "three"] {
        ids.push(keeper.begin(text).await.1.unwrap().snapshot);
    }
    chat.pin_snapshot(ids[0], true).await.unwrap();
    let before = chat.storage().await.unwrap();
    let facts = chat.set_budget(Some(before.bytes - 1)).await.unwrap();
    assert!(facts.bytes < before.bytes, "{facts:?}");
    let mut left: Vec<_> =
        list_snapshots(&keeper.dir()).unwrap().0.iter().map(|snapshot| snapshot.id).collect();
    left.sort();
    assert_eq!(left, [ids[0], ids[2]]);
    let facts = chat.set_budget(Some(0)).await.unwrap();
    assert_eq!((facts.snapshots, facts.pinned), (1, 1));
}

#[tokio::test]
async fn one_goes_or_all_do() {
    let keeper = Keeper::new().await;
    let chat = &keeper.desk.chat;
    let (first, one) = keeper.begin("one").await;
    let (_, two) = keeper.begin("two").await;
    keeper.begin("three").await;
    let (one, two) = (one.unwrap().snapshot, two.unwrap().snapshot);
    let cleared = chat.drop_snapshot(one).await.unwrap();
    assert!(cleared.snapshots == 1 && cleared.bytes > 0, "{cleared:?}");
    assert_eq!(chat.drop_snapshot(one).await.unwrap_err().code(), "not_found");
    chat.pin_snapshot(two, true).await.unwrap();
    let cleared = chat.clear_snapshots().await.unwrap();
    assert!(cleared.snapshots == 2 && cleared.bytes > 0, "{cleared:?}");
    assert_eq!(chat.storage().await.unwrap().snapshots, 0);
    assert!(keeper.go_on(first.conversation, "more").await.1.is_some(), "the cache works again");
    assert_eq!(keeper.desk.path(first.conversation).len(), 4);
}

/// Flips one byte so that one snapshot is damaged.
fn damage_one(folder: &Path) {
    let dir = DataDir::at(folder).unwrap();
    let file = dir.snapshots_db();
    let whole = fs::read(&file).unwrap();
    for sixteenth in 1..16 {
        let mut bytes = whole.clone();
        let at = bytes.len() * sixteenth / 16 + 1000;
        bytes[at] ^= 1;
        fs::write(&file, bytes).unwrap();
        if verify_snapshots(&dir).is_ok_and(|report| report.bad.len() == 1) {
            return;
        }
    }
    panic!("no byte of the file belongs to one snapshot");
}

async fn verify(chat: &Chat) -> Verified {
    let (_never, stop) = watch::channel(false);
    chat.verify_snapshots(stop, |_| ()).await.unwrap()
}

#[tokio::test]
async fn a_check_finds_what_is_damaged_and_removes_it() {
    let keeper = Keeper::new().await;
    let mut first = None;
    for text in ["one", "two", "three"] {
        first = first.or(Some(keeper.begin(text).await.0.conversation));
    }
    let keeper = keeper.restart_after(damage_one).await;
    let found = verify(&keeper.desk.chat).await;
    assert_eq!((found.whole, found.removed, found.stopped), (2, 1, false));
    assert!(found.bytes > 0 && found.ms > 0.0, "{found:?}");
    assert_eq!(keeper.desk.chat.storage().await.unwrap().snapshots, 2);
    let found = verify(&keeper.desk.chat).await;
    assert_eq!((found.whole, found.removed), (2, 0));
    assert!(verify_snapshots(&keeper.dir()).unwrap().is_ok());
    let (turn, _) = keeper.go_on(first.unwrap(), "more").await;
    assert_eq!(keeper.desk.message(turn.node).text, "ok");
}

#[tokio::test]
async fn a_check_holds_nobody_up_and_ends_when_it_is_told_to() {
    let keeper = Keeper::new().await;
    for text in ["one", "two", "three"] {
        keeper.begin(text).await;
    }
    let chat = &keeper.desk.chat;
    let (stop, stopped) = watch::channel(false);
    let (told, heard) = mpsc::channel();
    let snapshots: Snapshots = chat.snapshots().unwrap().clone();
    let found = chat
        .verify_snapshots(stopped, move |now| {
            // Whoever saves needs the writer, and gets it meanwhile.
            let (answer, answered) = mpsc::channel();
            let snapshots = snapshots.clone();
            std::thread::spawn(move || answer.send(snapshots.budget_bytes()));
            told.send((now, answered.recv_timeout(Duration::from_secs(5)).is_ok())).unwrap();
            stop.send_replace(true);
        })
        .await
        .unwrap();
    let heard: Vec<_> = heard.iter().collect();
    assert!(heard.iter().all(|(_, free)| *free), "the writer was held");
    assert_eq!((heard.len(), heard[0].0.of), (1, 3), "told once, and ended");
    assert!(found.stopped && found.whole < 3 && found.removed == 0, "{found:?}");
    assert_eq!(chat.storage().await.unwrap().snapshots, 3, "what was not looked at stays");
}

#[tokio::test]
async fn progress_is_told_ten_times_a_second_at_most() {
    let keeper = Keeper::new().await;
    for text in ["one", "two", "three", "four"] {
        keeper.begin(text).await;
    }
    let (_never, stop) = watch::channel(false);
    let (told, heard) = mpsc::channel();
    let since = std::time::Instant::now();
    let chat = &keeper.desk.chat;
    chat.verify_snapshots(stop, move |now| told.send(now).unwrap()).await.unwrap();
    let most = since.elapsed().as_millis() / 100 + 1;
    let heard = heard.iter().count();
    assert!(heard >= 1 && heard as u128 <= most, "{heard} times, {most} at most");
}

#[tokio::test]
async fn where_their_file_cannot_be_used_it_is_said_and_the_rest_works() {
    let desk = Desk::new();
    let why = StoreError::Snapshots { detail: "gone".to_owned(), damaged: false };
    let library = desk.chat.library().clone();
    let chat = Chat::new(library, desk.engine.clone(), desk.world.clone()).without_snapshots(&why);
    chat.set_budget(Some(7)).await.unwrap();
    let facts = chat.storage().await.unwrap();
    assert_eq!((facts.snapshots, facts.budget, facts.chosen), (0, 7, true));
    assert_eq!(facts.unusable.unwrap().code, "snapshots_unusable");
    assert_eq!(chat.snapshot_page(SnapshotOrder::Used, 0, 9).await.unwrap().total, 0);
    let error = chat.clear_snapshots().await.unwrap_err();
    assert_eq!(error.code(), "snapshots_unusable");
    assert!(error.to_string().contains("gone"), "{error}");
    let (_never, stop) = watch::channel(false);
    assert_eq!(chat.verify_snapshots(stop, |_| ()).await.unwrap_err().code(), "snapshots_unusable");
    assert_eq!(chat.qualifications(&LoadOptions::default()).await.unwrap(), []);
}

#[tokio::test]
async fn all_that_was_found_out_is_listed_with_the_model_and_what_holds_now() {
    let keeper = Keeper::new().await;
    let load = LoadOptions::default();
    assert_eq!(keeper.desk.chat.qualifications(&load).await.unwrap(), []);
    keeper.desk.script.remembers_by(CacheKind::SlidingWindow);
    let (first, _) = keeper.begin("one").await;
    let [row] = &keeper.desk.chat.qualifications(&load).await.unwrap()[..] else { panic!("one") };
    assert_eq!((row.model.as_str(), row.device.as_str(), row.kv_place.as_str()), ("model", "CPU", "host"));
    assert_eq!((row.kv_type.as_str(), row.current, row.found.verdict), ("f16", true, Verdict::Identical));
    assert_eq!(keeper.desk.chat.loaded_model().as_deref(), Some("model"));

    // Another type of the KV cache is another question; the loaded model's counts.
    let far = Qualified { steps: 32, control_kl: 5.0, challenge_kl: 2.0, ..Qualified::default() };
    keeper.desk.script.on_qualify(far);
    let ask = Ask::Continue { conversation: first.conversation, parent: None, text: "two".to_owned() };
    let mut request = keeper.request(ask);
    request.load.kv_type = reprise_chat::engine::KvType::Q8_0;
    keeper.turn(request).await;
    let rows = keeper.desk.chat.qualifications(&load).await.unwrap();
    let told: Vec<_> =
        rows.iter().map(|row| (row.kv_type.as_str(), row.current, row.found.verdict)).collect();
    assert_eq!(told, [("q8_0", true, Verdict::Failed), ("f16", false, Verdict::Identical)]);
    assert!(rows[0].found.why.is_some());

    // Where nothing is loaded, what would be loaded counts.
    let keeper = keeper.restart().await;
    let rows = keeper.desk.chat.qualifications(&load).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.current).collect::<Vec<_>>(), [false, true]);
    assert_eq!(keeper.desk.chat.loaded_model(), None);
    assert!(World::now(keeper.desk.world.as_ref()).as_millis() > rows[0].found.at);
}
