//! BITFIELD and BITFIELD_RO.
//!
//! Their words are read while they run, since the greatest offset is an option of the engine, and the first error in the order of the words counts.

use super::integer::{Overflow, Width};
use super::offset;
use crate::alloc;
use crate::command::spec::{ArgKind, ArgSpec};
use crate::command::{Arg, Args, Argv, Command, Read, Reply, Write, is_token};
use crate::error::{Error, Result};
use crate::keyspace::{Db, EventClass, Key};
use crate::num;

/// Bytes of the longest reply to an operation.
const LONGEST_REPLY: usize = ":-9223372036854775808\r\n".len();

const ENCODING: ArgSpec = ArgSpec { name: "encoding", ..ArgSpec::PLAIN };

const fn integer(name: &'static str) -> ArgSpec {
    ArgSpec { name, kind: ArgKind::Integer, ..ArgSpec::PLAIN }
}

const fn token(name: &'static str, token: &'static str) -> ArgSpec {
    ArgSpec { name, kind: ArgKind::PureToken, token: Some(token), ..ArgSpec::PLAIN }
}

const fn block(name: &'static str, token: &'static str, args: &'static [ArgSpec]) -> ArgSpec {
    ArgSpec { name, kind: ArgKind::Block, token: Some(token), args, ..ArgSpec::PLAIN }
}

/// Any number of operations.
const OPERATIONS: ArgSpec = ArgSpec {
    kind: ArgKind::OneOf,
    optional: true,
    args: &[
        block("get-block", "GET", &[ENCODING, integer("offset")]),
        ArgSpec {
            name: "write",
            kind: ArgKind::Block,
            args: &[
                ArgSpec {
                    name: "overflow-block",
                    kind: ArgKind::OneOf,
                    token: Some("OVERFLOW"),
                    optional: true,
                    args: &[token("wrap", "WRAP"), token("sat", "SAT"), token("fail", "FAIL")],
                    ..ArgSpec::PLAIN
                },
                ArgSpec {
                    name: "write-operation",
                    kind: ArgKind::OneOf,
                    args: &[
                        block("set-block", "SET", &[ENCODING, integer("offset"), integer("value")]),
                        block("incrby-block", "INCRBY", &[ENCODING, integer("offset"), integer("increment")]),
                    ],
                    ..ArgSpec::PLAIN
                },
            ],
            ..ArgSpec::PLAIN
        },
    ],
    ..ArgSpec::PLAIN
};

/// Any number of operations that read.
const READS: ArgSpec =
    ArgSpec { optional: true, multiple_token: true, ..block("", "GET", &[ENCODING, integer("offset")]) };

/// A word of an operation; `READ` if there are only such that read.
struct Word<'a, const READ: bool>(&'a [u8]);

impl<'a, const READ: bool> Arg<'a> for Word<'a, READ> {
    const SPEC: ArgSpec = if READ { READS } else { OPERATIONS };

    fn parse(args: &mut Args<'a>) -> Result<Self> {
        args.required().map(Self)
    }

    fn encode(&self, out: &mut Argv) {
        out.push(self.0.to_vec());
    }
}

/// All words that are left.
fn words<'a, const READ: bool>(args: &mut Args<'a>) -> Result<Vec<Word<'a, READ>>> {
    alloc::collected(args.take_rest().iter().map(|word| Word(word)))
}

/// What is done with one integer.
#[derive(Clone, Copy)]
enum Act {
    Get,
    Set(i64, Overflow),
    Add(i64, Overflow),
}

struct Operation {
    act: Act,
    width: Width,
    offset: usize,
}

/// Reads operations from their words.
fn read<const READ: bool>(db: &Db<'_>, words: &[Word<'_, READ>]) -> Result<Vec<Operation>> {
    let mut operations = alloc::with_room_for(words.len() / 3)?;
    let mut overflow = Overflow::Wrap;
    let mut rest = words;
    while let Some((Word(name), arguments)) = rest.split_first() {
        let is = |token: &str, needed: usize| arguments.len() >= needed && is_token(name, token);
        if is("OVERFLOW", 1) {
            overflow = read_overflow(arguments[0].0)?;
            rest = &arguments[1..];
            continue;
        }
        let make: Option<fn(i64, Overflow) -> Act> = if is("GET", 2) {
            None
        } else if is("SET", 3) {
            Some(Act::Set)
        } else if is("INCRBY", 3) {
            Some(Act::Add)
        } else {
            return Err(Error::syntax());
        };
        let width = Width::read(arguments[0].0)?;
        let offset = offset(db, arguments[1].0, Some(width.bits))?;
        let act = match make {
            None => Act::Get,
            Some(make) => make(num::parse_i64(arguments[2].0).ok_or_else(Error::not_an_integer)?, overflow),
        };
        operations.push(Operation { act, width, offset });
        rest = &arguments[if make.is_some() { 3 } else { 2 }..];
    }
    Ok(operations)
}

fn read_overflow(word: &[u8]) -> Result<Overflow> {
    const NAMES: [(&str, Overflow); 3] =
        [("WRAP", Overflow::Wrap), ("SAT", Overflow::Saturate), ("FAIL", Overflow::Fail)];
    let found = NAMES.iter().find(|(name, _)| is_token(word, name));
    found.map(|(_, overflow)| *overflow).ok_or_else(|| Error::command("Invalid OVERFLOW type specified"))
}

/// Replies to operations of which none writes.
fn get_all(db: &Db<'_>, key: &Key<'_>, operations: &[Operation], reply: &mut Reply) -> Result<()> {
    let text = match db.lookup(key) {
        Some(entry) => Some(entry.value().text()?),
        None => None,
    };
    let text = text.as_deref().unwrap_or_default();
    reply.array(operations.len());
    operations.iter().for_each(|operation| reply.integer(operation.width.get(text, operation.offset)));
    Ok(())
}

/// Reads and changes integers of any width in the string of a key, padding with zero bytes where it is too short.
///
/// Returns a reply to each operation: GET the integer, SET the one that was there, INCRBY the new one, or null where it does not fit and OVERFLOW FAIL
/// stands before. An offset that begins with `#` counts integers of that width.
#[derive(Command)]
#[command(
    name = "BITFIELD", group = Bitmap, since = "3.2.0", complexity = "O(1) for each subcommand specified", arity = -2,
    flags(WRITE, DENYOOM),
    custom_parse, reply = "array(int | null)",
)]
pub struct BitField<'a> {
    #[key(
        RW,
        ACCESS,
        UPDATE,
        VARIABLE_FLAGS,
        notes = "This command allows both access and modification of the key"
    )]
    key: Key<'a>,
    operation: Vec<Word<'a, false>>,
}

impl<'a> BitField<'a> {
    fn parse_args(args: &mut Args<'a>) -> Result<Self> {
        Ok(Self { key: Key::parse(args)?, operation: words(args)? })
    }
}

impl Write for BitField<'_> {
    fn execute(&self, db: &mut Db<'_>, reply: &mut Reply) -> Result<()> {
        let operations = read(db, &self.operation)?;
        let writes = operations.iter().filter(|operation| !matches!(operation.act, Act::Get));
        let Some(end) = writes.map(|operation| operation.width.end(operation.offset)).max() else {
            return get_all(db, &self.key, &operations, reply);
        };
        reply.reserve((operations.len() + 1) * LONGEST_REPLY)?;
        grow(db, &self.key, end)?;
        reply.array(operations.len());
        if apply(db, &self.key, &operations, reply)? {
            db.notify(EventClass::String, "setbit", self.key.bytes());
        }
        Ok(())
    }
}

/// Sees to it that the string of a key has so many bytes.
fn grow(db: &mut Db<'_>, key: &Key<'_>, len: usize) -> Result<()> {
    let Some(mut entry) = db.lookup_mut(key) else {
        return db.insert_padded(key, len - 1, &[0]);
    };
    if entry.value().text()?.len() < len {
        return entry.write_string(len - 1, &[0]);
    }
    entry.make_raw()
}

/// Applies operations to the string of a key, which is long enough, and says whether any changed it. Only the first write may need memory: so none has
/// been made where it is refused.
fn apply(db: &mut Db<'_>, key: &Key<'_>, operations: &[Operation], reply: &mut Reply) -> Result<bool> {
    let mut has_changed = false;
    let Some(mut entry) = db.lookup_mut(key) else { return Ok(false) };
    for Operation { act, width, offset } in operations {
        let text = entry.value().text()?;
        let old = width.get(&text, *offset);
        let (new, replied) = match *act {
            Act::Get => (Some(old), old),
            Act::Set(value, overflow) => (width.fit(width.asked(value), overflow), old),
            Act::Add(increment, overflow) => {
                let sum = width.fit(i128::from(old) + i128::from(increment), overflow);
                (sum, sum.unwrap_or(old))
            }
        };
        match new {
            Some(_) => reply.integer(replied),
            None => reply.null(),
        }
        if let Some(new) = new.filter(|new| *new != old) {
            let (bytes, len) = width.put(&text, *offset, new);
            entry.write_string(offset / 8, &bytes[..len])?;
            has_changed = true;
        }
    }
    Ok(has_changed)
}

/// Reads integers of any width in the string of a key.
///
/// Returns the integers. An offset that begins with `#` counts integers of that width.
#[derive(Command)]
#[command(
    name = "BITFIELD_RO", group = Bitmap, since = "6.0.0", complexity = "O(1) for each subcommand specified", arity = -2,
    flags(READONLY, FAST),
    custom_parse, reply = "array(int)",
)]
pub struct BitFieldRo<'a> {
    #[key(RO, ACCESS)]
    key: Key<'a>,
    get_block: Vec<Word<'a, true>>,
}

impl<'a> BitFieldRo<'a> {
    fn parse_args(args: &mut Args<'a>) -> Result<Self> {
        Ok(Self { key: Key::parse(args)?, get_block: words(args)? })
    }
}

impl Read for BitFieldRo<'_> {
    fn execute(&self, db: &Db<'_>, reply: &mut Reply) -> Result<()> {
        let operations = read(db, &self.get_block)?;
        if operations.iter().any(|operation| !matches!(operation.act, Act::Get)) {
            return Err(Error::command("BITFIELD_RO only supports the GET subcommand"));
        }
        get_all(db, &self.key, &operations, reply)
    }
}
