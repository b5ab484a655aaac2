//! What DUMP replies: form (1 byte) | value | version (u16) | checksum of all before it (u64).

use super::decoder::{Damage, Decoder};
use super::encoder::Encoder;
use super::values::{Built, Making, form_of, write};
use super::{VERSION, is_read};
use crate::config::Hot;
use crate::error::{Error, Result};
use crate::value::Value;
use crc::{CRC_64_REDIS, Crc, Table};

/// How the checksum is reckoned.
pub(super) type Tables = Table<16>;

pub(super) static CHECKSUM: Crc<u64, Tables> = Crc::<u64, Tables>::new(&CRC_64_REDIS);

/// Bytes behind the value.
const BEHIND: usize = 10;

/// The payload of a value. O(bytes).
///
/// # Errors
/// There is no memory.
pub(crate) fn dumped(value: Value<'_>, options: &Hot) -> Result<Vec<u8>> {
    let mut out = Encoder::new(options.rdb_compression());
    out.byte(form_of(value))?;
    write(value, &mut out)?;
    sealed(out)
}

/// Bytes of a value in a file, without the form. O(bytes).
///
/// # Errors
/// There is no memory.
pub(crate) fn serialized_len(value: Value<'_>, options: &Hot) -> Result<usize> {
    let mut out = Encoder::new(options.rdb_compression());
    write(value, &mut out)?;
    Ok(out.bytes().len())
}

fn sealed(mut value: Encoder<'_>) -> Result<Vec<u8>> {
    value.raw(&VERSION.to_le_bytes())?;
    let checksum = CHECKSUM.checksum(value.bytes());
    value.raw(&checksum.to_le_bytes())?;
    Ok(value.into_bytes())
}

/// A payload of libraries of functions, as FUNCTION DUMP replies it.
///
/// # Errors
/// There is no memory.
#[cfg(feature = "scripting")]
pub(crate) fn dumped_functions(libraries: &[Vec<u8>], options: &Hot) -> Result<Vec<u8>> {
    let mut out = Encoder::new(options.rdb_compression());
    for library in libraries {
        out.byte(super::file::mark::FUNCTIONS)?;
        out.packed(library)?;
    }
    sealed(out)
}

/// The libraries of functions in a payload, which may be anybody's.
///
/// # Errors
/// It is of another version or damaged, holds something else, or there is no memory.
#[cfg(feature = "scripting")]
pub(crate) fn restored_functions(payload: &[u8], options: &Hot) -> Result<Vec<Vec<u8>>> {
    let records = checked(payload, options)
        .ok_or_else(|| Error::command("DUMP payload version or checksum are wrong"))?;
    let mut bytes = Decoder::new(records, options.proto_max_bulk_len());
    let mut libraries = Vec::new();
    let broken = |damage| match damage {
        Damage::Memory(error) => error,
        _ => Error::command("failed loading functions from the given payload"),
    };
    while !bytes.is_at_end() {
        if bytes.byte().map_err(broken)? != super::file::mark::FUNCTIONS {
            return Err(Error::command("given type is not a function"));
        }
        libraries.push(crate::alloc::copied(bytes.string().map_err(broken)?)?);
    }
    Ok(libraries)
}

/// The payload of these bytes, whatever they are.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn payload_of(bytes: &[u8]) -> Vec<u8> {
    let mut value = Encoder::new(false);
    let payload = value.raw(bytes).and_then(|()| sealed(value));
    payload.expect("there is memory")
}

/// The value of a payload, which may be anybody's. O(bytes), and what its elements cost to add.
///
/// # Errors
/// It is of another version or damaged, or there is no memory.
pub(crate) fn restored(payload: &[u8], making: Making<'_>) -> Result<Built> {
    let value = checked(payload, making.options)
        .ok_or_else(|| Error::command("DUMP payload version or checksum are wrong"))?;
    let mut bytes = Decoder::new(value, making.options.proto_max_bulk_len());
    let built = bytes.byte().and_then(|form| making.read(form, &mut bytes));
    built.map_err(|damage| match damage {
        Damage::Data(_) => Error::command("Bad data format"),
        Damage::Memory(error) => error,
        Damage::Source(_) => unreachable!("a payload is in memory"),
    })
}

/// Form and value, if version and checksum are right.
fn checked<'p>(payload: &'p [u8], options: &Hot) -> Option<&'p [u8]> {
    let (value, behind) = payload.split_at_checked(payload.len().checked_sub(BEHIND)?)?;
    let (version, checksum) = behind.split_first_chunk()?;
    let checksum = u64::from_le_bytes(*checksum.first_chunk()?);
    let is_right = checksum == CHECKSUM.checksum(&payload[..payload.len() - 8]);
    (is_read(u16::from_le_bytes(*version), options) && is_right).then_some(value)
}
