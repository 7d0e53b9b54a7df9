//! A conversation is read before its next message, and that message finds all of it live.

use std::path::{Path, PathBuf};

use reprise_engine::Fault;
use reprise_engine::message::{
    ChatMessage, Event, GenerateSpec, Request, RequestId, Role, StopReason, TokenId,
};

use crate::gguf::{Gguf, Spelling};
use crate::kinds::tiny_models;
use crate::rig::{
    Answer, GEMMA, Rig, SMOLLM2, ask, ask_knowing, fault, ids, long_text, model, say, spec, user,
};
use crate::stopping::raw_worker;

/// Without a control token, as most templates of older models are.
const PLAIN: &str = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}\
    {% if add_generation_prompt %}assistant:{% endif %}";

/// Nothing stands between a mark and what is said.
const DENSE: &str = "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}\
    {% if add_generation_prompt %}[assistant]{% endif %}";

/// What was thought is written only while nothing stands behind it.
const THINKING: &str = "{% for m in messages %}<|im_start|>{{ m.role }}\n\
    {{ m.content if loop.last else m.content.split('</think>')|last }}<|im_end|>\n{% endfor %}\
    {% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

/// What people may say next: each is joined to what stands before it in another way.
const NEXT: [&str; 8] = ["And why?", "Go on.", "\n\nlook", "  here", "42", "你好", ")]", "user"];

/// The same model with another template.
fn with_template(from: &Path, template: &str, folder: &Path) -> PathBuf {
    let mut gguf = Gguf::read(from);
    gguf.set_string("tokenizer.chat_template", template);
    let to = folder.join(format!("{}-{}.gguf", from.file_stem().unwrap().display(), template.len()));
    gguf.write(from, &to);
    to
}

/// Real models and tiny ones of every kind; the second of the real ones has no template, and no control token of
/// the one that is used then. And some with templates that have none at all.
fn models(folder: &Path) -> Option<Vec<PathBuf>> {
    let (smollm2, gemma, tiny) = (model(SMOLLM2)?, model(GEMMA)?, tiny_models()?);
    let kind = |kind: &str| tiny.join(format!("tiny-{kind}.gguf"));
    let mut models = vec![smollm2, gemma];
    models.extend(["dense", "window", "recurrent", "hybrid", "moe", "mla"].map(kind));
    for from in ["dense", "window", "hybrid"].map(kind) {
        models.extend([PLAIN, DENSE].map(|template| with_template(&from, template, folder)));
    }
    Some(models)
}

fn name(path: &Path) -> String {
    path.file_stem().unwrap().display().to_string()
}

fn reading(messages: &[ChatMessage], known: &[TokenId]) -> GenerateSpec {
    GenerateSpec { reading: true, ..ask_knowing(messages.to_vec(), known, 4) }
}

fn and(messages: &[ChatMessage], role: Role, content: &str) -> Vec<ChatMessage> {
    [messages, &[say(role, content)]].concat()
}

/// Reads, and checks what holds of every reading that is not stopped.
async fn read(rig: &Rig, spec: GenerateSpec) -> Answer {
    let prepared = rig.engine.prepare(spec.clone()).await.unwrap();
    assert_eq!(prepared.keeps, 0);
    let read = rig.ask(spec).await;
    assert_eq!(read.prompt, prepared.tokens);
    assert_eq!(read.prepared().reused, prepared.live);
    let finished = read.finished();
    assert_eq!((finished.stop, finished.decode_tokens), (StopReason::End, 0));
    assert_eq!(finished.prefill_tokens, read.prepared().to_decode);
    assert!(finished.ttft_ms.is_none() && read.pieces.is_empty() && read.tokens.is_empty());
    read
}

async fn live_total(rig: &Rig, spec: &GenerateSpec) -> usize {
    rig.engine.prepare(spec.clone()).await.unwrap().live_total as usize
}

/// A conversation of one answer, and its tokens.
async fn talked(rig: &Rig, words: usize) -> (Vec<ChatMessage>, Vec<TokenId>) {
    let first = user(&format!("{} What is this about?", long_text(words)));
    let answer = rig.ask(ask(first.clone(), 12)).await;
    (and(&first, Role::Assistant, &answer.text), answer.all_tokens())
}

#[tokio::test]
async fn the_next_answer_reuses_all_that_was_read_whatever_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let Some(models) = models(folder.path()) else { return };
    let rig = Rig::start();
    for path in models {
        let name = name(&path);
        let info = rig.load(&path).await;
        let (messages, tokens) = talked(&rig, if name.starts_with("tiny") { 200 } else { 30 }).await;
        let rests = [("its tokens", &tokens[..]), ("nothing known", &[])];
        for (what, known) in rests {
            for next in NEXT {
                rig.engine.discard().await.unwrap();
                let spec = reading(&messages, known);
                let first = read(&rig, spec.clone()).await;
                assert_eq!(first.prepared().reused, 0, "{name}, {what}");
                let (all, least) = (first.prompt.len(), tokens.len() - 10);
                assert!(all > least, "{name}, {what}: {all} tokens of {}", tokens.len());
                let again = read(&rig, spec.clone()).await;
                assert_eq!(again.prompt, first.prompt, "{name}, {what}");
                assert_eq!(again.prepared().to_decode, 0, "{name}, {what}");

                let next = and(&messages, Role::User, next);
                let answer = rig.ask(ask_knowing(next.clone(), known, 2)).await;
                let said = &next.last().unwrap().content;
                assert_eq!(answer.prepared().reused as usize, all, "{name}, {what}, {said:?}");
                assert!(answer.prepared().to_decode < 40, "{name}, {what}, {said:?}");
                if info.cache.can_trim() {
                    // What was said since does not have to be read again, and does not have to go.
                    let live = live_total(&rig, &spec).await;
                    assert_eq!(read(&rig, spec.clone()).await.prepared().to_decode, 0, "{name}, {what}");
                    assert_eq!(live_total(&rig, &spec).await, live, "{name}, {what}");
                }
            }
        }
    }
}

#[tokio::test]
async fn what_is_live_already_stays() {
    let folder = tempfile::tempdir().unwrap();
    let Some(models) = models(folder.path()) else { return };
    let rig = Rig::start();
    for path in models {
        let name = name(&path);
        let info = rig.load(&path).await;
        let (messages, known) = talked(&rig, 30).await;
        let spec = reading(&messages, &known);
        let live = live_total(&rig, &spec).await;
        assert!(live + 1 >= known.len(), "{name}");
        let first = read(&rig, spec.clone()).await;
        let (all, decoded) = (first.prompt.len(), first.prepared().to_decode as usize);
        assert_eq!(decoded, all.saturating_sub(live), "{name}");
        assert!(decoded < 10, "{name}");
        let now = live_total(&rig, &spec).await;
        assert_eq!(now, all.max(live), "{name}");

        // A message that is not answered yet: it is live, and whoever asks for its answer needs it.
        let asked = and(&messages, Role::User, "And why?");
        let answer = rig.ask(ask_knowing(asked.clone(), &known, 0)).await;
        assert_eq!(answer.prepared().reused as usize, now, "{name}");
        let unanswered = reading(&asked, &known);
        let again = read(&rig, unanswered.clone()).await;
        assert_eq!((again.prompt, again.prepared.unwrap().to_decode), (first.prompt.clone(), 0), "{name}");
        assert_eq!(live_total(&rig, &unanswered).await, answer.prompt.len(), "{name}");

        // As if it had never been said: where the tail cannot go, no other message could follow.
        rig.engine.discard().await.unwrap();
        rig.ask(ask_knowing(asked.clone(), &known, 2)).await;
        let before = read(&rig, spec.clone()).await;
        let reread = if info.cache.can_trim() { 0 } else { all };
        assert_eq!(before.prepared().to_decode as usize, reread, "{name}");
        let other = and(&messages, Role::User, "What else?");
        let other = rig.ask(ask_knowing(other, &known, 2)).await;
        assert!(other.prepared().reused as usize >= all, "{name}");
    }
}

/// The worker notes a cancel between two batches.
#[tokio::test]
async fn a_reading_that_is_stopped_keeps_what_it_read() {
    let (Some(smollm2), Some(gemma)) = (model(SMOLLM2), model(GEMMA)) else { return };
    for path in [smollm2, gemma] {
        let logs = tempfile::tempdir().unwrap();
        let mut worker = raw_worker(logs.path());
        worker.ask(1, Request::Load(spec(&path))).await;
        let reading = reading(&and(&user(&long_text(800)), Role::Assistant, "Nothing."), &[]);
        worker.ask(2, Request::Generate(reading.clone())).await;
        worker.until(|event| matches!(event, Event::Prefill { .. }).then_some(())).await;
        worker.ask(3, Request::Cancel { target: RequestId(2) }).await;
        let finished = |event| if let Event::Finished(finished) = event { Some(finished) } else { None };
        let stopped = worker.until(finished).await;
        assert_eq!(stopped.stop, StopReason::Cancelled);
        assert!(stopped.prefill_tokens > 0);

        worker.ask(4, Request::Generate(reading)).await;
        let prepared = |event| if let Event::Prepared(prepared) = event { Some(prepared) } else { None };
        let prepared = worker.until(prepared).await;
        assert_eq!(prepared.reused, stopped.prefill_tokens);
        assert!(prepared.to_decode > 0);
        let rest = worker.until(finished).await;
        assert_eq!((rest.stop, rest.prefill_tokens), (StopReason::End, prepared.to_decode));
    }
}

#[tokio::test]
async fn instructions_alone_are_read_and_nothing_is_not() {
    let (Some(smollm2), Some(gemma)) = (model(SMOLLM2), model(GEMMA)) else { return };
    let rig = Rig::start();
    let system = vec![say(Role::System, &format!("Be brief. Words that you like: {}.", long_text(60)))];
    for path in [smollm2, gemma] {
        rig.load(&path).await;
        for nothing in [Vec::new(), user("Hello"), [user("Hello"), user("Hello?")].concat()] {
            let nothing = reading(&nothing, &[]);
            assert_eq!(fault(rig.try_ask(nothing.clone()).await), Fault::PromptEmpty);
            assert_eq!(fault(rig.engine.prepare(nothing).await), Fault::PromptEmpty);
        }
        let first = read(&rig, reading(&system, &[])).await;
        assert!(first.prompt.len() > 60);

        // What cannot be read costs nothing that is live.
        let long = and(&user(&long_text(2000)), Role::Assistant, "So?");
        let refused = fault(rig.try_ask(reading(&long, &[])).await);
        assert!(matches!(refused, Fault::PromptTooLong { n_ctx: 1024, .. }), "{refused}");
        assert_eq!(read(&rig, reading(&system, &[])).await.prepared().to_decode, 0);

        let answer = rig.ask(ask(and(&system, Role::User, "Hello"), 2)).await;
        assert_eq!(answer.prepared().reused as usize, first.prompt.len());
    }
}

/// A template that writes an answer otherwise once something stands behind it: that is how it is read.
#[tokio::test]
async fn it_is_read_as_the_next_prompt_writes_it() {
    let Some(tiny) = tiny_models() else { return };
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::start();
    for kind in ["tiny-dense.gguf", "tiny-recurrent.gguf"] {
        let from = tiny.join(kind);
        let spelling = Spelling::of(&Gguf::read(&from));
        rig.load(&with_template(&from, THINKING, folder.path())).await;
        let answered = and(&user("Why?"), Role::Assistant, "<think>Hm, why.</think>Because.");
        let spec = reading(&answered, &[]);
        let first = read(&rig, spec.clone()).await;
        let text = String::from_utf8(spelling.of_tokens(&ids(&first.prompt))).unwrap();
        assert_eq!(
            text,
            "<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\nBecause.<|im_end|>\n<|im_start|>"
        );
        let asked = and(&answered, Role::User, "Is it?");
        // What was prepared for a reading is not answered.
        rig.engine.prepare(reading(&asked, &[])).await.unwrap();
        let answer = rig.ask(ask(asked, 4)).await;
        assert_eq!(answer.prepared().reused as usize, first.prompt.len());
        assert_eq!(answer.tokens.len(), 4);
    }
}
