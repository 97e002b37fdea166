//! The tour: scenes that ask first, then show, then say why.
//!
//! Students who only watch a demonstration understand no more than those who saw none; who predicts first, does (Crouch
//! and others, American Journal of Physics, 2004). So every scene begins with a question and two to four answers. What
//! happens is hidden until one of them is chosen, and then it happens, on a fresh simulated cluster, always the same
//! way. A scene says what must be seen at its end, and tests play them all: a lecture that does not come out as it says
//! fails there, not in front of a class.
//!
//! | file | what it holds |
//! |---|---|
//! | [`scene`] | a scene in a file, and how it is read |
//! | [`played`] | what became of a scene, and whether it came out as it says |
//! | [`scenes`] | those of this program: ten for a lecture, one for each rule |
//! | [`talk`] | where a lecture is: keys go in, out comes what is to be done |
//! | [`text`] | a scene in plain words, for logs and screen readers |
//!
//! # The format of a scene
//!
//! A text file of sections, in this order; all but `[setup]` and `[notes]` must be there. Lines that begin with `#` and
//! empty lines say nothing.
//!
//! ```text
//! title Dead, or only slow?
//! mpi yes                            or: mpi no, WHY it would prove nothing there
//!
//! [ask]                              a paragraph, then two to four answers; the right one has the star
//! Server 1 has fallen silent. Can server 2 tell whether it is dead or only slow?
//! - Yes: it asks the metadata server.
//! * No.
//!
//! [setup]                            what has happened before the question
//! --servers 2 --pace 20              the cluster; unless said otherwise: --seed 1 --failure-rate 0
//! PUT color blue                     commands, as they are typed            --recover-after never
//!
//! [do]                               what happens after it
//! say The operating system stops server 1.       told to the class before the next command
//! PAUSE 1
//! → OK                               its answer; `→ not X`: anything else; `→ … X`: a later line begins so
//! SLEEP 3                            without any: whatever is no error
//!
//! [see]                              what must have been there to see when all is over
//! say Server 2 has taken over.       told to the class
//! verdict linearizable               what CHECK answers begins so
//! event server 2 suspects server 1   an event says so, after the one named before
//! no event crashed                   none does
//!
//! [why]                              a paragraph
//! Silence is all that it can hear.
//!
//! [notes]                            for the lecturer alone
//! ```
//!
//! Options of the cluster are those of the command line that describe it: `--servers`, `--replicas`, `--clients`,
//! `--pace`, `--seed`, `--failure-rate`, `--recover-after`, `--max-memory`, `--disks`, `--fsync`, `--without`.
//!
//! # Caveats
//!
//! Between two commands virtual time stands, so that what happens depends on the file alone. Over MPI it does not:
//! there a scene shows the same or nothing, and `mpi no` says where even that would be too much.

pub mod played;
pub mod scene;
pub mod scenes;
pub mod talk;
pub mod text;

pub use played::{PlayedScene, PlayedStep, faults};
pub use scene::TourScene;
