//! Edits of a counted B+ tree and of copies that share its memory, beside sorted vectors, with memory refused.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: keystead::fuzzing::Tree| input.run());
