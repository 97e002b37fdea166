//! The sockets of a door: they accept, read and write when they can, and never wait.
//!
//! They are looked at in the loop of the rank, once a turn; a loop that sleeps waits at the doorbell and at
//! [`DoorSockets::bell`] together. Whoever is not to be read from is taken out of the set, so that a flood does not
//! keep the loop awake.

use super::connection::Id;
use super::hall::Hall;
use crate::core::protocol::Time;
use rustix::event::epoll;
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, sockopt};
use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

/// So much is read at once from one connection.
const READ_BYTES: usize = 64 << 10;
/// The most events that are looked at in one turn.
const EVENTS_MAX: usize = 256;
/// The most connections that are accepted in one turn.
const ACCEPTS_PER_TURN_MAX: usize = 64;
/// Bytes that are read in one turn from all together.
const READ_PER_TURN_BYTES_MAX: usize = 1 << 20;
/// When there are no descriptors left, nobody is let in for so long.
const OUT_OF_DESCRIPTORS: Duration = Duration::from_millis(100);
/// This many may wait until they are accepted; the system allows fewer.
const BACKLOG: i32 = 4096;
/// The mark of the listener among the events.
const LISTENER: u64 = 0;

/// Who else listens at the same address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Company {
    /// Nobody.
    Alone,
    /// Nobody yet: other doors will join.
    First,
    /// Another door does already.
    Joining,
}

/// A socket that listens there.
///
/// The system spreads connections over all that share an address. The first one binds before it allows that, so that
/// it never shares its address with another program, or with another cluster.
fn listener(address: SocketAddr, company: Company) -> io::Result<TcpListener> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if company == Company::Joining {
        sockopt::set_socket_reuseport(&socket, true)?;
    }
    rustix::net::bind(&socket, &address)?;
    if company == Company::First {
        sockopt::set_socket_reuseport(&socket, true)?;
    }
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(TcpListener::from(socket))
}

/// One client's socket.
#[derive(Debug)]
struct Socket {
    stream: TcpStream,
    /// What the set looks for.
    interest: epoll::EventFlags,
}

/// All of them.
#[derive(Debug)]
pub struct DoorSockets {
    set: Arc<OwnedFd>,
    listener: TcpListener,
    by_id: BTreeMap<Id, Socket>,
    buffer: Box<[u8]>,
    /// Nobody is let in before this.
    accept_after: Time,
}

impl DoorSockets {
    /// Listens at this address.
    ///
    /// # Errors
    /// When that cannot be.
    pub fn listen(address: SocketAddr, company: Company) -> io::Result<Self> {
        let listener = listener(address, company)?;
        let set = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&set, &listener, epoll::EventData::new_u64(LISTENER), epoll::EventFlags::IN)?;
        Ok(Self {
            set: Arc::new(set),
            listener,
            by_id: BTreeMap::new(),
            buffer: vec![0; READ_BYTES].into_boxed_slice(),
            accept_after: Time::default(),
        })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// A descriptor that can be read when there is something to do here.
    #[must_use]
    pub fn bell(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.set)
    }

    /// Takes in what has come. True when there was anything.
    pub fn receive(&mut self, now: Time, hall: &mut Hall) -> bool {
        let mut events = Vec::with_capacity(EVENTS_MAX);
        let no_wait = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        let found = epoll::wait(&*self.set, rustix::buffer::spare_capacity(&mut events), Some(&no_wait));
        if found.is_err() || events.is_empty() {
            return false;
        }
        let events: Vec<(u64, epoll::EventFlags)> =
            events.iter().map(|event: &epoll::Event| (event.data.u64(), event.flags)).collect();
        let mut left = READ_PER_TURN_BYTES_MAX;
        for (id, flags) in events {
            if id == LISTENER {
                self.accept(now, hall);
                continue;
            }
            if flags.contains(epoll::EventFlags::OUT) {
                hall.mark_dirty(id);
            }
            let readable = epoll::EventFlags::IN | epoll::EventFlags::HUP | epoll::EventFlags::ERR;
            if flags.intersects(readable) && left > 0 {
                left = left.saturating_sub(self.read(now, hall, id));
            }
        }
        true
    }

    fn accept(&mut self, now: Time, hall: &mut Hall) {
        if now < self.accept_after {
            return;
        }
        for _ in 0..ACCEPTS_PER_TURN_MAX {
            match self.listener.accept() {
                Ok((stream, peer)) => {
                    let Ok(local) = stream.local_addr() else { continue };
                    if stream.set_nonblocking(true).is_err() {
                        continue;
                    }
                    let _ = stream.set_nodelay(true);
                    let id = hall.accept(now, peer, local);
                    let interest = epoll::EventFlags::IN;
                    if epoll::add(&*self.set, &stream, epoll::EventData::new_u64(id), interest).is_err() {
                        hall.gone(id);
                        continue;
                    }
                    self.by_id.insert(id, Socket { stream, interest });
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // Who has gone already.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(_) => {
                    self.accept_after = now + OUT_OF_DESCRIPTORS;
                    return;
                }
            }
        }
    }

    /// Reads from one; returns how much.
    fn read(&mut self, now: Time, hall: &mut Hall, id: Id) -> usize {
        let Some(socket) = self.by_id.get(&id) else { return 0 };
        match rustix::net::recv(&socket.stream, &mut self.buffer[..], RecvFlags::DONTWAIT) {
            Ok((0, _)) => {
                self.close(hall, id);
                0
            }
            Ok((count, _)) => {
                hall.received(now, id, &self.buffer[..count]);
                self.look_after(hall, id);
                count
            }
            Err(Errno::AGAIN | Errno::INTR) => 0,
            Err(_) => {
                self.close(hall, id);
                0
            }
        }
    }

    /// Writes what there is to be written, as far as it can be. True when anything was.
    pub fn send(&mut self, hall: &mut Hall) -> bool {
        let mut sent_any = false;
        for id in hall.take_dirty() {
            let Some(connection) = hall.connection(id) else { continue };
            let Some(socket) = self.by_id.get(&id) else { continue };
            let mut is_over = connection.is_over();
            if !connection.out.is_empty() && !is_over {
                match rustix::net::send(&socket.stream, &connection.out, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                    Ok(count) => {
                        connection.sent(count);
                        is_over = connection.is_over();
                        hall.counters.bytes_out += count as u64;
                        hall.sent(id);
                        sent_any = true;
                    }
                    Err(Errno::AGAIN | Errno::INTR) => {}
                    Err(_) => is_over = true,
                }
            }
            if is_over {
                self.close(hall, id);
            } else {
                self.look_after(hall, id);
            }
        }
        sent_any
    }

    /// Looks for what this one is interesting for now.
    fn look_after(&mut self, hall: &mut Hall, id: Id) {
        let (Some(connection), Some(socket)) = (hall.connection(id), self.by_id.get_mut(&id)) else { return };
        let mut interest = epoll::EventFlags::empty();
        interest.set(epoll::EventFlags::IN, connection.wants_input());
        interest.set(epoll::EventFlags::OUT, !connection.out.is_empty());
        if interest == socket.interest {
            return;
        }
        socket.interest = interest;
        if epoll::modify(&*self.set, &socket.stream, epoll::EventData::new_u64(id), interest).is_err() {
            self.close(hall, id);
        }
    }

    fn close(&mut self, hall: &mut Hall, id: Id) {
        if let Some(socket) = self.by_id.remove(&id) {
            let _ = epoll::delete(&*self.set, socket.stream.as_fd());
        }
        hall.gone(id);
    }
}
