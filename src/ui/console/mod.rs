//! The console: what a person types and presses, and what comes back.
//!
//! A line of input becomes a [`CommandLine`](crate::ui::commands::CommandLine), a key press becomes the very same
//! [`Action`](crate::ui::commands::Action), a [`ConsoleSession`] carries it out at the cluster's
//! [`Desk`](crate::cluster::Desk), and an [`Answer`] says what became of it. How an
//! answer looks is decided last: with types on the prompt, raw in line mode.
//!
//! | file | what it holds |
//! |---|---|
//! | [`knowledge`] | what the console has to know of the cluster to be helpful |
//! | [`session`] | carries an action out |
//! | [`answer`] | what comes back, and its two ways of being written |
//! | [`assist`] | completion, hints and highlighting as plain functions |
//! | [`prompt`] | the interactive prompt at the foot of the dashboard |
//! | `bindings` | what keys do there |
//! | [`private`] | the terminal that the line editor believes to sit at |
//! | [`sieve`] | what of the terminal's words are keys |
//! | [`foot`] | the rows below the dashboard: what is printed, and the row that is edited |
//! | [`row`] | that row: as much of a line as fits, around the cursor |
//! | [`mod@ascii`] | the console's own words in ASCII |
//! | [`line_mode`] | one command a line in, one answer a line out, for scripts and pipes |
//!
//! # Caveats
//!
//! The prompt reads the terminal through rustyline, so a line that is *typed* is text; a line that is
//! piped into line mode may hold any bytes. Both may name any byte by an escape such as `"\xff"`.

pub mod answer;
pub mod ascii;
pub mod assist;
mod bindings;
pub mod foot;
pub mod knowledge;
pub mod line_mode;
pub mod private;
pub mod prompt;
pub mod row;
pub mod session;
pub mod sieve;

pub use answer::Answer;
pub use knowledge::{Knowledge, Picture, ServerPicture};
pub use line_mode::{run_commands, run_lines};
pub use prompt::{Pager, PrintHandle, PromptConfig, Stagehand, run_prompt};
pub use session::{ConsoleSession, Resolved, Standpoint, TourGuide};

/// How a console ends: the exit status of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitStatus {
    /// All went well (also: an answer was `(unknown)`, or the reader of our output went away).
    Success,
    /// At least one command was answered `(error)`.
    AnsweredError,
}

impl From<ExitStatus> for std::process::ExitCode {
    fn from(status: ExitStatus) -> Self {
        match status {
            ExitStatus::Success => Self::SUCCESS,
            ExitStatus::AnsweredError => Self::FAILURE,
        }
    }
}
