//! Keystead: Valkey inside your process.

mod num;
mod pattern;
mod resp;
