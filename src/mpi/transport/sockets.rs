//! Frames over sockets, to and from the processes that came later.
//!
//! ```text
//!   rank 0 ── one end of a pair of sockets, the other is the child's from birth ── child
//!   others ── they go to where the child listens, and greet: the job's token, their number ──▶ child
//! ```
//!
//! On one host a child listens at a local name made of the job's number and its own; on several at a port, on all
//! addresses of its host. Nothing here blocks, and no death is more than a stream that breaks: who went there goes
//! there again, until rank 0 says that the process is dead.

use super::Process;
use super::stream::Stream;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, connect, listen, socket_with, sockopt,
};
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::time::{Duration, Instant};

/// Who was not reached is sought again after this long.
const DIAL_INTERVAL: Duration = Duration::from_millis(100);
/// An address that does not answer within this long is given up for the next one.
const DIAL_PATIENCE: Duration = Duration::from_secs(1);
/// A connection over a network that takes nothing for this long is broken, and made anew.
const SILENT_MS_MAX: u32 = 3_000;
/// Who does not greet within this long is sent away.
const GREETING_PATIENCE: Duration = Duration::from_secs(2);
/// This many may come before they have greeted; more wait outside.
const STRANGERS_MAX: usize = 16;
/// This many may wait outside: all other ranks may come at once.
const BACKLOG: i32 = 64;
/// The job's token and the number of the process.
const GREETING_BYTES: usize = 20;
/// Where the kernel tells which addresses are this host's.
#[cfg(target_os = "linux")]
const OWN_ADDRESSES: &str = "/proc/self/net/fib_trie";

/// What keeps strangers out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Job {
    /// The number that the job's processes share, and no other job's.
    pub number: u64,
    /// Random, and known to nobody else.
    pub token: u128,
}

/// All sockets of this process.
#[derive(Debug)]
pub struct Sockets {
    me: Process,
    job: Job,
    listener: Option<OwnedFd>,
    lines: BTreeMap<Process, SocketLine>,
    strangers: Vec<Stranger>,
}

/// The way to one process.
#[derive(Debug, Default)]
struct SocketLine {
    stream: Option<Stream>,
    /// `None`: it comes to us.
    dial: Option<Dial>,
}

/// Where somebody is sought.
#[derive(Debug)]
struct Dial {
    /// Empty: at its local name.
    addresses: Vec<SocketAddr>,
    tries: usize,
    again_at: Instant,
    under_way: Option<OwnedFd>,
}

/// Somebody who has not greeted yet.
#[derive(Debug)]
struct Stranger {
    stream: Stream,
    since: Instant,
}

/// The name at which a process of the job listens, on one host.
fn local_name(job: Job, process: Process) -> io::Result<SocketAddrUnix> {
    let name = format!("understudy-{:016x}-{process}-frames", job.number);
    Ok(SocketAddrUnix::new_abstract_name(name.as_bytes())?)
}

fn local_socket() -> io::Result<OwnedFd> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    Ok(socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?)
}

impl Sockets {
    /// None yet.
    #[must_use]
    pub fn new(me: Process, job: Job) -> Self {
        Self { me, job, listener: None, lines: BTreeMap::new(), strangers: Vec::new() }
    }

    /// Learns who this is, and of which job.
    pub fn introduce(&mut self, me: Process, job: Job) {
        (self.me, self.job) = (me, job);
    }

    /// Lets others come. Returns where, if not by the local name.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn listen(&mut self, several_hosts: bool) -> io::Result<Vec<SocketAddr>> {
        if several_hosts {
            let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0))?;
            listener.set_nonblocking(true)?;
            let port = listener.local_addr()?.port();
            self.listener = Some(listener.into());
            return Ok(own_addresses()?.into_iter().map(|address| SocketAddr::new(address, port)).collect());
        }
        let listener = local_socket()?;
        bind(&listener, &local_name(self.job, self.me)?)?;
        listen(&listener, BACKLOG)?;
        self.listener = Some(listener);
        Ok(Vec::new())
    }

    /// This socket leads to `process`.
    pub fn join(&mut self, process: Process, socket: OwnedFd) {
        self.lines.entry(process).or_default().stream = Some(Stream::new(socket));
    }

    /// Goes to `process`, which listens at one of these addresses, or at its local name; unless it was there first:
    /// then it comes to us. (If each of two went to the other, each way would push the other one aside, for ever.)
    pub fn go_to(&mut self, process: Process, addresses: &[SocketAddr]) {
        if process < self.me {
            return;
        }
        if let Some(dial) = self.lines.get_mut(&process).and_then(|line| line.dial.as_mut()) {
            dial.addresses = addresses.to_vec();
            return;
        }
        let dial = Dial { addresses: addresses.to_vec(), tries: 0, again_at: Instant::now(), under_way: None };
        self.lines.insert(process, SocketLine { stream: None, dial: Some(dial) });
        self.seek();
    }

    /// `process` is dead.
    pub fn forget(&mut self, process: Process) {
        self.lines.remove(&process);
    }

    /// Starts to send. An emptied buffer comes back when one is free. A frame for somebody who is not reached is lost,
    /// as on a network: the protocol is made for that.
    ///
    /// # Errors
    /// The frame, when too many wait.
    pub fn send(&mut self, to: Process, frame: Vec<u8>) -> Result<Option<Vec<u8>>, Vec<u8>> {
        match self.lines.get_mut(&to).and_then(|line| line.stream.as_mut()) {
            Some(stream) if !stream.is_broken() => stream.send(frame),
            _ => Ok(Some(frame)),
        }
    }

    /// Frames that the sockets have not taken.
    #[must_use]
    pub fn unsent(&self) -> usize {
        self.streams().map(Stream::unsent).sum()
    }

    /// True while a frame is half here.
    #[must_use]
    pub fn is_receiving(&self) -> bool {
        self.streams().any(Stream::is_receiving)
    }

    fn streams(&self) -> impl Iterator<Item = &Stream> {
        self.lines.values().filter_map(|line| line.stream.as_ref())
    }

    /// Hands over the frames that have come, by sender; returns how many. Also looks after all that is under way.
    pub fn receive(&mut self, deliver: &mut dyn FnMut(Process, &[u8])) -> usize {
        let mut delivered = 0;
        let mut someone_is_lost = false;
        for (process, line) in &mut self.lines {
            let Some(stream) = &mut line.stream else {
                someone_is_lost = true;
                continue;
            };
            stream.push();
            delivered += stream.receive(&mut |frame| deliver(*process, frame));
            someone_is_lost |= stream.is_broken();
        }
        if someone_is_lost {
            self.seek();
        }
        self.let_in();
        if !self.strangers.is_empty() {
            delivered += self.hear_strangers(deliver);
        }
        delivered
    }

    // ---- going to others -----------------------------------------------------------------------

    /// Looks after the ways that are not there: those that have broken, and those that are being made.
    fn seek(&mut self) {
        let now = Instant::now();
        let (me, job) = (self.me, self.job);
        self.lines.retain(|process, line| {
            if line.stream.as_ref().is_some_and(|stream| !stream.is_broken()) {
                return true;
            }
            // Who came to us comes again, if it lives.
            let Some(dial) = &mut line.dial else { return false };
            let Some(socket) = dial.step(now, job, *process) else { return true };
            let mut stream = Stream::new(socket);
            let _ = stream.send(greeting(job, me));
            for frame in line.stream.take().map(|mut old| old.take_unsent()).unwrap_or_default() {
                let _ = stream.send(frame);
            }
            line.stream = Some(stream);
            true
        });
    }

    // ---- letting others in ---------------------------------------------------------------------

    fn let_in(&mut self) {
        let Some(listener) = &self.listener else { return };
        while self.strangers.len() < STRANGERS_MAX {
            let Ok(socket) = accept_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) else { return };
            if is_one_of_us(&socket) {
                settle(&socket);
                self.strangers.push(Stranger { stream: Stream::new(socket), since: Instant::now() });
            }
        }
    }

    fn hear_strangers(&mut self, deliver: &mut dyn FnMut(Process, &[u8])) -> usize {
        let mut delivered = 0;
        for mut stranger in std::mem::take(&mut self.strangers) {
            let mut said: Vec<Vec<u8>> = Vec::new();
            stranger.stream.receive(&mut |frame| said.push(frame.to_vec()));
            let Some((first, rest)) = said.split_first() else {
                if !stranger.stream.is_broken() && stranger.since.elapsed() < GREETING_PATIENCE {
                    self.strangers.push(stranger);
                }
                continue;
            };
            let Some(process) = greeted(self.job, first) else { continue };
            let line = self.lines.entry(process).or_default();
            for frame in line.stream.take().map(|mut old| old.take_unsent()).unwrap_or_default() {
                let _ = stranger.stream.send(frame);
            }
            line.stream = Some(stranger.stream);
            rest.iter().for_each(|frame| deliver(process, frame));
            delivered += rest.len();
        }
        delivered
    }
}

impl Dial {
    /// One step on the way to `process`; the socket when it is reached.
    fn step(&mut self, now: Instant, job: Job, process: Process) -> Option<OwnedFd> {
        if self.under_way.is_none() {
            if now < self.again_at {
                return None;
            }
            self.again_at = now + DIAL_INTERVAL;
            let (socket, result) = self.begin(job, process).ok()?;
            match result {
                Ok(()) => return Some(socket),
                Err(Errno::INPROGRESS) => {
                    self.again_at = now + DIAL_PATIENCE;
                    self.under_way = Some(socket);
                }
                Err(_) => return None,
            }
        }
        let is_ready = self.under_way.as_ref().is_some_and(is_writable);
        if !is_ready {
            if now >= self.again_at {
                self.under_way = None;
            }
            return None;
        }
        let socket = self.under_way.take()?;
        self.again_at = now + DIAL_INTERVAL;
        matches!(sockopt::socket_error(&socket), Ok(Ok(()))).then_some(socket)
    }

    fn begin(&mut self, job: Job, process: Process) -> io::Result<(OwnedFd, rustix::io::Result<()>)> {
        let address = self.addresses.get(self.tries % self.addresses.len().max(1));
        self.tries += 1;
        let Some(address) = address else {
            let socket = local_socket()?;
            let result = connect(&socket, &local_name(job, process)?);
            return Ok((socket, result));
        };
        let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let socket = socket_with(family, SocketType::STREAM, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC, None)?;
        settle(&socket);
        let result = connect(&socket, address);
        Ok((socket, result))
    }
}

fn is_writable(socket: &OwnedFd) -> bool {
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut [PollFd::new(socket, PollFlags::OUT)], Some(&at_once)).is_ok_and(|ready| ready > 0)
}

/// A connection over a network: frames leave at once, and a silence is an end. For a local one nothing.
fn settle(socket: &OwnedFd) {
    let _ = sockopt::set_tcp_nodelay(socket, true);
    #[cfg(target_os = "linux")]
    let _ = sockopt::set_tcp_user_timeout(socket, SILENT_MS_MAX);
}

/// Over a local name anybody on this host may come: only this user's processes are let in. Over a network the token
/// tells.
fn is_one_of_us(socket: &impl AsFd) -> bool {
    match sockopt::socket_domain(socket) {
        #[cfg(target_os = "linux")]
        Ok(AddressFamily::UNIX) => {
            let me = rustix::process::geteuid();
            sockopt::socket_peercred(socket).is_ok_and(|peer| peer.uid == me || peer.uid.is_root())
        }
        Ok(_) => true,
        Err(_) => false,
    }
}

fn greeting(job: Job, me: Process) -> Vec<u8> {
    [&job.token.to_le_bytes()[..], &me.0.to_le_bytes()].concat()
}

/// Who greets like this.
fn greeted(job: Job, greeting: &[u8]) -> Option<Process> {
    let greeting: &[u8; GREETING_BYTES] = greeting.try_into().ok()?;
    let (token, process) = greeting.split_first_chunk()?;
    (u128::from_le_bytes(*token) == job.token).then_some(Process(u32::from_le_bytes(process.try_into().ok()?)))
}

/// The addresses by which other hosts may reach this one.
#[cfg(target_os = "linux")]
fn own_addresses() -> io::Result<Vec<IpAddr>> {
    Ok(local_addresses(&std::fs::read_to_string(OWN_ADDRESSES)?))
}

#[cfg(not(target_os = "linux"))]
fn own_addresses() -> io::Result<Vec<IpAddr>> {
    Ok(Vec::new())
}

/// In the kernel's table an address of this host is followed by a line that says so.
#[cfg(target_os = "linux")]
fn local_addresses(table: &str) -> Vec<IpAddr> {
    let mut found: Vec<IpAddr> = Vec::new();
    let mut last = None;
    for line in table.lines().map(str::trim) {
        if let Some(address) = line.strip_prefix("|-- ") {
            last = address.parse::<Ipv4Addr>().ok();
        } else if line == "/32 host LOCAL"
            && let Some(address) = last.filter(|address| !address.is_loopback()).map(IpAddr::V4)
            && !found.contains(&address)
        {
            found.push(address);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(number: u64) -> Job {
        Job { number: number << 32 | u64::from(std::process::id()), token: 0x1234_5678_9abc_def0 }
    }

    /// Turns both loops until this many frames have come to the second.
    fn turn(from: &mut Sockets, to: &mut Sockets, count: usize) -> Vec<(Process, Vec<u8>)> {
        let mut come = Vec::new();
        let begun = Instant::now();
        while come.len() < count && begun.elapsed() < Duration::from_secs(10) {
            from.receive(&mut |_, _| {});
            to.receive(&mut |process, frame| come.push((process, frame.to_vec())));
        }
        come
    }

    #[test]
    fn who_goes_there_is_heard_and_answered_on_one_host_and_over_a_network() {
        for several_hosts in [false, true] {
            let job = job(1);
            let (mut child, mut other) = (Sockets::new(Process(5), job), Sockets::new(Process(2), job));
            let mut addresses = child.listen(several_hosts).unwrap();
            if several_hosts {
                let port = child.listener.as_ref().map(|listener| rustix::net::getsockname(listener).unwrap());
                let port = SocketAddr::try_from(port.unwrap()).unwrap().port();
                // Whether this host has another address or not; the first does not answer.
                addresses = [port + 1, port].map(|port| SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port)).to_vec();
            }
            other.go_to(Process(5), &addresses);
            let begun = Instant::now();
            while !other.streams().any(|stream| !stream.is_broken()) && begun.elapsed() < Duration::from_secs(10) {
                other.receive(&mut |_, _| {});
            }
            for number in 0..3 {
                assert!(other.send(Process(5), vec![number]).is_ok());
            }
            let come = turn(&mut other, &mut child, 3);
            assert_eq!(come, [0, 1, 2].map(|number| (Process(2), vec![number])));
            assert!(child.send(Process(2), vec![9; 200 << 10]).is_ok());
            assert_eq!(turn(&mut child, &mut other, 1), [(Process(5), vec![9; 200 << 10])]);
        }
    }

    #[test]
    fn a_stranger_is_not_let_in() {
        let ours = job(2);
        let mut child = Sockets::new(Process(5), ours);
        child.listen(false).unwrap();
        let mut stranger = Sockets::new(Process(2), Job { token: 7, ..ours });
        stranger.go_to(Process(5), &[]);
        let _ = stranger.send(Process(5), vec![1]);
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(50) {
            stranger.receive(&mut |_, _| {});
            child.receive(&mut |_, _| panic!("a stranger was heard"));
        }
        assert!(child.lines.is_empty());
    }

    /// Each hears of the other, in whatever order: one way is enough, and a second one would push it aside.
    #[test]
    fn two_that_came_later_do_not_push_each_other_aside() {
        let job = job(4);
        let (mut one, mut other) = (Sockets::new(Process(5), job), Sockets::new(Process(6), job));
        one.listen(false).unwrap();
        other.listen(false).unwrap();
        for _ in 0..2 {
            other.go_to(Process(5), &[]);
            one.go_to(Process(6), &[]);
        }
        let (mut first, mut second) = (Vec::new(), Vec::new());
        for number in 0..200_u8 {
            assert!(one.send(Process(6), vec![number]).is_ok());
            let _ = other.send(Process(5), vec![number]);
            for _ in 0..3 {
                one.receive(&mut |_, frame| first.push(frame.to_vec()));
                other.receive(&mut |_, frame| second.push(frame.to_vec()));
            }
            if number % 20 == 0 {
                std::thread::sleep(DIAL_INTERVAL / 4);
            }
        }
        assert_eq!(second, (0..200).map(|number| vec![number]).collect::<Vec<_>>());
        assert!(first.len() >= 199, "{} came back", first.len());
        assert_eq!((one.lines.len(), other.lines.len()), (1, 1));
    }

    #[test]
    fn a_way_that_breaks_is_found_again_until_the_other_is_dead() {
        let job = job(3);
        let mut child = Sockets::new(Process(5), job);
        child.listen(false).unwrap();
        let mut other = Sockets::new(Process(2), job);
        other.go_to(Process(5), &[]);
        let _ = other.send(Process(5), vec![1]);
        assert_eq!(turn(&mut other, &mut child, 1).len(), 1);
        child.lines.clear();
        let begun = Instant::now();
        let mut come: Vec<(Process, Vec<u8>)> = Vec::new();
        while come.is_empty() && begun.elapsed() < Duration::from_secs(10) {
            let _ = other.send(Process(5), vec![2]);
            other.receive(&mut |_, _| {});
            child.receive(&mut |process, frame| come.push((process, frame.to_vec())));
        }
        assert!(!come.is_empty());
        drop(child);
        for _ in 0..3 {
            other.receive(&mut |_, _| {});
            let _ = other.send(Process(5), vec![3]);
        }
        assert_eq!(other.lines.len(), 1, "it is sought");
        other.forget(Process(5));
        assert_eq!((other.lines.len(), other.unsent()), (0, 0));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_addresses_of_this_host_are_read_from_the_kernels_table() {
        let table = [
            "Main:",
            "  +-- 0.0.0.0/0 3 0 5",
            "     |-- 127.0.0.1",
            "        /32 host LOCAL",
            "     |-- 10.77.0.1",
            "        /32 host LOCAL",
            "     |-- 10.77.0.255",
            "        /32 link BROADCAST",
            "Local:",
            "     |-- 10.77.0.1",
            "        /32 host LOCAL",
        ];
        let table = &table.join("\n");
        assert_eq!(local_addresses(table), ["10.77.0.1".parse::<IpAddr>().unwrap()]);
    }
}
