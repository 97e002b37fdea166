//! The ranks' processes, as the operating system sees them.

use rustix::process::{Pid, Signal, kill_process};

/// Sends a signal.
///
/// # Errors
/// When there is no such process, or it may not be signalled.
pub fn signal(pid: u32, signal: Signal) -> rustix::io::Result<()> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(rustix::io::Errno::SRCH)?;
    kill_process(pid, signal)
}

/// How a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProcessState {
    /// It runs, or waits for something.
    Running,
    /// It was stopped (SIGSTOP).
    Stopped,
    /// There is none, or only what its parent has not yet taken notice of.
    Gone,
}

/// How the process with this number is.
#[must_use]
pub fn process_state(pid: u32) -> ProcessState {
    // The state follows the command name, which stands in parentheses and may contain anything.
    let stat = match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => stat,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return ProcessState::Gone,
        Err(_) => return ProcessState::Running,
    };
    match stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next()) {
        Some('T' | 't') => ProcessState::Stopped,
        Some('Z' | 'X') => ProcessState::Gone,
        _ => ProcessState::Running,
    }
}
