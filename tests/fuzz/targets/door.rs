//! Fuzzes what reads the requests of the door's clients.

#![no_main]

#[path = "../decoders.rs"]
mod decoders;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| decoders::door(bytes));
