//! Was it correct so far? Between the client operations that come in as news, and those who ask.

use crate::check::{Judgement, Witness};
use crate::cluster::{LiveVerdict, News};
use crate::core::protocol::{Completion, Time, plural};
use crate::core::store::ClientId;
use crate::launch::args::Args;
use crate::ui::dashboard::lock;
use crossbeam_channel::{Receiver, Sender, bounded};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// The session's witness, shared by the loop and the console. It has a thread of its own: judging takes its time, and
/// the loop must not wait for it.
#[derive(Clone)]
pub(super) struct Court {
    witness: Arc<Mutex<Witness>>,
    pieces: Sender<VerdictPiece>,
    /// What there is to tell since the loop last asked.
    told: Arc<Mutex<ToldVerdicts>>,
    /// The history is not whole.
    broken: Arc<AtomicBool>,
    /// What a client has finished is judged before anything else happens.
    at_once: bool,
}

/// Something for the witness's thread.
enum VerdictPiece {
    /// Another history: what came before counts no more.
    Anew,
    Finished {
        client: ClientId,
        completions: Vec<Completion>,
        running_since: Time,
    },
    /// Whoever follows the file wants to see what there is.
    Flush,
    /// Answered when all that came before has been judged.
    Sync(Sender<()>),
}

/// What there is to tell.
#[derive(Default)]
struct ToldVerdicts {
    verdict: Option<LiveVerdict>,
    /// The history cannot be written any more.
    trouble: Option<String>,
}

/// At most this many pieces wait; then the loop waits, so that no operation is lost.
const PIECES_MAX: usize = 4_096;
/// Judging what waits takes at most so long.
const SYNC_MAX: Duration = Duration::from_secs(20);

impl Court {
    /// With the file of `--history`, if one is wanted.
    pub(super) fn open(args: &Args) -> Result<Self, String> {
        let witness = match &args.history {
            None => Witness::default(),
            Some(path) => Witness::writing(path)
                .map_err(|error| format!("the history {} cannot be made: {error}", path.display()))?,
        };
        let (witness, told) = (Arc::new(Mutex::new(witness)), Arc::new(Mutex::new(ToldVerdicts::default())));
        let (pieces, waiting) = bounded(PIECES_MAX);
        let broken = Arc::new(AtomicBool::new(false));
        let (judged, telling, breaking) = (Arc::clone(&witness), Arc::clone(&told), Arc::clone(&broken));
        thread::Builder::new()
            .name("witness".into())
            .spawn(move || judge(&judged, &telling, &breaking, &waiting))
            .map_err(|error| format!("no thread for the witness: {error}"))?;
        Ok(Self { witness, pieces, told, broken, at_once: false })
    }

    /// For a simulated cluster: its clock may stand after any answer, and then there is no later moment at which the
    /// verdict on that answer could be told.
    pub(super) fn at_once(self) -> Self {
        Self { at_once: true, ..self }
    }

    /// These clients will tell what they finish: nothing is judged before they have.
    #[cfg(feature = "mpi")]
    pub(super) fn expect(&self, clients: impl Iterator<Item = ClientId>) {
        clients.for_each(|client| lock(&self.witness).expect(client));
    }

    /// Takes out of the news what clients have finished, and says what is new.
    pub(super) fn hear(&self, news: &mut News) -> impl Iterator<Item = News> + use<> {
        let ToldVerdicts { verdict, trouble } = self.told_since(news);
        verdict.map(News::Verdict).into_iter().chain(trouble.map(News::Note))
    }

    fn told_since(&self, news: &mut News) -> ToldVerdicts {
        let piece = match news {
            News::Finished { client, completions, running_since } => {
                let completions = std::mem::take(completions);
                VerdictPiece::Finished { client: *client, completions, running_since: *running_since }
            }
            News::Observation(_) => VerdictPiece::Flush,
            News::Branched { .. } => VerdictPiece::Anew,
            _ => return ToldVerdicts::default(),
        };
        let finished = matches!(piece, VerdictPiece::Finished { .. });
        let _ = self.pieces.send(piece);
        if finished && self.at_once {
            self.sync();
        }
        std::mem::take(&mut *lock(&self.told))
    }

    /// Waits until everything that was heard has been judged.
    fn sync(&self) {
        let (done, synced) = bounded(1);
        if self.pieces.send(VerdictPiece::Sync(done)).is_ok() {
            let _ = synced.recv_timeout(SYNC_MAX);
        }
    }

    /// The end of the session: true when the history is whole. If it is not, and that has not been said yet, `say` is
    /// told.
    pub(super) fn close(&self, say: impl FnOnce(&str)) -> bool {
        self.sync();
        let flushed = lock(&self.witness).flush().err();
        let untold = flushed.or(lock(&self.told).trouble.take());
        if let Some(trouble) = &untold {
            say(trouble);
        }
        untold.is_none() && !self.broken.load(Ordering::SeqCst)
    }

    /// What `CHECK` answers.
    ///
    /// # Errors
    /// The contradiction that was found.
    pub(super) fn check(&self, failovers: u64) -> Result<String, String> {
        self.sync();
        let brief = lock(&self.witness).brief();
        let failovers = count(failovers, "failover");
        match brief.judge() {
            Judgement::Linearizable { operations, unknown, listings } => Ok(format!(
                "linearizable: {}, {} unknown, {failovers}{}",
                count(operations, "operation"),
                spaced(unknown),
                not_judged(listings)
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

/// The witness's thread, until nobody can hand it anything any more.
fn judge(witness: &Mutex<Witness>, told: &Mutex<ToldVerdicts>, broken: &AtomicBool, pieces: &Receiver<VerdictPiece>) {
    for piece in pieces {
        let mut witness = lock(witness);
        let trouble = match piece {
            VerdictPiece::Finished { client, completions, running_since } => {
                let written = witness.finished(client, completions, running_since);
                lock(told).verdict = Some(verdict(&witness.standing()));
                written.err()
            }
            VerdictPiece::Anew => {
                *witness = Witness::default();
                None
            }
            VerdictPiece::Flush => witness.flush().err(),
            VerdictPiece::Sync(done) => {
                let _ = done.send(());
                None
            }
        };
        if trouble.is_some() {
            broken.store(true, Ordering::SeqCst);
            lock(told).trouble = trouble;
        }
    }
}

fn verdict(judgement: &Judgement) -> LiveVerdict {
    match judgement {
        Judgement::Linearizable { operations, .. } => LiveVerdict::Linearizable { operations: *operations },
        Judgement::Partly { operations, skipped } => LiveVerdict::Partly { operations: *operations, skipped: *skipped },
        Judgement::Failed(_) => LiveVerdict::Broken,
    }
}

/// What is added of operations that look at all keys, if there were any.
fn not_judged(listings: u64) -> String {
    match listings {
        0 => String::new(),
        1 => "; 1 that looks at all keys was not judged".to_owned(),
        many => format!("; {} that look at all keys were not judged", spaced(many)),
    }
}

/// `1 operation`, `1 234 operations`.
fn count(number: u64, what: &str) -> String {
    format!("{} {what}{}", spaced(number), plural(number))
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
        assert_eq!(not_judged(0) + &not_judged(2), "; 2 that look at all keys were not judged");
    }
}
