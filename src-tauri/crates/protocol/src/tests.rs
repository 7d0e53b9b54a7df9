//! Keeps `ui/src/ipc/generated/` equal to the types of this crate.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use ts_rs::{Config, TS};

use super::*;

const HEADER: &str =
    "// Made from the crate `reprise-protocol`. Do not edit; see its first lines for how to renew it.\n\n";

/// File name to content, of everything the UI imports.
fn generated() -> BTreeMap<String, String> {
    let config = Config::new();
    let mut files = BTreeMap::new();
    add::<AppError>(&mut files, &config);
    add::<AppEvent>(&mut files, &config);
    add::<AppInfo>(&mut files, &config);
    add::<Ask>(&mut files, &config);
    add::<Check>(&mut files, &config);
    add::<Checkpoint>(&mut files, &config);
    add::<Choices>(&mut files, &config);
    add::<Cleared>(&mut files, &config);
    add::<ConversationPage>(&mut files, &config);
    add::<ConversationRow>(&mut files, &config);
    add::<ConversationView>(&mut files, &config);
    add::<Crossing>(&mut files, &config);
    add::<CrossingSide>(&mut files, &config);
    add::<EditCost>(&mut files, &config);
    add::<EnginePhase>(&mut files, &config);
    add::<EngineView>(&mut files, &config);
    add::<KvType>(&mut files, &config);
    add::<Language>(&mut files, &config);
    add::<LoadedModel>(&mut files, &config);
    add::<Mark>(&mut files, &config);
    add::<MessageState>(&mut files, &config);
    add::<MessageView>(&mut files, &config);
    add::<ModelChoice>(&mut files, &config);
    add::<ModelRow>(&mut files, &config);
    add::<NotYet>(&mut files, &config);
    add::<Notice>(&mut files, &config);
    add::<Outlook>(&mut files, &config);
    add::<QualificationRow>(&mut files, &config);
    add::<Qualifications>(&mut files, &config);
    add::<Reason>(&mut files, &config);
    add::<Receipt>(&mut files, &config);
    add::<ResumePath>(&mut files, &config);
    add::<ResumeTrigger>(&mut files, &config);
    add::<ResumeUpdate>(&mut files, &config);
    add::<Resumed>(&mut files, &config);
    add::<SearchHit>(&mut files, &config);
    add::<SearchResults>(&mut files, &config);
    add::<SendKey>(&mut files, &config);
    add::<Settings>(&mut files, &config);
    add::<SnapshotOrder>(&mut files, &config);
    add::<SnapshotPage>(&mut files, &config);
    add::<SnapshotRow>(&mut files, &config);
    add::<SnippetPart>(&mut files, &config);
    add::<Speaker>(&mut files, &config);
    add::<Startup>(&mut files, &config);
    add::<StopReason>(&mut files, &config);
    add::<StorageView>(&mut files, &config);
    add::<Theme>(&mut files, &config);
    add::<Timing>(&mut files, &config);
    add::<TokenCount>(&mut files, &config);
    add::<TurnUpdate>(&mut files, &config);
    add::<Verdict>(&mut files, &config);
    add::<VerifyUpdate>(&mut files, &config);
    files
}

fn add<T: TS + 'static>(files: &mut BTreeMap<String, String>, config: &Config) {
    let text = T::export_to_string(config).expect("a type of this crate has a declaration");
    // ts-rs opens with a note of its own; everything after it is the declaration and its imports.
    let body: String = text.lines().skip_while(|line| line.starts_with("//") || line.is_empty()).fold(
        String::new(),
        |mut body, line| {
            body.push_str(line.trim_end());
            body.push('\n');
            body
        },
    );
    files.insert(format!("{}.ts", T::name(config)), format!("{HEADER}{body}"));
}

fn committed_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../ui/src/ipc/generated")
}

fn committed() -> BTreeMap<String, String> {
    let entries = fs::read_dir(committed_dir()).expect("ui/src/ipc/generated can be read");
    entries
        .map(|entry| {
            let entry = entry.expect("ui/src/ipc/generated can be listed");
            let name = entry.file_name().into_string().expect("file names are UTF-8");
            let text = fs::read_to_string(entry.path()).expect("a generated file can be read");
            (name, text.replace("\r\n", "\n"))
        })
        .collect()
}

/// Names of the files that differ, are missing, or belong to no type.
fn stale<'a>(wanted: &'a BTreeMap<String, String>, found: &'a BTreeMap<String, String>) -> Vec<&'a str> {
    let mut names: Vec<&str> = wanted
        .keys()
        .chain(found.keys())
        .filter(|name| wanted.get(*name) != found.get(*name))
        .map(String::as_str)
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

#[test]
fn committed_typescript_is_current() {
    let wanted = generated();
    if std::env::var_os("REPRISE_UPDATE").is_some() {
        for name in committed().keys().filter(|name| !wanted.contains_key(*name)) {
            fs::remove_file(committed_dir().join(name)).expect("a file of no type can be removed");
        }
        for (name, text) in &wanted {
            fs::write(committed_dir().join(name), text).expect("a generated file can be written");
        }
    }
    let found = committed();
    let stale = stale(&wanted, &found);
    assert!(
        stale.is_empty(),
        "stale in ui/src/ipc/generated: {stale:?}; run REPRISE_UPDATE=1 cargo test -p reprise-protocol and commit"
    );
}

#[test]
fn a_changed_a_missing_and_a_leftover_file_are_stale() {
    let files = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
    };
    let wanted = files(&[("A.ts", "a"), ("B.ts", "b"), ("C.ts", "c")]);
    let found = files(&[("A.ts", "a"), ("B.ts", "other"), ("D.ts", "d")]);
    assert_eq!(stale(&wanted, &found), ["B.ts", "C.ts", "D.ts"]);
    assert!(stale(&wanted, &wanted).is_empty());
}

#[test]
fn every_public_type_is_generated() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let generated = generated();
    for entry in fs::read_dir(source).expect("src can be listed") {
        let path = entry.expect("src can be listed").path();
        for line in fs::read_to_string(&path).expect("a source file can be read").lines() {
            let declared = line.strip_prefix("pub struct ").or_else(|| line.strip_prefix("pub enum "));
            let Some(declared) = declared else { continue };
            let name = declared.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
            assert!(
                generated.contains_key(&format!("{name}.ts")),
                "{name} of {} is missing in tests::generated",
                path.display()
            );
        }
    }
}

#[test]
fn an_error_has_the_three_keys_the_ui_reads() {
    let error = AppError { code: "c".into(), message: "m".into(), remedy: "r".into() };
    let json = serde_json::to_value(&error).expect("plain data");
    assert_eq!(json, serde_json::json!({ "code": "c", "message": "m", "remedy": "r" }));
}
