//! `FIELDS numfields field ...`, the clause of the commands on deadlines of fields.

use crate::command::spec::{ArgKind, ArgSpec};
use crate::command::{Arg, Args, Argv};
use crate::error::{Error, Result};
use crate::num;

const NUMFIELDS: ArgSpec = ArgSpec { name: "numfields", kind: ArgKind::Integer, ..ArgSpec::PLAIN };

fn wrong_count() -> Error {
    Error::command("numfields should be greater than 0 and match the provided number of fields")
}

/// Reads the count and what follows it, which must be `per_field` words for each field.
fn counted<'a>(args: &mut Args<'a>, per_field: usize) -> Result<&'a [&'a [u8]]> {
    let count = num::parse_i64(args.value()?).ok_or_else(Error::not_an_integer)?;
    let words = args.take_rest();
    let is_right = usize::try_from(count)
        .is_ok_and(|count| count > 0 && count.checked_mul(per_field) == Some(words.len()));
    if is_right { Ok(words) } else { Err(wrong_count()) }
}

/// Names of fields.
pub(crate) struct FieldNames<'a>(pub(crate) Vec<&'a [u8]>);

impl<'a> Arg<'a> for FieldNames<'a> {
    const SPEC: ArgSpec = ArgSpec {
        kind: ArgKind::Block,
        token: Some("FIELDS"),
        args: &[NUMFIELDS, ArgSpec { name: "field", multiple: true, ..ArgSpec::PLAIN }],
        ..ArgSpec::PLAIN
    };

    fn parse(args: &mut Args<'a>) -> Result<Self> {
        if !args.skip_token("FIELDS") {
            return Err(Error::syntax());
        }
        counted(args, 1).map(|words| Self(words.to_vec()))
    }

    fn encode(&self, out: &mut Argv) {
        out.push(b"FIELDS".to_vec());
        out.push(self.0.len().to_string().into_bytes());
        out.extend(self.0.iter().map(|field| field.to_vec()));
    }
}

/// Fields with their values.
pub(crate) struct FieldValues<'a>(pub(crate) Vec<(&'a [u8], &'a [u8])>);

impl<'a> Arg<'a> for FieldValues<'a> {
    const SPEC: ArgSpec = ArgSpec {
        kind: ArgKind::Block,
        token: Some("FIELDS"),
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
        if !args.skip_token("FIELDS") {
            return Err(Error::syntax());
        }
        let words = counted(args, 2)?;
        Ok(Self(words.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect()))
    }

    fn encode(&self, out: &mut Argv) {
        out.push(b"FIELDS".to_vec());
        out.push(self.0.len().to_string().into_bytes());
        for (field, value) in &self.0 {
            out.extend([field.to_vec(), value.to_vec()]);
        }
    }
}

/// The words of a command on some fields, for the log.
pub(crate) fn words(command: &[&[u8]], fields: &[&[u8]]) -> Argv {
    let mut argv: Argv = command.iter().map(|word| word.to_vec()).collect();
    FieldNames(fields.to_vec()).encode(&mut argv);
    argv
}
