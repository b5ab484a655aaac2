//! The judge's tools: a RESP client, server processes, the script format and the comparison of replies and of what is said of commands.
//!
//! What is judged stands elsewhere: scripts in `compat/*.txt`, random sequences in `property/`.

pub mod commands;
pub mod compare;
pub mod hunt;
pub mod quote;
pub mod random;
pub mod resp;
pub mod rng;
pub mod run;
pub mod script;
pub mod scripted;
pub mod server;
pub mod sessions;
pub mod users;
