//! How a key is set: the options of SET, as the typed call takes them.
//!
//! What they do is in [`super`].

use std::time::Duration;

/// When a key that is set shall expire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ttl {
    /// Never.
    #[default]
    None,
    /// When its previous value would have.
    Keep,
    /// After this time, of which whole milliseconds count.
    After(Duration),
}

/// Under which condition a key is set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Condition {
    /// None.
    #[default]
    Always,
    /// Only if it does not exist (NX).
    IfAbsent,
    /// Only if it exists (XX).
    IfPresent,
}

/// The options of [`crate::Database::set_with`]: by default none.
///
/// ```
/// use std::time::Duration;
/// use keystead::SetOptions;
///
/// let lock = SetOptions::new().expires_in(Duration::from_secs(30)).if_absent();
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct SetOptions {
    pub(crate) ttl: Ttl,
    pub(crate) condition: Condition,
}

impl SetOptions {
    /// None: the key is set whether it exists or not, and does not expire.
    #[inline]
    pub const fn new() -> Self {
        Self { ttl: Ttl::None, condition: Condition::Always }
    }

    /// The key expires after this time (PX).
    #[inline]
    pub const fn expires_in(self, time: Duration) -> Self {
        self.ttl(Ttl::After(time))
    }

    /// The key keeps the deadline that it has (KEEPTTL).
    #[inline]
    pub const fn keep_ttl(self) -> Self {
        self.ttl(Ttl::Keep)
    }

    /// The key is set only if it does not exist (NX).
    #[inline]
    pub const fn if_absent(self) -> Self {
        self.condition(Condition::IfAbsent)
    }

    /// The key is set only if it exists (XX).
    #[inline]
    pub const fn if_present(self) -> Self {
        self.condition(Condition::IfPresent)
    }

    /// When the key expires, for callers that are told.
    #[inline]
    pub const fn ttl(self, ttl: Ttl) -> Self {
        Self { ttl, ..self }
    }

    /// Under which condition it is set, for callers that are told.
    #[inline]
    pub const fn condition(self, condition: Condition) -> Self {
        Self { condition, ..self }
    }
}
