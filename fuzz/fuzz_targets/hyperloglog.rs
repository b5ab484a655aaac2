//! HyperLogLog strings, and strings that are none, beside plain registers.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: keystead::fuzzing::HyperLogLog| input.run());
