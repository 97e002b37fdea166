//! Who asks when nothing is wrong has an answer: an outcome is unknown only where a fault explains it.

use super::Violation;
use crate::core::protocol::Time;
use crate::sim::World;
use std::time::Duration;

/// A request that was still waiting when the cluster was whole again is answered within this.
const ANSWER_MAX: Duration = Duration::from_secs(1);

/// Looks at what clients gave up; the cluster has been whole, and no message was astray, since `whole`.
///
/// # Errors
/// When a request waited in vain although nothing was wrong.
pub fn judge(world: &World, whole: Time) -> Result<(), Violation> {
    let since = whole.max(world.network().strays_until());
    match world.given_up().iter().find(|(.., at)| *at > since + ANSWER_MAX) {
        None => Ok(()),
        Some((rank, seq, at)) => {
            let what = format!("client {rank} gave up on request {seq} at {at}, nothing was wrong since {since}");
            Err(Violation::new("answered", what))
        }
    }
}
