//! The expiration options that SET, GETEX and their relatives share, and how they become a deadline.

use crate::command::Arg;
use crate::command::spec::{ArgKind, ArgSpec};
use crate::command::{Args, Argv};
use crate::error::{Error, Result};
use crate::num;

/// An integer that is judged when the command executes: syntax errors of other options come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Late<'a>(pub &'a [u8]);

impl Late<'_> {
    /// Its value.
    ///
    /// # Errors
    /// Not an integer.
    pub fn value(&self) -> Result<i64> {
        num::parse_i64(self.0).ok_or_else(Error::not_an_integer)
    }
}

impl<'a> Arg<'a> for Late<'a> {
    const SPEC: ArgSpec = ArgSpec { kind: ArgKind::Integer, ..ArgSpec::PLAIN };

    fn parse(args: &mut Args<'a>) -> Result<Self> {
        args.required().map(Late)
    }

    fn encode(&self, out: &mut Argv) {
        out.push(self.0.to_vec());
    }
}

/// Unit and origin of a point in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimeUnit {
    /// Seconds from now.
    Seconds,
    /// Milliseconds from now.
    Milliseconds,
    /// Unix seconds.
    UnixSeconds,
    /// Unix milliseconds.
    UnixMilliseconds,
}

impl TimeUnit {
    fn is_relative(self) -> bool {
        matches!(self, TimeUnit::Seconds | TimeUnit::Milliseconds)
    }

    /// The deadline in unix milliseconds, possibly negative, of `value` in this unit; `None` where it overflows.
    pub(crate) fn deadline(self, value: i64, now_ms: u64) -> Option<i64> {
        let milliseconds = match self {
            TimeUnit::Seconds | TimeUnit::UnixSeconds => value.checked_mul(1000)?,
            TimeUnit::Milliseconds | TimeUnit::UnixMilliseconds => value,
        };
        if self.is_relative() { milliseconds.checked_add(now_ms as i64) } else { Some(milliseconds) }
    }
}

/// The deadline that an option of `command` gives: must be positive and must not overflow.
///
/// # Errors
/// Not an integer, or `invalid expire time`.
pub(crate) fn positive_deadline(value: Late<'_>, unit: TimeUnit, now_ms: u64, command: &str) -> Result<u64> {
    deadline_from(1, value, unit, now_ms, command)
}

/// The deadline that an option of `command` gives: must be `least` at least and must not overflow.
///
/// # Errors
/// As [`positive_deadline`].
pub(crate) fn deadline_from(
    least: i64,
    value: Late<'_>,
    unit: TimeUnit,
    now_ms: u64,
    command: &str,
) -> Result<u64> {
    let value = value.value()?;
    if value < least {
        return Err(Error::invalid_expire(command));
    }
    let deadline = unit.deadline(value, now_ms).ok_or_else(|| Error::invalid_expire(command))?;
    Ok(deadline as u64)
}

/// The options of GETEX and HGETEX: another deadline, or none any more.
#[derive(Arg, Clone, Copy)]
pub(crate) enum ExpireOrPersist<'a> {
    #[arg(token = "EX", name = "seconds")]
    Ex(Late<'a>),
    #[arg(token = "PX", name = "milliseconds")]
    Px(Late<'a>),
    #[arg(token = "EXAT", name = "unix-time-seconds", kind = UnixTime)]
    ExAt(Late<'a>),
    #[arg(token = "PXAT", name = "unix-time-milliseconds", kind = UnixTime)]
    PxAt(Late<'a>),
    #[arg(token = "PERSIST")]
    Persist,
}

impl ExpireOrPersist<'_> {
    /// The deadline, from a time that must be `least` at least, or `None` for PERSIST.
    ///
    /// # Errors
    /// As [`positive_deadline`].
    pub(crate) fn deadline(self, least: i64, now_ms: u64, command: &str) -> Result<Option<u64>> {
        let (value, unit) = match self {
            Self::Ex(value) => (value, TimeUnit::Seconds),
            Self::Px(value) => (value, TimeUnit::Milliseconds),
            Self::ExAt(value) => (value, TimeUnit::UnixSeconds),
            Self::PxAt(value) => (value, TimeUnit::UnixMilliseconds),
            Self::Persist => return Ok(None),
        };
        deadline_from(least, value, unit, now_ms, command).map(Some)
    }
}

/// The options of MSETEX and HSETEX: a deadline, or the one that was there before.
#[derive(Arg, Clone, Copy)]
pub(crate) enum ExpireOrKeep<'a> {
    #[arg(token = "EX", name = "seconds")]
    Ex(Late<'a>),
    #[arg(token = "PX", name = "milliseconds")]
    Px(Late<'a>),
    #[arg(token = "EXAT", name = "unix-time-seconds", kind = UnixTime)]
    ExAt(Late<'a>),
    #[arg(token = "PXAT", name = "unix-time-milliseconds", kind = UnixTime)]
    PxAt(Late<'a>),
    #[arg(token = "KEEPTTL")]
    KeepTtl,
}

impl ExpireOrKeep<'_> {
    /// The deadline, from a time that must be `least` at least, or `None` for KEEPTTL.
    ///
    /// # Errors
    /// As [`positive_deadline`].
    pub(crate) fn deadline(self, least: i64, now_ms: u64, command: &str) -> Result<Option<u64>> {
        let (value, unit) = match self {
            Self::Ex(value) => (value, TimeUnit::Seconds),
            Self::Px(value) => (value, TimeUnit::Milliseconds),
            Self::ExAt(value) => (value, TimeUnit::UnixSeconds),
            Self::PxAt(value) => (value, TimeUnit::UnixMilliseconds),
            Self::KeepTtl => return Ok(None),
        };
        deadline_from(least, value, unit, now_ms, command).map(Some)
    }
}

/// Takes an option that may only be named again as the same one.
pub(crate) fn choose<T>(place: &mut Option<T>, option: T, may_repeat: fn(&T, &T) -> bool) -> Result<()> {
    if place.as_ref().is_some_and(|before| !may_repeat(before, &option)) {
        return Err(Error::syntax());
    }
    *place = Some(option);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overflow_is_an_invalid_time() {
        let refused = |text: &[u8], unit| positive_deadline(Late(text), unit, 1, "set").is_err();
        assert!(refused(b"9223372036854775807", TimeUnit::Seconds));
        assert!(refused(b"9223372036854775807", TimeUnit::Milliseconds));
        assert!(!refused(b"9223372036854775807", TimeUnit::UnixMilliseconds));
        assert!(refused(b"0", TimeUnit::UnixSeconds));
        assert!(refused(b"x", TimeUnit::UnixSeconds));
    }
}
