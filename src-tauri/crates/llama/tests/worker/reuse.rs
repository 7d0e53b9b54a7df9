//! What of a conversation is computed again, counted exactly, and that reuse changes no answer.

use reprise_engine::message::{ChatMessage, Role, StopReason, TokenId};

use crate::gguf::{Gguf, Spelling};
use crate::rig::{Answer, GEMMA, Rig, SMOLLM2, ask, ask_knowing, ids, long_text, model, say, spec, user};

/// The cells that an answer leaves behind: the token that ends an answer is not decoded.
fn live(answer: &Answer) -> u32 {
    let ended = answer.finished().stop == StopReason::End;
    u32::try_from(answer.prompt.len() + answer.tokens.len() - usize::from(ended)).unwrap()
}

fn and_then(mut messages: Vec<ChatMessage>, answer: &Answer, question: &str) -> Vec<ChatMessage> {
    messages.push(say(Role::Assistant, &answer.text));
    messages.push(say(Role::User, question));
    messages
}

/// The answer of a context that computes exactly these prompt tokens from nothing.
async fn fresh(model: &std::path::Path, messages: Vec<ChatMessage>, prompt: &[TokenId], n: u32) -> Answer {
    let rig = Rig::with(model).await;
    let answer = rig.ask(ask_knowing(messages, prompt, n)).await;
    assert_eq!(answer.prompt, prompt);
    assert_eq!(answer.prepared().reused, 0);
    answer
}

const QUESTIONS: [&str; 5] = [
    "My name is Ada. What is the capital of France?",
    "And of Italy?",
    "How do you say good morning in German? 🙂",
    "Name one river. 你好",
    "What is the capital of Spain?",
];

#[tokio::test]
async fn five_turns_compute_only_what_is_new() {
    let Some(smollm2) = model(SMOLLM2) else { return };
    let rig = Rig::with(&smollm2).await;
    let mut messages = user(QUESTIONS[0]);
    let mut last = rig.ask(ask(messages.clone(), 10)).await;
    assert_eq!(last.prepared().reused, 0);
    for question in &QUESTIONS[1..] {
        messages = and_then(messages, &last, question);
        let known = last.all_tokens();
        let next = rig.ask(ask_knowing(messages.clone(), &known, 10)).await;
        let prepared = next.prepared();
        assert_eq!(prepared.known_kept as usize, known.len(), "{question}");
        assert_eq!(prepared.reused, live(&last), "{question}");
        assert_eq!(next.finished().prefill_tokens, prepared.to_decode);
        assert!(prepared.to_decode < 40, "{prepared:?}");
        last = next;
    }
    let fresh = fresh(&smollm2, messages, &last.prompt, 10).await;
    assert_eq!(fresh.tokens, last.tokens);
    assert_eq!(fresh.text, last.text);
}

/// The tokens of an answer are used as they were sampled, though the tokeniser would choose others.
#[tokio::test]
async fn sampled_tokens_are_kept_as_they_are() {
    let Some(smollm2) = model(SMOLLM2) else { return };
    let rig = Rig::with(&smollm2).await;
    let spelling = Spelling::of(&Gguf::read(&smollm2));
    let question = user("What is the capital of France?");
    let prompt = rig.ask(ask(question.clone(), 0)).await.prompt;
    // "Hello Paris", a letter a token.
    let odd = b"Hello Paris".iter().map(|letter| TokenId(spelling.token(&[*letter])));
    let known: Vec<TokenId> = prompt.iter().copied().chain(odd).collect();
    let mut messages = question;
    messages.push(say(Role::Assistant, "Hello Paris"));
    messages.push(say(Role::User, "And of Italy?"));

    let spliced = rig.ask(ask_knowing(messages.clone(), &known, 8)).await;
    assert_eq!(spliced.prepared().known_kept as usize, known.len());
    assert_eq!(spliced.prepared().reused as usize, prompt.len());
    assert_eq!(spliced.prompt[..known.len()], known);
    let text = String::from_utf8(spelling.of_tokens(&ids(&spliced.prompt))).unwrap();
    assert!(text.ends_with("assistant\nHello Paris<|im_end|>\n<|im_start|>user\nAnd of Italy?<|im_end|>\n<|im_start|>assistant\n"), "{text}");

    // Nothing is known, but the same is live.
    let messages = and_then(messages, &spliced, "And of Spain?");
    let unknown = rig.ask(ask(messages.clone(), 8)).await;
    assert_eq!(unknown.prepared().known_kept, 0);
    assert_eq!(unknown.prepared().reused, live(&spliced));
    assert_eq!(unknown.prompt[..spliced.prompt.len()], spliced.prompt);

    // The control: neither known nor live, the tokeniser has its way.
    rig.load(&smollm2).await;
    let plain = rig.ask(ask(messages, 8)).await;
    assert_eq!(plain.prepared().reused, 0);
    assert!(plain.prompt.len() < unknown.prompt.len());
}

/// Ids that are of no vocabulary, or of another conversation, are not used.
#[tokio::test]
async fn wrong_known_tokens_harm_nothing() {
    let Some(smollm2) = model(SMOLLM2) else { return };
    let rig = Rig::with(&smollm2).await;
    let right = rig.ask(ask(user("Hello"), 2)).await;
    let beyond = |id| [&right.prompt[..4], &[TokenId(id)]].concat();
    for known in [
        vec![TokenId(i32::MIN), TokenId(i32::MAX)],
        vec![TokenId(49_152)],
        beyond(49_152),
        beyond(5),
        vec![TokenId(7); 100_000],
    ] {
        rig.load(&smollm2).await;
        let answer = rig.ask(ask_knowing(user("Hello"), &known, 2)).await;
        assert_eq!(answer.prompt, right.prompt);
        assert_eq!(answer.tokens, right.tokens);
        assert_eq!(answer.prepared().reused, 0);
    }
}

#[tokio::test]
async fn an_edited_message_keeps_what_stands_before_it() {
    let Some(smollm2) = model(SMOLLM2) else { return };
    let rig = Rig::with(&smollm2).await;
    let first = user(QUESTIONS[0]);
    let one = rig.ask(ask(first.clone(), 10)).await;
    let second = and_then(first.clone(), &one, QUESTIONS[1]);
    let two = rig.ask(ask_knowing(second.clone(), &one.all_tokens(), 10)).await;
    let third = and_then(second, &two, QUESTIONS[2]);
    rig.ask(ask_knowing(third, &two.all_tokens(), 10)).await;

    let edited = and_then(first, &one, "And of Portugal?");
    let answer = rig.ask(ask_knowing(edited.clone(), &one.all_tokens(), 10)).await;
    let prepared = answer.prepared();
    assert!(prepared.reused >= live(&one), "{prepared:?}");
    assert!(prepared.reused < prepared.prompt_tokens);
    let same: Vec<_> = two.prompt.iter().zip(&answer.prompt).take_while(|(a, b)| a == b).collect();
    assert_eq!(prepared.reused as usize, same.len());
    let fresh = fresh(&smollm2, edited, &answer.prompt, 10).await;
    assert_eq!(answer.tokens, fresh.tokens);
}

/// Asking the same again still needs the logits of the last token.
#[tokio::test]
async fn the_same_prompt_again_decodes_one_token() {
    let Some(smollm2) = model(SMOLLM2) else { return };
    let rig = Rig::with(&smollm2).await;
    let first = rig.ask(ask(user(QUESTIONS[0]), 10)).await;
    for _ in 0..2 {
        let again = rig.ask(ask(user(QUESTIONS[0]), 10)).await;
        assert_eq!(again.prepared().to_decode, 1);
        assert_eq!(again.tokens, first.tokens);
    }
}

/// A refused or a failed request leaves the live context as it was.
#[tokio::test]
async fn a_refusal_costs_nothing() {
    let Some(smollm2) = model(SMOLLM2) else { return };
    let rig = Rig::with(&smollm2).await;
    let first = rig.ask(ask(user(QUESTIONS[0]), 10)).await;
    rig.try_ask(ask(user(&long_text(2000)), 1)).await.unwrap_err();
    rig.try_ask(ask(user(""), 1)).await.unwrap_err();
    let next = and_then(user(QUESTIONS[0]), &first, QUESTIONS[1]);
    let next = rig.ask(ask_knowing(next, &first.all_tokens(), 1)).await;
    assert_eq!(next.prepared().reused, live(&first));
}

/// Gemma's sliding window is 512 tokens: short of it, and beyond.
#[tokio::test]
async fn a_sliding_window_goes_on_or_starts_over() {
    let Some(gemma) = model(GEMMA) else { return };
    let rig = Rig::start();
    for words in [20, 540] {
        rig.try_load(spec(&gemma)).await.unwrap();
        let first = user(&format!("{} What is this?", long_text(words)));
        let one = rig.ask(ask(first.clone(), 6)).await;
        assert_eq!(one.prompt.len() > 512, words == 540);
        let second = and_then(first.clone(), &one, "And what else?");
        let two = rig.ask(ask_knowing(second, &one.all_tokens(), 6)).await;
        assert_eq!(two.prepared().reused, live(&one), "{words} words");
        assert!(two.prepared().to_decode < 40);

        // The last question is another one: the tail would have to go.
        let edited = and_then(first, &one, "Why is that so?");
        let answer = rig.ask(ask_knowing(edited.clone(), &one.all_tokens(), 6)).await;
        assert_eq!(answer.prepared().reused, 0, "{words} words");
        assert!(answer.prepared().known_kept as usize >= one.prompt.len());
        let fresh = fresh(&gemma, edited, &answer.prompt, 6).await;
        assert_eq!(answer.tokens, fresh.tokens, "{words} words");
    }
}
