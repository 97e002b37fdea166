//! What `LOAD` answers, read the way a script would read it.

use super::job::Job;
use std::time::{Duration, Instant};

/// The number after this word.
#[track_caller]
pub fn number(line: &str, word: &str) -> u64 {
    let mut words = line.split(' ').skip_while(|other| *other != word);
    words.nth(1).and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("no {word} in {line:?}"))
}

/// Waits until this many more operations were answered, and gives the answer that says so.
#[track_caller]
pub fn wait_progress(job: &mut Job, patience: Duration, operations: u64) -> String {
    let from = number(&job.ask("LOAD"), "operations");
    let begun = Instant::now();
    loop {
        let line = job.ask("LOAD");
        if number(&line, "operations") >= from + operations {
            return line;
        }
        if begun.elapsed() > patience {
            job.fail(&format!("no {operations} operations more: {line}"));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
