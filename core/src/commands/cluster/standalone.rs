//! CLUSTER, CLUSTER KEYSLOT, CLUSTERSCAN, ASKING, READONLY and READWRITE.

use super::nodes::disabled;
use crate::command::spec::{BeginSearch, FindKeys};
use crate::command::{Args, Command, Context, Reply, Session};
use crate::error::Result;

/// Holds the commands about the cluster.
#[derive(Command)]
#[command(
    name = "CLUSTER", group = Cluster, since = "3.0.0", complexity = "Depends on subcommand.", arity = -2,
    container, reply = "any",
)]
pub struct Cluster {}

/// Returns the slot of a key in a cluster.
///
/// Returns its number: the checksum of the key, or of what stands in its first braces.
#[derive(Command)]
#[command(
    name = "CLUSTER|KEYSLOT", group = Cluster, since = "3.0.0", complexity = "O(N) where N is the number of bytes in the key", arity = 3,
    flags(STALE),
    reply = "int",
)]
pub struct ClusterKeySlot<'a> {
    key: &'a [u8],
}

impl Session for ClusterKeySlot<'_> {
    fn execute(&self, _: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        reply.integer(slot_of(self.key).into());
        Ok(())
    }
}

/// The slot of a key.
fn slot_of(key: &[u8]) -> u16 {
    const SLOTS: u16 = 16_384;
    let tag = memchr::memchr(b'{', key).and_then(|open| {
        let rest = &key[open + 1..];
        memchr::memchr(b'}', rest).filter(|len| *len > 0).map(|len| &rest[..len])
    });
    checksum(tag.unwrap_or(key)) % SLOTS
}

/// CRC-16 of XMODEM: polynomial 0x1021, begun with 0, the highest bit first.
fn checksum(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |sum: u16, byte| {
        (0..8)
            .fold(sum ^ u16::from(*byte) << 8, |sum, _| sum << 1 ^ if sum & 0x8000 == 0 { 0 } else { 0x1021 })
    })
}

/// Iterates over the keys of a cluster.
///
/// Returns an error: the engine is in no cluster.
#[derive(Command)]
#[command(
    name = "CLUSTERSCAN", group = Cluster, since = "9.1.0", complexity = "O(N) where N is the number of elements returned.", arity = -2,
    flags(READONLY), acl(KEYSPACE), tips("nondeterministic_output", "request_policy:special", "response_policy:special"),
    session, custom_parse, reply = "any",
    extra_key(NOT_KEY, begin = BeginSearch::Index(1), find = FindKeys::Range { last: 0, step: 1, limit: 0 }),
)]
pub struct ClusterScan<'a> {
    cursor: &'a [u8],
    #[arg(token = "MATCH", display = "match-pattern", kind = Pattern)]
    match_pattern: Option<&'a [u8]>,
    #[arg(token = "COUNT", kind = Integer)]
    count: Option<&'a [u8]>,
    #[arg(token = "TYPE")]
    r#type: Option<&'a [u8]>,
    #[arg(token = "SLOT", kind = Integer)]
    slot: Option<&'a [u8]>,
}

impl<'a> ClusterScan<'a> {
    /// The server looks at no option before it refuses.
    fn parse_args(args: &mut Args<'a>) -> Result<Self> {
        let cursor = args.required()?;
        args.take_rest();
        Ok(Self { cursor, match_pattern: None, count: None, r#type: None, slot: None })
    }
}

impl Session for ClusterScan<'_> {
    fn execute(&self, _: &mut Context<'_, '_>, _: &mut Reply) -> Result<()> {
        Err(disabled())
    }
}

/// Lets the next command at a slot that is being moved here.
///
/// Returns an error: the engine is in no cluster.
#[derive(Command)]
#[command(
    name = "ASKING", group = Cluster, since = "3.0.0", complexity = "O(1)", arity = 1,
    flags(FAST), acl(CONNECTION),
    reply = "any",
)]
pub struct Asking {}

impl Session for Asking {
    fn execute(&self, _: &mut Context<'_, '_>, _: &mut Reply) -> Result<()> {
        Err(disabled())
    }
}

/// Lets the session read from a replica.
///
/// Returns `OK`. The engine is no replica: nothing changes.
#[derive(Command)]
#[command(
    name = "READONLY", group = Cluster, since = "3.0.0", complexity = "O(1)", arity = 1,
    flags(LOADING, STALE, FAST), acl(CONNECTION),
    reply = "ok",
)]
pub struct ReadOnly {}

impl Session for ReadOnly {
    fn execute(&self, _: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        reply.ok();
        Ok(())
    }
}

/// Ends READONLY.
///
/// Returns `OK`.
#[derive(Command)]
#[command(
    name = "READWRITE", group = Cluster, since = "3.0.0", complexity = "O(1)", arity = 1,
    flags(LOADING, STALE, FAST), acl(CONNECTION),
    reply = "ok",
)]
pub struct ReadWrite {}

impl Session for ReadWrite {
    fn execute(&self, _: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        reply.ok();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_clusters() {
        // The check value of CRC-16/XMODEM.
        assert_eq!(checksum(b"123456789"), 0x31c3);
        let slots = [b"foo".as_slice(), b"{foo}bar", b"bar{foo}", b"", b"{}a", b"a{b}c{d}"].map(slot_of);
        assert_eq!(slots, [12182, 12182, 12182, 0, 10875, 3300]);
    }
}
