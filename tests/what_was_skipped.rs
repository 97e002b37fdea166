//! Runs after all other test programs, since cargo runs them by name, and says which tests were skipped and why.

mod support;

use support::skip::{notes, summary};

fn main() {
    print!("\n{}", summary(&notes()));
}
