//! Edits of a packed set of integers, beside a `BTreeSet`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: keystead::fuzzing::Intset| input.run());
