//! The clients' history has an order that explains it.

use super::Violation;
use crate::check::{Operation, Verdict, check};

/// Judges a whole history.
///
/// # Errors
/// When there is no order that explains it.
pub fn judge(history: &[Operation]) -> Result<(), Violation> {
    match check(history) {
        Verdict::Ok | Verdict::Unknown => Ok(()),
        Verdict::Failed(contradiction) => Err(Violation::new("linearizable", contradiction.to_string())),
    }
}
