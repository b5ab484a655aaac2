//! Keystead: Valkey inside your process.

mod expire;
mod keyspace;
mod os;
mod sync;
mod value;
