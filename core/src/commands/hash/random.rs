//! HRANDFIELD.

use super::hash_of;
use crate::command::spec::ArgSpec;
use crate::command::{Arg, Args, Argv, Command, Read, Reply};
use crate::error::{Error, Result};
use crate::keyspace::{Db, Key};
use crate::store::random;
use crate::value::HashRef;
use crate::value::listpack::Element;

/// A count whose sign can be changed; judged before what stands behind it.
struct Count(i64);

impl<'a> Arg<'a> for Count {
    const SPEC: ArgSpec = <i64 as Arg<'a>>::SPEC;

    fn parse(args: &mut Args<'a>) -> Result<Self> {
        const LEAST: i64 = -i64::MAX;
        match i64::parse(args)? {
            count if count < LEAST => Err(Error::command(format_args!(
                "value is out of range, value must between {LEAST} and {}",
                i64::MAX
            ))),
            count => Ok(Self(count)),
        }
    }

    fn encode(&self, out: &mut Argv) {
        self.0.encode(out);
    }
}

#[derive(Arg)]
struct Options {
    #[arg(name = "count")]
    count: Count,
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
        let drawn = match hash_of(db, &self.key)? {
            Some(hash) => draw(&hash, options.count.0, db.now()),
            None => Vec::new(),
        };
        options.reply(&drawn, reply);
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

    fn reply(&self, drawn: &[Pair<'_>], reply: &mut Reply) {
        if !self.withvalues {
            reply.array(drawn.len());
            drawn.iter().for_each(|(field, _)| field.with(|field| reply.bulk(field)));
            return;
        }
        reply.array(if reply.resp3() { drawn.len() } else { drawn.len() * 2 });
        for (field, value) in drawn {
            if reply.resp3() {
                reply.array(2);
            }
            field.with(|field| reply.bulk(field));
            value.with(|value| reply.bulk(value));
        }
    }
}

fn draw<'d>(hash: &HashRef<'d>, count: i64, now: u64) -> Vec<Pair<'d>> {
    if count < 0 {
        return (0..count.unsigned_abs()).map_while(|_| hash.random(now)).collect();
    }
    let mut all = Vec::new();
    hash.each(now, |field, value| all.push((field, value)));
    let count = usize::try_from(count).unwrap_or(usize::MAX).min(all.len());
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
