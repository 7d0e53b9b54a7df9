//! Holds the layout of the workspace: who may import whom, where `unsafe` may stand, what files
//! are called, and that there is one profile.
//!
//! Every rule is a pure function over [`Package`] or [`Source`], tried here on made-up ones that
//! break it; `the_workspace_keeps_its_rules` then applies all of them to the real tree.

mod facts;
mod rules;

use facts::{Dependency, Kind, Package, Source};

#[test]
fn the_workspace_keeps_its_rules() {
    let packages = facts::packages();
    let sources = facts::sources();
    assert!(packages.len() >= 8 && sources.len() > 20, "the workspace was not found");
    let broken = rules::broken(&packages, &sources);
    assert!(broken.is_empty(), "\n{}\n", broken.join("\n"));
}

fn package(name: &str, dependencies: &[(&str, Kind)], reaches: &[&str]) -> Package {
    Package {
        name: name.to_owned(),
        dependencies: dependencies
            .iter()
            .map(|(name, kind)| Dependency { name: (*name).to_owned(), kind: *kind })
            .collect(),
        reaches: reaches.iter().map(|name| (*name).to_owned()).collect(),
    }
}

fn source(path: &str, text: &str) -> Source {
    Source { path: path.to_owned(), text: text.to_owned() }
}

/// One package with one dependency, declared and reached; `expect` is part of the complaint, or empty.
fn check_dependency(name: &str, dependency: &str, kind: Kind, expect: &str) {
    let reaches: &[&str] = if kind == Kind::Normal { &[dependency] } else { &[] };
    check(&[package(name, &[(dependency, kind)], reaches)], &[], expect);
}

fn check_source(path: &str, text: &str, expect: &str) {
    check(&[], &[source(path, text)], expect);
}

fn check(packages: &[Package], sources: &[Source], expect: &str) {
    let broken = rules::broken(packages, sources).join("\n");
    if expect.is_empty() {
        assert_eq!(broken, "");
    } else {
        assert!(broken.contains(expect), "expected {expect:?} in {broken:?}");
    }
}

#[test]
fn siblings_are_imported_along_the_table_only() {
    for (name, sibling, expect) in [
        ("reprise-chat", "reprise-store", ""),
        ("reprise-chat", "reprise-llama", "reprise-chat may not import reprise-llama"),
        ("reprise-chat", "reprise-protocol", "reprise-chat may not import reprise-protocol"),
        ("reprise-cli", "reprise-chat", ""),
        ("reprise-cli", "reprise-store", "reprise-cli may not import reprise-store"),
        ("reprise", "reprise-engine", "reprise may not import reprise-engine"),
        ("reprise-llama", "reprise-engine", ""),
        ("reprise-llama", "reprise-store", "reprise-llama may not import reprise-store"),
        ("reprise-hardware", "reprise-protocol", "reprise-hardware may not import reprise-protocol"),
        ("reprise-engine", "reprise-llama", "reprise-engine may not import reprise-llama"),
        ("reprise-store", "reprise-engine", "reprise-store may not import reprise-engine"),
        ("reprise-new", "serde", "reprise-new has no row in the table"),
    ] {
        check_dependency(name, sibling, Kind::Normal, expect);
    }
}

#[test]
fn tests_may_import_what_their_crate_may_and_those_of_the_app_everything() {
    check_dependency(
        "reprise-engine",
        "reprise-store",
        Kind::Dev,
        "reprise-engine may not import reprise-store",
    );
    check_dependency("reprise", "reprise-store", Kind::Dev, "");
    check_dependency("reprise-engine", "reprise-store", Kind::Build, "reprise-engine may not import");
}

#[test]
fn some_libraries_have_one_home() {
    for (name, library, kind, expect) in [
        ("reprise-store", "rusqlite", Kind::Normal, ""),
        ("reprise-chat", "rusqlite", Kind::Normal, "rusqlite belongs to reprise-store"),
        ("reprise-cli", "tar", Kind::Dev, "tar belongs to reprise-store"),
        ("reprise-cli", "rusqlite_migration", Kind::Dev, "rusqlite_migration belongs to reprise-store"),
        ("reprise", "tauri", Kind::Normal, ""),
        ("reprise-protocol", "tauri", Kind::Normal, "tauri belongs to reprise"),
        ("reprise-chat", "interprocess", Kind::Normal, "interprocess belongs to reprise"),
        ("reprise-cli", "tauri-plugin-fs", Kind::Normal, "tauri-plugin-fs belongs to reprise"),
        ("reprise-llama", "llama-cpp-sys-2", Kind::Build, ""),
        ("reprise-engine", "llama-cpp-2", Kind::Normal, "llama-cpp-2 belongs to reprise-llama"),
        ("reprise-chat", "sysinfo", Kind::Normal, "sysinfo belongs to reprise-hardware"),
        ("reprise-protocol", "ts-rs", Kind::Dev, ""),
        ("reprise-protocol", "ts-rs", Kind::Normal, "ts-rs is for the tests of reprise-protocol"),
        ("reprise", "ts-rs", Kind::Dev, "ts-rs belongs to reprise-protocol"),
    ] {
        check_dependency(name, library, kind, expect);
    }
}

#[test]
fn the_network_is_out_of_reach_also_through_others() {
    for name in ["reprise-llama", "reprise-engine", "reprise-store", "reprise-chat", "reprise-hardware"] {
        check(&[package(name, &[], &["serde", "hyper"])], &[], "reaches hyper, a network library");
        check(&[package(name, &[], &["serde"])], &[], "");
    }
}

#[test]
fn the_worker_reaches_no_window_and_no_database() {
    for far in ["tauri", "tauri-utils", "reprise-store", "rusqlite", "libsqlite3-sys"] {
        check(&[package("reprise-llama", &[], &[far])], &[], &format!("reprise-llama reaches {far}"));
    }
    check(&[package("reprise-chat", &[], &["rusqlite"])], &[], "");
    check(&[package("reprise-chat", &[], &["llama-cpp-sys-2"])], &[], "reprise-chat reaches llama-cpp-sys-2");
    check(&[package("reprise-store", &[], &["tauri"])], &[], "reprise-store reaches tauri");
}

#[test]
fn unsafe_stays_in_its_rooms() {
    let lifted = format!("#![allow(dead_code, {})]", rules::UNSAFE_LINT);
    check_source("src-tauri/crates/llama/src/state.rs", &lifted, "");
    check_source("src-tauri/crates/engine/src/spawn.rs", &lifted, "");
    check_source("src-tauri/crates/store/src/lib.rs", &lifted, "src-tauri/crates/store/src/lib.rs lifts");
    check_source("src-tauri/src/lib.rs", &lifted, "lifts");
    check_source("src-tauri/src/lib.rs", &format!("#![forbid({})]", rules::UNSAFE_LINT), "");
    let two = [
        source("src-tauri/crates/engine/src/spawn.rs", &lifted),
        source("src-tauri/crates/engine/src/pipe.rs", &lifted),
    ];
    check(&[], &two, "more than one module of engine");
}

#[test]
fn files_are_named_after_what_they_hold() {
    for (path, expect) in [
        ("src-tauri/crates/chat/src/turn.rs", ""),
        ("src-tauri/crates/chat/src/util.rs", "is named `util`"),
        ("src-tauri/crates/chat/src/model_manager.rs", "is named `manager`"),
        ("src-tauri/crates/chat/src/common/mod.rs", "is named `common`"),
        ("src-tauri/crates/chat/src/turn/mod.rs", "is a mod.rs"),
        ("ui/src/helpers.ts", "is named `helpers`"),
        ("src-tauri/crates/chat/src/commonmark.rs", ""),
    ] {
        check_source(path, "", expect);
    }
}

#[test]
fn every_crate_takes_the_lints_of_the_workspace() {
    let path = "src-tauri/crates/new/Cargo.toml";
    check_source(path, "[package]\nname = \"new\"\n\n[lints]\nworkspace = true\n", "");
    check_source(path, "[package]\nname = \"new\"\n", "does not take the lints of the workspace");
    check_source(path, "[lints.rust]\nworkspace = true\n", "does not take the lints");
}

#[test]
fn there_is_one_profile_for_running_testing_and_measuring() {
    let good = "[lints]\nworkspace = true\n[profile.dev]\nopt-level = 1\n[profile.dev.package.\"*\"]\nopt-level = 3\n";
    check_source("Cargo.toml", good, "");
    check_source("Cargo.toml", &good.replace("opt-level = 3", ""), "does not optimise dependencies");
    check_source("Cargo.toml", &format!("{good}[profile.test]\nopt-level = 2\n"), "[profile.test]");
    check_source("Cargo.toml", &format!("{good}[profile.bench]\n"), "[profile.bench]");
    check_source("Cargo.toml", &format!("{good}[profile.fast]\n"), "[profile.fast]");
    check_source("Cargo.toml", &format!("{good}[profile.release]\nlto = \"thin\"\n"), "");
    check_source("Makefile", "test:\n\tcargo test --release\n", "builds with another profile");
    check_source(".ci/run", "cargo build -r --workspace\n", "builds with another profile");
    check_source("scripts/bench", "cargo run --profile bench\n", "builds with another profile");
    check_source("scripts/package", "cargo build --release\n", "");
}

#[test]
fn only_the_whole_workspace_is_built_by_the_entries() {
    check_source("Makefile", "test:\n\tcargo test --workspace\n", "");
    check_source("Makefile", "test:\n\tcargo test -p reprise-llama\n", "builds a part of the workspace");
}
