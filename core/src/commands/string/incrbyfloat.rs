//! INCRBYFLOAT: addition in the server's long double, so that the digits agree.

use crate::command::spec::{ArgKind, ArgSpec};
use crate::command::{Arg, Args, Argv, Command, Reply, Write};
use crate::error::{Error, Result};
use crate::keyspace::{Db, EventClass, Key};
use crate::num::LongDouble;
use crate::value::Kind;
use crate::value::NewValue;

/// Adds a floating point number to the number of a key; a missing key counts as 0.
///
/// Returns the new value as a string, without exponent and without trailing zeros.
#[derive(Command)]
#[command(
    name = "INCRBYFLOAT", group = String, since = "2.6.0", complexity = "O(1)", arity = 3,
    flags(WRITE, DENYOOM, FAST),
    reply = "bulk",
)]
pub struct IncrByFloat<'a> {
    #[key(RW, ACCESS, UPDATE)]
    key: Key<'a>,
    increment: LateDouble<'a>,
}

/// A number that is judged only after the value it is added to.
#[derive(Clone, Copy)]
pub(crate) struct LateDouble<'a>(pub(crate) &'a [u8]);

impl<'a> Arg<'a> for LateDouble<'a> {
    const SPEC: ArgSpec = ArgSpec { kind: ArgKind::Double, ..ArgSpec::PLAIN };

    fn parse(args: &mut Args<'a>) -> Result<Self> {
        args.required().map(LateDouble)
    }

    fn encode(&self, out: &mut Argv) {
        out.push(self.0.to_vec());
    }
}

impl Write for IncrByFloat<'_> {
    fn execute(&self, db: &mut Db<'_>, reply: &mut Reply) -> Result<()> {
        let old = match db.lookup_mut(&self.key) {
            Some(entry) => LongDouble::parse(&entry.value().text()?).ok_or_else(Error::not_a_float)?,
            None => LongDouble::parse(b"0").expect("zero is a number"),
        };
        let increment = LongDouble::parse(self.increment.0).ok_or_else(Error::not_a_float)?;
        let sum = old.add(increment);
        if !sum.is_finite() {
            return Err(Error::command("increment would produce NaN or Infinity"));
        }
        let mut text = Vec::new();
        sum.write_human(&mut text);
        let value = NewValue::Bytes(Kind::Embedded, &text);
        match db.lookup_mut(&self.key) {
            Some(mut entry) => entry.set_value(value)?,
            None => db.insert(&self.key, value, None)?,
        }
        db.notify(EventClass::String, "incrbyfloat", self.key.bytes());
        reply.bulk(&text);
        db.propagate(|| vec![b"SET".to_vec(), self.key.bytes().to_vec(), text, b"KEEPTTL".to_vec()]);
        Ok(())
    }
}
