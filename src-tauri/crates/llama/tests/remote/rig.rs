//! A remote device for one test, and a worker that has it. Included by the tests of several crates.
#![allow(dead_code, reason = "each of them uses what it needs")]

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How llama.cpp calls the device.
pub const DEVICE: &str = "RPC0";

/// How long a server may take to listen.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server child; it ends with this.
pub struct Remote {
    child: Child,
    pub endpoint: String,
    built: PathBuf,
    threads: u32,
}

impl Remote {
    /// Starts one. `None` where the module was not built here, which is said.
    pub fn start(built: &Path, threads: u32) -> Option<Self> {
        let module = built.join("remote-device/libggml-rpc.so");
        if !module.is_file() {
            assert!(std::env::var_os("CI").is_none(), "the RPC module is missing: scripts/remote-device");
            eprintln!("skipped, because {} is not there (scripts/remote-device)", module.display());
            return None;
        }
        // Somebody else may take the port between its being found free and its being served.
        for _ in 0..8 {
            let free = TcpListener::bind("127.0.0.1:0").unwrap();
            let endpoint = free.local_addr().unwrap().to_string();
            drop(free);
            if let Some(child) = serve(built, &endpoint, threads) {
                return Some(Self { child, endpoint, built: built.to_owned(), threads });
            }
        }
        panic!("no port could be served");
    }

    /// Ends it as a machine that is switched off does.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Serves at the same place again, with empty memory.
    pub fn restart(&mut self) {
        self.kill();
        self.child = serve(&self.built, &self.endpoint, self.threads).expect("the port is free again");
    }

    /// A program to be started as the engine: the worker with this device, which reads what it is to do wrong from
    /// `mutation`.
    pub fn write_engine(&self, program: &Path, mutation: &Path) {
        write_engine(&self.built, program, mutation, Some(&self.endpoint));
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        // It may have been killed already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The same without a device, where `endpoint` is `None`.
pub fn write_engine(built: &Path, program: &Path, mutation: &Path, endpoint: Option<&str>) {
    let worker = built.join("reprise-engine-mutant");
    let module = built.join("remote-device/libggml-rpc.so");
    let remote = endpoint
        .map(|endpoint| format!("REPRISE_REMOTE='{endpoint}' REPRISE_REMOTE_MODULE='{}' ", module.display()));
    let script = format!(
        "#!/bin/sh\n{}REPRISE_MUTATION_FILE='{}' OMP_WAIT_POLICY=passive exec '{}' \"$@\"\n",
        remote.unwrap_or_default(),
        mutation.display(),
        worker.display()
    );
    fs::write(program, script).unwrap();
    let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(program, permissions).unwrap();
}

fn serve(built: &Path, endpoint: &str, threads: u32) -> Option<Child> {
    let mut child = Command::new(built.join("reprise-remote-device"))
        .arg(built.join("remote-device/libggml-rpc.so"))
        .args([endpoint, &threads.to_string()])
        .env("OMP_WAIT_POLICY", "passive")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let began = Instant::now();
    while TcpStream::connect(endpoint).is_err() {
        if child.try_wait().unwrap().is_some() {
            return None;
        }
        assert!(began.elapsed() < PATIENCE, "the remote device does not listen");
        std::thread::sleep(Duration::from_millis(20));
    }
    Some(child)
}
