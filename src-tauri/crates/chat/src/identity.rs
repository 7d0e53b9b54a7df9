//! What has to be the same for a state to mean the same.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use reprise_engine::message::{Hello, LoadSpec, ModelInfo};

/// Another number means that states of before are not used.
const FORMAT: u32 = 1;

/// Everything that decides what a state means, by name. All of it is hashed; any difference means that
/// the text is read again, and its name is the reason.
///
/// `model` is the content hash of the model's files. The names are stored with every snapshot: a changed
/// name makes all of them useless.
pub(crate) fn identity(
    hello: &Hello,
    spec: &LoadSpec,
    info: &ModelInfo,
    model: &str,
) -> BTreeMap<String, String> {
    let own = [
        ("engine", hello.build.clone()),
        ("vocabulary_and_template", info.token_identity.clone()),
        // Some models turn positions otherwise in a context longer than they were trained for.
        ("beyond_trained_context", (info.n_ctx > info.n_ctx_train).to_string()),
    ];
    let mut identity: BTreeMap<String, String> =
        known_before_loading(spec, model).into_iter().chain(own).map(owned).collect();
    if let Some(state) = &info.state {
        identity.extend(state.fields.clone());
    }
    identity
}

/// What of it needs no loaded model.
pub(crate) fn known_before_loading(spec: &LoadSpec, model: &str) -> [(&'static str, String); 5] {
    let base = spec.rope_freq_base.map_or_else(|| "model".to_owned(), |base| base.get().to_string());
    [
        ("format", FORMAT.to_string()),
        ("model", model.to_owned()),
        ("kv_type", spec.kv_type.as_str().to_owned()),
        ("flash_attention", spec.flash_attention.as_str().to_owned()),
        ("rope_freq_base", base),
    ]
}

fn owned((name, value): (&str, String)) -> (String, String) {
    (name.to_owned(), value)
}

/// A differing field: what it is about, as a stable word, and in words that follow "because".
pub(crate) fn in_words(field: &str) -> (&'static str, String) {
    let (kind, words) = match field {
        "format" | "engine" => ("engine", "Reprise and its engine were updated since this snapshot"),
        "model" => ("model", "the model file changed since this snapshot"),
        "vocabulary_and_template" => ("template", "the model's vocabulary or chat template changed"),
        "kv_type" | "image.k" | "image.v" => ("kv_type", "the type of the KV cache changed"),
        "flash_attention" | "image.v_trans" => ("flash_attention", "the way attention is computed changed"),
        "rope_freq_base" => ("rope", "the RoPE base frequency changed"),
        "beyond_trained_context" => {
            ("context", "the context's size crossed what the model was trained for, which changes positions")
        }
        other => return ("shape", format!("the shape of the state changed ({other})")),
    };
    (kind, words.to_owned())
}

/// The files of a model: itself, and where it is the first of several shards
/// (`name-00001-of-00003.gguf`), the others.
pub(crate) fn model_files(first: &Path) -> Vec<PathBuf> {
    let name = first.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let parts = name.strip_suffix(".gguf").and_then(|stem| {
        let (stem, count) = stem.rsplit_once("-of-")?;
        let (stem, number) = stem.rsplit_once('-')?;
        let digits = |text: &str| text.len() == 5 && text.bytes().all(|byte| byte.is_ascii_digit());
        (digits(count) && digits(number)).then_some((stem, count))
    });
    let Some((stem, count)) = parts else {
        return vec![first.to_owned()];
    };
    let shards: u32 = count.parse().unwrap_or(1);
    (1..=shards.max(1))
        .map(|shard| first.with_file_name(format!("{stem}-{shard:05}-of-{count}.gguf")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sharded_model_is_all_of_its_files() {
        let names = |first: &str| -> Vec<String> {
            model_files(Path::new(first)).iter().map(|path| path.display().to_string()).collect()
        };
        assert_eq!(names("m/a.gguf"), ["m/a.gguf"]);
        assert_eq!(names("a-of-b.gguf"), ["a-of-b.gguf"]);
        assert_eq!(names("a-0001-of-0002.gguf"), ["a-0001-of-0002.gguf"]);
        assert_eq!(
            names("m/a-00001-of-00003.gguf"),
            ["m/a-00001-of-00003.gguf", "m/a-00002-of-00003.gguf", "m/a-00003-of-00003.gguf"]
        );
    }
}
