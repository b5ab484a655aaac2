//! COMMAND DOCS: the manual of the commands, read from the table.

use super::command::{subcommands_of, write_flags};
use crate::command::spec::{ArgKind, ArgSpec, Flags, Spec};
use crate::command::{Args, Command, Context, Reply, Session};
use crate::commands::LIST;
use crate::commands::table::{self, Declared};
use crate::error::Result;

/// Returns the documentation of some commands, or of all.
///
/// Returns a map by name; what is no command is left out.
#[derive(Command)]
#[command(
    name = "COMMAND|DOCS", group = Server, since = "7.0.0", complexity = "O(N) where N is the number of commands to look up", arity = -2,
    flags(LOADING, STALE), acl(CONNECTION), tips("nondeterministic_output_order"),
    custom_parse, reply = "map(bulk, any)",
)]
pub struct CommandDocs<'a> {
    #[arg(optional)]
    command_name: Vec<&'a [u8]>,
}

impl<'a> CommandDocs<'a> {
    fn parse_args(args: &mut Args<'a>) -> Result<Self> {
        Ok(Self { command_name: args.take_rest().to_vec() })
    }

    fn specs(&self) -> Vec<&'static Spec> {
        if self.command_name.is_empty() {
            return LIST.iter().map(|listed| listed.command.spec).collect();
        }
        self.command_name.iter().filter_map(|name| table::by_name(name)).map(|found| found.spec).collect()
    }
}

impl Session for CommandDocs<'_> {
    fn execute(&self, _: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        let specs = self.specs();
        reply.map(specs.len());
        for spec in specs {
            reply.bulk(spec.name.as_bytes());
            write_docs(spec, subcommands_of(spec), reply);
        }
        Ok(())
    }
}

/// Pairs of a map whose number is known only at its end.
struct Pairs<'r> {
    reply: &'r mut Reply,
    count: usize,
}

impl Pairs<'_> {
    fn name(&mut self, name: &str) -> &mut Reply {
        self.count += 1;
        self.reply.bulk(name.as_bytes());
        self.reply
    }

    fn text(&mut self, name: &str, text: &str) {
        self.name(name).bulk(text.as_bytes());
    }

    fn text_unless_empty(&mut self, name: &str, text: &str) {
        if !text.is_empty() {
            self.text(name, text);
        }
    }
}

fn write_map(reply: &mut Reply, write: impl FnOnce(&mut Pairs<'_>)) {
    let open = reply.open_map();
    let mut pairs = Pairs { reply, count: 0 };
    write(&mut pairs);
    let count = pairs.count;
    reply.close(open, count);
}

fn write_docs(spec: &Spec, subcommands: &[Declared], reply: &mut Reply) {
    write_map(reply, |pairs| {
        pairs.text_unless_empty("summary", spec.summary);
        pairs.text_unless_empty("since", spec.since);
        pairs.text("group", spec.group.name());
        pairs.text_unless_empty("complexity", spec.complexity);
        let flags =
            [(spec.deprecated.is_some(), "deprecated"), (spec.flags.contains(Flags::SYSCMD), "syscmd")];
        let flags = flags.iter().filter(|(holds, _)| *holds).map(|(_, name)| *name);
        if flags.clone().next().is_some() {
            write_flags(flags, pairs.name("doc_flags"));
        }
        if let Some((since, instead)) = spec.deprecated {
            pairs.text("deprecated_since", since);
            pairs.text("replaced_by", instead);
        }
        if !spec.history.is_empty() {
            write_history(spec.history, pairs.name("history"));
        }
        if !spec.args.is_empty() {
            write_arguments(spec.args, pairs.name("arguments"));
        }
        if !subcommands.is_empty() {
            let reply = pairs.name("subcommands");
            reply.map(subcommands.len());
            for subcommand in subcommands {
                reply.bulk(subcommand.spec.name.as_bytes());
                write_docs(subcommand.spec, &[], reply);
            }
        }
    });
}

fn write_history(history: &[(&str, &str)], reply: &mut Reply) {
    reply.set(history.len());
    for (version, change) in history {
        reply.array(2);
        reply.bulk(version.as_bytes());
        reply.bulk(change.as_bytes());
    }
}

fn write_arguments(arguments: &[ArgSpec], reply: &mut Reply) {
    reply.array(arguments.len());
    for argument in arguments {
        write_map(reply, |pairs| write_argument(argument, pairs));
    }
}

/// Patterns are shown as such, whatever they are for.
fn display_text(argument: &ArgSpec) -> &'static str {
    argument.display.unwrap_or(if argument.kind == ArgKind::Pattern { "pattern" } else { argument.name })
}

fn write_argument(argument: &ArgSpec, pairs: &mut Pairs<'_>) {
    pairs.text("name", argument.name);
    pairs.text("type", argument.kind.name());
    if !matches!(argument.kind, ArgKind::OneOf | ArgKind::Block) {
        pairs.text("display_text", display_text(argument));
    }
    if let Some(index) = argument.key_spec.or((argument.kind == ArgKind::Key).then_some(0)) {
        pairs.name("key_spec_index").count(index);
    }
    if let Some(token) = argument.token {
        pairs.text("token", token);
    }
    pairs.text_unless_empty("since", argument.since);
    pairs.text_unless_empty("deprecated_since", argument.deprecated_since);
    let flags = [
        (argument.optional, "optional"),
        (argument.multiple, "multiple"),
        (argument.multiple_token, "multiple_token"),
    ];
    let set = flags.iter().filter(|(holds, _)| *holds).map(|(_, name)| *name);
    if set.clone().next().is_some() {
        write_flags(set, pairs.name("flags"));
    }
    if !argument.args.is_empty() {
        write_arguments(argument.args, pairs.name("arguments"));
    }
}
