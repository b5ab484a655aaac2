//! Output buffer limits of the three classes of clients (`client-output-buffer-limit`).
//!
//! Cutting off clients that pass them is the listener's business.

use std::{borrow::Cow, fmt};

use super::memory::{format_memory, parse_memory};
use crate::num;

/// Limits of one class; zero means none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BufferLimit {
    /// Bytes at which a client is cut off at once.
    pub(crate) hard: u64,
    /// Bytes above which it may stay for a while.
    pub(crate) soft: u64,
    /// How long, in seconds.
    pub(crate) soft_seconds: i64,
}

/// What may wait of messages for a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PushLimit {
    /// Bytes that are never passed.
    pub(crate) hard: usize,
    /// Bytes that may be passed for so many milliseconds; `usize::MAX` where there is no such limit.
    pub(crate) soft: usize,
    pub(crate) soft_ms: u64,
}

/// Limits of normal clients, replicas and subscribers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BufferLimits([BufferLimit; 3]);

/// The classes that clients here can be of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BufferClass {
    Normal = 0,
    PubSub = 2,
}

const CLASSES: [&str; 3] = ["normal", "slave", "pubsub"];

impl Default for BufferLimits {
    fn default() -> Self {
        Self([
            BufferLimit { hard: 0, soft: 0, soft_seconds: 0 },
            BufferLimit { hard: 256 << 20, soft: 64 << 20, soft_seconds: 60 },
            BufferLimit { hard: 32 << 20, soft: 8 << 20, soft_seconds: 60 },
        ])
    }
}

impl BufferLimits {
    /// The limit of a class.
    #[cfg(feature = "listener")]
    pub(crate) fn of(&self, class: BufferClass) -> BufferLimit {
        self.0[class as usize]
    }

    /// What may wait for a client of a class.
    pub(crate) fn push_limit(&self, class: BufferClass) -> PushLimit {
        /// Where the server has no limit there must be one all the same: what waits is memory of the host.
        const MOST: usize = 256 << 20;
        let BufferLimit { hard, soft, soft_seconds } = self.0[class as usize];
        let bytes = |limit: u64| usize::try_from(limit).ok().filter(|limit| *limit > 0);
        PushLimit {
            hard: bytes(hard).map_or(MOST, |limit| limit.min(MOST)),
            soft: bytes(soft).unwrap_or(usize::MAX),
            soft_ms: u64::try_from(soft_seconds).unwrap_or(0).saturating_mul(1000),
        }
    }

    /// These limits with the classes named in `args` replaced.
    pub(super) fn changed(&self, args: &[Cow<'_, [u8]>]) -> Result<Self, String> {
        let args = if args.len() == 1 && args[0].is_empty() { &[] } else { args };
        let (quads, rest) = args.as_chunks::<4>();
        if !rest.is_empty() {
            return Err("Wrong number of arguments in buffer limit configuration.".to_owned());
        }
        let mut limits = *self;
        for [class, hard, soft, seconds] in quads {
            let class =
                find_class(class).ok_or("Invalid client class specified in buffer limit configuration.")?;
            limits.0[class] = parse_limit(hard, soft, seconds)
                .ok_or("Error in hard, soft or soft_seconds setting in buffer limit configuration.")?;
        }
        Ok(limits)
    }

    /// Arguments of each class's directive in the file, and whether they differ from the default.
    pub(super) fn directives(&self) -> impl Iterator<Item = (String, bool)> + use<> {
        let limits = self.0;
        let defaults = Self::default().0;
        ["normal", "replica", "pubsub"].into_iter().enumerate().map(move |(index, class)| {
            let BufferLimit { hard, soft, soft_seconds } = limits[index];
            let (hard, soft) = (format_memory(hard), format_memory(soft));
            (format!("{class} {hard} {soft} {soft_seconds}"), limits[index] != defaults[index])
        })
    }
}

fn find_class(name: &[u8]) -> Option<usize> {
    let name = name.to_ascii_lowercase();
    CLASSES.iter().position(|class| name == class.as_bytes()).or_else(|| (name == b"replica").then_some(1))
}

fn parse_limit(hard: &[u8], soft: &[u8], seconds: &[u8]) -> Option<BufferLimit> {
    Some(BufferLimit {
        hard: parse_memory(hard)?,
        soft: parse_memory(soft)?,
        soft_seconds: num::parse_i64(seconds).filter(|seconds| *seconds >= 0)?,
    })
}

impl fmt::Display for BufferLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (class, limit)) in CLASSES.iter().zip(&self.0).enumerate() {
            let space = if index == 0 { "" } else { " " };
            write!(f, "{space}{class} {} {} {}", limit.hard, limit.soft, limit.soft_seconds)?;
        }
        Ok(())
    }
}
