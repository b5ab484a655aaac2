//! Files of the server's own format.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| keystead::fuzzing::snapshot(bytes));
