//! Stages llama.cpp's libraries and compute modules beside the worker, so that one folder holds all it
//! needs, in development, in tests and in installers alike.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=build.rs");
    // Set for the direct dependants of llama-cpp-sys-2 only.
    let modules = PathBuf::from(env::var("DEP_LLAMA_BACKENDS_DIR")?);
    println!("cargo:rerun-if-changed={}", modules.display());
    let built = modules.parent().ok_or("the backends folder has no parent")?;
    // OUT_DIR is <profile>/build/<package>/out.
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let engine = out.ancestors().nth(3).ok_or("OUT_DIR is not deep enough")?;

    for folder in [modules.clone(), built.join("lib"), built.join("bin")] {
        if folder.is_dir() {
            stage(&folder, engine)?;
        }
    }

    println!("cargo:rustc-env=REPRISE_LLAMA_CRATE={}", pinned_version()?);

    match env::var("CARGO_CFG_TARGET_OS")?.as_str() {
        // DT_RPATH rather than DT_RUNPATH: it also holds for what the libraries need themselves, and
        // LD_LIBRARY_PATH cannot put others in their place.
        "linux" => println!("cargo:rustc-link-arg-bins=-Wl,--disable-new-dtags,-rpath,$ORIGIN"),
        "macos" => println!("cargo:rustc-link-arg-bins=-Wl,-rpath,@executable_path"),
        _ => {}
    }
    Ok(())
}

/// The pinned version of the crate that carries llama.cpp's source: llama.cpp itself does not know its
/// commit when it is built from there.
fn pinned_version() -> Result<String, Box<dyn std::error::Error>> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("../../..");
    let lock = root.join("Cargo.lock");
    println!("cargo:rerun-if-changed={}", lock.display());
    let text = fs::read_to_string(lock)?;
    let (_, after) =
        text.split_once("name = \"llama-cpp-sys-2\"\nversion = \"").ok_or("not in Cargo.lock")?;
    Ok(after.split('"').next().unwrap_or_default().to_owned())
}

/// Puts the shared libraries of `from` into `to`, under every name by which they are looked up (on
/// Linux and macOS that is the versioned soname, which is a link in the build folder).
fn stage(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let extension = path.extension().unwrap_or_default();
        let shared = name.contains(".so") || extension == "dylib" || extension == "dll";
        if !shared || !path.is_file() {
            continue;
        }
        let target = to.join(&name);
        let real = path.canonicalize()?;
        if same_file(&real, &target) {
            continue;
        }
        // A name is replaced, not overwritten: a running worker keeps the library it has.
        let fresh = to.join(format!(".{name}.new"));
        let _ = fs::remove_file(&fresh);
        if fs::hard_link(&real, &fresh).is_err() {
            fs::copy(&real, &fresh)?;
        }
        fs::rename(&fresh, &target)?;
        // Renaming one hard link over another of the same file leaves both.
        let _ = fs::remove_file(&fresh);
    }
    Ok(())
}

fn same_file(a: &Path, b: &Path) -> bool {
    let key = |path: &Path| fs::metadata(path).and_then(|m| Ok((m.len(), m.modified()?))).ok();
    key(a).is_some() && key(a) == key(b)
}
