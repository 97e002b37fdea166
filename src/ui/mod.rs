//! What a person sees and types.
//!
//! | room | what it holds |
//! |---|---|
//! | [`commands`] | the one table of commands, and how a line becomes an action |
//! | [`console`] | prompt, line mode, keys |
//! | [`stage`] | recordings: freeze, step, back |
//! | [`tour`] | scenes for a class: a question, a guess, what happens, and why |
//! | [`dashboard`] | a model folded from what the cluster tells, a pure view, one file a panel |

pub mod commands;
pub mod console;
pub mod dashboard;
pub mod stage;
pub mod tour;
