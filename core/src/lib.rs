//! Keystead: Valkey inside your process.

