//! Understudy: a replicated key-value store on MPI that can be broken on purpose and watched as it survives.
//!
//! ```text
//! main        puts the parts together (app)
//!   ┌───────────┬─────────────┬────────────┐
//! tools       launch          ui           │      bench, fuzz, log · arguments, mpirun · commands, prompt, dashboard
//!   └─────┬─────┴─────────────┤            │
//!        mpi                 sim           │      the cluster over MPI · the cluster on virtual time
//!         └─────────┬─────────┴────────────┤
//!                cluster                 check    what can be asked of a cluster, what it tells · judges
//!                   └─────────┬────────────┘
//!                           core                  values only: store, protocol, fault, load, node
//! ```
//!
//! Imports point downwards only; a test says so, without exemptions. The core is a plain value: messages and time go
//! in, messages and events come out. So the same code runs over MPI and in a simulator that decides everything from
//! one seed.
//!
//! # What to read, in which order
//!
//! 1. [`core::store`] — the replicated state machine, and why a repeated request has one effect.
//! 2. [`core::protocol`] — views, leases, and why nothing acknowledged is lost; then [`core::protocol::server`], a file
//!    a role. [`core::fault`] and [`core::load`] are what happens to it, [`core::node`] is a rank that it happens to.
//! 3. [`sim`] and [`sim::invariants`] — what must always hold, and how it is checked; [`check`] — who judges histories.
//! 4. [`mpi`] and [`mpi::transport`] — how a rank's loop turns, sleeps and is woken.
//! 5. [`cluster`] — what can be asked of rank 0, and the one stream of what it tells.
//! 6. [`ui::commands`], [`ui::console`] and [`ui::dashboard`] — one table of commands, one of keys; a model folded from
//!    that stream, a pure view; [`ui::stage`] — the stream recorded, and gone through step by step.
//! 7. [`launch`] — arguments; how mpirun is started around this very binary, and why the terminal is whole afterwards.
//! 8. [`core::disk`] and [`disk`] — what is on a disk, and which of it is to be believed.
//! 9. [`docs`] — for those who teach with this program, and their students; [`ui::tour`], the scenes of a lecture.
//! 10. [`tools`] — the benchmark, the fuzzer and the reader of logs; [`app`] — which thread of which rank runs what.
//!
//! # How one PUT travels
//!
//! The prompt parses `PUT color red` into a [`core::store::Command`] and hands it in at the [`cluster::Desk`]. Rank 0's
//! loop gives it to the [`core::protocol::Client`], which numbers it and sends a `Request` to the primary. The
//! primary's [`core::protocol::Server`] gives it a place in the log and sends `Prepare` to every backup; when all have
//! answered `PrepareOk` it commits, applies it to the [`core::store::Store`], and replies. Messages for one peer that
//! arise in one turn of a loop share MPI messages of some 2 KiB ([`mpi::transport::wire`]).
//!
//! # How to add something
//!
//! * a **command**: a row in [`ui::commands::table`], an arm in [`ui::console::ConsoleSession::perform`]; a new
//!   operation on the store also a variant of [`core::store::Command`] and its `apply`.
//! * a **fault**: a variant of [`core::fault::Control`], carried out in [`core::node::host`]; the random runs of
//!   [`sim::chaos`] should strike with it too.
//! * a **panel**: a file in [`ui::dashboard::panels`], a rectangle in [`ui::dashboard::layout`].

#![deny(unsafe_code)]
#![warn(unreachable_pub)]
// Some of the prose links to what only a build with MPI has; that one checks all links.
#![cfg_attr(not(feature = "mpi"), allow(rustdoc::broken_intra_doc_links))]

pub mod app;
pub mod check;
pub mod cluster;
pub mod core;
pub mod disk;
pub mod docs;
pub mod door;
pub mod launch;
pub mod mpi;
pub mod sim;
pub mod tools;
pub mod ui;
