//! Fuzzes what decodes frames from peers.

#![no_main]

#[path = "../decoders.rs"]
mod decoders;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| decoders::frame(bytes));
