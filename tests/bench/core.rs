//! Micro-benchmarks of the core: what one step costs without MPI. `cargo bench` runs them in a minute.
//!
//! The first place to look when `understudy bench` became slower: the protocol's step, the store, the wire
//! format, and one frame of the dashboard.

mod frame;
mod protocol;
mod store;
mod wire;

fn main() {
    divan::main();
}
