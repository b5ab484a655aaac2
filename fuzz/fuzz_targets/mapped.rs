//! Mapped snapshots.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| keystead::fuzzing::mapped(bytes));
