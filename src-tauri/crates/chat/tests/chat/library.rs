//! Rename, trash, restore, purge, export.

use reprise_chat::history::ListFilter;
use reprise_chat::{SystemWorld, World, export};

use crate::bench_desk::{Desk, further};

#[tokio::test]
async fn a_title_of_ones_own_stays() {
    let desk = Desk::new();
    let conversation = desk.begin("first words").await.conversation;
    desk.chat.library().rename(conversation, "  My title ".to_owned()).await.unwrap();
    desk.go_on(conversation, "more").await;
    assert_eq!(desk.reader().conversation(conversation).unwrap().title, "My title");
}

#[tokio::test]
async fn the_trash_keeps_and_gives_back() {
    let desk = Desk::new();
    let conversation = desk.begin("first words").await.conversation;
    let library = desk.chat.library();
    library.trash(conversation, SystemWorld.now()).await.unwrap();
    assert!(desk.reader().list(ListFilter::default()).unwrap().is_empty());
    let error = desk.turn(further(conversation, "more")).await.unwrap_err();
    assert_eq!(error.code(), "bad_request");
    library.restore(conversation).await.unwrap();
    desk.go_on(conversation, "more").await;
    library.purge(conversation).await.unwrap();
    assert_eq!(desk.reader().conversation(conversation).unwrap_err().code(), "not_found");
}

#[tokio::test]
async fn an_export_holds_every_branch_as_json_and_the_shown_one_as_markdown() {
    let desk = Desk::new();
    let one = desk.begin("# not a heading of ours").await;
    desk.turn(crate::bench_desk::ask(reprise_chat::Ask::Regenerate { answer: one.node })).await.unwrap();
    let reader = desk.reader();
    let conversation = reader.conversation(one.conversation).unwrap();
    let json: serde_json::Value =
        serde_json::from_str(&export::json(&reader, &conversation).unwrap()).unwrap();
    assert_eq!(json["messages"].as_array().unwrap().len(), 3);
    assert_eq!(json["messages"][1]["parent"], json["messages"][0]["id"]);
    insta::assert_snapshot!(export::markdown(&reader, &conversation).unwrap(), @r"
    # # not a heading of ours

    ## You

    # not a heading of ours

    ## script

    ok
    ");
}
