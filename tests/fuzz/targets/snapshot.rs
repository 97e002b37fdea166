//! Fuzzes what decodes snapshots from a primary.

#![no_main]

#[path = "../decoders.rs"]
mod decoders;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| decoders::snapshot(bytes));
