//! Scripts: the interpreter of Lua, what scripts see of the world, and how they run commands.
//!
//! Lua is run by `mlua`; each thread has an interpreter of its own, which all engines share and no script can leave anything in. Errors never cross it
//! as Rust's: functions of the host return whether they succeeded, and the sandbox raises what they say, so that scripts see what the server's see.

mod call;
mod convert;
mod digest;
pub(crate) mod functions;
mod interpreter;
mod libraries;
mod running;
mod shebang;

pub(crate) use digest::digest_of;
pub(crate) use interpreter::check;
pub(crate) use running::{Call, Code, run};
pub(crate) use shebang::parse;
