//! Length-prefixed frames on pipes.
//!
//! Control: `u32` little endian length, then that many bytes of JSON. State: `u32` length, then that
//! many raw bytes. Lengths are capped on both sides before anything is allocated: a garbled stream is
//! an error, not an allocation of 4 GiB.

use std::io::{self, Read, Write};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Largest control frame in bytes. A prompt of several megabytes must fit, to be refused politely.
pub const MAX_CONTROL: usize = 64 << 20;
/// Largest state frame in bytes. State is sent in frames of at most this size.
pub const MAX_STATE: usize = 1 << 20;

/// Why a frame could not be read.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The other side closed its end between two frames.
    #[error("closed")]
    Closed,
    /// The pipe failed, or ended within a frame.
    #[error("the pipe broke: {0}")]
    Io(#[from] io::Error),
    /// The length is beyond the cap.
    #[error("a frame of {0} bytes")]
    TooLarge(usize),
    /// The bytes are not a message.
    #[error("{}", place(.0))]
    Malformed(#[from] serde_json::Error),
}

/// Where it went wrong, without the parser's own words: they quote what was read, and that may be
/// somebody's conversation on its way into a log.
fn place(error: &serde_json::Error) -> String {
    let what = match error.classify() {
        serde_json::error::Category::Data => "no known message",
        _ => "not a message",
    };
    format!("{what}, as seen at byte {}", error.column())
}

/// Writes one control frame and flushes.
pub fn write_control<T: Serialize>(writer: &mut impl Write, message: &T) -> Result<(), FrameError> {
    let mut frame = vec![0; 4];
    serde_json::to_writer(&mut frame, message)?;
    let length = frame.len() - 4;
    if length > MAX_CONTROL {
        return Err(FrameError::TooLarge(length));
    }
    frame[..4].copy_from_slice(&prefix(length)?);
    writer.write_all(&frame)?;
    writer.flush()?;
    Ok(())
}

/// Reads one control frame, blocking until it is complete.
pub fn read_control<T: DeserializeOwned>(reader: &mut impl Read) -> Result<T, FrameError> {
    let mut body = Vec::new();
    read_body(reader, MAX_CONTROL, &mut body)?;
    Ok(serde_json::from_slice(&body)?)
}

/// Writes one state frame.
pub fn write_state(writer: &mut impl Write, bytes: &[u8]) -> Result<(), FrameError> {
    if bytes.len() > MAX_STATE {
        return Err(FrameError::TooLarge(bytes.len()));
    }
    writer.write_all(&prefix(bytes.len())?)?;
    writer.write_all(bytes)?;
    Ok(())
}

/// Reads one state frame into `buffer`, replacing what it held.
pub fn read_state(reader: &mut impl Read, buffer: &mut Vec<u8>) -> Result<(), FrameError> {
    read_body(reader, MAX_STATE, buffer)
}

fn prefix(length: usize) -> Result<[u8; 4], FrameError> {
    u32::try_from(length).map(u32::to_le_bytes).map_err(|_| FrameError::TooLarge(length))
}

fn read_body(reader: &mut impl Read, cap: usize, body: &mut Vec<u8>) -> Result<(), FrameError> {
    let mut header = [0; 4];
    let mut have = 0;
    while have < header.len() {
        match reader.read(&mut header[have..]) {
            Ok(0) if have == 0 => return Err(FrameError::Closed),
            Ok(0) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            Ok(n) => have += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    let length = u32::from_le_bytes(header) as usize;
    if length > cap {
        return Err(FrameError::TooLarge(length));
    }
    // Grows with what really arrives: a false length costs nothing.
    body.clear();
    let got = reader.take(length as u64).read_to_end(body)?;
    if got < length {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Request, RequestFrame, RequestId};

    #[test]
    fn a_frame_comes_back_whole_from_a_dribbling_pipe() {
        struct Dribble<'a>(&'a [u8]);
        impl Read for Dribble<'_> {
            fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
                let n = self.0.len().min(buf.len()).min(1);
                buf[..n].copy_from_slice(&self.0[..n]);
                self.0 = &self.0[n..];
                Ok(n)
            }
        }
        let mut bytes = Vec::new();
        write_control(&mut bytes, &RequestFrame { id: RequestId(7), request: Request::Ping }).unwrap();
        let back: RequestFrame = read_control(&mut Dribble(&bytes)).unwrap();
        assert_eq!(back.id, RequestId(7));
        assert!(matches!(back.request, Request::Ping));
    }

    #[test]
    fn garbage_is_an_error_and_not_an_allocation() {
        let result: Result<RequestFrame, _> = read_control(&mut &b"\xff\xff\xff\xffhello"[..]);
        assert!(matches!(result, Err(FrameError::TooLarge(_))), "{result:?}");
        let result: Result<RequestFrame, _> = read_control(&mut &b"\x03\0\0\0{}}"[..]);
        assert!(matches!(result, Err(FrameError::Malformed(_))), "{result:?}");
        let result: Result<RequestFrame, _> = read_control(&mut &b"\x0a\0\0\0{}"[..]);
        assert!(matches!(result, Err(FrameError::Io(_))), "{result:?}");
        let result: Result<RequestFrame, _> = read_control(&mut &b""[..]);
        assert!(matches!(result, Err(FrameError::Closed)), "{result:?}");
    }

    #[test]
    fn an_error_does_not_quote_what_was_read() {
        let body = br#"{"id":1,"request":{"do":"dear diary"}}"#;
        let mut bytes = prefix(body.len()).unwrap().to_vec();
        bytes.extend(body);
        let error = read_control::<RequestFrame>(&mut &bytes[..]).unwrap_err();
        assert!(matches!(error, FrameError::Malformed(_)), "{error:?}");
        assert_eq!(error.to_string(), "no known message, as seen at byte 36");
    }

    #[test]
    fn state_frames_keep_their_cap() {
        let too_much = vec![0; MAX_STATE + 1];
        assert!(matches!(write_state(&mut Vec::new(), &too_much), Err(FrameError::TooLarge(_))));
        let mut bytes = Vec::new();
        write_state(&mut bytes, b"abc").unwrap();
        let mut buffer = vec![9; 100];
        read_state(&mut &bytes[..], &mut buffer).unwrap();
        assert_eq!(buffer, b"abc");
    }
}
