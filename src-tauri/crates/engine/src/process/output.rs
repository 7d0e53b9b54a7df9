//! What a worker's native code prints, kept in a file of bounded size.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::thread;

/// Largest size of one file in bytes. When it is reached the file takes the place of the one before, so
/// that the last words, which tell most, are always there.
pub(super) const CAP: u64 = 1 << 20;

const FILE: &str = "engine-output.log";
const BEFORE: &str = "engine-output.1.log";

struct OutputLog {
    folder: PathBuf,
    file: File,
    size: u64,
}

impl OutputLog {
    fn open(folder: PathBuf) -> io::Result<Self> {
        fs::create_dir_all(&folder)?;
        let file = OpenOptions::new().create(true).append(true).open(folder.join(FILE))?;
        let size = file.metadata()?.len();
        Ok(Self { folder, file, size })
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.size + bytes.len() as u64 > CAP {
            fs::rename(self.folder.join(FILE), self.folder.join(BEFORE))?;
            self.file = OpenOptions::new().create(true).append(true).open(self.folder.join(FILE))?;
            self.size = 0;
        }
        self.file.write_all(bytes)?;
        self.size += bytes.len() as u64;
        Ok(())
    }
}

/// Copies `output` into the log in `folder` until it ends. A log that cannot be written stops nobody:
/// the rest is read and thrown away.
pub(super) fn keep(mut output: impl Read + Send + 'static, folder: PathBuf) {
    thread::spawn(move || {
        let mut log = OutputLog::open(folder);
        if let Err(error) = &log {
            tracing::warn!(%error, "what the engine prints is not kept");
        }
        let mut buffer = [0; 8 << 10];
        loop {
            let read = match output.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => break,
            };
            if let Ok(open) = &mut log
                && let Err(error) = open.write(&buffer[..read])
            {
                tracing::warn!(%error, "what the engine prints is kept no longer");
                log = Err(error);
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_keeps_its_size_and_its_last_words() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = OutputLog::open(folder.path().join("new")).unwrap();
        let line = [b'x'; 1000];
        for _ in 0..3 * CAP / 1000 {
            log.write(&line).unwrap();
        }
        log.write(b"the last words").unwrap();
        let (now, before) = (log.folder.join(FILE), log.folder.join(BEFORE));
        assert!(now.metadata().unwrap().len() <= CAP);
        assert!(before.metadata().unwrap().len() <= CAP);
        assert!(fs::read(now).unwrap().ends_with(b"the last words"));
    }

    #[test]
    fn a_log_goes_on_where_it_was() {
        let folder = tempfile::tempdir().unwrap();
        for word in ["one", "two"] {
            OutputLog::open(folder.path().to_owned()).unwrap().write(word.as_bytes()).unwrap();
        }
        assert_eq!(fs::read(folder.path().join(FILE)).unwrap(), b"onetwo");
    }
}
