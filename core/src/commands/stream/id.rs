//! IDs as commands name them.

use crate::command::spec::{ArgKind, ArgSpec};
use crate::command::{Arg, Args, Argv};
use crate::error::{Error, Result, until_zero};
use crate::num;
use crate::value::stream::Id;

fn invalid() -> Error {
    Error::command("Invalid stream ID specified as stream command argument")
}

/// A number of an ID: any that C's `strtoull` takes, but not a plain negative one.
fn number(text: &[u8]) -> Option<u64> {
    if let Some(number) = num::parse_i64(text) {
        return u64::try_from(number).ok();
    }
    let is_space = |byte: &u8| matches!(byte, b' ' | 0x09..=0x0d);
    let start = text.iter().position(|byte| !is_space(byte))?;
    let (is_negative, digits) = match &text[start..] {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.is_empty() {
        return None;
    }
    let value = digits.iter().try_fold(0_u64, |value, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        value.checked_mul(10)?.checked_add(digit)
    })?;
    Some(if is_negative { value.wrapping_neg() } else { value })
}

/// The two halves of an ID as the server sees them: up to a zero byte, and not for ever.
fn halves(text: &[u8]) -> Option<(&[u8], Option<&[u8]>)> {
    const LONGEST: usize = 127;
    if text.len() > LONGEST {
        return None;
    }
    let text = until_zero(text);
    Some(match memchr::memchr(b'-', text) {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    })
}

/// An ID, of which the second number may be missing.
///
/// # Errors
/// It is none.
pub(super) fn exact(text: &[u8], missing: u64) -> Result<Id> {
    let parsed = halves(text)
        .and_then(|(ms, seq)| Some(Id { ms: number(ms)?, seq: seq.map_or(Some(missing), number)? }));
    parsed.ok_or_else(invalid)
}

/// As [`exact`], or `-` for the least and `+` for the greatest ID.
///
/// # Errors
/// It is none of these.
pub(super) fn any(text: &[u8], missing: u64) -> Result<Id> {
    match until_zero(text) {
        b"-" => Ok(Id::MIN),
        b"+" => Ok(Id::MAX),
        _ => exact(text, missing),
    }
}

/// Where a range of IDs begins; behind an ID that follows a `(`.
///
/// # Errors
/// No ID, or the greatest one is left out.
pub(super) fn start(text: &[u8]) -> Result<Id> {
    match text {
        [b'(', text @ ..] if !text.is_empty() => {
            exact(text, 0)?.next().ok_or_else(|| Error::command("invalid start ID for the interval"))
        }
        _ => any(text, 0),
    }
}

/// Where a range of IDs ends; before an ID that follows a `(`.
///
/// # Errors
/// No ID, or the least one is left out.
pub(super) fn end(text: &[u8]) -> Result<Id> {
    match text {
        [b'(', text @ ..] if !text.is_empty() => {
            exact(text, u64::MAX)?.previous().ok_or_else(|| Error::command("invalid end ID for the interval"))
        }
        _ => any(text, u64::MAX),
    }
}

/// All of these IDs.
///
/// # Errors
/// One is none, or there is no memory.
pub(super) fn all(texts: &[&[u8]]) -> Result<Vec<Id>> {
    let mut ids = crate::alloc::with_room_for(texts.len())?;
    for text in texts {
        ids.push(exact(text, 0)?);
    }
    Ok(ids)
}

/// The ID of an entry that is to be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NewId {
    /// The time, and the next number.
    Auto,
    /// This time, and the next number.
    At(u64),
    Exact(Id),
}

impl NewId {
    /// # Errors
    /// No ID; `0-0` is one here.
    pub(super) fn check(text: &[u8]) -> Result<()> {
        match Self::parse(text) {
            Err(_) if exact(text, 0) == Ok(Id::MIN) => Ok(()),
            parsed => parsed.map(drop),
        }
    }

    /// # Errors
    /// No ID, or `0-0`.
    pub(super) fn parse(text: &[u8]) -> Result<Self> {
        if until_zero(text) == b"*" {
            return Ok(Self::Auto);
        }
        if let Some((ms, Some(b"*"))) = halves(text) {
            return number(ms).map(Self::At).ok_or_else(invalid);
        }
        match exact(text, 0)? {
            Id::MIN => Err(Error::command("The ID specified in XADD must be greater than 0-0")),
            id => Ok(Self::Exact(id)),
        }
    }

    /// The ID behind the last one of a stream.
    ///
    /// # Errors
    /// There is none, or it would not be greater.
    pub(super) fn behind(self, last: Id, now_ms: impl FnOnce() -> u64) -> Result<Id> {
        let next = last.next().ok_or_else(|| {
            Error::command("The stream has exhausted the last possible ID, unable to add more items")
        })?;
        let at = |ms: u64| if ms > last.ms { Id { ms, seq: 0 } } else { next };
        let id = match self {
            Self::Auto => at(now_ms()),
            // What follows within the millisecond, and not in a later one.
            Self::At(ms) if ms == last.ms && next.ms == ms => next,
            Self::At(ms) => Id { ms, seq: 0 },
            Self::Exact(id) => id,
        };
        if id > last {
            return Ok(id);
        }
        Err(Error::command("The ID specified in XADD is equal or smaller than the target stream top item"))
    }
}

/// An ID, or a token that stands for one, in the words of a command.
macro_rules! id_or_token {
    ($(#[$doc:meta])* $name:ident, [$($first:tt)*], [$($second:tt)*]) => {
        $(#[$doc])*
        #[derive(Clone, Copy)]
        pub(super) struct $name<'a>(pub(super) &'a [u8]);

        impl<'a> Arg<'a> for $name<'a> {
            const SPEC: ArgSpec = ArgSpec {
                kind: ArgKind::OneOf,
                args: &[ArgSpec { $($first)* ..ArgSpec::PLAIN }, ArgSpec { $($second)* ..ArgSpec::PLAIN }],
                ..ArgSpec::PLAIN
            };

            fn parse(args: &mut Args<'a>) -> Result<Self> {
                args.required().map(Self)
            }

            fn encode(&self, out: &mut Argv) {
                out.push(self.0.to_vec());
            }
        }
    };
}

id_or_token! {
    /// The ID of a new entry, or `*`.
    AddedId,
    [name: "auto-id", kind: ArgKind::PureToken, token: Some("*"),],
    [name: "id",]
}

id_or_token! {
    /// Where a group goes on, or `$`.
    GroupStart,
    [name: "id",],
    [name: "new-id", kind: ArgKind::PureToken, token: Some("$"),]
}
