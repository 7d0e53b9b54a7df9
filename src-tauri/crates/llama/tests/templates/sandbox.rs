//! The sandbox with the real program as its child. Included by an integration test, where cargo
//! tells the path of the worker.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use reprise_llama::template::{
    CHATML, ChatMessage, ChatTemplate, Limits, LocalTime, RenderInput, SandboxedRenderer, TemplateError,
};

const NOW: LocalTime = LocalTime { unix_seconds: 1_720_235_043, utc_offset_seconds: 7_200 };

/// More than any hostile template of these tests may take, with room for a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

fn renderer(limits: Limits) -> SandboxedRenderer {
    SandboxedRenderer::with_limits(PathBuf::from(env!("CARGO_BIN_EXE_reprise-engine")), limits)
}

fn with_input<T>(content: &str, run: impl FnOnce(&RenderInput) -> T) -> T {
    let messages = [
        ChatMessage { role: "user".into(), content: content.into() },
        ChatMessage { role: "assistant".into(), content: "<think>\n1\n</think>\n\n你好 😀\r\n".into() },
    ];
    let mut extra = serde_json::Map::new();
    extra.insert("enable_thinking".into(), serde_json::Value::Bool(false));
    run(&RenderInput {
        messages: &messages,
        add_generation_prompt: true,
        bos_token: "<bos>",
        eos_token: "</s>",
        now: NOW,
        extra: &extra,
    })
}

#[track_caller]
fn check_fails(source: &str, limits: Limits, expected: &TemplateError) {
    let started = Instant::now();
    let name: String = source.chars().take(80).collect();
    let outcome = with_input("my secret", |input| renderer(limits).render(source, input));
    assert_eq!(outcome.as_ref(), Err(expected), "{name}");
    assert!(started.elapsed() < PATIENCE, "{name} took {:?}", started.elapsed());
}

#[test]
fn the_child_renders_what_the_process_would() {
    for source in [
        CHATML,
        include_str!("smollm2.jinja"),
        include_str!("llama3_style.jinja"),
        include_str!("gemma_style.jinja"),
        include_str!("mistral_style.jinja"),
        include_str!("reasoning_style.jinja"),
        include_str!("features.jinja"),
    ] {
        with_input("{{ 1 }} \u{0} \"x\" \\ 你", |input| {
            let here = ChatTemplate::compile(source, Limits::default()).unwrap().render(input);
            assert!(here.is_ok());
            assert_eq!(renderer(Limits::default()).render(source, input), here);
        });
        assert_eq!(renderer(Limits::default()).check(source), Ok(()));
    }
}

#[test]
fn a_prompt_of_five_megabytes_passes() {
    let content = "word\n\u{1} ".repeat(700_000);
    let rendered = with_input(&content, |input| renderer(Limits::default()).render(CHATML, input)).unwrap();
    assert!(rendered.contains(&content));
}

#[test]
fn errors_come_back_as_they_were() {
    let limits = Limits::default();
    for source in ["{% if %}", "{{ raise_exception('no') }}", "{{ 'x'|nofilter }}", "{{ a.b }}"] {
        let here = with_input("", |input| {
            ChatTemplate::compile(source, limits).and_then(|template| template.render(input))
        });
        check_fails(source, limits, &here.unwrap_err());
    }
    let syntax = renderer(limits).check("{% if %}");
    assert!(matches!(syntax, Err(TemplateError::Syntax { line: 1, .. })), "{syntax:?}");
    let long = "a".repeat(2 << 20);
    let expected = TemplateError::SourceTooLarge { bytes: 2 << 20, limit: 1 << 20 };
    assert_eq!(renderer(limits).check(&long), Err(expected));
}

/// The gaps of the budget of steps, as listed in the module's page.
#[test]
#[cfg(target_os = "linux")]
fn memory_is_bounded_where_steps_are_not() {
    for source in [
        "{% set a, b = [0] * 99999999 %}",
        "{% set x = 'a' * 200000 %}{{ x.replace('', x)|length }}",
        "{{ ('a' * 100000).join([0] * 100000)|length }}",
        "{{ '{:1000000000}'.format(1)|length }}",
    ] {
        check_fails(source, Limits::default(), &TemplateError::OutOfMemory);
    }
}

/// The control: the same templates are honest when they ask for little.
#[test]
fn the_same_operations_pass_in_small() {
    for (source, expected) in [
        ("{% set a, b = [0] * 2 %}{{ a }}", "0"),
        ("{% set x = 'ab' %}{{ x.replace('', x)|length }}", "8"),
        ("{{ 'ab'.join([0] * 3)|length }}", "7"),
        ("{{ '{:10}'.format(1)|length }}", "10"),
        ("{% set x = [[1]] %}{{ x == [[1]] }}", "True"),
        ("{{ 1+1+1+1 }}{{ - -1 }}", "41"),
    ] {
        let rendered = with_input("", |input| renderer(Limits::default()).render(source, input));
        assert_eq!(rendered.as_deref(), Ok(expected), "{source}");
    }
}

#[test]
fn a_stack_overflow_costs_only_the_child() {
    for source in [
        format!("{{{{ 1{} }}}}", "+a".repeat(400_000)),
        format!("{{{{ 1{} }}}}", "|e".repeat(400_000)),
        format!("{{{{ {}a }}}}", "not ".repeat(250_000)),
        format!("{{{{ {}a }}}}", "-".repeat(900_000)),
        format!("{{% if a %}}{}{{% endif %}}", "{% elif b %}".repeat(80_000)),
    ] {
        check_fails(&source, Limits::default(), &TemplateError::TooDeep);
    }
}

#[test]
fn a_render_without_end_is_killed_in_time() {
    // Comparing shared lists in lists takes 2^40 comparisons in a single step.
    let source = "{% set n = namespace(x=[1], y=[1]) %}{% for i in range(40) %}\
        {% set n.x = [n.x, n.x] %}{% set n.y = [n.y, n.y] %}{% endfor %}{{ n.x == n.y }}";
    let limits = Limits { time: Duration::from_millis(300), ..Limits::default() };
    let started = Instant::now();
    check_fails(source, limits, &TemplateError::TimedOut { millis: 300 });
    assert!(started.elapsed() >= limits.time);
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}

#[test]
fn steps_output_and_depth_hold_in_the_child_too() {
    let limits = Limits::default();
    let limit = limits.output_bytes + 4 * "userassistantmy secret<think>\n1\n</think>\n\n你好 😀\r\n".len();
    check_fails("{{ 'a' * 2000000 }}", limits, &TemplateError::OutputTooLarge { limit });
    check_fails("{{ ('a' * 10**9)|length }}", limits, &TemplateError::TooManySteps);
    check_fails("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", limits, &TemplateError::TooDeep);
}

#[test]
#[cfg(unix)]
fn a_program_that_is_no_renderer_is_said_so() {
    for program in ["/nonexistent/reprise-engine", "/bin/true", "/bin/cat"] {
        let renderer = SandboxedRenderer::new(PathBuf::from(program));
        let error = renderer.check("a").unwrap_err();
        assert!(matches!(error, TemplateError::Unavailable { .. }), "{program}: {error}");
    }
    let limits = Limits { time: Duration::from_millis(300), ..Limits::default() };
    let source = "{# long enough to fill a pipe #}".repeat(10_000);
    for (script, expected) in [
        ("silent.sh", TemplateError::TimedOut { millis: 300 }),
        ("flooding.sh", TemplateError::OutputTooLarge { limit: 0 }),
    ] {
        let program = [env!("CARGO_MANIFEST_DIR"), "tests/templates", script].iter().collect();
        let renderer = SandboxedRenderer::with_limits(program, limits);
        assert_eq!(renderer.check(&source), Err(expected), "{script}");
    }
}
