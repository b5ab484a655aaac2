//! INFO. Sections and fields are [`crate::info`]'s, their values [`super::gather`]'s.

use crate::command::{Args, Command, Context, Reply, Session};
use crate::error::Result;

/// Tells about the engine: version, clients, memory, statistics, commands, keys.
///
/// Returns lines of `field:value` under titles. Without arguments, or with `default`, all sections but those by command; `all` and
/// `everything` print these too.
#[derive(Command)]
#[command(
    name = "INFO", group = Server, since = "1.0.0", complexity = "O(1)", arity = -1,
    flags(LOADING, STALE), acl(DANGEROUS), tips("nondeterministic_output", "request_policy:all_shards", "response_policy:special"),
    history(("7.0.0", "Added support for taking multiple section arguments.")),
    whole_keyspace, custom_parse, reply = "verbatim",
)]
pub struct Info<'a> {
    #[arg(optional)]
    section: Vec<&'a [u8]>,
}

impl<'a> Info<'a> {
    fn parse_args(args: &mut Args<'a>) -> Result<Self> {
        Ok(Self { section: args.take_rest().to_vec() })
    }
}

impl Session for Info<'_> {
    fn execute(&self, context: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        let survey = context.with_keyspace(&[], |db| Ok(db.survey()))?;
        let snapshot = context.engine.snapshot(&survey);
        reply.verbatim(b"txt", crate::info::render(&snapshot, &self.section).as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::{Clock, Engine, Form};

    #[test]
    fn the_keyspace_is_counted_exactly() {
        let engine = Engine::builder().clock(Clock::manual(1_000_000)).open().unwrap();
        let mut session = engine.session(Form::Resp);
        for command in [
            &[&b"SET"[..], b"a", b"1", b"PX", b"1000"][..],
            &[b"SET", b"b", b"1", b"PX", b"5000"],
            &[b"SET", b"c", b"1", b"PX", b"9000"],
            &[b"PERSIST", b"c"],
            &[b"PEXPIRE", b"b", b"3000"],
            &[b"SET", b"d", b"1"],
            &[b"GET", b"d"],
            &[b"GET", b"nosuch"],
        ] {
            session.execute(command);
        }
        engine.advance(Duration::from_millis(500));
        let mut info =
            |section: &[u8]| String::from_utf8(session.execute(&[b"INFO", section]).to_vec()).unwrap();
        assert!(
            info(b"keyspace")
                .contains("\r\ndb0:keys=4,expires=2,avg_ttl=1500,keys_with_volatile_items=0\r\n"),
            "{}",
            info(b"keyspace")
        );
        let stats = info(b"stats");
        assert!(
            stats.contains("\r\nkeyspace_hits:1\r\n") && stats.contains("\r\nkeyspace_misses:1\r\n"),
            "{stats}"
        );
        engine.advance(Duration::from_millis(600));
        assert!(
            info(b"keyspace")
                .contains("\r\ndb0:keys=3,expires=1,avg_ttl=1900,keys_with_volatile_items=0\r\n"),
            "{}",
            info(b"keyspace")
        );
        assert!(info(b"stats").contains("\r\nexpired_keys:1\r\n"));
    }

    #[test]
    fn a_database_with_a_high_number_costs_no_more_than_another() {
        let config = crate::Config::from_text(
            b"databases 2147483647\nmaxmemory 20mb\nmaxmemory-policy allkeys-random\n",
        );
        let clock = Clock::manual(1_000_000);
        let engine = Engine::builder().config(config.unwrap()).clock(clock).open().unwrap();
        let mut session = engine.session(Form::Resp);
        let mut ask = |words: &[&[u8]]| String::from_utf8_lossy(session.execute(words)).into_owned();
        for (db, key) in [(&b"2147483646"[..], &b"last"[..]), (b"70", b"early"), (b"0", b"first")] {
            assert_eq!(ask(&[b"SELECT", db]), "+OK\r\n");
            assert_eq!(ask(&[b"SET", key, b"v", b"PX", b"1000"]), "+OK\r\n");
        }
        let keyspace = |names: &[&str]| {
            let line =
                |name: &&str| format!("{name}:keys=1,expires=1,avg_ttl=1000,keys_with_volatile_items=0\r\n");
            names.iter().map(line).collect::<String>()
        };
        let info = ask(&[b"INFO", b"keyspace"]);
        assert!(info.contains(&keyspace(&["db0", "db70", "db2147483646"])), "{info}");
        assert_eq!(ask(&[b"SELECT", b"2147483647"]), "-ERR DB index is out of range\r\n");
        assert_eq!(ask(&[b"SWAPDB", b"0", b"2147483646"]), "+OK\r\n");
        assert_eq!(ask(&[b"EXISTS", b"last"]), ":1\r\n");
        assert!(ask(&[b"MEMORY", b"STATS"]).contains("db.2147483646"));
        engine.advance(Duration::from_millis(1_001));
        assert!(!ask(&[b"INFO", b"keyspace"]).contains("db"), "all were reclaimed");
        assert_eq!(ask(&[b"SELECT", b"2147483646"]), "+OK\r\n");
        assert_eq!(ask(&[b"MSET", b"a", b"1", b"b", b"2"]), "+OK\r\n");
        assert_eq!(ask(&[b"FLUSHALL"]), "+OK\r\n");
        assert_eq!(ask(&[b"DBSIZE"]), ":0\r\n");
        // Eviction looks into it, too.
        let db = engine.database(2_147_483_646).unwrap();
        for number in 0..40_000 {
            db.set(format!("key:{number}"), "v".repeat(1000)).unwrap();
        }
        assert!(db.len().unwrap() < 40_000);
    }

    #[test]
    fn commands_and_errors_are_counted_until_they_are_reset() {
        let engine = Engine::new();
        let mut session = engine.session(Form::Resp);
        session.execute(&[b"GET", b"k"]);
        session.execute(&[b"GET"]);
        session.execute(&[b"HSET", b"h", b"f", b"v"]);
        session.execute(&[b"GET", b"h"]);
        let mut info =
            |section: &[u8]| String::from_utf8(session.execute(&[b"INFO", section]).to_vec()).unwrap();
        let commands = info(b"commandstats");
        let get = commands.lines().find(|line| line.starts_with("cmdstat_get:")).unwrap();
        assert!(get.contains("calls=") && get.contains(",rejected_calls=1,"), "{get}");
        assert!(info(b"errorstats").contains("errorstat_ERR:count="));
        assert!(info(b"latencystats").contains("latency_percentiles_usec_get:p50="));
        assert_eq!(session.execute(&[b"CONFIG", b"RESETSTAT"]), b"+OK\r\n");
        let after =
            String::from_utf8(session.execute(&[b"INFO", b"errorstats", b"commandstats"]).to_vec()).unwrap();
        assert!(!after.contains("errorstat_") && !after.contains("cmdstat_get"), "{after}");
    }
}
