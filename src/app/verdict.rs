//! Was it correct so far? Between the client operations that come in as news, and those who ask.

use crate::args::Args;
use crate::check::{Judgement, Witness};
use crate::dashboard::model::Verdict;
use crate::driver::News;
use crate::workload::KEY_PREFIX;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The session's witness, shared by the loop and the console.
#[derive(Clone, Default)]
pub(super) struct Court {
    witness: Arc<Mutex<Witness>>,
    /// The operations of the load are news as well.
    sees_load: bool,
}

/// What there is to tell after some news.
#[derive(Default)]
pub(super) struct Told {
    pub verdict: Option<Verdict>,
    /// The history cannot be written any more.
    pub trouble: Option<String>,
}

impl Court {
    /// With the file of `--history`, if one is wanted.
    pub(super) fn open(args: &Args) -> Result<Self, String> {
        let Some(path) = &args.history else { return Ok(Self { sees_load: args.sim, ..Self::default() }) };
        let witness = Witness::writing(path)
            .map_err(|error| format!("the history {} cannot be made: {error}", path.display()))?;
        Ok(Self { witness: Arc::new(Mutex::new(witness)), sees_load: true })
    }

    fn lock(&self) -> MutexGuard<'_, Witness> {
        self.witness.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes notice of what clients have finished.
    pub(super) fn hear(&self, news: &News) -> Told {
        match news {
            News::Finished { client, completions, running_since } => {
                let mut witness = self.lock();
                let written = witness.finished(*client, completions.iter().cloned(), *running_since);
                Told { verdict: Some(verdict(&witness.standing())), trouble: written.err() }
            }
            // These operations are not news unless somebody wants the history.
            News::Load(report) if !self.sees_load && report.workload.is_some() => {
                self.lock().ignore(KEY_PREFIX.as_bytes());
                Told::default()
            }
            // Reports come often enough for whoever follows the file.
            News::Observation(_) => Told { trouble: self.lock().flush().err(), ..Told::default() },
            _ => Told::default(),
        }
    }

    /// The end of the session.
    pub(super) fn close(&self) {
        if let Err(trouble) = self.lock().flush() {
            eprintln!("understudy: {trouble}");
        }
    }

    /// What `CHECK` answers.
    ///
    /// # Errors
    /// The contradiction that was found.
    pub(super) fn check(&self, failovers: u64) -> Result<String, String> {
        // Judged without the lock: the loop must not wait.
        let brief = self.lock().brief();
        let failovers = count(failovers, "failover");
        match brief.judge() {
            Judgement::Linearizable { operations, unknown } => Ok(format!(
                "linearizable: {}, {} unknown, {failovers}",
                count(operations, "operation"),
                spaced(unknown)
            )),
            Judgement::Partly { operations, skipped } => Ok(format!(
                "no contradiction: {} judged, {} could not be, {failovers}",
                count(operations, "operation"),
                spaced(skipped)
            )),
            Judgement::Failed(contradiction) => Err(format!("not linearizable, {failovers}: {contradiction}")),
        }
    }
}

fn verdict(judgement: &Judgement) -> Verdict {
    match judgement {
        Judgement::Linearizable { operations, .. } => Verdict::Linearizable { operations: *operations },
        Judgement::Partly { operations, skipped } => Verdict::Partly { operations: *operations, skipped: *skipped },
        Judgement::Failed(_) => Verdict::Broken,
    }
}

/// `1 operation`, `1 234 operations`.
fn count(number: u64, what: &str) -> String {
    format!("{} {what}{}", spaced(number), if number == 1 { "" } else { "s" })
}

/// `1 234 567`.
fn spaced(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_to_be_read() {
        assert_eq!([0, 12, 123, 1_234, 1_234_567].map(spaced), ["0", "12", "123", "1 234", "1 234 567"]);
        assert_eq!(count(1, "operation"), "1 operation");
    }
}
