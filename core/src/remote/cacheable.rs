//! Which commands' replies may be kept near, as the command table says.

use std::sync::LazyLock;

use crate::command::keys;
use crate::command::shape::Shape;
use crate::command::spec::{Flags, Group, Spec};
use crate::commands::table::{self, Found};

/// How a command's reply may be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keeping {
    /// Not at all.
    Not,
    /// As long as the key lives.
    WithKey,
    /// As long as the key and these of its fields live, which may end earlier.
    WithFields,
}

/// A command as far as keeping its reply goes.
#[derive(Clone, Copy)]
pub(super) struct Row {
    pub(super) keeping: Keeping,
    /// What RESP3 replies tells what RESP2 would.
    pub(super) is_same_in_resp2: bool,
}

static ROWS: LazyLock<Vec<Row>> = LazyLock::new(|| {
    table::all()
        .iter()
        .map(|found| Row { keeping: keeping(found.spec), is_same_in_resp2: is_same_in_resp2(found.spec) })
        .collect()
});

/// What holds for a command.
pub(super) fn row(found: &Found) -> Row {
    ROWS[found.id]
}

fn keeping(spec: &Spec) -> Keeping {
    let flags = |flags: Flags| spec.flags.contains(flags);
    // The time, chance and the place in a scan are in these replies; others depend on more than their key, or are kept by the remote itself.
    let is_steady = !spec.tips.contains(&"nondeterministic_output");
    let is_of_one_key = spec.keys.len() == 1 && !flags(Flags::MOVABLEKEYS);
    let is_read = flags(Flags::READONLY) && !flags(Flags::BLOCKING) && !flags(Flags::MAY_REPLICATE);
    if !(is_steady && is_of_one_key && is_read) || spec.whole_keyspace {
        return Keeping::Not;
    }
    match (spec.group, spec.name) {
        // Fields end by themselves, and nobody tells when.
        (Group::Hash, "hget" | "hexists" | "hmget" | "hstrlen") => Keeping::WithFields,
        (Group::Hash, _) => Keeping::Not,
        // These are asked for what they do there, or for what changes without the key being changed.
        (_, "touch" | "memory|usage" | "xinfo|groups" | "xinfo|stream") => Keeping::Not,
        // Coordinates have more digits than a double, as which replies are taken apart here.
        (Group::Geo, name) if !matches!(name, "geodist" | "geohash") => Keeping::Not,
        _ => Keeping::WithKey,
    }
}

fn is_same_in_resp2(spec: &Spec) -> bool {
    Shape::parse(spec.reply).is_some_and(|shape| is_flat(&shape, false))
}

fn is_flat(shape: &Shape, is_within: bool) -> bool {
    match shape {
        Shape::Ok | Shape::Simple | Shape::Bulk | Shape::Int | Shape::Double | Shape::Null => true,
        Shape::Bool | Shape::NullArray | Shape::Verbatim | Shape::Any => false,
        Shape::Array(inner) | Shape::Set(inner) => !is_within && is_flat(inner, true),
        Shape::Map(key, value) => !is_within && is_flat(key, true) && is_flat(value, true),
        Shape::OneOf(choices) => choices.iter().all(|choice| is_flat(choice, is_within)),
    }
}

/// The one key of a call, if it has just one.
pub(super) fn only_key<'w>(spec: &Spec, argv: &[&'w [u8]]) -> Option<&'w [u8]> {
    let (mut key, mut count) = (None, 0);
    let is_sound = keys::each_position(spec, argv, |position, _| {
        key = argv.get(position).copied();
        count += 1;
    });
    key.filter(|_| is_sound && count == 1)
}

/// The command of a call, as bytes that tell its words apart: a name in small letters and the words behind it, each after its length.
pub(super) fn identity(spec: &Spec, argv: &[&[u8]]) -> Vec<u8> {
    let words = 1 + spec.name.bytes().filter(|byte| *byte == b'|').count();
    let mut identity = spec.name.as_bytes().to_vec();
    for word in argv.get(words..).unwrap_or_default() {
        identity.extend_from_slice(&(word.len() as u64).to_le_bytes());
        identity.extend_from_slice(word);
    }
    identity
}

/// Whether a command so told is GET.
pub(super) fn is_get(identity: &[u8]) -> bool {
    identity
        .strip_prefix(b"get")
        .is_some_and(|rest| rest.get(1..8).is_some_and(|high| high.iter().all(|byte| *byte == 0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(keeping: Keeping) -> Vec<&'static str> {
        let all = table::all().iter();
        all.filter(|found| row(found).keeping == keeping).map(|found| found.spec.name).collect()
    }

    /// R5: the whole table, by name, so that a new command has to be looked at.
    #[test]
    fn r5_only_what_depends_on_its_key_alone_is_kept() {
        assert_eq!(names(Keeping::WithFields), ["hexists", "hget", "hmget", "hstrlen"]);
        let mut of_keys = names(Keeping::WithKey);
        of_keys.sort_unstable();
        let expected = "bitcount bitfield_ro bitpos exists expiretime geodist geohash get getbit \
             getrange lcs lindex llen lpos lrange mget pexpiretime pfcount scard sdiff sinter sismember smembers smismember strlen substr sunion type \
             xlen xrange xrevrange zcard zcount zlexcount zmscore zrange zrangebylex zrangebyscore zrank zrevrange zrevrangebylex zrevrangebyscore \
             zrevrank zscore";
        assert_eq!(of_keys.join(" "), expected);
    }

    #[test]
    fn words_are_told_apart() {
        let identity = |argv: &[&[u8]]| identity(table::find(argv).unwrap().spec, argv);
        assert_ne!(identity(&[b"HMGET", b"h", b"a", b"b"]), identity(&[b"HMGET", b"h", b"ab"]));
        assert_eq!(identity(&[b"get", b"k"]), identity(&[b"GET", b"k"]));
        assert!(is_get(&identity(&[b"GET", b"k"])) && !is_get(&identity(&[b"GETRANGE", b"k", b"0", b"1"])));
        assert!(!is_get(&identity(&[b"GETBIT", b"k", b"0"])));
    }
}
