//! Nothing that is made for tests is shipped: not the RPC module, whose device hands a computation to whoever listens,
//! nor the programs that break the engine or write models. Installers will take the engine's modules and
//! libraries from its folder, and what the Tauri configuration names.

use std::path::{Path, PathBuf};

/// Parts of names of what only tests need.
const FOR_TESTS: [&str; 4] = ["rpc", "remote-device", "mutant", "tiny-models"];

fn engine_folder() -> PathBuf {
    // target/debug/deps/app-…
    let test = std::env::current_exe().expect("this program has a path");
    test.parent().and_then(Path::parent).expect("it lies in the folder of tests").to_owned()
}

#[test]
fn no_module_or_library_for_tests_lies_where_the_engine_looks() {
    let names: Vec<String> = std::fs::read_dir(engine_folder())
        .expect("the engine's folder can be read")
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| [".so", ".dylib", ".dll"].iter().any(|kind| name.contains(kind)))
        .collect();
    assert!(
        names.iter().any(|name| name.contains("ggml-cpu")),
        "the engine's folder was not found: {names:?}"
    );
    let wrong: Vec<_> =
        names.iter().filter(|name| FOR_TESTS.iter().any(|part| name.contains(part))).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn the_configuration_names_nothing_for_tests() {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tauri.conf.json"))
        .expect("the configuration can be read");
    for part in FOR_TESTS {
        assert!(!text.contains(part), "{part}");
    }
}
