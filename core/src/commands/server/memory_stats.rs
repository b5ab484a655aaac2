//! MEMORY STATS: how much memory is used for what, under the server's names.

use crate::command::{Command, Context, Reply, Session};
use crate::error::Result;
use crate::keyspace::survey::Survey;
use crate::process;

/// Returns how much memory is used for what.
///
/// Returns a map of names and numbers: bytes, ratios, percentages. What an embedded engine has no part for is 0.
#[derive(Command)]
#[command(
    name = "MEMORY|STATS", group = Server, since = "4.0.0", complexity = "O(1)", arity = 2,
    tips("nondeterministic_output", "request_policy:all_shards", "response_policy:special"),
    whole_keyspace, reply = "map(bulk, int | double | map(bulk, int))",
)]
pub struct MemoryStats {}

impl Session for MemoryStats {
    fn execute(&self, context: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        let survey = context.with_keyspace(&[], |db| Ok(db.survey()))?;
        let engine = context.engine;
        let peak = engine.keyspace.note_peak(survey.bytes);
        let mut rows = Rows { reply, count: 0 };
        let open = rows.reply.open_map();
        rows.totals(&survey, peak, engine.client_bytes());
        rows.bytes("lua.caches", engine.scripts.cached().1);
        rows.bytes("functions.caches", engine.function_bytes());
        rows.databases(&survey);
        rows.dataset(&survey, peak);
        rows.allocator(&survey);
        let count = rows.count;
        reply.close(open, count);
        Ok(())
    }
}

struct Rows<'r> {
    reply: &'r mut Reply,
    count: usize,
}

fn ratio(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

impl Rows<'_> {
    fn name(&mut self, name: &str) {
        self.reply.bulk(name.as_bytes());
        self.count += 1;
    }

    fn bytes(&mut self, name: &str, bytes: usize) {
        self.name(name);
        self.reply.count(bytes);
    }

    fn difference(&mut self, name: &str, more: usize, less: usize) {
        self.name(name);
        self.reply.integer(more as i64 - less as i64);
    }

    fn double(&mut self, name: &str, value: f64) {
        self.name(name);
        self.reply.double(value);
    }

    fn totals(&mut self, survey: &Survey, peak: usize, clients: usize) {
        self.bytes("peak.allocated", peak);
        self.bytes("total.allocated", survey.bytes);
        self.bytes("startup.allocated", 0);
        self.bytes("replication.backlog", 0);
        self.bytes("clients.slaves", 0);
        self.bytes("clients.normal", clients);
        self.bytes("cluster.links", 0);
        self.bytes("aof.buffer", 0);
    }

    fn databases(&mut self, survey: &Survey) {
        for database in survey.databases.iter().filter(|database| database.keys > 0) {
            self.name(&format!("db.{}", database.index));
            self.reply.map(2);
            for (name, bytes) in [("main", database.table_bytes), ("expires", database.wheel_bytes)] {
                self.reply.bulk(format!("overhead.hashtable.{name}").as_bytes());
                self.reply.count(bytes);
            }
        }
        let tables: usize = survey.databases.iter().map(|database| database.table_bytes).sum();
        self.bytes("overhead.db.hashtable.lut", tables);
        self.bytes("overhead.db.hashtable.rehashing", 0);
    }

    fn dataset(&mut self, survey: &Survey, peak: usize) {
        let (overhead, keys) = (survey.overhead(), survey.keys());
        let dataset = survey.bytes.saturating_sub(overhead);
        self.bytes("overhead.total", overhead);
        self.bytes("db.dict.rehashing.count", 0);
        self.bytes("keys.count", keys);
        self.bytes("keys.bytes-per-key", survey.bytes.checked_div(keys).unwrap_or(0));
        self.bytes("dataset.bytes", dataset);
        self.double("dataset.percentage", ratio(dataset, survey.bytes) * 100.0);
        self.double("peak.percentage", ratio(survey.bytes, peak) * 100.0);
    }

    fn allocator(&mut self, survey: &Survey) {
        let (used, reserved, resident) = (survey.bytes, survey.reserved, process::resident_bytes() as usize);
        self.bytes("allocator.allocated", used);
        self.bytes("allocator.active", reserved);
        self.bytes("allocator.resident", reserved);
        self.bytes("allocator.muzzy", 0);
        self.double("allocator-fragmentation.ratio", ratio(reserved, used));
        self.difference("allocator-fragmentation.bytes", reserved, used);
        self.double("allocator-rss.ratio", ratio(reserved, reserved));
        self.bytes("allocator-rss.bytes", 0);
        self.double("rss-overhead.ratio", ratio(resident, reserved));
        self.difference("rss-overhead.bytes", resident, reserved);
        self.double("fragmentation", ratio(resident, used));
        self.difference("fragmentation.bytes", resident, used);
    }
}
