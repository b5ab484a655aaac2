//! Requests and replies: whole, in pieces, and written again.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| keystead::fuzzing::protocol(bytes));
