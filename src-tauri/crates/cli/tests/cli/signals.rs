//! Ctrl-C, and an engine that is killed.

use serde_json::Value;

use crate::place::{Place, column, keys, run, text};
use crate::processes::{Running, assert_gone, signal};

/// Its answer has many short lines, so that one is whole soon.
const LONG: &str = "List one hundred animals, one on each line, with a number before each.";

fn long_answer(place: &Place, prompts: &[&str], extra: &[&str]) -> Running {
    let extra = [&["-v", "--temperature", "1", "--seed", "3"], extra].concat();
    Running::start(&mut place.chat_command(prompts, 6000, &extra))
}

/// Until a whole line of the answer was seen: it is in the middle of it.
fn wait_for_text(running: &mut Running) -> String {
    let node = running.wait_for("answering ");
    while running.line().is_some_and(|line| line.trim().is_empty()) {}
    node
}

#[test]
fn ctrl_c_stops_the_answer_and_keeps_it() {
    let Some(place) = Place::with_model() else { return };
    let mut running = long_answer(&place, &[LONG], &[]);
    let node = wait_for_text(&mut running);
    running.interrupt();
    let ended = running.end();
    assert_eq!(ended.code, Some(130), "{ended:?}");
    let said = ended.object();
    assert_eq!(said["stop"], "cancelled");
    assert_eq!(said["node"], node.as_str());
    let messages = place.messages(text(&said["conversation"]));
    assert_eq!(messages[1]["state"], "stopped");
    assert_eq!(messages[1]["text"], said["text"]);
    assert!(!text(&said["text"]).trim().is_empty());
    assert_gone(&place);
}

#[test]
fn ctrl_c_in_the_second_of_several_turns_tells_both() {
    let Some(place) = Place::with_model() else { return };
    let mut running = long_answer(&place, &["Hello.", LONG, "Never asked."], &["--stop", "."]);
    running.wait_for("finished ");
    running.wait_for("answering ");
    running.interrupt();
    let ended = running.end();
    assert_eq!(ended.code, Some(130), "{ended:?}");
    let said = ended.object();
    assert_eq!(keys(&said), "conversation error message turns");
    assert_eq!(said["error"]["code"], "cancelled");
    let stops = column(said["turns"].as_array().unwrap(), "stop");
    assert_eq!(stops, ["end", "cancelled"], "the third was not asked");
    let messages = place.messages(text(&said["conversation"]));
    assert_eq!(column(&messages, "state"), ["complete", "complete", "complete", "stopped"]);
}

#[test]
fn ctrl_c_while_the_model_is_loaded_leaves_nothing_behind() {
    let Some(place) = Place::with_model() else { return };
    let mut running = long_answer(&place, &[LONG], &[]);
    running.wait_for("loading ");
    // Nothing is loaded any further until the signal has been heeded.
    let worker = running.worker();
    signal("STOP", &worker.to_string());
    running.interrupt();
    running.wait_for("Stopping.");
    signal("CONT", &worker.to_string());
    let ended = running.end();
    assert_eq!(ended.code, Some(130), "{ended:?}");
    let said = ended.object();
    if said.get("error").is_some() {
        assert_eq!(said["error"]["code"], "cancelled");
        assert_eq!(place.count(), 0);
    } else {
        // The load had ended before the worker was held.
        assert_eq!(said["stop"], "cancelled");
    }
    assert_gone(&place);
}

#[test]
fn a_second_ctrl_c_does_not_wait_for_an_engine_that_hangs() {
    let Some(place) = Place::with_model() else { return };
    let mut running = long_answer(&place, &[LONG], &[]);
    let conversation = running.wait_for("kept ").split(' ').next().unwrap().to_owned();
    wait_for_text(&mut running);
    let worker = running.worker();
    signal("STOP", &worker.to_string());
    running.interrupt();
    running.wait_for("Stopping.");
    running.interrupt();
    let ended = running.end();
    assert_eq!(ended.code, Some(130), "{ended:?}");
    // It hangs no longer, hears that it is alone, and goes.
    signal("CONT", &worker.to_string());
    assert_gone(&place);
    place.chat("Go on.", 1, &["--conversation", &conversation]);
    let messages = place.messages(&conversation);
    assert_eq!(messages[1]["state"], "interrupted");
}

#[test]
fn the_conversation_goes_on_after_its_engine_was_killed_in_mid_answer() {
    let Some(place) = Place::with_model() else { return };
    let mut running = long_answer(&place, &["Hello.", LONG], &["--stop", "?"]);
    running.wait_for("finished ");
    running.wait_for("kept ");
    let node = wait_for_text(&mut running);
    signal("KILL", &running.worker().to_string());
    let ended = running.end();
    let said = ended.failure("engine_died");
    assert_eq!(keys(&said), "conversation error message turns");
    let message = text(&said["error"]["message"]);
    assert!(message.contains("was killed") && message.contains("kept"), "{message}");
    assert_eq!(message.matches(". ").count(), 0, "one sentence: {message}");
    assert_eq!(said["turns"].as_array().unwrap().len(), 1, "the turn before it is told");

    let id = text(&said["conversation"]);
    let cut =
        |messages: &[Value]| messages.iter().find(|message| message["id"] == node.as_str()).cloned().unwrap();
    let answer = cut(&place.messages(id));
    assert_eq!(answer["state"], "interrupted");
    assert_eq!(answer["parent"], said["message"]);
    assert!(!text(&answer["text"]).trim().is_empty());
    assert!(ended.stderr.contains(text(&answer["text"]).trim()), "what was seen is what is kept");

    let next = place.chat("Go on.", 4, &["--conversation", id]);
    assert_eq!(next["conversation"], id);
    let messages = place.messages(id);
    assert_eq!(cut(&messages), answer);
    let states = column(&messages, "state");
    assert_eq!(states, ["complete", "complete", "complete", "interrupted", "complete", "complete"]);
    assert_eq!(messages[4]["parent"], node.as_str());
    assert_gone(&place);
}

#[test]
fn one_writer_at_a_time_and_readers_beside_it() {
    let Some(place) = Place::with_model() else { return };
    let earlier = place.chat("Remember the quokka.", 1, &[]);
    let mut running = long_answer(&place, &[LONG], &[]);
    let conversation = running.wait_for("kept ").split(' ').next().unwrap().to_owned();
    running.wait_for("answering ");

    let busy = place.chat_fails("data_dir_busy", "Me too.", &[]);
    let message = text(&busy["error"]["message"]);
    let holder = format!("reprise-cli (process {})", running.child.id());
    assert!(message.contains(&holder), "{message}");
    let id = text(&earlier["conversation"]);
    place.fails("data_dir_busy", ["history", "trash", id]);
    place.fails("data_dir_busy", ["history", "purge", id]);

    assert_eq!(place.count(), 2);
    let shown = place.messages(&conversation);
    assert_eq!(column(&shown, "state"), ["complete", "streaming"]);
    assert!(!place.json(["history", "search", "quokka"])["hits"].as_array().unwrap().is_empty());
    assert_eq!(place.json(["history", "export", id])["messages"].as_array().unwrap().len(), 2);
    assert!(run(place.command().args(["--json", "doctor"])).success()["decision"].is_object());

    running.interrupt();
    assert_eq!(running.end().code, Some(130));
    place.json(["history", "trash", id]);
}
