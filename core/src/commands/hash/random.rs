//! HRANDFIELD.

use super::hash_of;
use crate::command::arg::SignedCount;
use crate::command::{Arg, Command, Read, Reply};
use crate::error::{Error, Result};
use crate::keyspace::{Db, Key};
use crate::store::random;
use crate::value::HashRef;
use crate::value::listpack::Element;

#[derive(Arg)]
struct Options {
    #[arg(name = "count")]
    count: SignedCount,
    #[arg(token = "WITHVALUES", once)]
    withvalues: bool,
}

/// Returns fields of a hash drawn at random.
///
/// Without a count one field, or null where there is no such hash. A positive count gives that many different fields at the most, a
/// negative one exactly as many, with repeats.
#[derive(Command)]
#[command(
    name = "HRANDFIELD", group = Hash, since = "6.2.0", complexity = "O(N) where N is the number of fields returned", arity = -2,
    flags(READONLY), tips("nondeterministic_output"),
    reply = "bulk | null | array(bulk | array(bulk))",
)]
pub struct HRandField<'a> {
    #[key(RO, ACCESS)]
    key: Key<'a>,
    options: Option<Options>,
}

type Pair<'d> = (Element<'d>, Element<'d>);

impl Read for HRandField<'_> {
    fn execute(&self, db: &Db<'_>, reply: &mut Reply) -> Result<()> {
        let Some(options) = &self.options else {
            let found = hash_of(db, &self.key)?.and_then(|hash| hash.random(db.now()));
            super::reply_element(reply, found.map(|(field, _)| field));
            return Ok(());
        };
        options.check()?;
        let hash = hash_of(db, &self.key)?;
        let Some(hash) = hash.filter(|hash| hash.random(db.now()).is_some()) else {
            reply.array(0);
            return Ok(());
        };
        match options.count.0 {
            count @ ..0 => options.reply_repeating(&hash, count.unsigned_abs(), db.now(), reply),
            count => {
                let drawn = draw(&hash, usize::try_from(count).unwrap_or(usize::MAX), db.now());
                options.head(drawn.len(), reply);
                drawn.into_iter().for_each(|pair| options.element(pair, reply));
            }
        }
        Ok(())
    }
}

impl Options {
    fn check(&self) -> Result<()> {
        if self.withvalues && self.count.0.unsigned_abs() > i64::MAX as u64 / 2 {
            return Err(Error::command("value is out of range"));
        }
        Ok(())
    }

    /// So many fields, each drawn from all. Stops where the reply is full: callers choose the count.
    fn reply_repeating(&self, hash: &HashRef<'_>, count: u64, now: u64, reply: &mut Reply) {
        self.head(usize::try_from(count).unwrap_or(usize::MAX), reply);
        let elements = (0..count).map_while(|_| hash.random(now));
        for pair in elements {
            self.element(pair, reply);
            if reply.is_full() {
                return;
            }
        }
    }

    fn head(&self, count: usize, reply: &mut Reply) {
        let is_flat = self.withvalues && !reply.resp3();
        reply.array(if is_flat { count.saturating_mul(2) } else { count });
    }

    fn element(&self, (field, value): Pair<'_>, reply: &mut Reply) {
        if self.withvalues && reply.resp3() {
            reply.array(2);
        }
        field.with(|field| reply.bulk(field));
        if self.withvalues {
            value.with(|value| reply.bulk(value));
        }
    }
}

/// So many different fields, or all.
fn draw<'d>(hash: &HashRef<'d>, count: usize, now: u64) -> Vec<Pair<'d>> {
    let mut all = Vec::new();
    hash.each(now, |field, value| all.push((field, value)));
    let count = count.min(all.len());
    if count == all.len() {
        return all;
    }
    // The first steps of Fisher and Yates's shuffle.
    for position in 0..count {
        let other = position + (random() % (all.len() - position) as u64) as usize;
        all.swap(position, other);
    }
    all.truncate(count);
    all
}

#[cfg(test)]
mod tests {
    use crate::{Clock, Config, Engine, Form};

    #[test]
    fn a_reply_without_a_bound_is_an_error_and_takes_no_memory() {
        let config = Config::from_text(b"max-reply-bytes 1mb").unwrap();
        let engine = Engine::builder().clock(Clock::manual(1_000_000)).config(config).open().unwrap();
        let db = engine.database(0).unwrap();
        db.hset("h", b"field", [b'v'; 1000]).unwrap();
        db.hset("empty", b"", b"").unwrap();
        db.set("long", vec![b'l'; 600_000]).unwrap();
        for form in [Form::Resp, Form::Tape] {
            let mut session = engine.session(form);
            let mut fails = |words: &[&str]| {
                let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
                let reply = session.execute(&words);
                assert!(reply.len() < 100);
                reply.windows(15).any(|part| part == b"max-reply-bytes")
            };
            for count in ["-1000000000", "-9223372036854775807", "-200000"] {
                assert!(fails(&["HRANDFIELD", "h", count]), "{count}");
            }
            assert!(fails(&["HRANDFIELD", "h", "-4611686018427387903", "WITHVALUES"]));
            assert!(fails(&["MGET", "long", "none", "long"]));
            assert!(fails(&["HRANDFIELD", "empty", "-1000000000"]));
            assert!(!fails(&["HRANDFIELD", "h", "-3"]) && !fails(&["EXISTS", "h"]));
        }
        let mut session = engine.session(Form::Resp);
        for words in [&["MULTI"][..], &["HRANDFIELD", "h", "-1000000000"], &["SET", "k", "v"]] {
            session.execute(&words.iter().map(|word| word.as_bytes()).collect::<Vec<_>>());
        }
        let replies = session.execute(&[b"EXEC"]).to_vec();
        let replies = String::from_utf8(replies).unwrap();
        assert!(replies.starts_with("*2\r\n-ERR the reply") && replies.ends_with("\r\n+OK\r\n"), "{replies}");
    }
}
