//! One instance a data folder. A second one asks the first to come forward, and ends.
//!
//! By a local socket of the operating system, named after the folder: it works without a session bus,
//! and the name is free again when its holder ends, however that happens.

use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::time::Duration;

use interprocess::local_socket::prelude::*;
use interprocess::local_socket::{GenericNamespaced, Listener, ListenerOptions, Name, Stream};

/// How long the first instance may take to answer. One that does not is hung, or no instance at all.
const PATIENCE: Duration = Duration::from_secs(5);

const SHOW: &str = "show";
const SHOWN: &str = "shown";

/// What this process is among those of its data folder.
#[derive(Debug)]
pub enum Instance {
    /// The only one; it hears of others here. `None` where the system has no such sockets.
    First(Option<Listener>),
    /// Another one was there, and has come forward.
    Second,
}

/// Finds out, and asks the first one to come forward.
pub fn of(data_dir: &Path) -> Instance {
    // Twice: two that start at one moment both find nobody, and one of them is then too late to listen.
    for _ in 0..2 {
        if ask_to_show(data_dir).is_ok() {
            return Instance::Second;
        }
        match name(data_dir).and_then(|name| ListenerOptions::new().name(name).create_sync()) {
            Ok(listener) => return Instance::First(Some(listener)),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            Err(_) => break,
        }
    }
    // The lock on the data folder still keeps two from writing.
    Instance::First(None)
}

/// Calls `show` whenever another instance asks for it. Ends with the process.
pub fn hear(listener: Listener, show: impl Fn() + Send + 'static) {
    let heard = std::thread::Builder::new().name("instances".to_owned()).spawn(move || {
        for stream in listener.incoming().filter_map(Result::ok) {
            if answer(stream).is_ok() {
                show();
            }
        }
    });
    if let Err(error) = heard {
        tracing::warn!(%error, "other instances cannot be heard");
    }
}

fn name(data_dir: &Path) -> io::Result<Name<'static>> {
    let dir = data_dir.canonicalize()?;
    let hash = blake3::hash(dir.as_os_str().as_encoded_bytes()).to_hex();
    format!("reprise-{}.sock", &hash[..32]).to_ns_name::<GenericNamespaced>()
}

fn ask_to_show(data_dir: &Path) -> io::Result<()> {
    let mut stream = Stream::connect(name(data_dir)?)?;
    stream.set_recv_timeout(Some(PATIENCE))?;
    writeln!(stream, "{SHOW}")?;
    expect(stream, SHOWN)
}

fn answer(mut stream: Stream) -> io::Result<()> {
    stream.set_recv_timeout(Some(PATIENCE))?;
    expect(&stream, SHOW)?;
    writeln!(stream, "{SHOWN}")
}

fn expect(stream: impl io::Read, word: &str) -> io::Result<()> {
    let mut line = String::new();
    // Whoever it is may send anything.
    BufReader::new(stream.take(64)).read_line(&mut line)?;
    if line.trim_end() == word { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
}
