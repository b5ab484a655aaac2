//! Integration tests that the sanitizers are to see, as a part of the library's own: so its instrumented code is built once, not twice.

#[path = "../tests/blocking.rs"]
mod blocking;
#[path = "../tests/journal.rs"]
mod journal;
#[path = "../tests/threads.rs"]
mod threads;
