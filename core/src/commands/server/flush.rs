//! DBSIZE, FLUSHDB, FLUSHALL and SWAPDB: commands about whole databases.

use crate::command::{Arg, Command, Read, Reply, Write};
use crate::error::{Error, Result};
use crate::keyspace::Db;
use crate::num;

/// Returns the number of keys in the database.
///
/// Returns the count; expired keys that the reaper has not reached yet are in it.
#[derive(Command)]
#[command(
    name = "DBSIZE", group = Server, since = "1.0.0", complexity = "O(1)", arity = 1,
    flags(READONLY, FAST), acl(KEYSPACE), tips("request_policy:all_shards", "response_policy:agg_sum"),
    whole_keyspace, reply = "int",
)]
pub struct DbSize {}

impl Read for DbSize {
    fn execute(&self, db: &Db<'_>, reply: &mut Reply) -> Result<()> {
        reply.count(db.len());
        Ok(())
    }
}

#[derive(Arg, Clone, Copy, PartialEq, Eq)]
enum FlushType {
    #[arg(token = "ASYNC", once, since = "4.0.0")]
    Async,
    #[arg(token = "SYNC", once, since = "6.2.0")]
    Sync,
}

/// Without an argument `lazyfree-lazy-user-flush` decides.
fn frees_here(db: &Db<'_>, flush_type: Option<FlushType>) -> bool {
    match flush_type {
        Some(FlushType::Async) => false,
        Some(FlushType::Sync) => true,
        None => !db.keyspace().config.hot().lazyfree_lazy_user_flush(),
    }
}

/// Removes every key of the database.
///
/// Returns `OK`. With SYNC, large values are freed before the reply is written, otherwise behind it.
#[derive(Command)]
#[command(
    name = "FLUSHDB", group = Server, since = "1.0.0", complexity = "O(N) where N is the number of keys in the selected database", arity = -1,
    flags(WRITE), acl(DANGEROUS, KEYSPACE), tips("request_policy:all_shards", "response_policy:all_succeeded"),
    history(("4.0.0", "Added the `ASYNC` flushing mode modifier."), ("6.2.0", "Added the `SYNC` flushing mode modifier.")),
    whole_keyspace, reply = "ok",
)]
pub struct FlushDb {
    #[arg(oneof)]
    flush_type: Option<FlushType>,
}

impl Write for FlushDb {
    fn execute(&self, db: &mut Db<'_>, reply: &mut Reply) -> Result<()> {
        if frees_here(db, self.flush_type) {
            db.drop_garbage_here();
        }
        db.clear();
        reply.ok();
        Ok(())
    }
}

/// Removes every key of all databases.
///
/// Returns `OK`. With SYNC, large values are freed before the reply is written, otherwise behind it.
#[derive(Command)]
#[command(
    name = "FLUSHALL", group = Server, since = "1.0.0", complexity = "O(N) where N is the total number of keys in all databases", arity = -1,
    flags(WRITE), acl(DANGEROUS, KEYSPACE), tips("request_policy:all_shards", "response_policy:all_succeeded"),
    history(("4.0.0", "Added the `ASYNC` flushing mode modifier."), ("6.2.0", "Added the `SYNC` flushing mode modifier.")),
    whole_keyspace, reply = "ok",
)]
pub struct FlushAll {
    #[arg(oneof)]
    flush_type: Option<FlushType>,
}

impl Write for FlushAll {
    fn execute(&self, db: &mut Db<'_>, reply: &mut Reply) -> Result<()> {
        if frees_here(db, self.flush_type) {
            db.drop_garbage_here();
        }
        db.clear_all();
        reply.ok();
        Ok(())
    }
}

/// Exchanges two databases: their keys change places, whoever uses them.
///
/// Returns `OK`.
#[derive(Command)]
#[command(
    name = "SWAPDB", group = Server, since = "4.0.0", complexity = "O(N) where N is the count of clients watching or blocking on keys from both databases.", arity = 3,
    flags(WRITE, FAST), acl(DANGEROUS, KEYSPACE),
    whole_keyspace, reply = "ok",
)]
pub struct SwapDb<'a> {
    #[arg(kind = Integer)]
    index1: &'a [u8],
    #[arg(kind = Integer)]
    index2: &'a [u8],
}

impl SwapDb<'_> {
    fn indices(&self, databases: usize) -> Result<(usize, usize)> {
        let number = |text: &[u8], which: &str| {
            let number = num::parse_i64(text).filter(|number| i32::try_from(*number).is_ok());
            number.ok_or_else(|| Error::command(format_args!("invalid {which} DB index")))
        };
        let (one, other) = (number(self.index1, "first")?, number(self.index2, "second")?);
        let index = |number: i64| usize::try_from(number).ok().filter(|index| *index < databases);
        index(one).zip(index(other)).ok_or_else(|| Error::command("DB index is out of range"))
    }
}

impl Write for SwapDb<'_> {
    fn execute(&self, db: &mut Db<'_>, reply: &mut Reply) -> Result<()> {
        let (one, other) = self.indices(db.keyspace().config.hot().databases())?;
        if one != other {
            db.swap(one, other);
        }
        reply.ok();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::{Clock, Engine, Form};

    #[test]
    fn memory_returns_after_a_flush() {
        let engine = Engine::new();
        let mut session = engine.session(Form::Resp);
        let value = [b'x'; 500];
        let mut fill = |db: &[u8]| {
            session.execute(&[b"SELECT", db]);
            for number in 0..20_000 {
                session.execute(&[b"SET", number.to_string().as_bytes(), &value]);
            }
        };
        fill(b"0");
        fill(b"3");
        assert!(engine.used_bytes() > 20_000_000);
        assert_eq!(session.execute(&[b"FLUSHDB"]), b"+OK\r\n");
        assert!((10_000_000..15_000_000).contains(&engine.used_bytes()), "{}", engine.used_bytes());
        assert_eq!(session.execute(&[b"FLUSHALL", b"SYNC"]), b"+OK\r\n");
        // Each shard may report up to 4 KiB late.
        assert!(engine.used_bytes() < 1 << 20, "{}", engine.used_bytes());
        assert_eq!(session.execute(&[b"DBSIZE"]), b":0\r\n");
    }

    #[test]
    fn a_read_reclaims_the_expired_keys_it_meets() {
        let clock = Clock::manual(1_000);
        let engine = Engine::builder().clock(clock.clone()).open().unwrap();
        let mut session = engine.session(Form::Resp);
        for key in [&b"a"[..], b"b", b"c"] {
            session.execute(&[b"SET", key, b"v", b"PX", b"10"]);
        }
        clock.advance(Duration::from_millis(20));
        assert_eq!(session.execute(&[b"DBSIZE"]), b":3\r\n");
        assert_eq!(session.execute(&[b"EXISTS", b"a", b"b"]), b":0\r\n");
        assert_eq!(session.execute(&[b"DBSIZE"]), b":1\r\n");
        let stats = String::from_utf8(session.execute(&[b"INFO", b"stats"]).to_vec()).unwrap();
        assert!(stats.contains("\r\nexpired_keys:2\r\n"), "{stats}");
    }

    #[test]
    fn watched_keys_notice_flushes_and_swaps() {
        let engine = Engine::new();
        let (mut one, mut other) = (engine.session(Form::Resp), engine.session(Form::Resp));
        let changes: [&[&[u8]]; 3] = [&[b"FLUSHALL"], &[b"FLUSHDB"], &[b"SWAPDB", b"0", b"1"]];
        for change in changes {
            for (present, expected) in [(true, &b"*-1\r\n"[..]), (false, b"*0\r\n")] {
                other.execute(&[b"FLUSHALL"]);
                if present {
                    other.execute(&[b"SET", b"k", b"v"]);
                }
                one.execute(&[b"WATCH", b"k"]);
                other.execute(change);
                one.execute(&[b"MULTI"]);
                assert_eq!(one.execute(&[b"EXEC"]), expected);
            }
        }
    }
}
