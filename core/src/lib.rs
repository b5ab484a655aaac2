//! Keystead: Valkey inside your process.

mod config;
mod num;
mod pattern;
mod resp;
