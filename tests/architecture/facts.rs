//! What the rules are about, read from `cargo metadata` and from the tree.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// What a dependency is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Normal,
    Build,
    Dev,
}

/// One line of a manifest's dependencies.
#[derive(Debug)]
pub struct Dependency {
    pub name: String,
    pub kind: Kind,
}

/// A package of the workspace.
#[derive(Debug)]
pub struct Package {
    pub name: String,
    /// As declared, for every platform.
    pub dependencies: Vec<Dependency>,
    /// Names of all packages that end up in its programs on this platform, near and far.
    pub reaches: BTreeSet<String>,
}

/// A file of the tree.
#[derive(Debug)]
pub struct Source {
    /// From the root, with forward slashes.
    pub path: String,
    pub text: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The workspace's packages. Read as plain JSON: the crate `cargo_metadata` would change the features of
/// others, and the window's libraries would be built once for running and once for testing.
pub fn packages() -> Vec<Package> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1"])
        // Only this platform's crates are sure to be here without a network.
        .args(["--offline", "--filter-platform=host-tuple"])
        .current_dir(root())
        .output()
        .expect("cargo can be started");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON");
    let nodes: HashMap<&str, &Value> =
        list(&metadata["resolve"]["nodes"]).iter().map(|node| (text(&node["id"]), node)).collect();
    let packages: HashMap<&str, &Value> =
        list(&metadata["packages"]).iter().map(|package| (text(&package["id"]), package)).collect();
    let reached_names = |id| {
        let reached = reached(&nodes, id);
        reached.into_iter().map(|id| text(&packages[id]["name"]).to_owned()).collect()
    };
    list(&metadata["workspace_members"])
        .iter()
        .map(|id| Package {
            name: text(&packages[text(id)]["name"]).to_owned(),
            dependencies: list(&packages[text(id)]["dependencies"])
                .iter()
                .map(|dependency| Dependency {
                    name: text(&dependency["name"]).to_owned(),
                    kind: kind(&dependency["kind"]),
                })
                .collect(),
            reaches: reached_names(text(id)),
        })
        .collect()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().expect("cargo metadata has a list here")
}

fn text(value: &Value) -> &str {
    value.as_str().expect("cargo metadata has a string here")
}

fn kind(kind: &Value) -> Kind {
    match kind.as_str() {
        None => Kind::Normal,
        Some("build") => Kind::Build,
        Some("dev") => Kind::Dev,
        Some(other) => panic!("cargo metadata names a kind of dependency that is not known here: {other}"),
    }
}

/// Ids of all packages linked into the programs of `from`.
fn reached<'a>(nodes: &HashMap<&'a str, &'a Value>, from: &'a str) -> BTreeSet<&'a str> {
    let mut seen = BTreeSet::new();
    let mut open = vec![from];
    while let Some(id) = open.pop() {
        for dependency in list(&nodes[id]["deps"]) {
            let linked =
                list(&dependency["dep_kinds"]).iter().any(|info| kind(&info["kind"]) == Kind::Normal);
            let package = text(&dependency["pkg"]);
            if linked && seen.insert(package) {
                open.push(package);
            }
        }
    }
    seen
}

/// Everything written by hand: sources, manifests, scripts.
pub fn sources() -> Vec<Source> {
    let mut found = Vec::new();
    for folder in ["src-tauri", "tests", "ui", "scripts", ".ci"] {
        collect(&root().join(folder), &mut found);
    }
    for file in ["Cargo.toml", "Makefile"] {
        read(&root().join(file), &mut found);
    }
    found
}

fn collect(folder: &Path, found: &mut Vec<Source>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.expect("a folder of the tree can be listed").path();
        let name = path.file_name().unwrap_or_default();
        if path.is_dir() {
            if name != "node_modules" && name != "dist" && name != "target" {
                collect(&path, found);
            }
        } else {
            read(&path, found);
        }
    }
}

fn read(path: &Path, found: &mut Vec<Source>) {
    let text = String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned();
    let path = path.strip_prefix(root()).unwrap_or(path).to_string_lossy().replace('\\', "/");
    found.push(Source { path, text });
}
