//! Values in the server's own format: read, written, and read again.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| keystead::fuzzing::payload(bytes));
