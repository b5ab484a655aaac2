//! COMMAND and COMMAND INFO: arity, flags, keys and categories of the commands, read from the table.
//!
//! Documentation, keys of a given call and lists of names are in the files beside.

use crate::command::spec::{BeginSearch, FindKeys, KeySpec, Spec};
use crate::command::{Args, Command as CommandDerive, Context, Reply, Session};
use crate::commands::LIST;
use crate::commands::table::{self, Declared, Listed};
use crate::error::Result;

/// Returns what there is to know about every command.
///
/// Returns per command: name, arity, flags, first and last key and their distance, ACL categories, tips, key specs, subcommands.
#[derive(CommandDerive)]
#[command(
    name = "COMMAND", group = Server, since = "2.8.13", complexity = "O(N) where N is the total number of commands", arity = -1,
    flags(LOADING, STALE), acl(CONNECTION), tips("nondeterministic_output_order"),
    container, session, reply = "array(any)",
)]
pub struct Command {}

impl Session for Command {
    fn execute(&self, _: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        reply.array(LIST.len());
        LIST.iter().for_each(|listed| write_command(listed.command.spec, listed.subcommands, reply));
        Ok(())
    }
}

/// Returns what there is to know about some commands, or about all.
///
/// Returns as COMMAND does, with null for what is no command.
#[derive(CommandDerive)]
#[command(
    name = "COMMAND|INFO", group = Server, since = "2.8.13", complexity = "O(N) where N is the number of commands to look up", arity = -2,
    flags(LOADING, STALE), acl(CONNECTION), tips("nondeterministic_output_order"),
    history(("7.0.0", "Allowed to be called with no argument to get info on all commands.")),
    custom_parse, reply = "array(any)",
)]
pub struct CommandInfo<'a> {
    #[arg(optional)]
    command_name: Vec<&'a [u8]>,
}

impl<'a> CommandInfo<'a> {
    fn parse_args(args: &mut Args<'a>) -> Result<Self> {
        Ok(Self { command_name: args.take_rest().to_vec() })
    }
}

impl Session for CommandInfo<'_> {
    fn execute(&self, context: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        if self.command_name.is_empty() {
            return Command {}.execute(context, reply);
        }
        reply.array(self.command_name.len());
        for name in &self.command_name {
            match table::by_name(name) {
                Some(found) => write_command(found.spec, subcommands_of(found.spec), reply),
                None => reply.null(),
            }
        }
        Ok(())
    }
}

/// The subcommands of a container; none of any other command.
pub(super) fn subcommands_of(spec: &Spec) -> &'static [Declared] {
    let own = |listed: &&Listed| listed.command.spec.name == spec.name;
    LIST.iter().find(own).map_or(&[], |listed| listed.subcommands)
}

fn write_command(spec: &Spec, subcommands: &[Declared], reply: &mut Reply) {
    let range = KeyRange::of(spec);
    reply.array(10);
    reply.bulk(spec.name.as_bytes());
    reply.integer(spec.arity.into());
    write_flags(spec.flags.names(), reply);
    for position in [range.first, range.last, range.step] {
        reply.integer(position);
    }
    let categories = spec.categories().names().map(|name| format!("@{name}")).collect::<Vec<_>>();
    write_flags(categories.iter().map(String::as_str), reply);
    reply.set(spec.tips.len());
    spec.tips.iter().for_each(|tip| reply.bulk(tip.as_bytes()));
    reply.set(spec.keys.len());
    spec.keys.iter().for_each(|key_spec| write_key_spec(key_spec, reply));
    reply.array(subcommands.len());
    subcommands.iter().for_each(|subcommand| write_command(subcommand.spec, &[], reply));
}

/// A set of status lines.
pub(super) fn write_flags<'n>(names: impl Iterator<Item = &'n str>, reply: &mut Reply) {
    let names: Vec<&str> = names.collect();
    reply.set(names.len());
    names.iter().for_each(|name| reply.simple(name));
}

fn write_key_spec(spec: &KeySpec, reply: &mut Reply) {
    reply.map(if spec.notes.is_empty() { 3 } else { 4 });
    if !spec.notes.is_empty() {
        reply.bulk(b"notes");
        reply.bulk(spec.notes.as_bytes());
    }
    reply.bulk(b"flags");
    write_flags(spec.flags.names(), reply);
    reply.bulk(b"begin_search");
    match spec.begin {
        BeginSearch::Index(index) => {
            write_search("index", 1, reply);
            write_pair("index", index as i64, reply);
        }
        BeginSearch::Keyword(keyword, from) => {
            write_search("keyword", 2, reply);
            reply.bulk(b"keyword");
            reply.bulk(keyword.as_bytes());
            write_pair("startfrom", from.into(), reply);
        }
        BeginSearch::Unknown => write_search("unknown", 0, reply),
    }
    reply.bulk(b"find_keys");
    match spec.find {
        FindKeys::Range { last, step, limit } => {
            write_search("range", 3, reply);
            write_pair("lastkey", last.into(), reply);
            write_pair("keystep", step as i64, reply);
            write_pair("limit", limit as i64, reply);
        }
        FindKeys::KeyNum { at, first, step } => {
            write_search("keynum", 3, reply);
            write_pair("keynumidx", at as i64, reply);
            write_pair("firstkey", first as i64, reply);
            write_pair("keystep", step as i64, reply);
        }
        FindKeys::Unknown => write_search("unknown", 0, reply),
    }
}

/// Head of one half of a key spec; `facts` pairs follow.
fn write_search(kind: &str, facts: usize, reply: &mut Reply) {
    reply.map(2);
    reply.bulk(b"type");
    reply.bulk(kind.as_bytes());
    reply.bulk(b"spec");
    reply.map(facts);
}

fn write_pair(name: &str, value: i64, reply: &mut Reply) {
    reply.bulk(name.as_bytes());
    reply.integer(value);
}

/// Where the keys are in the older, simpler notation: first, last (negative: from the end), distance; zeros if they fit none.
#[derive(Debug, Default, PartialEq, Eq)]
struct KeyRange {
    first: i64,
    last: i64,
    step: i64,
}

impl KeyRange {
    /// A single range is taken as it is. Of several, those that follow each other without a gap, key by key, count as one.
    fn of(spec: &Spec) -> Self {
        let mut ranges = spec.keys.iter().filter_map(KeyRange::of_key_spec);
        if let [_] = spec.keys {
            return ranges.next().unwrap_or_default();
        }
        ranges.filter(|range| range.step == 1).fold(KeyRange::default(), KeyRange::joined)
    }

    fn of_key_spec(spec: &KeySpec) -> Option<Self> {
        let (BeginSearch::Index(index), FindKeys::Range { last, step, .. }) = (spec.begin, spec.find) else {
            return None;
        };
        let (first, last) = (index as i64, i64::from(last));
        Some(Self { first, last: if last >= 0 { first + last } else { last }, step: step as i64 })
    }

    fn joined(self, next: Self) -> Self {
        if self.first == 0 {
            next
        } else if self.last == next.first - 1 {
            Self { last: next.last, ..self }
        } else {
            self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::spec::Flags;

    fn range(name: &str) -> (i64, i64, i64) {
        let KeyRange { first, last, step } = KeyRange::of(table::by_name(name.as_bytes()).unwrap().spec);
        (first, last, step)
    }

    #[test]
    fn key_ranges_are_the_servers() {
        for (name, expected) in [
            ("get", (1, 1, 1)),
            ("mset", (1, -1, 2)),
            ("del", (1, -1, 1)),
            ("rename", (1, 2, 1)),
            ("sort", (1, 1, 1)),
            ("object|encoding", (2, 2, 1)),
            ("ping", (0, 0, 0)),
        ] {
            assert_eq!(range(name), expected, "{name}");
        }
    }

    #[test]
    fn a_movable_key_is_always_declared() {
        for found in table::all().iter().filter(|found| found.spec.flags.contains(Flags::MOVABLEKEYS)) {
            assert!(!found.spec.keys.is_empty(), "{}", found.spec.name);
        }
    }
}
