//! Derives of the engine's command table: `Command` writes a struct's spec, parser and encoder, `Arg` those of its parts.
//!
//! What the attributes mean stands on [`derive_command`] and [`derive_arg`]; what the generated code calls lives in
//! `keystead::command`.

mod arg;
mod attributes;
mod command;
mod fields;

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

/// Derives `keystead::command::Parse` for a command's struct.
///
/// Fields are the arguments in their order. `Key`, `&[u8]`, `i64` and other `Arg` types are positional, `Vec<T>` takes the
/// rest, `Option<T>` what may be missing at the end. Fields with a `token`, and `Option`s marked `oneof`, are options: any
/// run of them is read in any order. The doc comment's first paragraph is the summary.
///
/// On the struct, `#[command(...)]`:
/// `name = "SET"` (subcommands `"CONFIG|GET"`), `group = String`, `since = "1.0.0"`, `complexity = "O(1)"`, `arity = -3`,
/// `flags(WRITE, DENYOOM)`, `acl(DANGEROUS)`, `tips("...")`, `reply = "ok | null"`, `history(("6.2.0", "..."))`,
/// `deprecated("2.6.12", "...")`; `secrets = function` (which words of an argv are passwords); `whole_keyspace` (locks every shard), `container` (only holds subcommands),
/// `custom_parse` (the struct has its own `parse_args(&mut Args) -> Result<Self>`), `session` (runs on the session
/// even though the flags say read or write), `no_args` (prints no argument tree), `extra_key(...)` as on fields with
/// `begin = ...` and `find = ...` expressions.
///
/// On a field, `#[key(RW, ACCESS)]` makes a key spec (`step = 2` for blocks, `notes = "..."`, `last = -1`), and `#[arg(...)]` takes what
/// `derive(Arg)` takes.
#[proc_macro_derive(Command, attributes(command, key, arg))]
pub fn derive_command(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    command::expand(&input).unwrap_or_else(|error| error.to_compile_error()).into()
}

/// Derives `keystead::command::Arg` for a block of arguments (struct) or a choice of them (enum).
///
/// `#[arg(...)]` takes `token = "EX"`, `name = "seconds"` (default: the field's name with hyphens), `kind = UnixTime`,
/// `since = "6.2.0"`, `oneof` (an optional choice), `multiple_token`, `key_spec = 1`, `optional`, and, beside `custom_parse`, `hidden`
/// (no argument, only something the parser found out). A variant or a flag marked `once` may not be named again.
#[proc_macro_derive(Arg, attributes(arg))]
pub fn derive_arg(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    arg::expand(&input).unwrap_or_else(|error| error.to_compile_error()).into()
}
