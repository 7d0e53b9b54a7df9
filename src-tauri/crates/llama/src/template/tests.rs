//! Templates against renderings of another implementation, and templates that mean harm.

use std::collections::BTreeMap;
use std::time::Instant;

use serde::Deserialize;

use super::*;

/// Saturday, 6 July 2024, 05:04:03, as in `render_expected.py`.
const NOW: LocalTime = LocalTime { unix_seconds: 1_720_235_043, utc_offset_seconds: 7_200 };

#[derive(Deserialize)]
struct Conversation {
    name: String,
    messages: Vec<ChatMessage>,
    #[serde(default)]
    extra: serde_json::Map<String, serde_json::Value>,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(untagged)]
enum Expected {
    Text(String),
    Raised { raised: String },
}

fn render(source: &str, messages: &[(&str, &str)]) -> Result<String, TemplateError> {
    render_within(source, messages, Limits::default())
}

fn render_within(source: &str, messages: &[(&str, &str)], limits: Limits) -> Result<String, TemplateError> {
    let messages: Vec<ChatMessage> = messages
        .iter()
        .map(|(role, content)| ChatMessage { role: (*role).into(), content: (*content).into() })
        .collect();
    ChatTemplate::compile(source, limits)?.render(&RenderInput {
        messages: &messages,
        add_generation_prompt: false,
        bos_token: "<bos>",
        eos_token: "</s>",
        now: NOW,
        extra: &serde_json::Map::new(),
    })
}

/// The expected files were rendered by Jinja2 3.1 with transformers' environment settings
/// (`tests/templates/render_expected.py`), not by the code under test.
#[track_caller]
fn check_fixture(source: &str, expected: &str) {
    let conversations: Vec<Conversation> =
        serde_json::from_str(include_str!("../../tests/templates/conversations.json")).unwrap();
    let mut expected: BTreeMap<String, Expected> = serde_json::from_str(expected).unwrap();
    let template = ChatTemplate::compile(source, Limits::default()).unwrap();
    for conversation in &conversations {
        for add_generation_prompt in [false, true] {
            let suffix = if add_generation_prompt { ", to be answered" } else { "" };
            let name = format!("{}{suffix}", conversation.name);
            let rendered = template.render(&RenderInput {
                messages: &conversation.messages,
                add_generation_prompt,
                bos_token: "<bos>",
                eos_token: "</s>",
                now: NOW,
                extra: &conversation.extra,
            });
            let rendered = match rendered {
                Ok(text) => Expected::Text(text),
                Err(TemplateError::Raised { message }) => {
                    Expected::Raised { raised: message.unwrap_or_default() }
                }
                Err(error) => panic!("{name}: {error}"),
            };
            let wanted = expected.remove(&name).unwrap();
            let wanted = match wanted {
                // Shown without the full stops that would double ours.
                Expected::Raised { raised } => {
                    Expected::Raised { raised: raised.trim_end_matches('.').to_owned() }
                }
                text @ Expected::Text(_) => text,
            };
            assert_eq!(rendered, wanted, "{name}");
        }
    }
    assert!(expected.is_empty(), "conversations that were not rendered: {expected:?}");
}

macro_rules! fixtures {
    ($($name:ident)*) => {$(
        #[test]
        fn $name() {
            check_fixture(
                include_str!(concat!("../../tests/templates/", stringify!($name), ".jinja")),
                include_str!(concat!("../../tests/templates/", stringify!($name), ".expected.json")),
            );
        }
    )*};
}

fixtures! { smollm2 chatml llama3_style gemma_style mistral_style reasoning_style features crlf }

#[test]
fn the_built_in_template_is_chatml() {
    assert_eq!(CHATML, include_str!("../../tests/templates/chatml.jinja"));
    let messages = [ChatMessage { role: "user".into(), content: "Hi {{ 1 }}".into() }];
    let rendered = ChatTemplate::chatml().render(&RenderInput {
        messages: &messages,
        add_generation_prompt: true,
        bos_token: "",
        eos_token: "",
        now: NOW,
        extra: &serde_json::Map::new(),
    });
    let expected = "<|im_start|>user\nHi {{ 1 }}<|im_end|>\n<|im_start|>assistant\n";
    assert_eq!(rendered.as_deref(), Ok(expected));
}

#[test]
fn dates_are_those_of_the_calendar() {
    // Expected by Python's datetime.
    for (unix_seconds, utc_offset_seconds, expected) in [
        (0, 0, "1970-01-01 Thu 001 00:00:00 12 AM"),
        (-1, 0, "1969-12-31 Wed 365 23:59:59 11 PM"),
        (951_782_400, 0, "2000-02-29 Tue 060 00:00:00 12 AM"),
        (1_735_646_400, 0, "2024-12-31 Tue 366 12:00:00 12 PM"),
        (1_709_251_200, -3_600, "2024-02-29 Thu 060 23:00:00 11 PM"),
        (4_107_542_400, 0, "2100-03-01 Mon 060 00:00:00 12 AM"),
    ] {
        let time = LocalTime { unix_seconds, utc_offset_seconds };
        assert_eq!(time.strftime("%Y-%m-%d %a %j %H:%M:%S %I %p"), expected);
    }
    for (format, expected) in [("%", "%"), ("%-", "%-"), ("%q%-q", "%q%-q"), ("", "")] {
        assert_eq!(NOW.strftime(format), expected);
    }
    let far = LocalTime { unix_seconds: i64::MAX, utc_offset_seconds: i32::MAX };
    assert!(far.strftime("%Y").starts_with("100"));
}

#[test]
fn variables_of_a_caller_do_not_replace_the_conversation() {
    let mut extra = serde_json::Map::new();
    extra.insert("messages".into(), serde_json::Value::from("replaced"));
    let rendered = ChatTemplate::compile("{{ messages }}", Limits::default()).unwrap().render(&RenderInput {
        messages: &[],
        add_generation_prompt: false,
        bos_token: "",
        eos_token: "",
        now: NOW,
        extra: &extra,
    });
    assert_eq!(rendered.as_deref(), Ok("[]"));
}

#[track_caller]
fn check_error(source: &str, expected: &TemplateError, sentence: &str) {
    let error = render(source, &[("user", "my secret")]).unwrap_err();
    assert_eq!(&error, expected);
    assert_eq!(error.to_string(), sentence);
}

#[test]
fn a_syntax_error_names_its_line() {
    check_error(
        "a\nb {% if %}",
        &TemplateError::Syntax { line: 2, message: "unexpected end of block".into() },
        "The model's chat template has a mistake in line 2: unexpected end of block.",
    );
}

#[test]
fn a_template_may_refuse_in_its_own_words_but_not_in_those_of_the_conversation() {
    check_error(
        "{{ raise_exception('Roles don\\'t alternate.') }}",
        &TemplateError::Raised { message: Some("Roles don't alternate".into()) },
        "The model's chat template refuses this conversation: Roles don't alternate.",
    );
    check_error(
        "{{ raise_exception('Cannot say ' + messages[0].content) }}",
        &TemplateError::Raised { message: None },
        "The model's chat template refuses this conversation.",
    );
    // Also from within a block and a macro.
    check_error(
        "{% macro m() %}{{ raise_exception('no') }}{% endmacro %}{% block b %}{{ m() }}{% endblock %}",
        &TemplateError::Raised { message: Some("no".into()) },
        "The model's chat template refuses this conversation: no.",
    );
    // Control characters could drive a terminal.
    check_error(
        "{{ raise_exception('a\u{1b}[31mb') }}",
        &TemplateError::Raised { message: Some("a [31mb".into()) },
        "The model's chat template refuses this conversation: a [31mb.",
    );
}

#[test]
fn a_failure_names_its_line_and_never_the_conversation() {
    check_error(
        "\n\n{{ messages[0].nothing.more }}",
        &TemplateError::Undefined { line: Some(3) },
        "The model's chat template uses something undefined in line 3.",
    );
    for (source, message) in [
        ("{{ 'x'|nofilter }}", "filter nofilter is unknown"),
        ("{{ 'x' is notest }}", "test notest is unknown"),
        ("{{ nofunction() }}", "nofunction is unknown"),
        ("{{ 'x'.nomethod() }}", "string has no method named nomethod"),
        ("{{ 1 + 'x' }}", "tried to use + operator on unsupported types number and string"),
        // A name or a value that comes from the conversation is left out.
        ("{{ [1]|map(messages[0].content)|list }}", "unknown filter"),
        ("{{ messages[0].content|int }}", "invalid operation"),
        ("{% include messages[0].content %}", "template not found"),
    ] {
        let error = render(source, &[("user", "my secret")]).unwrap_err();
        let expected = TemplateError::Runtime { line: Some(1), message: message.to_owned() };
        assert_eq!(error, expected, "{source}");
    }
}

/// Today minijinja puts no value into these details; should it begin to, nothing leaks.
#[test]
fn a_name_that_is_not_in_the_source_is_left_out() {
    let message = |detail| failure::runtime_message(ErrorKind::UnknownFilter, detail, "{{ 1|mine }}");
    assert_eq!(message("filter mine is unknown"), "filter mine is unknown");
    assert_eq!(message("filter secret is unknown"), "unknown filter");
}

#[test]
fn files_cannot_be_reached() {
    for source in [
        "{% include '/etc/hostname' %}",
        "{% import 'Cargo.toml' as m %}",
        "{% extends '../Cargo.toml' %}",
        "{% from 'Cargo.toml' import x %}",
    ] {
        let error = render(source, &[]).unwrap_err();
        assert!(matches!(error, TemplateError::Runtime { .. }), "{source}: {error}");
    }
}

/// These end by the limits that a process can set upon itself; those that need the sandbox are
/// tested with it.
#[test]
fn each_limit_ends_what_it_is_for() {
    let too_long = "a".repeat(2 << 20);
    let limit = Limits::default().output_bytes;
    let nested_loops = "{% for a in range(9999) %}".repeat(9) + &"{% endfor %}".repeat(9);
    let parentheses = "{{ ".to_owned() + &"(".repeat(100_000);
    let ifs = "{% if true %}".repeat(10_000);
    let output = "{% for a in range(99999) %}{{ 'abcdefghijklmnopqrstuvwxyz' }}{% endfor %}";
    for (source, expected) in [
        (too_long.as_str(), TemplateError::SourceTooLarge { bytes: 2 << 20, limit: 1 << 20 }),
        // Steps.
        (&nested_loops, TemplateError::TooManySteps),
        (
            "{% set x = namespace(v='a') %}{% for i in range(60) %}{% set x.v = x.v ~ x.v %}{% endfor %}",
            TemplateError::TooManySteps,
        ),
        ("{{ ('a' * 10**9)|length }}", TemplateError::TooManySteps),
        ("{{ ('%1000000000d'|format(1))|length }}", TemplateError::TooManySteps),
        ("{{ ('a\nb'|indent(10**9))|length }}", TemplateError::TooManySteps),
        ("{{ ([0] * 10**8)|list|length }}", TemplateError::TooManySteps),
        ("{{ ('aaaa'*1000)|replace('a', 'b'*1000000) }}", TemplateError::TooManySteps),
        (
            "{% set x = namespace(v=[1]) %}{% for i in range(60) %}{% set x.v = [x.v, x.v] %}{% endfor %}{{ x.v|tojson|length }}",
            TemplateError::TooManySteps,
        ),
        // Output.
        (output, TemplateError::OutputTooLarge { limit }),
        ("{{ 'a' * 2000000 }}", TemplateError::OutputTooLarge { limit }),
        ("{% block b %}{{ 'a' * 2000000 }}{% endblock %}", TemplateError::OutputTooLarge { limit }),
        (
            "{% set x = namespace(v=[1]) %}{% for i in range(60) %}{% set x.v = [x.v, x.v] %}{% endfor %}{{ x.v }}",
            TemplateError::OutputTooLarge { limit },
        ),
        // Depth.
        (&parentheses, TemplateError::TooDeep),
        (&ifs, TemplateError::TooDeep),
        ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", TemplateError::TooDeep),
        ("{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}", TemplateError::TooDeep),
        ("{% include 'chat' %}", TemplateError::TooDeep),
        (
            "{% set x = namespace(v=[1]) %}{% for i in range(500) %}{% set x.v = [x.v] %}{% endfor %}{{ x.v|tojson }}",
            TemplateError::TooDeep,
        ),
    ] {
        let started = Instant::now();
        let name: String = source.chars().take(90).collect();
        assert_eq!(render(source, &[]), Err(expected), "{name}");
        // Debug builds on a busy machine; each takes well below a second alone.
        assert!(started.elapsed().as_secs() < 20, "{name} took {:?}", started.elapsed());
    }
    let range = render("{{ range(10**9)|list }}", &[]).unwrap_err();
    assert!(matches!(range, TemplateError::Runtime { .. }), "{range}");
}

/// The control to the test above: what a large, honest conversation needs is granted.
#[test]
fn a_long_conversation_is_within_the_limits() {
    let many = [("user", "hi"), ("assistant", "<think>\nx\n</think>\n\nhi")].repeat(5_000);
    let text = "word ".repeat(1_000_000);
    for source in [
        include_str!("../../tests/templates/smollm2.jinja"),
        include_str!("../../tests/templates/llama3_style.jinja"),
        include_str!("../../tests/templates/gemma_style.jinja"),
        include_str!("../../tests/templates/mistral_style.jinja"),
        include_str!("../../tests/templates/reasoning_style.jinja"),
    ] {
        assert!(render(source, &many).unwrap().len() > 200_000);
        let rendered = render(source, &[("user", &text)]).unwrap();
        assert!(rendered.len() >= text.trim().len());
    }
}

#[test]
fn the_tags_for_training_change_nothing_and_look_alikes_stay() {
    for (source, expected) in [
        ("{% generation %}a{% endgeneration %}", "a"),
        ("x  {%- generation -%}  a  {%- endgeneration -%}  y", "xay"),
        ("{{ '{% generation' }}", "{% generation"),
        ("{% set generation = 1 %}{{ generation }}", "1"),
        ("{% set generations = 1 %}{{ generations }}", "1"),
    ] {
        assert_eq!(render(source, &[]).as_deref(), Ok(expected), "{source}");
    }
    assert_eq!(prepare("{%"), "{%");
    assert_eq!(prepare("{% 你 %}{%-"), "{% 你 %}{%-");
}

#[test]
fn an_error_survives_the_way_between_processes() {
    for error in [
        TemplateError::Syntax { line: 3, message: "m".into() },
        TemplateError::Raised { message: None },
        TemplateError::Undefined { line: None },
        TemplateError::TooManySteps,
        TemplateError::OutputTooLarge { limit: 5 },
        TemplateError::TimedOut { millis: 5 },
    ] {
        let json = serde_json::to_string(&error).unwrap();
        assert_eq!(serde_json::from_str::<TemplateError>(&json).unwrap(), error);
    }
}
