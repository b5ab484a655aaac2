//! Reads: from what is near, or by fetches that are kept there.

use super::flight::{Answer, Flight, Lost};
use super::link::Link;
use super::near::{Begun, Near};
use super::{Inner, RETRIES, Side, cacheable, codec};
use crate::backend;
use crate::clock::Clock;
use crate::command::Reply;
use crate::commands::table::{self, Found};
use crate::resp::Value;
use crate::sync::Arc;
use cacheable::Keeping;

impl Inner {
    /// Replies to a command from what is near, or from a fetch that is kept near. False: neither can be.
    pub(super) fn read_near(
        &self,
        side: &Side,
        db: usize,
        found: &Found,
        argv: &[&[u8]],
        reply: &mut Reply,
    ) -> bool {
        let (Some(near), Some(link)) = (&side.near, &side.link) else { return false };
        let row = cacheable::row(found);
        let is_one = row.keeping != Keeping::Not && (reply.resp3() || row.is_same_in_resp2);
        if !is_one || db != near.db || !found.spec.arity_allows(argv.len()) {
            return false;
        }
        let Some(key) = cacheable::only_key(found.spec, argv) else { return false };
        let command = cacheable::identity(found.spec, argv);
        let is_get = cacheable::is_get(&command);
        if near.reply(key, &command, is_get, reply) {
            return true;
        }
        let fields = if row.keeping == Keeping::WithFields { argv.get(2..).unwrap_or_default() } else { &[] };
        let wanted = Wanted { key, command: &command, argv, fields };
        for _ in 0..=RETRIES {
            if !link.is_live() {
                break;
            }
            match self.fetched(near, link, &wanted) {
                Ok(value) => {
                    codec::write(&value, reply);
                    return true;
                }
                // Another link may be there soon, and until then a plain connection serves.
                Err(Lost::Link) => {}
                Err(lost) => {
                    side.breaker.failed();
                    self.answer_down(Some(found), argv, &lost.error(&self.address.endpoint), reply);
                    return true;
                }
            }
        }
        false
    }

    fn fetched(&self, near: &Near, link: &Link, wanted: &Wanted<'_>) -> Answer {
        backend::wait(|| link.wait(&under_way(near, link, wanted).slot, self.options.timeout))
    }

    /// The strings of keys, from what is near and else by fetches that go together. False: they can't be had so.
    pub(super) fn read_many(&self, side: &Side, db: usize, argv: &[&[u8]], reply: &mut Reply) -> bool {
        let (Some(near), Some(link), Some(get)) = (&side.near, &side.link, table::by_name(b"get")) else {
            return false;
        };
        if db != near.db || argv.len() < 2 || !link.is_live() {
            return false;
        }
        let mut parts = Vec::with_capacity(argv.len() - 1);
        for key in &argv[1..] {
            let argv: [&[u8]; 2] = [b"GET", key];
            let command = cacheable::identity(get.spec, &argv);
            let found = near.find(key, &command, true, Value::clone);
            near.count_read(found.is_some());
            let wanted = Wanted { key, command: &command, argv: &argv, fields: &[] };
            parts.push(found.ok_or_else(|| under_way(near, link, &wanted)));
        }
        let timer = Clock::system().timer();
        let start = reply.len();
        reply.array(parts.len());
        for part in parts {
            let flight = match part {
                Ok(value) => {
                    codec::write(&value, reply);
                    continue;
                }
                Err(flight) => flight,
            };
            let left = self.options.timeout.saturating_sub(timer.elapsed());
            match backend::wait(|| link.wait(&flight.slot, left)) {
                // What holds no string is no string, for MGET.
                Ok(value) if codec::failure(&value).is_some_and(|told| told.starts_with(b"WRONGTYPE")) => {
                    reply.null()
                }
                Ok(value) if codec::failure(&value).is_none() => codec::write(&value, reply),
                _ => {
                    reply.truncate(start);
                    return false;
                }
            }
        }
        true
    }
}

/// What is to be fetched: what a command says of a key.
struct Wanted<'w> {
    key: &'w [u8],
    command: &'w [u8],
    argv: &'w [&'w [u8]],
    /// Fields of a hash that the reply depends on.
    fields: &'w [&'w [u8]],
}

/// The fetch of something, which is begun if nobody has.
fn under_way(near: &Near, link: &Link, wanted: &Wanted<'_>) -> Arc<Flight> {
    match near.begin(wanted.key, wanted.command) {
        Begun::Join(flight) => flight,
        Begun::Lead(flight) => {
            if !link.fetch(&flight, wanted.argv, wanted.fields) {
                near.land(&flight, None);
                flight.slot.fill(Err(Lost::Link));
            }
            flight
        }
    }
}
