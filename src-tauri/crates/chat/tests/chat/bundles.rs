//! Conversations that move: what goes out comes in. The engine is a script; that a moved state proves itself is
//! tested with a real model elsewhere.

use std::fs;
use std::sync::Arc;

use reprise_chat::bundle;
use reprise_chat::history::{DataDir, Message, MessageState, NodeId};
use reprise_chat::{Ask, Chat, ResumePath, SystemWorld, World, list_snapshots, verify_snapshots};
use reprise_engine::scripted::ScriptedEngine;
use reprise_engine::{EngineHandle, Limits};
use reprise_store::{ContentHash, SnapshotReader, StoreError};

use crate::archive::{Entry, archive, entries};
use crate::bench_desk::ask;
use crate::bundle_rig::{Receiver, Sender, Tomorrow, edit_messages, sender, text_of};

#[tokio::test]
async fn a_bundle_brings_everything_and_a_second_one_a_copy() {
    let from = sender().await;
    let packed = from.pack();
    let names: Vec<String> = entries(&packed).iter().map(Entry::name).collect();
    assert_eq!(names[..4], ["reprise-bundle.json", "conversation.json", "messages.jsonl", "state.json"]);
    assert!(names.len() > 5 && names[4..].iter().all(|name| name.starts_with("chunks/")), "{names:?}");

    let to = Receiver::new().await;
    let done = to.import(&packed).await.unwrap();
    let (conversation, messages) = from.text();
    assert_eq!(
        (done.conversation, done.original, done.copied),
        (from.conversation, from.conversation, false)
    );
    assert_eq!((done.messages, messages.len()), (6, 6));
    assert_eq!(done.refused, None);
    let stored = done.state.unwrap();
    // Branches, tokens, receipts, notices, moments: every field of every row.
    assert_eq!(text_of(&to.reader(), done.conversation), (conversation.clone(), messages.clone()));
    assert!(messages.iter().any(|message| message.state == MessageState::Interrupted));
    assert!(messages.iter().any(|message| message.receipt.is_some() && message.tokens.is_some()));
    assert_eq!(to.reader().search("zephyr", 9).unwrap().len(), 1);
    assert_eq!(to.reader().search("title of one", 9).unwrap().len(), 1);
    assert!(to.reader().integrity_check().unwrap().is_ok());

    // The state is the one of before, under another name and this folder's seal.
    let there = list_snapshots(&from.dir()).unwrap().0;
    let here = list_snapshots(&to.dir()).unwrap().0;
    assert_eq!((there.len(), here.len(), here[0].id), (1, 1, stored.snapshot));
    let (old, new) = (there[0].id, here[0].id);
    let old = SnapshotReader::open(&from.dir()).unwrap().manifest(old).unwrap();
    let new = SnapshotReader::open(&to.dir()).unwrap().manifest(new).unwrap();
    assert_ne!(old.id, new.id);
    assert_eq!((&old.conversation, &old.node, &old.tokens), (&new.conversation, &new.node, &new.tokens));
    assert_eq!((&old.layout, &old.chunks, &old.identity), (&new.layout, &new.chunks, &new.identity));
    assert_eq!((&old.challenge, old.created), (&new.challenge, new.created));
    assert_eq!(new.facts["there"], old.facts);
    let report = verify_snapshots(&to.dir()).unwrap();
    assert!(report.is_ok() && report.checked == 1, "{report:?}");
    assert_eq!(done.model_hash, Some(ContentHash::of(b"GGUF of a script")));

    // What stays behind: where things lie on the sender's disk.
    let folder = from.desk.folder.path().to_str().unwrap();
    assert!(!packed.windows(folder.len()).any(|window| window == folder.as_bytes()));

    // Again, with the first one in the trash.
    to.library.trash(done.conversation, Tomorrow.now()).await.unwrap();
    let again = to.import(&packed).await.unwrap();
    assert!(again.copied && again.conversation != done.conversation);
    let (copy, copies) = text_of(&to.reader(), again.conversation);
    assert_eq!(
        (&copy.title, copy.seed, copy.updated),
        (&conversation.title, conversation.seed, conversation.updated)
    );
    let told = |messages: &[Message]| -> Vec<(String, Option<usize>, bool)> {
        let place = |id: NodeId| messages.iter().position(|message| message.id == id);
        messages
            .iter()
            .map(|message| (message.text.clone(), message.parent.and_then(place), message.damaged))
            .collect()
    };
    assert_eq!(told(&copies), told(&messages));
    assert!(copies.iter().all(|copy| messages.iter().all(|message| message.id != copy.id)));
    let place = |messages: &[Message], leaf: Option<NodeId>| messages.iter().position(|m| Some(m.id) == leaf);
    assert_eq!(place(&copies, copy.active_leaf), place(&messages, conversation.active_leaf));
    // The bytes are there once.
    assert_eq!(again.state.as_ref().map(|state| state.bytes_written), Some(0));
    assert_eq!(list_snapshots(&to.dir()).unwrap().0.len(), 2);
    let report = verify_snapshots(&to.dir()).unwrap();
    assert!(report.is_ok() && report.checked == 2, "{report:?}");
}

#[tokio::test]
async fn a_file_is_not_overwritten_unless_asked_and_never_half_written() {
    let from = sender().await;
    let to = from.desk.folder.path().join("there.reprise");
    fs::write(&to, "precious").unwrap();
    let write = |overwrite, with_state| {
        bundle::export(&from.dir(), from.conversation, &to, with_state, overwrite, &SystemWorld)
    };
    assert_eq!(write(false, true).unwrap_err().code(), "file_exists");
    assert_eq!(fs::read(&to).unwrap(), b"precious");
    let small = write(true, false).unwrap();
    assert_eq!(small.left_out.map(|why| why.code).as_deref(), Some("disabled"));
    assert!(fs::read(&to).unwrap().len() as u64 == small.bytes && small.bytes < 32_000);
    let missing = from.desk.folder.path().join("missing/b.reprise");
    let error =
        bundle::export(&from.dir(), from.conversation, &missing, true, false, &SystemWorld).unwrap_err();
    assert_eq!(error.code(), "export_failed");
    let folder = from.desk.folder.path();
    let error = bundle::export(&from.dir(), from.conversation, folder, true, true, &SystemWorld).unwrap_err();
    assert_eq!(error.code(), "export_failed");
    let left = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(left.into_iter().all(|name| !name.to_string_lossy().contains(".part")));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(&to).unwrap().permissions().mode() & 0o777, 0o600);
    }
}

#[tokio::test]
async fn a_state_that_is_damaged_here_stays_here() {
    let from = sender().await;
    from.desk.chat.finish_saving().await;
    let Sender { desk, conversation } = from;
    let dir = DataDir::at(desk.folder.path()).unwrap();
    let (folder, world) = (desk.folder, desk.world);
    desk.engine.shutdown().await;
    drop((desk.chat, desk.engine));
    let file = dir.snapshots_db();
    let mut bytes = fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&file, bytes).unwrap();
    let to = folder.path().join("b.reprise");
    let done = bundle::export(&dir, conversation, &to, true, false, world.as_ref()).unwrap();
    assert_eq!((done.state, done.left_out.map(|why| why.code).as_deref()), (None, Some("integrity")));
    // What is left is a whole bundle, without a byte of the attempt before.
    let receiver = Receiver::new().await;
    let done = receiver.import_file(to).await.unwrap();
    assert_eq!((done.messages, done.state, done.refused), (6, None, None));
}

#[tokio::test]
async fn what_was_damaged_stays_damaged() {
    let from = sender().await;
    let mut parts = entries(&from.pack());
    edit_messages(&mut parts, |lines| lines[1]["damaged"] = true.into());
    let to = Receiver::new().await;
    let done = to.import(&archive(&parts)).await.unwrap();
    let damaged: Vec<bool> =
        to.reader().messages(done.conversation).unwrap().iter().map(|message| message.damaged).collect();
    assert_eq!(damaged, [false, true, false, false, false, false]);
    // And goes on so.
    let on = to.folder.path().join("on.reprise");
    bundle::export(&to.dir(), done.conversation, &on, false, false, to.world.as_ref()).unwrap();
    let next = Receiver::new().await;
    let done = next.import_file(on).await.unwrap();
    assert!(next.reader().messages(done.conversation).unwrap()[1].damaged);
}

#[tokio::test]
async fn without_a_place_for_states_the_text_comes() {
    let from = sender().await;
    let packed = from.pack();
    let to = Receiver::new().await;
    let file = to.file(&packed);
    let broken = StoreError::Snapshots { detail: "gone".to_owned(), damaged: false };
    let done =
        bundle::import(&to.library, Some(Err(broken)), file.clone(), Arc::new(Tomorrow)).await.unwrap();
    assert_eq!(done.refused.map(|why| why.code), Some("snapshots_unusable"));
    let done = bundle::import(&to.library, None, file, Arc::new(Tomorrow)).await.unwrap();
    assert_eq!((done.copied, done.refused.map(|why| why.code)), (true, Some("disabled")));
    assert_eq!(list_snapshots(&to.dir()).unwrap().0, []);
}

#[tokio::test]
async fn the_window_has_the_same_use_cases() {
    let from = sender().await;
    let file = from.desk.folder.path().join("b.reprise");
    let packed = from.desk.chat.export_bundle(from.conversation, file.clone(), true, false).await.unwrap();
    let copy = from.desk.chat.import_bundle(file).await.unwrap();
    assert!(copy.copied && packed.messages == copy.messages);
    assert_eq!(packed.state.map(|state| state.tokens), copy.state.map(|stored| stored.state.tokens));
}

/// Every hash is right, and the state remembers another conversation than the one that is read.
#[tokio::test]
async fn a_state_of_other_words_is_not_used() {
    let from = sender().await;
    let mut parts = entries(&from.pack());
    edit_messages(&mut parts, |lines| {
        let text = lines[1]["text"].as_str().unwrap().replace("and so on", "and so forth");
        lines[1]["blake3"] = ContentHash::of(text.as_bytes()).to_string().into();
        lines[1]["text"] = text.into();
    });
    let model = from.desk.folder.path().join("model.gguf");
    let mut paths = Vec::new();
    for packed in [from.pack(), archive(&parts)] {
        let to = Receiver::new().await;
        let done = to.import(&packed).await.unwrap();
        assert!(done.state.is_some());
        let engine = EngineHandle::start(ScriptedEngine::new(), Limits::default());
        let chat = Chat::new(to.library.clone(), engine.clone(), Arc::new(Tomorrow))
            .with_snapshots(to.snapshots.clone());
        let further =
            Ask::Continue { conversation: done.conversation, parent: None, text: "And now?".to_owned() };
        let request = reprise_chat::TurnRequest { model: model.clone(), ..ask(further) };
        let (events, mut heard) = tokio::sync::mpsc::channel(64);
        let (_cancel, cancelled) = tokio::sync::watch::channel(false);
        let turn = async { chat.take_turn(request, events, cancelled).await.unwrap().receipt };
        let listen = async { while heard.recv().await.is_some() {} };
        let (receipt, ()) = tokio::join!(turn, listen);
        let checks = receipt.checks.iter().filter(|check| check.ok).count();
        paths.push((receipt.path, receipt.reason.map(|reason| reason.code), checks));
    }
    let replayed = (ResumePath::Replayed, Some("tokens".to_owned()), 0);
    assert_eq!(paths, [(ResumePath::Restored, None, 5), replayed]);
}
