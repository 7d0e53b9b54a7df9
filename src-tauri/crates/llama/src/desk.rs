//! State bytes, beside the thread that computes: images that were exported wait here to be hashed and
//! sent, images that arrive are put together here. Nothing here touches llama.cpp.

use std::collections::VecDeque;
use std::io::{PipeReader, PipeWriter};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, PoisonError};

use reprise_engine::Fault;
use reprise_engine::frame::{self, MAX_STATE};
use reprise_engine::message::{Event, Request, RequestFrame};
use reprise_engine::state::{ImageId, Pieces};

use crate::outbox::Outbox;
use crate::pipes;

/// Buffers that are kept for reuse: fresh memory costs more than the copy into it.
const SPARE: usize = 1;

/// Exported images that are kept until somebody has taken what he wants: that of a turn, of the prompt in it, and
/// of the turn before.
const EXPORTED: usize = 3;

/// Where images lie, for the thread that computes and the one that moves bytes.
#[derive(Debug, Clone, Default)]
pub struct Shelf {
    /// Guards what lies where; never held while bytes are copied.
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    next: u64,
    /// The latest exports, the earliest first: that of the turn before may still be on its way. One that is
    /// displaced lives on only while somebody reads it.
    exported: VecDeque<(ImageId, Arc<Vec<u8>>)>,
    /// An image that arrived whole.
    received: Option<Vec<u8>>,
    spare: Vec<Vec<u8>>,
}

impl Shelf {
    fn with<T>(&self, f: impl FnOnce(&mut Inner) -> T) -> T {
        f(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A buffer for an export, which displaces the one before the last. What it holds means nothing.
    pub(crate) fn buffer(&self) -> Vec<u8> {
        self.with(|inner| {
            while inner.exported.len() >= EXPORTED {
                let displaced = inner.exported.pop_front().map(|(_, image)| image);
                inner.reclaim(displaced);
            }
            inner.spare.pop().unwrap_or_default()
        })
    }

    /// A buffer that displaces nothing.
    pub(crate) fn spare(&self) -> Vec<u8> {
        self.with(|inner| inner.spare.pop().unwrap_or_default())
    }

    /// A buffer for an image that arrives.
    fn arrival(&self) -> Vec<u8> {
        self.with(|inner| inner.received.take().or_else(|| inner.spare.pop()).unwrap_or_default())
    }

    /// Gives a buffer back.
    pub(crate) fn give_back(&self, buffer: Vec<u8>) {
        self.with(|inner| inner.keep(buffer));
    }

    /// Shelves an exported image.
    pub(crate) fn put(&self, image: Vec<u8>) -> ImageId {
        self.with(|inner| {
            inner.next += 1;
            // No worker's images are taken for those of the one before it.
            let id = ImageId(u64::from(std::process::id()) << 32 | inner.next);
            inner.exported.push_back((id, Arc::new(image)));
            id
        })
    }

    /// Takes the image that arrived.
    pub(crate) fn take_received(&self) -> Option<Vec<u8>> {
        self.with(|inner| inner.received.take())
    }

    /// Forgets an image that arrived and was never used.
    pub(crate) fn forget_received(&self) {
        self.with(|inner| {
            if let Some(buffer) = inner.received.take() {
                inner.keep(buffer);
            }
        });
    }

    fn image(&self, id: ImageId) -> Result<Arc<Vec<u8>>, Fault> {
        self.with(|inner| {
            let found = inner.exported.iter().find(|(own, _)| *own == id);
            found.map(|(_, image)| Arc::clone(image)).ok_or(Fault::ImageGone)
        })
    }

    fn release(&self, id: ImageId) {
        self.with(|inner| {
            let at = inner.exported.iter().position(|(own, _)| *own == id);
            let released = at.and_then(|at| inner.exported.remove(at)).map(|(_, image)| image);
            inner.reclaim(released);
        });
    }
}

impl Inner {
    fn reclaim(&mut self, image: Option<Arc<Vec<u8>>>) {
        if let Some(buffer) = image.and_then(Arc::into_inner) {
            self.keep(buffer);
        }
    }

    fn keep(&mut self, buffer: Vec<u8>) {
        if self.spare.len() < SPARE {
            self.spare.push(buffer);
        }
    }
}

/// Serves requests about state bytes until the app is gone.
pub(crate) struct Desk {
    pub(crate) outbox: Outbox,
    pub(crate) requests: Receiver<RequestFrame>,
    pub(crate) shelf: Shelf,
    pub(crate) state_in: PipeReader,
    pub(crate) state_out: PipeWriter,
}

impl Desk {
    pub(crate) fn serve(mut self) {
        while let Ok(RequestFrame { id, request }) = self.requests.recv() {
            let event = match request {
                Request::Hash { image, chunks } => {
                    self.hash(image, &chunks).map(|hashes| Event::Hashed { hashes })
                }
                Request::Ship { image, chunks } => self.ship(image, &chunks).map(|()| Event::StateSent),
                Request::Receive { bytes, chunks } => {
                    self.receive(bytes, &chunks).map(|()| Event::StateReceived)
                }
                Request::Release { image } => {
                    self.shelf.release(image);
                    Ok(Event::Released)
                }
                Request::SendState { bytes } => {
                    self.send_nothing(bytes);
                    Ok(Event::StateSent)
                }
                Request::ReceiveState { bytes } => self.drain(bytes, |_| {}).map(|()| Event::StateReceived),
                _ => continue,
            };
            self.outbox.send(Some(id), event.unwrap_or_else(Event::Failed));
        }
    }

    fn hash(&self, image: ImageId, chunks: &[Pieces]) -> Result<Vec<String>, Fault> {
        let image = self.shelf.image(image)?;
        check(chunks, image.len() as u64)?;
        let hash = |pieces: &Pieces| {
            let mut hasher = blake3::Hasher::new();
            spans(pieces).for_each(|(from, to)| {
                hasher.update(&image[from..to]);
            });
            hasher.finalize().to_hex().to_string()
        };
        Ok(chunks.iter().map(hash).collect())
    }

    fn ship(&mut self, image: ImageId, chunks: &[Pieces]) -> Result<(), Fault> {
        let image = self.shelf.image(image)?;
        check(chunks, image.len() as u64)?;
        let mut frame = Vec::with_capacity(MAX_STATE);
        for (mut from, to) in chunks.iter().flat_map(spans) {
            while from < to {
                let end = to.min(from + MAX_STATE - frame.len());
                frame.extend_from_slice(&image[from..end]);
                from = end;
                if frame.len() == MAX_STATE {
                    self.write(&frame);
                    frame.clear();
                }
            }
        }
        if !frame.is_empty() {
            self.write(&frame);
        }
        Ok(())
    }

    fn receive(&mut self, bytes: u64, chunks: &[Pieces]) -> Result<(), Fault> {
        let moved = chunks.iter().map(Pieces::bytes).sum();
        let size = usize::try_from(bytes).unwrap_or(usize::MAX);
        if let Err(fault) = check(chunks, bytes).and_then(|()| covers(chunks, bytes)) {
            // They are on their way all the same.
            self.drain(moved, |_| {})?;
            return Err(fault);
        }
        let mut image = self.shelf.arrival();
        image.resize(size, 0);
        let mut spans = chunks.iter().flat_map(spans);
        let (mut at, mut end) = (0, 0);
        let arrived = self.drain(moved, |mut came| {
            while !came.is_empty() {
                if at == end {
                    let Some(next) = spans.next() else { break };
                    (at, end) = next;
                }
                let step = came.len().min(end - at);
                image[at..at + step].copy_from_slice(&came[..step]);
                at += step;
                came = &came[step..];
            }
        });
        if arrived.is_err() {
            self.shelf.give_back(image);
            return arrived;
        }
        self.shelf.with(|inner| inner.received = Some(image));
        Ok(())
    }

    /// Reads `bytes` bytes of state.
    fn drain(&mut self, bytes: u64, mut take: impl FnMut(&[u8])) -> Result<(), Fault> {
        let mut buffer = Vec::new();
        let mut left = bytes;
        while left > 0 {
            if frame::read_state(&mut self.state_in, &mut buffer).is_err() {
                pipes::exit_at_once(0);
            }
            if buffer.is_empty() {
                return Err(Fault::Cancelled);
            }
            take(&buffer);
            left = left.saturating_sub(buffer.len() as u64);
        }
        Ok(())
    }

    fn send_nothing(&mut self, bytes: u64) {
        let frame = vec![0; MAX_STATE];
        let mut left = bytes;
        while left > 0 {
            let size = usize::try_from(left).unwrap_or(MAX_STATE).min(MAX_STATE);
            self.write(&frame[..size]);
            left -= size as u64;
        }
    }

    fn write(&mut self, frame: &[u8]) {
        if frame::write_state(&mut self.state_out, frame).is_err() {
            // The app is gone.
            pipes::exit_at_once(0);
        }
    }
}

/// Where pieces begin and end. They were checked to lie within an image, which fits into memory.
fn spans(pieces: &Pieces) -> impl Iterator<Item = (usize, usize)> + '_ {
    let at = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX);
    pieces.spans().map(move |(offset, len)| (at(offset), at(offset + len)))
}

fn check(chunks: &[Pieces], len: u64) -> Result<(), Fault> {
    if chunks.iter().all(|pieces| pieces.lie_within(len)) {
        return Ok(());
    }
    Err(Fault::BadPieces { detail: "they reach beyond the image".to_owned() })
}

/// Every byte of the image exactly once: an old buffer must not shine through.
fn covers(chunks: &[Pieces], len: u64) -> Result<(), Fault> {
    let mut spans: Vec<(u64, u64)> = chunks.iter().flat_map(Pieces::spans).collect();
    spans.sort_unstable();
    let end = spans.iter().try_fold(0, |end, (offset, len)| (*offset == end).then_some(end + len));
    if end == Some(len) {
        return Ok(());
    }
    Err(Fault::BadPieces { detail: "they do not make up the image".to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(spans: &[(u64, u64)]) -> Pieces {
        let mut pieces = Pieces::default();
        for (offset, len) in spans {
            pieces.push(*offset, *len);
        }
        pieces
    }

    #[test]
    fn an_image_is_covered_by_each_byte_exactly_once() {
        let check = |chunks: &[&[(u64, u64)]], len, ok: bool| {
            let chunks: Vec<Pieces> = chunks.iter().map(|spans| pieces(spans)).collect();
            assert_eq!(covers(&chunks, len).is_ok(), ok, "{chunks:?}");
        };
        check(&[&[(0, 10)]], 10, true);
        check(&[&[(5, 5)], &[(0, 5)]], 10, true);
        check(&[&[(0, 2), (4, 2)], &[(2, 2), (6, 4)]], 10, true);
        check(&[&[(0, 5)]], 10, false);
        check(&[&[(0, 5)], &[(6, 4)]], 10, false);
        check(&[&[(0, 6)], &[(5, 5)]], 10, false);
        check(&[], 10, false);
    }

    #[test]
    fn a_later_export_displaces_the_earliest_and_its_buffer_is_used_again() {
        let shelf = Shelf::default();
        let export = || {
            let mut buffer = shelf.buffer();
            buffer.resize(1000, 7);
            let place = buffer.as_ptr();
            (shelf.put(buffer), place)
        };
        let (first, place) = export();
        assert_eq!(shelf.image(first).unwrap().len(), 1000);
        let (second, _) = export();
        let (within, _) = export();
        assert!(
            [first, second, within].iter().all(|id| shelf.image(*id).is_ok()),
            "they may be on their way"
        );
        let (third, again) = export();
        assert_eq!(again, place);
        assert!(matches!(shelf.image(first), Err(Fault::ImageGone)));
        shelf.release(first);
        assert!(shelf.image(second).is_ok(), "releasing one that is gone changes nothing");
        shelf.release(third);
        assert!(matches!(shelf.image(third), Err(Fault::ImageGone)));
        let last = shelf.buffer();
        assert_eq!(last.as_ptr(), place);
    }
}
