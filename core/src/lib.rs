//! Keystead: Valkey inside your process.
//!
//! An [`Engine`] holds the data; a [`Session`] executes Valkey's commands on it, at the price of a function call.
//!
//! ```
//! use keystead::{Engine, Form};
//!
//! let engine = Engine::new();
//! let mut session = engine.session(Form::Resp);
//! assert_eq!(session.execute(&[b"SET", b"greeting", b"hello", b"EX", b"60"]), b"+OK\r\n");
//! assert_eq!(session.execute(&[b"GET", b"greeting"]), b"$5\r\nhello\r\n");
//! ```

extern crate self as keystead;

mod acl;
mod alloc;
#[doc(hidden)]
pub mod backend;
mod background;
#[doc(hidden)]
pub mod cache;
mod check;
#[cfg(feature = "cli")]
mod cli;
mod clients;
mod clock;
#[doc(hidden)]
pub mod command;
mod commandlog;
#[doc(hidden)]
pub mod commands;
mod config;
mod database;
mod engine;
mod error;
mod evict;
mod expire;
mod files;
mod fork;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod info;
#[cfg(all(test, sanitized))]
mod integration;
#[doc(hidden)]
pub mod keyspace;
mod latency;
mod lazyfree;
#[cfg(feature = "listener")]
mod listener;
mod local;
#[cfg(all(test, loom))]
mod loom_models;
mod network;
mod num;
mod os;
#[cfg(test)]
mod patience;
mod pattern;
mod persist;
mod process;
mod pulse;
mod rdb;
mod recovery;
#[cfg(feature = "redis")]
mod redis;
#[cfg(feature = "remote")]
mod remote;
mod resp;
#[cfg(feature = "scripting")]
mod script;
#[cfg_attr(not(feature = "scripting"), allow(dead_code, reason = "nothing runs them"))]
mod scripts;
mod stats;
mod store;
mod striped;
mod sync;
mod targets;
mod transfer;
mod typed;
mod value;
#[cfg(feature = "listener")]
mod wire;

pub use backend::{BreakerState, NearStats};
pub use check::{check, check_watched};
#[cfg(feature = "cli")]
#[doc(hidden)]
pub use cli::main_with;
pub use clients::{ClientAddress, Wake};
pub use clock::Clock;
#[doc(hidden)]
pub use command::Reply;
pub use command::tape::Item;
pub use command::{Form, Outcome};
pub use config::Config;
#[doc(hidden)]
pub use database::kept::{Databases, Numbered};
#[doc(hidden)]
pub use database::loads::{Begun, Load, Wait};
pub use database::{Condition, Database, Found, SetOptions, Ttl};
pub use engine::session::Session;
pub use engine::tasks::{Execution, NextPush};
pub use engine::{Builder, Engine};
pub use error::{Error, ErrorKind, Result};
pub use keyspace::{Effect, Event, EventClass, Group, Interest, Journal, Observer, Ticket};
#[doc(hidden)]
pub use keyspace::{Version, Versions};
#[cfg(feature = "listener")]
pub use listener::Listener;
#[cfg(feature = "redis")]
pub use redis::RedisConnection;
#[cfg(feature = "remote")]
pub use transfer::copying::{Copied, CopyOptions, pull, push, warm};
pub use transfer::{Export, Progress, Stage, Watch, export, export_watched, import, import_watched};
#[doc(hidden)]
pub use typed::hot::Call as HotCall;
pub use value::Text;
#[doc(hidden)]
pub use value::Value;
#[cfg(feature = "listener")]
pub use wire::Wire;

/// The Rust examples of the README, run as tests.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
