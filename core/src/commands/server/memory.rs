//! MEMORY USAGE, DOCTOR, PURGE, MALLOC-STATS and HELP. MEMORY STATS has a file of its own.

use crate::command::{Args, Command, Context, Read, Reply, Session};
use crate::error::{Error, Result};
use crate::keyspace::survey::Survey;
use crate::keyspace::{Db, Key, compaction, upkeep};
use crate::num;
use crate::process;
use crate::store::memory;

/// Holds the commands about memory.
#[derive(Command)]
#[command(
    name = "MEMORY", group = Server, since = "4.0.0", complexity = "Depends on subcommand.", arity = -2,
    container, reply = "any",
)]
pub struct Memory {}

/// Returns the bytes that a key and its value take.
///
/// Returns null where there is no such key. The engine keeps exact accounts, so SAMPLES, which has the server estimate from that many
/// elements, changes nothing.
#[derive(Command)]
#[command(
    name = "MEMORY|USAGE", group = Server, since = "4.0.0", complexity = "O(N) where N is the number of samples.", arity = -3,
    flags(READONLY),
    custom_parse, reply = "int | null",
)]
pub struct MemoryUsage<'a> {
    #[key(RO)]
    key: Key<'a>,
    #[arg(token = "SAMPLES")]
    count: Option<i64>,
}

impl<'a> MemoryUsage<'a> {
    fn parse_args(args: &mut Args<'a>) -> Result<Self> {
        let bytes = args.required()?;
        let mut command = Self { key: args.key(bytes), count: None };
        while args.remaining() > 0 {
            if !args.skip_token("SAMPLES") {
                return Err(Error::syntax());
            }
            let count = num::parse_i64(args.value()?).ok_or_else(Error::not_an_integer)?;
            command.count = Some(count).filter(|count| *count >= 0);
            if command.count.is_none() {
                return Err(Error::syntax());
            }
        }
        Ok(command)
    }
}

impl Read for MemoryUsage<'_> {
    fn execute(&self, db: &Db<'_>, reply: &mut Reply) -> Result<()> {
        match db.peek(&self.key) {
            Some(entry) => reply.count(entry.bytes() + db.slot_bytes(&self.key)),
            None => reply.null(),
        }
        Ok(())
    }
}

/// Reports on memory and gives advice.
///
/// Returns lines of text.
#[derive(Command)]
#[command(
    name = "MEMORY|DOCTOR", group = Server, since = "4.0.0", complexity = "O(1)", arity = 2,
    tips("nondeterministic_output", "request_policy:all_shards", "response_policy:special"),
    whole_keyspace, reply = "verbatim",
)]
pub struct MemoryDoctor {}

impl Session for MemoryDoctor {
    fn execute(&self, context: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        let survey = context.with_keyspace(&[], |db| Ok(db.survey()))?;
        let peak = context.engine.keyspace.note_peak(survey.bytes);
        let limit = context.engine.config.hot().maxmemory();
        reply.verbatim(b"txt", diagnosis(&survey, peak, limit).as_bytes());
        Ok(())
    }
}

fn diagnosis(survey: &Survey, peak: usize, limit: u64) -> String {
    /// Below this a diagnosis would be about the engine's own tables.
    const SMALL: usize = 5 << 20;
    if survey.bytes < SMALL {
        return "There is too little data in this engine to say anything about its memory.\n".to_owned();
    }
    let resident = process::resident_bytes() as usize;
    let rules: [(bool, String); 4] = [
        (
            peak > survey.bytes / 2 * 3,
            format!(
                "The peak was {peak} bytes, {} are used now: what was freed may still be with the process.",
                survey.bytes
            ),
        ),
        (
            survey.reserved > survey.bytes / 10 * 14,
            format!(
                "The arenas hold {} bytes for {} in use: many entries of other sizes were deleted.",
                survey.reserved, survey.bytes
            ),
        ),
        (
            resident > survey.reserved * 2,
            format!(
                "The process has {resident} bytes in memory, {} of them the engine's: look at the program around it.",
                survey.reserved
            ),
        ),
        (
            limit != 0 && survey.bytes as u64 > limit / 10 * 9,
            format!("More than nine tenths of maxmemory ({limit} bytes) are used."),
        ),
    ];
    let found: String =
        rules.iter().filter(|(holds, _)| *holds).map(|(_, text)| format!(" * {text}\n")).collect();
    if found.is_empty() {
        "Nothing is wrong with the memory of this engine.\n".to_owned()
    } else {
        format!("Findings:\n\n{found}")
    }
}

/// Gives unused memory back to the system.
///
/// Returns `OK`. Arenas give theirs back on their own when a database is emptied; there is nothing else to ask for.
#[derive(Command)]
#[command(
    name = "MEMORY|PURGE", group = Server, since = "4.0.0", complexity = "Depends on how much memory is allocated, could be slow", arity = 2,
    flags(LOADING), tips("request_policy:all_shards", "response_policy:all_succeeded"),
    reply = "ok",
)]
pub struct MemoryPurge {}

impl Session for MemoryPurge {
    fn execute(&self, context: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        let keyspace = &context.engine.keyspace;
        if context.transaction.is_none() {
            compaction::compact_all(keyspace);
            upkeep::trim(keyspace);
        } else {
            // A transaction holds locks that the rest needs; what it leaves is done by later writes and by the background thread.
            keyspace.shared.pool.trim();
        }
        memory::region::trim_heap();
        reply.ok();
        Ok(())
    }
}

/// Returns what the allocator knows.
///
/// Returns a line of text: the engine's arenas tell all they know in MEMORY STATS.
#[derive(Command)]
#[command(
    name = "MEMORY|MALLOC-STATS", group = Server, since = "4.0.0", complexity = "Depends on how much memory is allocated, could be slow", arity = 2,
    flags(LOADING), tips("nondeterministic_output", "request_policy:all_shards", "response_policy:special"),
    reply = "bulk",
)]
pub struct MemoryMallocStats {}

impl Session for MemoryMallocStats {
    fn execute(&self, _: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        reply.bulk(b"Stats not supported for the current allocator");
        Ok(())
    }
}

/// Returns what the subcommands do.
#[derive(Command)]
#[command(
    name = "MEMORY|HELP", group = Server, since = "4.0.0", complexity = "O(1)", arity = 2,
    flags(LOADING, STALE),
    reply = "array(simple)",
)]
pub struct MemoryHelp {}

impl Session for MemoryHelp {
    fn execute(&self, _: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        crate::commands::help(
            reply,
            "MEMORY",
            &[
                ("DOCTOR", "A report with advice."),
                ("MALLOC-STATS", "What the allocator knows."),
                ("PURGE", "Gives unused memory back to the system."),
                ("STATS", "How much memory is used for what."),
                ("USAGE <key> [SAMPLES <count>]", "The bytes that a key and its value take."),
            ],
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_diagnosis_names_what_it_sees() {
        let survey = |bytes, reserved| Survey { bytes, reserved, ..Survey::default() };
        assert!(diagnosis(&survey(1000, 1000), 1 << 30, 1).contains("too little"));
        let text = diagnosis(&survey(100 << 20, 200 << 20), 300 << 20, 101 << 20);
        assert!(text.contains("peak") && text.contains("arenas") && text.contains("maxmemory"), "{text}");
    }
}
