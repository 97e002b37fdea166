//! Five exercises, with model answers.
//!
//! All of them need nothing but the simulator: a laptop without MPI will do. `understudy fuzz` runs the protocol
//! under random faults, seed by seed, until a property is violated. Then it makes the run small and shows its last
//! lines: `n1@2` is rank 1 in view 2, `→` a message that leaves, `⇥` one that is lost, `⇨` a change of role.
//!
//! # 1. Asked once, counted twice
//!
//! ```sh
//! understudy fuzz --seeds 0..30 --without sessions
//! # → violates exactly_once
//! ```
//!
//! Find the two lines in which the same request is applied. Who asked, for what, and why did it ask again? Which
//! messages would have to be lost for that to happen without any crash?
//!
//! *Model answer.* Seed 0 is violated by request `c0#4`, the fourth of client 0, an APPEND: a server applies it as op
//! 4 and the new primary again as op 5. The old primary had handed it on, and fell silent before it answered, so the
//! client asked the new primary, which without the table of clients takes it for a new request. Without a crash it is
//! enough that the answer is lost: the client cannot tell a lost request from a lost answer.
//!
//! # 2. One copy is no copy
//!
//! ```sh
//! understudy fuzz --seeds 0..30 --without wait-for-all
//! # → violates durability
//! ```
//!
//! The last line says with which op a server answers, and which op was acknowledged. What happened to the writes
//! between them? Would it help to wait for one backup of two instead of both?
//!
//! *Model answer.* The primary answered them before the backup had them, and then lost its memory or its place: the
//! new primary begins at what it has. To wait for one of two helps against one crash only if the new primary is
//! chosen to be the one that has most, as Raft does with its elections. Here any member of the view may take over, so
//! each must have everything.
//!
//! # 3. How good must clocks be?
//!
//! ```sh
//! understudy fuzz --seeds 0..60 --clocks 3
//! # → violates one_server
//! ```
//!
//! No rule is off. A lease lasts 40 ms, and a backup takes over after 50 ms of silence; `--clocks R` lets the rates
//! of two clocks differ by up to the factor R. Which R does the arithmetic allow? Try it. Which of the two clocks has
//! to be the fast one for something to go wrong?
//!
//! ```sh
//! understudy fuzz --seeds 0..60 --clocks 1.2
//! # → all clean
//! ```
//!
//! *Model answer.* The lease is measured by the primary's clock, the silence by the backup's. The backup's 50 ms must
//! not be over before the primary's 40 ms are: 50 / 40 = 1.25. So 1.2 is promised. It goes wrong when the backup's
//! clock is fast and the primary's slow: then two servers answer reads, and the old one's are stale. Note that clocks
//! need not show the same time, only run at nearly the same rate.
//!
//! # 4. The write that nobody knew to be committed
//!
//! ```sh
//! understudy fuzz --seeds 3..60 --without tail
//! # → violates exactly_once
//! ```
//!
//! Without this rule a new primary throws away what it does not know to be committed. One would expect a lost write,
//! and seed 2 shows one. Why does seed 3 show a request that takes effect *twice*?
//!
//! *Model answer.* The servers no longer agree. One has carried the request out, the new primary has thrown it away,
//! and the client, which was not answered or asks again, is served anew: the first server then has it under two op
//! numbers. A lost write is the same mistake seen from the client's side; the scene `tail` shows that one.
//!
//! # 5. Write a scene
//!
//! Ask a question of your own and prove the answer: for example, how many crashes two servers survive if the second
//! comes only after the first one has joined again. The format stands in [`crate::ui::tour`].
//!
//! *Model answer.*
//!
//! ```text
//! title One crash after the other: how many does it survive?
//!
//! [ask]
//! Two servers lose their memory by turns, each a second after the other has come back. When is the data gone?
//! - After the second crash: then both have lost it once.
//! * Never.
//!
//! [setup]
//! --servers 2 --recover-after 0.2
//! PUT color red
//!
//! [do]
//! CRASH primary
//! SLEEP 1
//! CRASH primary
//! SLEEP 1
//! CRASH primary
//! SLEEP 1
//! GET color
//! → red
//!
//! [see]
//! say Each came back empty, got everything from the other, and could be relied upon again.
//! verdict linearizable: 2 operations, 0 unknown, 3 failovers
//! event joining → backup
//! event joining → backup
//!
//! [why]
//! A server that comes back is a stranger until it has the whole state. From then on there are two copies again, and
//! one of them may go.
//! ```
//!
//! ```sh
//! understudy tour --check mine.txt
//! # → passed      mine  One crash after the other
//! ```
