//! The socket between launcher and rank 0: what is said on it, and how descriptors travel.
//!
//! | who | says | meaning |
//! |---|---|---|
//! | launcher | one byte, with descriptors 0, 1, 2 | these are yours now |
//! | launcher | `leave` | end the cluster, orderly and soon |
//! | launcher | `interrupt` | Ctrl-C was pressed |
//! | launcher | `window` | the terminal has another size |
//! | rank 0 | `pids 4711 4712` | these are the ranks |
//! | rank 0 | `exit 0` | I leave, with this code; the screen is in order |
//! | rank 0 | `break-off 0` | I leave, with this code; the screen is as it happened to be |
//!
//! Lines of text: they can be read in a trace, and an unknown line from another version is skipped.

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};
use rustix::process::getuid;
use std::ffi::OsStr;
use std::fs::{DirBuilder, File};
use std::io::{self, BufRead, BufReader, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Tells the ranks where the socket is, and marks them as belonging to one job.
pub const LIFELINE_VARIABLE: &str = "UNDERSTUDY_LIFELINE";
/// Names the directory of MPI's shared memory, for whoever has to remove it.
pub const SHARED_VARIABLE: &str = "UNDERSTUDY_SHARED";
/// Standard input, output and error.
const DESCRIPTORS: usize = 3;
/// A longer line is nonsense.
const LINE_BYTES_MAX: u64 = 4096;
/// A peer that does not take or give a line for this long is stuck (stopped, for example).
const PATIENCE_MS: u64 = 200;
/// Names tried for the private directory before giving up.
const NAMES_TRIED_MAX: u32 = 16;
/// A directory that was made or changed not longer ago than this is nobody's leftover.
const LEFT_ALONE: Duration = Duration::from_secs(60);
/// A socket's path may not be longer than this on any system we know.
const SOCKET_PATH_BYTES_MAX: usize = 100;

/// What the launcher tells rank 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// End the cluster.
    Leave,
    /// Ctrl-C was pressed, where the kernel could not tell rank 0 itself.
    Interrupt,
    /// The terminal has another size.
    Window,
}

/// What rank 0 says to the launcher.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// These are the ranks' processes.
    Pids(Vec<u32>),
    /// Rank 0 leaves with this code, and has put the screen in order.
    Exit(u8),
    /// Rank 0 leaves with this code, in the middle of whatever is on the screen.
    BreakOff(u8),
}

impl Told {
    fn line(self) -> &'static str {
        match self {
            Self::Leave => "leave\n",
            Self::Interrupt => "interrupt\n",
            Self::Window => "window\n",
        }
    }

    fn parse(line: &str) -> Option<Self> {
        [Self::Leave, Self::Interrupt, Self::Window].into_iter().find(|told| told.line().trim_end() == line)
    }
}

impl Said {
    fn line(&self) -> String {
        match self {
            Self::Pids(pids) => {
                let pids: Vec<String> = pids.iter().map(u32::to_string).collect();
                format!("pids {}\n", pids.join(" "))
            }
            Self::Exit(code) => format!("exit {code}\n"),
            Self::BreakOff(code) => format!("break-off {code}\n"),
        }
    }

    fn parse(line: &str) -> Option<Self> {
        let (word, rest) = line.split_once(' ')?;
        match word {
            "pids" => rest.split_whitespace().map(|pid| pid.parse().ok()).collect::<Option<_>>().map(Self::Pids),
            "exit" => rest.parse().ok().map(Self::Exit),
            "break-off" => rest.parse().ok().map(Self::BreakOff),
            _ => None,
        }
    }
}

/// Tells rank 0 something. It not hearing is noticed elsewhere: its socket closes.
pub fn tell(mut stream: &UnixStream, told: Told) {
    let _ = stream.write_all(told.line().as_bytes());
}

/// Says something to the launcher; as [`tell`].
pub fn say(mut stream: &UnixStream, said: &Said) {
    let _ = stream.write_all(said.line().as_bytes());
}

/// Calls `each` for everything the launcher tells, until the socket closes.
pub fn listen_to_launcher(stream: UnixStream, each: impl FnMut(Told)) {
    read_lines(stream, Told::parse, each);
}

/// Calls `each` for everything rank 0 says, until the socket closes.
pub fn listen_to_rank_zero(stream: UnixStream, each: impl FnMut(Said)) {
    read_lines(stream, Said::parse, each);
}

fn read_lines<T>(stream: UnixStream, parse: impl Fn(&str) -> Option<T>, mut each: impl FnMut(T)) {
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = String::new();
        match reader.by_ref().take(LINE_BYTES_MAX).read_line(&mut line) {
            Ok(0) => return,
            Ok(_) => parse(line.trim_end()).map_or((), &mut each),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

/// Bounds how long a write to a stuck peer may take.
///
/// # Errors
/// When the system refuses.
pub fn bound_writes(stream: &UnixStream) -> io::Result<()> {
    stream.set_write_timeout(Some(Duration::from_millis(PATIENCE_MS)))
}

/// Sends descriptors 0, 1 and 2 of this process.
///
/// # Errors
/// When the peer is gone.
pub fn send_descriptors(stream: &UnixStream) -> io::Result<()> {
    let (stdin, stdout, stderr) = (io::stdin(), io::stdout(), io::stderr());
    let descriptors: [BorrowedFd<'_>; DESCRIPTORS] = [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    // Cannot be full: it was measured for exactly this message.
    let fits = ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
    debug_assert!(fits, "the buffer was sized for three descriptors");
    sendmsg(stream, &[IoSlice::new(b"d")], &mut ancillary, SendFlags::empty())?;
    Ok(())
}

/// Receives the launcher's descriptors 0, 1 and 2.
///
/// # Errors
/// When the launcher is gone, or sends something else.
pub fn receive_descriptors(stream: &UnixStream) -> io::Result<[OwnedFd; DESCRIPTORS]> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0; 1];
    let received = loop {
        let mut into = [IoSliceMut::new(&mut byte)];
        match recvmsg(stream, &mut into, &mut ancillary, RecvFlags::CMSG_CLOEXEC) {
            Err(rustix::io::Errno::INTR) => {}
            other => break other?,
        }
    };
    let descriptors: Vec<OwnedFd> = ancillary
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
            _ => None,
        })
        .flatten()
        .collect();
    descriptors.try_into().map_err(|got: Vec<OwnedFd>| {
        let reason = if received.bytes == 0 { "the launcher is gone".into() } else { format!("{} came", got.len()) };
        io::Error::new(io::ErrorKind::InvalidData, format!("expected {DESCRIPTORS} descriptors: {reason}"))
    })
}

/// A directory that only this user can enter, removed with everything in it when dropped.
///
/// It holds the socket, and what MPI keeps in files while it runs: an mpirun that is killed leaves these behind. When
/// everybody is killed at once nobody is left to remove it; the next one that is made beside it does (its maker holds a
/// lock on it, as long as it lives).
#[derive(Debug)]
pub struct PrivateDir {
    path: PathBuf,
    _lock: Option<File>,
}

impl PrivateDir {
    /// Makes one in the system's temporary directory.
    ///
    /// # Errors
    /// When that cannot be written.
    pub fn create() -> io::Result<Self> {
        let preferred = std::env::temp_dir();
        let short_enough = preferred.as_os_str().len() + "/understudy-4294967295-123456789/lifeline".len();
        Self::create_in(if short_enough <= SOCKET_PATH_BYTES_MAX { &preferred } else { Path::new("/tmp") })
    }

    /// Makes one in `parent`.
    ///
    /// # Errors
    /// When that cannot be written.
    pub fn create_in(parent: &Path) -> io::Result<Self> {
        let mut tries = 0;
        loop {
            let nanoseconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.subsec_nanos());
            let path = parent.join(format!("understudy-{}-{nanoseconds}", std::process::id()));
            // Not recursive: it must not exist, else somebody else may own it.
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => {
                    let lock = File::open(&path).ok().filter(|dir| dir.try_lock().is_ok());
                    sweep(parent);
                    return Ok(Self { path, _lock: lock });
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && tries < NAMES_TRIED_MAX => tries += 1,
                Err(error) => {
                    let text =
                        format!("cannot create {}: {error}; set TMPDIR to a place that can be written", path.display());
                    return Err(io::Error::new(error.kind(), text));
                }
            }
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes over one that another process has made and named, to remove it. `None` if it is not of our making.
    #[must_use]
    pub fn adopt(path: &Path) -> Option<Self> {
        let is_ours = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"understudy-"));
        is_ours.then(|| Self { path: path.to_owned(), _lock: None })
    }

    /// Where the socket is to be.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.path.join("lifeline")
    }
}

/// Removes what others of this user, who were killed, have left here.
fn sweep(parent: &Path) {
    let entries = std::fs::read_dir(parent).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| is_name_of_one(&entry.file_name())) {
        let (path, data) = (entry.path(), entry.metadata());
        let is_old = data.is_ok_and(|data| {
            let age = data.modified().ok().and_then(|then| then.elapsed().ok());
            data.is_dir() && data.uid() == getuid().as_raw() && age.is_some_and(|age| age > LEFT_ALONE)
        });
        if is_old && File::open(&path).is_ok_and(|dir| dir.try_lock().is_ok()) {
            let _ = std::fs::remove_dir_all(path);
        }
    }
}

/// `understudy-4711-123456789`: the maker's pid, and nanoseconds.
fn is_name_of_one(name: &OsStr) -> bool {
    let numbers = name.to_str().and_then(|name| name.strip_prefix("understudy-")?.split_once('-'));
    numbers.is_some_and(|(pid, nanoseconds)| pid.parse::<u32>().is_ok() && nanoseconds.parse::<u32>().is_ok())
}

impl Drop for PrivateDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_survives_the_line() {
        for told in [Told::Leave, Told::Interrupt, Told::Window] {
            assert_eq!(Told::parse(told.line().trim_end()), Some(told));
        }
        for said in [Said::Pids(vec![1, 4711]), Said::Pids(Vec::new()), Said::Exit(255), Said::BreakOff(0)] {
            assert_eq!(Said::parse(said.line().trim_end_matches('\n')), Some(said));
        }
        assert_eq!(Said::parse("exit 256"), None);
        assert_eq!(Said::parse("nonsense"), None);
    }

    #[test]
    fn descriptors_travel_before_the_first_line() {
        let (here, there) = UnixStream::pair().expect("a pair");
        send_descriptors(&here).expect("both ends live");
        tell(&here, Told::Window);
        drop(here);
        assert_eq!(receive_descriptors(&there).expect("sent").len(), DESCRIPTORS);
        let mut heard = Vec::new();
        listen_to_launcher(there, |told| heard.push(told));
        assert_eq!(heard, [Told::Window]);
    }

    #[test]
    fn a_launcher_that_is_gone_is_an_error() {
        let (here, there) = UnixStream::pair().expect("a pair");
        drop(here);
        assert!(receive_descriptors(&there).is_err());
    }

    #[test]
    fn what_the_killed_have_left_goes_with_the_next_one() {
        let parent = PrivateDir::create().expect("a temporary directory");
        let make = |name: &str, age: Duration| {
            let path = parent.path().join(name);
            std::fs::create_dir(&path).expect("ours");
            let dir = File::open(&path).expect("ours");
            dir.set_modified(SystemTime::now() - age).expect("ours");
            (path, dir)
        };
        let (left, _) = make("understudy-1-2", LEFT_ALONE * 2);
        let (fresh, _) = make("understudy-1-3", LEFT_ALONE / 2);
        let (other, _) = make("understudy-job-1-4", LEFT_ALONE * 2);
        let (held, dir) = make("understudy-1-5", LEFT_ALONE * 2);
        dir.lock().expect("nobody else holds it");
        let mine = PrivateDir::create_in(parent.path()).expect("ours");
        assert!(!left.exists(), "its maker is dead");
        assert!(fresh.exists() && other.exists() && held.exists() && mine.path().exists());
    }

    #[test]
    fn a_private_directory_goes_with_its_owner() {
        let dir = PrivateDir::create().expect("a temporary directory");
        let path = dir.path().to_owned();
        std::fs::write(dir.socket(), "x").expect("ours");
        drop(dir);
        assert!(!path.exists());
    }
}
