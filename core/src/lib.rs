//! Keystead: Valkey inside your process.

mod clock;
mod config;
mod info;
mod latency;
mod num;
mod pattern;
mod resp;
