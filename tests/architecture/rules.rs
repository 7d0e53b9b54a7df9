//! The rules. Each returns what breaks it, in words.

use std::path::Path;

use super::facts::{Kind, Package, Source};

/// The lint that forbids unsafe code, spelled so that this file does not name it itself.
pub const UNSAFE_LINT: &str = concat!("unsafe", "_code");

/// The app package.
const APP: &str = "reprise";

/// Which siblings each package may import. Tests of the app, which see the product whole, may import all.
const SIBLINGS: &[(&str, &[&str])] = &[
    (APP, &["reprise-chat", "reprise-protocol"]),
    ("reprise-cli", &["reprise-chat", "reprise-protocol"]),
    ("reprise-chat", &["reprise-engine", "reprise-hardware", "reprise-store"]),
    ("reprise-llama", &["reprise-engine"]),
    ("reprise-engine", &[]),
    ("reprise-hardware", &[]),
    ("reprise-protocol", &[]),
    ("reprise-store", &[]),
];

/// Libraries that one package alone may declare; a name ending in `*` stands for all that begin so.
const HOMES: &[(&str, &str)] = &[
    ("rusqlite*", "reprise-store"),
    ("libsqlite3-sys", "reprise-store"),
    ("tar", "reprise-store"),
    ("tauri*", APP),
    ("interprocess", APP),
    ("webkit2gtk*", APP),
    ("llama-cpp-*", "reprise-llama"),
    ("nvml-wrapper*", "reprise-hardware"),
    ("sysinfo", "reprise-hardware"),
    ("fs4", "reprise-hardware"),
    ("ts-rs*", "reprise-protocol"),
];

/// What must not end up in a package's programs, not even through others.
const OUT_OF_REACH: &[(&str, &[&str])] = &[
    ("reprise-llama", &["tauri*", "wry", "reprise-store", "rusqlite*", "libsqlite3-sys"]),
    ("reprise-engine", &["tauri*", "wry", "rusqlite*", "libsqlite3-sys", "llama-cpp-*"]),
    ("reprise-store", &["tauri*", "wry", "llama-cpp-*"]),
    ("reprise-chat", &["tauri*", "wry", "llama-cpp-*"]),
    ("reprise-hardware", &["tauri*", "wry", "rusqlite*", "llama-cpp-*"]),
    ("reprise-protocol", &["tauri*", "wry", "rusqlite*", "llama-cpp-*"]),
    ("reprise-cli", &["tauri*", "wry", "llama-cpp-*"]),
];

/// Packages that must not be able to open a connection.
const OFFLINE: &[&str] = &[
    "reprise-llama",
    "reprise-engine",
    "reprise-store",
    "reprise-chat",
    "reprise-hardware",
    "reprise-protocol",
];

const NETWORK: &[&str] = &[
    "attohttpc",
    "awc",
    "curl",
    "curl-sys",
    "h2",
    "h3",
    "hyper",
    "hyper-util",
    "isahc",
    "minreq",
    "native-tls",
    "openssl",
    "quinn",
    "reqwest",
    "rustls",
    "surf",
    "tokio-tungstenite",
    "tonic",
    "tungstenite",
    "ureq",
    "zmq",
];

/// Words that say nothing about what a file holds.
const EMPTY_NAMES: &[&str] = &["common", "helper", "helpers", "manager", "managers", "util", "utils"];

/// All that is broken.
pub fn broken(packages: &[Package], sources: &[Source]) -> Vec<String> {
    let mut broken = Vec::new();
    for package in packages {
        broken.extend(siblings(package));
        broken.extend(homes(package));
        broken.extend(out_of_reach(package));
        broken.extend(network(package));
    }
    for source in sources {
        broken.extend(file_name(&source.path));
        broken.extend(lints(source));
        broken.extend(one_profile(source));
        broken.extend(whole_workspace(source));
    }
    broken.extend(unsafe_rooms(sources));
    broken
}

fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == pattern,
    }
}

fn siblings(package: &Package) -> Vec<String> {
    let name = &package.name;
    let Some((_, allowed)) = SIBLINGS.iter().find(|(row, _)| row == name) else {
        return vec![format!("{name} has no row in the table of tests/architecture/rules.rs")];
    };
    package
        .dependencies
        .iter()
        .filter(|dependency| dependency.name == APP || dependency.name.starts_with("reprise-"))
        .filter(|dependency| !(name == APP && dependency.kind == Kind::Dev))
        .filter(|dependency| !allowed.contains(&dependency.name.as_str()))
        .map(|dependency| format!("{name} may not import {} ({:?})", dependency.name, dependency.kind))
        .collect()
}

fn homes(package: &Package) -> Vec<String> {
    let mut broken = Vec::new();
    for dependency in &package.dependencies {
        for (_, home) in HOMES.iter().filter(|(library, _)| matches(library, &dependency.name)) {
            if package.name != *home {
                broken.push(format!("{} belongs to {home}, not to {}", dependency.name, package.name));
            }
        }
        if dependency.name.starts_with("ts-rs") && dependency.kind != Kind::Dev {
            broken.push(format!("{} is for the tests of reprise-protocol only", dependency.name));
        }
    }
    broken
}

fn out_of_reach(package: &Package) -> Vec<String> {
    let far = OUT_OF_REACH.iter().find(|(row, _)| *row == package.name).map_or(&[][..], |(_, far)| far);
    package
        .reaches
        .iter()
        .filter(|reached| far.iter().any(|pattern| matches(pattern, reached)))
        .map(|reached| format!("{} reaches {reached}, which must stay out of it", package.name))
        .collect()
}

fn network(package: &Package) -> Vec<String> {
    if !OFFLINE.contains(&package.name.as_str()) {
        return Vec::new();
    }
    package
        .reaches
        .iter()
        .filter(|reached| NETWORK.contains(&reached.as_str()))
        .map(|reached| format!("{} reaches {reached}, a network library", package.name))
        .collect()
}

fn unsafe_rooms(sources: &[Source]) -> Vec<String> {
    let lifting: Vec<&str> = sources
        .iter()
        .filter(|source| is_rust(&source.path) && lifts(&source.text))
        .map(|source| source.path.as_str())
        .filter(|path| !path.starts_with("src-tauri/crates/llama/"))
        .collect();
    let (engine, elsewhere): (Vec<&str>, Vec<&str>) =
        lifting.into_iter().partition(|path| path.starts_with("src-tauri/crates/engine/"));
    let mut broken: Vec<String> =
        elsewhere.iter().map(|path| format!("{path} lifts {UNSAFE_LINT}; only llama may")).collect();
    if engine.len() > 1 {
        broken.push(format!("more than one module of engine lifts {UNSAFE_LINT}: {}", engine.join(", ")));
    }
    broken
}

fn is_rust(path: &str) -> bool {
    Path::new(path).extension().is_some_and(|extension| extension == "rs")
}

fn lifts(text: &str) -> bool {
    let stricter = ["forbid", "deny"].map(|level| format!("{level}({UNSAFE_LINT})"));
    let rest = stricter.iter().fold(text.to_owned(), |text, attribute| text.replace(attribute, ""));
    rest.contains(UNSAFE_LINT)
}

fn file_name(path: &str) -> Vec<String> {
    let mut broken = Vec::new();
    if path.ends_with("/mod.rs") {
        broken.push(format!("{path} is a mod.rs; name the file after the module"));
    }
    let words = path.split(['/', '.', '_', '-']).map(str::to_lowercase);
    for word in words.filter(|word| EMPTY_NAMES.contains(&word.as_str())) {
        broken.push(format!("{path} is named `{word}`; name it after what it holds"));
    }
    broken
}

fn lints(source: &Source) -> Option<String> {
    let taken = || {
        let mut lines = source.text.lines().map(str::trim).skip_while(|line| *line != "[lints]").skip(1);
        lines.find(|line| !line.is_empty() && !line.starts_with('#')) == Some("workspace = true")
    };
    let manifest = source.path == "Cargo.toml" || source.path.ends_with("/Cargo.toml");
    (manifest && !taken()).then(|| format!("{} does not take the lints of the workspace", source.path))
}

/// llama.cpp is built once for each profile that is used: so there is one.
fn one_profile(source: &Source) -> Vec<String> {
    let mut broken = Vec::new();
    if source.path == "Cargo.toml" {
        let tables = source.text.lines().map(str::trim).filter(|line| line.starts_with("[profile."));
        for table in tables {
            if !table.starts_with("[profile.dev") && !table.starts_with("[profile.release") {
                broken.push(format!("Cargo.toml has {table}; only dev and release are used"));
            }
        }
        let optimised = source.text.split("[profile.dev.package.\"*\"]").nth(1).is_some_and(|rest| {
            rest.lines()
                .skip(1)
                .take_while(|line| !line.starts_with('['))
                .any(|line| line.trim() == "opt-level = 3")
        });
        if !optimised {
            broken.push("Cargo.toml does not optimise dependencies in the dev profile".to_owned());
        }
    }
    if is_entry(&source.path) {
        for line in cargo_lines(source) {
            if line
                .split_whitespace()
                .any(|word| word == "-r" || word == "--release" || word.starts_with("--profile"))
            {
                broken.push(format!("{} builds with another profile: {line}", source.path));
            }
        }
    }
    broken
}

/// A part of the workspace resolves to other features than the whole, and llama.cpp is built again.
fn whole_workspace(source: &Source) -> Vec<String> {
    if !is_entry(&source.path) {
        return Vec::new();
    }
    let builds = |line: &&str| {
        ["build", "test", "run", "clippy", "check", "bench"]
            .iter()
            .any(|verb| line.contains(&format!("cargo {verb}")))
    };
    cargo_lines(source)
        .filter(builds)
        .filter(|line| {
            !line.contains("--workspace") && !line.contains("--profile") && !line.contains("--release")
        })
        .map(|line| format!("{} builds a part of the workspace: {line}", source.path))
        .collect()
}

/// What people and CI start. Packaging alone builds for release.
fn is_entry(path: &str) -> bool {
    let script = path.starts_with("scripts/") && path != "scripts/package";
    path == "Makefile" || path == ".ci/run" || script
}

fn cargo_lines(source: &Source) -> impl Iterator<Item = &str> {
    source.text.lines().map(str::trim).filter(|line| line.starts_with("cargo "))
}
