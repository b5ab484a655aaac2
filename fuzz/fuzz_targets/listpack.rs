//! Edits of a listpack, beside a vector, and bytes from anywhere read as one.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: keystead::fuzzing::Listpack| input.run());
