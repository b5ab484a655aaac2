//! COMMAND COUNT, LIST and HELP: which commands there are.

use crate::command::spec::{Categories, Spec};
use crate::command::{Arg, Command, Context, Reply, Session};
use crate::commands::{LIST, table};
use crate::error::Result;
use crate::pattern::glob_matches;

/// Returns the number of commands.
///
/// Returns the count without subcommands.
#[derive(Command)]
#[command(
    name = "COMMAND|COUNT", group = Server, since = "2.8.13", complexity = "O(1)", arity = 2,
    flags(LOADING, STALE), acl(CONNECTION),
    reply = "int",
)]
pub struct CommandCount {}

impl Session for CommandCount {
    fn execute(&self, _: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        reply.count(LIST.len());
        Ok(())
    }
}

#[derive(Arg)]
enum Filter<'a> {
    #[arg(token = "MODULE", name = "module-name")]
    Module(&'a [u8]),
    #[arg(token = "ACLCAT", name = "category")]
    Category(&'a [u8]),
    #[arg(token = "PATTERN", kind = Pattern)]
    Pattern(&'a [u8]),
}

impl Filter<'_> {
    fn lets_through(&self, spec: &Spec) -> bool {
        match self {
            // Every command is the engine's own.
            Filter::Module(_) => false,
            Filter::Category(name) => {
                Categories::from_name(name).is_some_and(|category| spec.categories().contains(category))
            }
            Filter::Pattern(pattern) => glob_matches(pattern, spec.name.as_bytes(), true),
        }
    }
}

/// Lists the names of commands and subcommands, all or some.
///
/// Returns the names. FILTERBY chooses by ACL category or by a pattern.
#[derive(Command)]
#[command(
    name = "COMMAND|LIST", group = Server, since = "7.0.0", complexity = "O(N) where N is the total number of commands", arity = -2,
    flags(LOADING, STALE), acl(CONNECTION), tips("nondeterministic_output_order"),
    reply = "array(bulk)",
)]
pub struct CommandList<'a> {
    #[arg(token = "FILTERBY", once)]
    filterby: Option<Filter<'a>>,
}

impl Session for CommandList<'_> {
    fn execute(&self, _: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        let wanted = |spec: &&Spec| self.filterby.as_ref().is_none_or(|filter| filter.lets_through(spec));
        let specs: Vec<&Spec> = table::all().iter().map(|found| found.spec).filter(wanted).collect();
        reply.array(specs.len());
        specs.iter().for_each(|spec| reply.bulk(spec.name.as_bytes()));
        Ok(())
    }
}

/// Returns what the subcommands do.
#[derive(Command)]
#[command(
    name = "COMMAND|HELP", group = Server, since = "5.0.0", complexity = "O(1)", arity = 2,
    flags(LOADING, STALE), acl(CONNECTION),
    reply = "array(simple)",
)]
pub struct CommandHelp {}

impl Session for CommandHelp {
    fn execute(&self, _: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        crate::commands::help(
            reply,
            "COMMAND",
            &[
                ("(no subcommand)", "What there is to know about every command."),
                ("COUNT", "The number of commands."),
                ("DOCS [<command> ...]", "The documentation of commands, of all if none is named."),
                ("GETKEYS <call>", "The keys of a call."),
                ("GETKEYSANDFLAGS <call>", "The keys of a call and what happens to them."),
                ("INFO [<command> ...]", "What there is to know about commands, about all if none is named."),
                (
                    "LIST [FILTERBY (MODULE <name>|ACLCAT <category>|PATTERN <pattern>)]",
                    "The names of commands.",
                ),
            ],
        );
        Ok(())
    }
}
