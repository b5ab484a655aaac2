//! `FIELDS numfields field ...`, the clause of the commands on deadlines of fields.

use crate::alloc;
use crate::command::spec::{ArgKind, ArgSpec};
use crate::command::{Arg, Args, Argv, is_token};
use crate::error::{Error, Result};
use crate::keyspace::Key;
use crate::num;

/// The server's manual names the key here as well.
const NUMFIELDS: ArgSpec =
    ArgSpec { name: "numfields", kind: ArgKind::Integer, key_spec: Some(0), ..ArgSpec::PLAIN };

/// The keyword of the clause.
pub(crate) const TOKEN: &str = "FIELDS";

/// The error of a count that does not fit.
pub(crate) fn wrong_count() -> Error {
    Error::command("numfields should be greater than 0 and match the provided number of fields")
}

/// A clause that was read: its keyword as the caller spelled it, and the words behind the count.
type Clause<'a> = (&'a [u8], &'a [&'a [u8]]);

/// Reads the keyword, the count and what follows it, which must be `per_field` words for each field.
fn counted<'a>(args: &mut Args<'a>, per_field: usize, wrong_count: fn() -> Error) -> Result<Clause<'a>> {
    let token = args.value()?;
    if !is_token(token, TOKEN) {
        return Err(Error::syntax());
    }
    let count = num::parse_i64(args.value()?).ok_or_else(Error::not_an_integer)?;
    let words = args.take_rest();
    let is_right = usize::try_from(count)
        .is_ok_and(|count| count > 0 && count.checked_mul(per_field) == Some(words.len()));
    if is_right { Ok((token, words)) } else { Err(wrong_count()) }
}

/// The key of a command whose clause of fields may begin with the key: where that is called FIELDS, the server takes the name for the keyword.
pub(crate) struct KeyOrFields<'a> {
    pub(crate) key: Key<'a>,
}

impl KeyOrFields<'_> {
    fn is_keyword(&self) -> bool {
        is_token(self.key.bytes(), TOKEN)
    }
}

impl<'a> Arg<'a> for KeyOrFields<'a> {
    const SPEC: ArgSpec = ArgSpec { kind: ArgKind::Key, ..ArgSpec::PLAIN };

    fn parse(args: &mut Args<'a>) -> Result<Self> {
        let key = args.peek().map(|word| args.key(word)).ok_or_else(|| args.arity_error())?;
        // The server looks for the keyword first, and for a word behind it.
        let keyword = args.rest().iter().position(|word| is_token(word, TOKEN));
        if keyword.is_none_or(|place| place + 1 >= args.remaining()) {
            return Err(wrong_count());
        }
        let key = Self { key };
        if !key.is_keyword() {
            args.next();
        }
        Ok(key)
    }

    fn encode(&self, out: &mut Argv) {
        if !self.is_keyword() {
            self.key.encode(out);
        }
    }

    fn each_key(&self, visit: &mut dyn FnMut(&Key<'a>)) {
        visit(&self.key);
    }
}

/// Names of fields.
pub(crate) struct FieldNames<'a> {
    token: &'a [u8],
    pub(crate) names: Vec<&'a [u8]>,
}

impl<'a> FieldNames<'a> {
    /// Reads the clause; a count that does not fit the words is the given error.
    pub(crate) fn parse_or(args: &mut Args<'a>, wrong_count: fn() -> Error) -> Result<Self> {
        let (token, words) = counted(args, 1, wrong_count)?;
        Ok(Self { token, names: alloc::collected(words.iter().copied())? })
    }
}

impl<'a> Arg<'a> for FieldNames<'a> {
    const SPEC: ArgSpec = ArgSpec {
        kind: ArgKind::Block,
        token: Some(TOKEN),
        args: &[NUMFIELDS, ArgSpec { name: "field", multiple: true, ..ArgSpec::PLAIN }],
        ..ArgSpec::PLAIN
    };

    fn parse(args: &mut Args<'a>) -> Result<Self> {
        Self::parse_or(args, wrong_count)
    }

    fn encode(&self, out: &mut Argv) {
        out.push(self.token.to_vec());
        out.push(self.names.len().to_string().into_bytes());
        out.extend(self.names.iter().map(|field| field.to_vec()));
    }
}

/// Fields with their values.
pub(crate) struct FieldValues<'a> {
    token: &'a [u8],
    pub(crate) data: Vec<(&'a [u8], &'a [u8])>,
}

impl<'a> Arg<'a> for FieldValues<'a> {
    const SPEC: ArgSpec = ArgSpec {
        kind: ArgKind::Block,
        token: Some(TOKEN),
        args: &[
            NUMFIELDS,
            ArgSpec {
                name: "data",
                kind: ArgKind::Block,
                multiple: true,
                args: &[
                    ArgSpec { name: "field", ..ArgSpec::PLAIN },
                    ArgSpec { name: "value", ..ArgSpec::PLAIN },
                ],
                ..ArgSpec::PLAIN
            },
        ],
        ..ArgSpec::PLAIN
    };

    fn parse(args: &mut Args<'a>) -> Result<Self> {
        let (token, words) = counted(args, 2, wrong_count)?;
        Ok(Self { token, data: alloc::collected(words.chunks_exact(2).map(|pair| (pair[0], pair[1])))? })
    }

    fn encode(&self, out: &mut Argv) {
        out.push(self.token.to_vec());
        out.push(self.data.len().to_string().into_bytes());
        for (field, value) in &self.data {
            out.extend([field.to_vec(), value.to_vec()]);
        }
    }
}

/// The words of a command on some fields, for the log.
pub(crate) fn words(command: &[&[u8]], fields: &[&[u8]]) -> Argv {
    let mut argv: Argv = command.iter().map(|word| word.to_vec()).collect();
    FieldNames { token: TOKEN.as_bytes(), names: fields.to_vec() }.encode(&mut argv);
    argv
}
