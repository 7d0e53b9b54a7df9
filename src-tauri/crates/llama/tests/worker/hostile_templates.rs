//! A model whose chat template fails, loops or explodes: the worker says so and lives on.

use std::path::Path;
use std::time::{Duration, Instant};

use reprise_engine::Fault;
use reprise_engine::message::{Role, StopReason, TemplateOrigin};

use crate::gguf::{Gguf, Spelling};
use crate::rig::{PATIENCE, Rig, SMOLLM2, ask, fault, ids, model, say, user};

const TEMPLATE: &str = "tokenizer.chat_template";

fn with_template(smollm2: &Path, template: Option<&str>, to: &Path) {
    let mut gguf = Gguf::read(smollm2);
    match template {
        Some(template) => gguf.set_string(TEMPLATE, template),
        None => gguf.remove(TEMPLATE),
    }
    gguf.write(smollm2, to);
}

#[tokio::test]
async fn a_bad_template_costs_one_answer() {
    let Some(smollm2) = model(SMOLLM2) else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bad.gguf");
    let rig = Rig::start();
    let pid = rig.pid().await;
    for (template, words) in [
        ("{% if %}", "it has a mistake in line 1"),
        ("{{ raise_exception('Only cats may speak') }}", "Only cats may speak"),
        ("{{ nothing.at.all }}", "undefined"),
        ("{{ 'x' | nofilter }}", "nofilter"),
        ("{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}", "too many steps"),
        ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "nests too deep"),
        ("{{ 'a' * 9999999 }}", "and was stopped"),
        ("{% set a, b = [0] * 99999999 %}", "and was stopped"),
        ("{{ ('a' * 100000).join([0] * 100000) }}", "and was stopped"),
    ] {
        with_template(&smollm2, Some(template), &path);
        assert_eq!(rig.load(&path).await.template, TemplateOrigin::Model);
        let started = Instant::now();
        let refused = fault(rig.try_ask(ask(user("My secret"), 1)).await);
        assert!(matches!(refused, Fault::Template { .. }), "{template}: {refused:?}");
        assert!(refused.to_string().contains(words), "{template}: {refused}");
        assert!(!refused.to_string().contains("secret"), "{refused}");
        assert!(started.elapsed() < PATIENCE);
        rig.engine.ping().await.unwrap();
    }
    rig.load(&smollm2).await;
    rig.ask(ask(user("Hello"), 1)).await;
    assert_eq!(rig.pid().await, pid, "no worker was lost");
}

/// A single step that would take 2^40 comparisons: only time can end it.
#[tokio::test]
async fn a_template_without_end_is_ended() {
    let Some(smollm2) = model(SMOLLM2) else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("endless.gguf");
    let endless = "{% set n = namespace(x=[1], y=[1]) %}{% for i in range(40) %}\
        {% set n.x = [n.x, n.x] %}{% set n.y = [n.y, n.y] %}{% endfor %}{{ n.x == n.y }}";
    with_template(&smollm2, Some(endless), &path);
    let rig = Rig::with(&path).await;
    let started = Instant::now();
    let refused = fault(rig.try_ask(ask(user("Hello"), 1)).await);
    assert!(refused.to_string().contains("took longer than"), "{refused}");
    assert!(started.elapsed() >= Duration::from_secs(5), "{:?}", started.elapsed());
    rig.load(&smollm2).await;
    rig.ask(ask(user("Hello"), 1)).await;
}

#[tokio::test]
async fn without_a_template_it_is_chatml() {
    let Some(smollm2) = model(SMOLLM2) else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("none.gguf");
    let spelling = Spelling::of(&Gguf::read(&smollm2));
    let messages = || vec![say(Role::System, "Be brief."), say(Role::User, "What is 1 + 1?")];
    let expected = "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nWhat is 1 + 1?<|im_end|>\n\
        <|im_start|>assistant\n";
    let rig = Rig::start();
    for template in [None, Some(""), Some(" \n")] {
        with_template(&smollm2, template, &path);
        assert_eq!(rig.load(&path).await.template, TemplateOrigin::ChatMl);
        let answer = rig.ask(ask(messages(), 2)).await;
        assert_eq!(spelling.of_tokens(&ids(&answer.prompt)), expected.as_bytes());
    }
    // The model's own says the same of a conversation with a system message.
    rig.load(&smollm2).await;
    let answer = rig.ask(ask(messages(), 2)).await;
    assert_eq!(spelling.of_tokens(&ids(&answer.prompt)), expected.as_bytes());
}

/// To this vocabulary the end of a ChatML message is no token but text; it ends the answer all the same.
#[tokio::test]
async fn chatml_ends_an_answer_also_as_text() {
    let Some(smollm2) = model(SMOLLM2) else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plain.gguf");
    let mut gguf = Gguf::read(&smollm2);
    gguf.remove(TEMPLATE);
    let mut pieces = gguf.strings("tokenizer.ggml.tokens");
    let end = pieces.iter().position(|piece| piece == b"<|im_end|>").unwrap();
    pieces[end] = b"<|elsewhere|>".to_vec();
    gguf.set_strings("tokenizer.ggml.tokens", &pieces);
    for name in ["eos", "padding"] {
        gguf.set_u32(&format!("tokenizer.ggml.{name}_token_id"), 0);
    }
    gguf.write(&smollm2, &path);
    let rig = Rig::with(&path).await;
    let mut messages = Vec::new();
    for word in ["red", "blue", "green"] {
        messages.push(say(Role::User, &format!("Repeat: {word}")));
        messages.push(say(Role::Assistant, word));
    }
    messages.push(say(Role::User, "Repeat: white"));
    let answer = rig.ask(ask(messages, 40)).await;
    assert_eq!(answer.text, "white");
    assert_eq!(answer.finished().stop, StopReason::End);
}
