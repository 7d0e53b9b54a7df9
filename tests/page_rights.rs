//! What the page may do, as it was compiled in: the configuration of the app's own context, and the
//! lists of commands, which must all be the same.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;

/// Sources that the policy names, by directive. Whoever adds one changes this list, and says why here.
const POLICY: &[(&str, &str)] = &[
    ("default-src", "'none'"),
    ("script-src", "'self'"),
    ("style-src", "'self'"),
    ("img-src", "'self'"),
    // The way to the app's own commands; no host of a network.
    ("connect-src", "ipc: http://ipc.localhost"),
    ("base-uri", "'none'"),
    ("form-action", "'none'"),
    ("frame-ancestors", "'none'"),
];

fn source(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path))
        .expect("a file of the tree can be read")
}

fn compiled() -> Value {
    serde_json::to_value(reprise_app::context().config()).expect("a configuration is plain data")
}

#[test]
fn the_page_has_the_policy_and_the_flags_it_should() {
    let config = compiled();
    let security = &config["app"]["security"];
    let policy: Vec<(String, String)> = security["csp"]
        .as_str()
        .unwrap()
        .split(';')
        .map(|directive| directive.trim().split_once(' ').unwrap())
        .map(|(name, sources)| (name.to_owned(), sources.to_owned()))
        .collect();
    let wanted: Vec<(String, String)> =
        POLICY.iter().map(|(name, sources)| ((*name).to_owned(), (*sources).to_owned())).collect();
    assert_eq!(policy, wanted);
    // A policy of its own for development would be the one that is tested.
    assert_eq!(security["devCsp"], Value::Null);
    assert_eq!(security["dangerousDisableAssetCspModification"], false);
    assert_eq!(security["assetProtocol"]["enable"], false);
    assert_eq!(security["freezePrototype"], true);
    assert_eq!(config["app"]["withGlobalTauri"], false);
    assert_eq!(config["build"]["devUrl"], Value::Null, "the page never comes from a server");
    let windows = config["app"]["windows"].as_array().unwrap();
    assert_eq!(windows.len(), 1);
    // Rust hears of dropped files, and the page does not learn where they lie.
    assert_eq!(windows[0]["dragDropEnabled"], true);
    assert!(windows[0]["devtools"] != true);
    assert_eq!((&windows[0]["minWidth"], &windows[0]["minHeight"]), (&880.0.into(), &600.0.into()));
}

#[test]
fn the_developer_tools_are_not_in_a_release() {
    let manifest = source("Cargo.toml");
    let tauri = manifest.lines().find(|line| line.starts_with("tauri ")).unwrap();
    assert!(!tauri.contains("devtools"), "{tauri}");
}

#[test]
fn one_permission_for_each_command_and_none_for_a_plugin() {
    let config = compiled();
    let capabilities = config["app"]["security"]["capabilities"].as_array().unwrap();
    assert_eq!(capabilities.len(), 1);
    assert_eq!(capabilities[0]["windows"], serde_json::json!(["main"]));
    assert_eq!(capabilities[0].get("remote").unwrap_or(&Value::Null), &Value::Null);
    let granted: BTreeSet<String> = capabilities[0]["permissions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|permission| permission.as_str().unwrap().to_owned())
        .collect();
    assert!(granted.iter().all(|permission| !permission.contains(':')), "of a plugin: {granted:?}");

    let named = quoted(between(&source("src-tauri/build.rs"), "COMMANDS: &[&str] = &[", "];"));
    let handled: BTreeSet<String> = between(&source("src-tauri/src/lib.rs"), "generate_handler![", "]")
        .split(',')
        .filter_map(|path| path.trim().rsplit("::").next().filter(|name| !name.is_empty()).map(str::to_owned))
        .collect();
    let promised = source("ui/src/ipc/backend.ts");
    let promised: BTreeSet<String> = promised
        .split("Command `")
        .skip(1)
        .filter_map(|rest| rest.split('`').next().map(str::to_owned))
        .collect();
    let allowed: BTreeSet<String> =
        named.iter().map(|name| format!("allow-{}", name.replace('_', "-"))).collect();
    assert!(named.len() > 10);
    assert_eq!(granted, allowed, "tauri.conf.json against src-tauri/build.rs");
    assert_eq!(handled, named, "src-tauri/src/lib.rs against src-tauri/build.rs");
    assert_eq!(promised, named, "ui/src/ipc/backend.ts against src-tauri/build.rs");
}

fn between<'a>(text: &'a str, from: &str, to: &str) -> &'a str {
    text.split(from).nth(1).and_then(|rest| rest.split(to).next()).expect("the list is there")
}

fn quoted(text: &str) -> BTreeSet<String> {
    text.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}
