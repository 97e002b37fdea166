//! Fuzzes what decodes lines from a person or a script.

#![no_main]

#[path = "../decoders.rs"]
mod decoders;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| decoders::console(bytes));
