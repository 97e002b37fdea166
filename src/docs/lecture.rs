//! A lecture of twenty minutes.
//!
//! Students who only watch a demonstration understand no more than those who saw none; those who predict first do. So
//! the class is asked before anything happens, raises hands, and then sees. Ten questions, two minutes each.
//!
//! # Before the lecture
//!
//! ```sh
//! understudy tour --check
//! # → passed      who-has-it
//! # → passed      all-empty
//! ```
//!
//! Everything must have passed: the scenes run in a simulator and come out the same way on every machine, so a
//! lecture that passes here passes in front of the class. Then, in the terminal that the class will see, and in
//! another one that it will not see:
//!
//! ```sh
//! understudy --present tour
//! understudy notes
//! ```
//!
//! `--present` shows big numbers for view, primary and failover, and fewer panels; leave it out if the class sits
//! close to the screen, where the cards and the messages that fly between them tell more. `--theme light` is for
//! bright rooms (`understudy --theme light tour`), `--theme mono --ascii` for terminals that know neither colours nor
//! lines: no state is told by colour alone. `notes` shows the question, what is right, the next key, what to say and
//! the time that was spent, on your own screen: any terminal of the same user will do.
//!
//! # Each scene
//!
//! 1. **Ask.** Read the question out. Let every student choose before anybody speaks; then hands. Type `HANDS 3 12 5`
//!    if you want the numbers beside the truth afterwards.
//! 2. **Guess.** Press the number that most chose. Until then nothing happens, and the keys that break something
//!    sleep: a presenter's clicker may send what it likes.
//! 3. **See.** PgDn (the clicker's "next") carries out one command. The key bar says which. Stop where something
//!    surprises: **F2** freezes, **→** and **←** step through the messages, Esc goes on.
//! 4. **Why.** After the last command PgDn shows what is right, how the class did, and why. Ask the class first.
//!
//! PgUp begins the scene anew, `b` blanks the screen while you talk, Esc ends the tour. Any command can be typed
//! meanwhile: it is the scene's cluster that answers. `TOUR 7` goes to a scene at once.
//!
//! # Minute by minute
//!
//! | minute | scene | what it is about |
//! |---|---|---|
//! | 0 | 1 `who-has-it` | a write waits for every backup |
//! | 2 | 2 `four-deaths` | repeated requests, and the table of clients |
//! | 5 | 3 `dead-or-slow` | no failure detector is always right; leases and views make that harmless |
//! | 8 | 4 `cut-link` | a third decides; views are numbered |
//! | 10 | 5 `two-rulers` | what a lease is for; consistency or availability |
//! | 12 | 6 `after-ok` | the tail of the log |
//! | 14 | 7 `bad-line` | exactly once is a property of both ends |
//! | 16 | 8 `late-letter` | fencing |
//! | 18 | 9 `quick-restart` | incarnations |
//! | 19 | 10 `all-empty` | what cannot be promised, and saying so |
//!
//! With ten minutes take 1, 3, 5 and 10. With more time show, after 2, 5, 6, 8 and 9, the scene of the rule that was
//! at work, in which it is switched off: `TOUR sessions`, `TOUR lease`, `TOUR tail`, `TOUR fencing`, `TOUR
//! incarnation`.
//!
//! # For those who cannot see the screen
//!
//! ```sh
//! understudy tour --plain 3
//! # → Scene 3 of 10: Dead, or only slow: can the backup tell?
//! # → Right: 3. No. And it need not.
//! ```
//!
//! tells a scene in plain lines without colours, boxes or animation, and waits for a guess where somebody can type
//! one.
