//! Frames on one socket: non-blocking, bounded.
//!
//! ```text
//! length (4 bytes, little-endian) · frame · length · frame · …
//! ```
//!
//! A stream that breaks says so ([`Stream::is_broken`]) and does nothing more; whoever holds it makes another one.

use super::SENDS_MAX;
use rustix::buffer::spare_capacity;
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, recv, sendmsg};
use std::collections::VecDeque;
use std::io::IoSlice;

/// The length before a frame.
const HEADER_BYTES: usize = 4;
/// At most so much is taken in at a look: a sender's turn or several, and not so much that its answer would wait.
const READ_BYTES: usize = 64 << 10;
/// No frame is longer: MPI's cannot be either.
pub const FRAME_BYTES_MAX: usize = i32::MAX as usize;
/// A buffer that grew beyond this for a long frame is given back.
const KEPT_BYTES_MAX: usize = 1 << 20;

/// One socket.
#[derive(Debug)]
pub struct Stream {
    socket: OwnedFd,
    /// Frames that wait; of the first and its header, `sent` bytes are gone.
    waiting: VecDeque<Vec<u8>>,
    sent: usize,
    /// What has come; up to `taken` it was handed over.
    come: Vec<u8>,
    taken: usize,
    is_broken: bool,
}

impl Stream {
    /// Frames on this socket, which must not block.
    #[must_use]
    pub fn new(socket: OwnedFd) -> Self {
        Self { socket, waiting: VecDeque::new(), sent: 0, come: Vec::new(), taken: 0, is_broken: false }
    }

    /// True when the other end is gone, or has sent what no frame is.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.is_broken
    }

    /// Frames that the socket has not taken entirely.
    #[must_use]
    pub fn unsent(&self) -> usize {
        self.waiting.len()
    }

    /// True when a part of a frame is here.
    #[must_use]
    pub fn is_receiving(&self) -> bool {
        self.taken < self.come.len()
    }

    /// Frames that never left, to be sent over another stream; one of which only a part has left is whole again.
    pub fn take_unsent(&mut self) -> VecDeque<Vec<u8>> {
        self.sent = 0;
        std::mem::take(&mut self.waiting)
    }

    /// Starts to send. An emptied buffer comes back when one is free.
    ///
    /// # Errors
    /// The frame, when too many wait.
    pub fn send(&mut self, frame: Vec<u8>) -> Result<Option<Vec<u8>>, Vec<u8>> {
        if self.waiting.len() >= SENDS_MAX {
            self.push();
        }
        if self.waiting.len() >= SENDS_MAX || frame.len() > FRAME_BYTES_MAX {
            return Err(frame);
        }
        self.waiting.push_back(frame);
        Ok(self.push())
    }

    /// Hands the socket as much as it takes. Returns a buffer that is free again, if there is one.
    pub fn push(&mut self) -> Option<Vec<u8>> {
        let mut free = None;
        while let Some(frame) = self.waiting.front().filter(|_| !self.is_broken) {
            let header = u32::try_from(frame.len()).unwrap_or(u32::MAX).to_le_bytes();
            let parts = [
                IoSlice::new(header.get(self.sent..).unwrap_or_default()),
                IoSlice::new(frame.get(self.sent.saturating_sub(HEADER_BYTES)..).unwrap_or_default()),
            ];
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            match sendmsg(&self.socket, &parts, &mut SendAncillaryBuffer::default(), flags) {
                Ok(length) => self.sent += length,
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN | Errno::NOBUFS) => break,
                Err(_) => self.is_broken = true,
            }
            if self.sent == HEADER_BYTES + frame.len() {
                self.sent = 0;
                free = self.waiting.pop_front().map(|mut frame| {
                    frame.clear();
                    frame
                });
            }
        }
        free
    }

    /// Takes in what has come, and hands over the frames that are whole; returns how many.
    pub fn receive(&mut self, deliver: &mut dyn FnMut(&[u8])) -> usize {
        if self.is_broken {
            return 0;
        }
        // Room grows with what has really come, whatever length was announced.
        let room = self.missing().min(self.come.len().max(READ_BYTES));
        self.come.reserve(room);
        match recv(&self.socket, spare_capacity(&mut self.come), RecvFlags::DONTWAIT) {
            Ok((_, 0)) => self.is_broken = true,
            Err(Errno::AGAIN | Errno::INTR) => return 0,
            Err(_) => self.is_broken = true,
            Ok(_) => {}
        }
        let mut delivered = 0;
        while let Some(length) = self.length_of_next() {
            let begin = self.taken + HEADER_BYTES;
            let Some(frame) = self.come.get(begin..begin + length) else { break };
            deliver(frame);
            self.taken = begin + length;
            delivered += 1;
        }
        self.tidy();
        delivered
    }

    fn length_of_next(&mut self) -> Option<usize> {
        let header = self.come.get(self.taken..self.taken + HEADER_BYTES)?;
        let length = u32::from_le_bytes(header.try_into().ok()?) as usize;
        if length > FRAME_BYTES_MAX {
            self.is_broken = true;
            return None;
        }
        Some(length)
    }

    /// How much is missing of a frame that has begun to come, or a look's worth.
    fn missing(&mut self) -> usize {
        let length = self.length_of_next().unwrap_or_default();
        (HEADER_BYTES + length).saturating_sub(self.come.len() - self.taken).max(READ_BYTES)
    }

    /// Moves the beginning of a frame to the front.
    fn tidy(&mut self) {
        if self.taken == 0 {
            return;
        }
        self.come.drain(..self.taken);
        self.taken = 0;
        if self.come.is_empty() && self.come.capacity() > KEPT_BYTES_MAX {
            self.come = Vec::new();
        }
    }
}

/// Two streams that are joined with each other.
///
/// # Errors
/// When the system refuses.
pub fn pair() -> std::io::Result<(OwnedFd, OwnedFd)> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    Ok(socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined() -> (Stream, Stream) {
        let (one, other) = pair().unwrap();
        (Stream::new(one), Stream::new(other))
    }

    fn all_from(from: &mut Stream, to: &mut Stream, count: usize) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        while frames.len() < count && !to.is_broken() {
            from.push();
            to.receive(&mut |frame| frames.push(frame.to_vec()));
        }
        frames
    }

    #[test]
    fn frames_of_every_size_arrive_in_order() {
        let (mut one, mut other) = joined();
        let frames: Vec<Vec<u8>> =
            [0, 1, 3, 4, 2048, READ_BYTES - 4, READ_BYTES, 3 << 20, 5].map(|size| vec![size as u8; size]).into();
        for frame in &frames {
            assert!(one.send(frame.clone()).is_ok());
        }
        assert!(one.unsent() > 0, "no socket takes three megabytes at once");
        assert!(all_from(&mut one, &mut other, frames.len()) == frames);
        assert_eq!((one.unsent(), other.is_receiving()), (0, false));
        assert!(other.come.capacity() <= KEPT_BYTES_MAX, "{} kept", other.come.capacity());
    }

    #[test]
    fn a_peer_that_takes_nothing_costs_a_bounded_number_of_frames() {
        let (mut one, _other) = joined();
        let taken = (0..10_000).take_while(|_| one.send(vec![7; 64 << 10]).is_ok()).count();
        assert_eq!(one.unsent(), SENDS_MAX);
        assert!(taken < 10_000);
    }

    #[test]
    fn the_other_end_dies_and_nothing_else_happens() {
        let (mut one, other) = joined();
        assert!(one.send(vec![1; 300 << 10]).is_ok());
        drop(other);
        assert_eq!(one.receive(&mut |_| panic!("nothing came")), 0);
        assert!(one.is_broken());
        let _ = one.send(vec![1]);
        assert!(one.take_unsent().iter().any(|frame| frame.len() == 300 << 10), "what never left is kept whole");
    }

    #[test]
    fn a_length_that_lies_allocates_nothing() {
        let (one, other) = joined();
        rustix::io::write(&one.socket, &(u32::MAX / 2).to_le_bytes()).unwrap();
        let mut other = other;
        other.receive(&mut |_| panic!("nothing came"));
        other.receive(&mut |_| panic!("nothing came"));
        assert!(other.come.capacity() <= 2 * READ_BYTES + HEADER_BYTES, "{}", other.come.capacity());
        rustix::io::write(&one.socket, &u32::MAX.to_le_bytes()).unwrap();
        rustix::io::write(&other.socket, &u32::MAX.to_le_bytes()).unwrap();
        let mut one = one;
        one.receive(&mut |_| panic!("nothing came"));
        assert!(one.is_broken());
    }
}
