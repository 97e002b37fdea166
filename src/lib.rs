//! Understudy: a replicated key-value store on MPI that can be broken on purpose and watched as it survives.
//!
//! ```text
//!             console (prompt, keys)           dashboard (panels)              sim (fuzz, replay)
//!                    │ commands                     ▲ events                       │
//!                    ▼                              │                              ▼
//!             ┌─────────────────────── driver: one loop per rank ──────────────────────────┐
//!             │  receive → protocol.handle(now, message) → drain what it wants → send      │
//!             └──────┬──────────────────────────────┬─────────────────────────────┬────────┘
//!                    ▼                              ▼                             ▼
//!               protocol (pure)                fault (pure)                 transport (I/O)
//!         client · metadata · server       dice, network faults           frames over MPI
//!                    ▼
//!                store (pure)   commands, values, client table, snapshots
//! ```
//!
//! Arrows point to what is imported. The protocol is a plain value: messages and time go in, messages and
//! events come out. So the same code runs over MPI and in a simulator that decides everything from one seed.
//!
//! # What to read, in which order
//!
//! 1. [`store`] — the replicated state machine, and why a repeated request has one effect.
//! 2. [`protocol`] — views, leases, and why nothing acknowledged is lost; then [`protocol::server`], a file a role.
//! 3. [`sim`] and [`sim::invariants`] — what must always hold, and how it is checked.
//! 4. [`driver`] and [`transport`] — how a rank's loop turns, sleeps and is woken.
//! 5. [`console`] and [`dashboard`] — one table of commands, one of keys; a model folded from events, a pure view.
//! 6. [`launch`] — how mpirun is started around this very binary, and why the terminal is whole afterwards.
//!
//! # How one PUT travels
//!
//! The prompt parses `PUT color red` into a [`store::Command`] and hands it in at the [`driver::Desk`]. Rank 0's
//! loop gives it to the [`protocol::Client`], which numbers it and sends a `Request` to the primary. The
//! primary's [`protocol::Server`] gives it a place in the log and sends `Prepare` to every backup; when all have
//! answered `PrepareOk` it commits, applies it to the [`store::Store`], and replies. Messages for one peer that
//! arise in one turn of a loop share MPI messages of some 2 KiB ([`transport::wire`]).
//!
//! # How to add something
//!
//! * a **command**: a row in [`console::commands`], an arm in [`console::Session::perform`]; a new operation on the
//!   store also a variant of [`store::Command`] and its `apply`.
//! * a **fault**: a variant of [`fault::Control`], carried out in [`driver::host`]; the random runs of
//!   [`sim::chaos`] should strike with it too.
//! * a **panel**: a file in [`dashboard::panels`], a rectangle in [`dashboard::layout`].

#![deny(unsafe_code)]
// Some of the prose links to what only a build with MPI has; that one checks all links.
#![cfg_attr(not(feature = "mpi"), allow(rustdoc::broken_intra_doc_links))]

pub mod app;
pub mod args;
pub mod bench;
pub mod check;
pub mod console;
pub mod dashboard;
pub mod driver;
pub mod fault;
pub mod fuzz;
pub mod launch;
pub mod manual;
pub mod protocol;
pub mod sim;
pub mod store;
pub mod transport;
pub mod workload;
