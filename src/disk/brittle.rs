//! A disk that fails as a test wants it.
//!
//! Where `--brittle-disks` was given (no option for people), a file `fault` in the folder of a log says in a word what
//! the system answers from then on. So a test over MPI has a disk that is full, read-only, unable to sync, or hanging,
//! at the moment it chooses, on a machine whose disks are well.

use crate::core::disk::Step;
use rustix::io::Errno;
use std::fs;
use std::io;
use std::path::Path;
use std::thread;
use std::time::Duration;

/// The file that says how the disk fails.
pub const FAULT: &str = "fault";
/// A disk that hangs is looked at again this often: it hangs until the file is gone.
const AGAIN: Duration = Duration::from_millis(5);

/// What this step meets: `full`, `read-only`, `fsync` or `hang`.
///
/// # Errors
/// What the system would say.
pub(super) fn meet(folder: &Path, step: &Step) -> io::Result<()> {
    loop {
        let Ok(fault) = fs::read_to_string(folder.join(FAULT)) else { return Ok(()) };
        let error = match (fault.trim(), step) {
            ("full", Step::Write { .. } | Step::Create { .. }) => Errno::NOSPC,
            ("read-only", Step::Write { .. } | Step::Create { .. } | Step::Cut { .. } | Step::Remove { .. }) => {
                Errno::ROFS
            }
            ("fsync", Step::Sync { .. } | Step::Create { .. } | Step::Cut { .. }) => Errno::IO,
            ("hang", _) => {
                thread::sleep(AGAIN);
                continue;
            }
            _ => return Ok(()),
        };
        return Err(error.into());
    }
}
