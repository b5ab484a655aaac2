//! Classes of keyspace events: the letters of `notify-keyspace-events`.
//!
//! Publishing the events is left to the notifier.

use std::fmt;

/// A set of event classes and channels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct KeyspaceEvents(u32);

/// Letters in the order CONFIG GET prints them, each with its bit.
const CLASSES: [(u8, KeyspaceEvents); 11] = [
    (b'g', KeyspaceEvents::GENERIC),
    (b'$', KeyspaceEvents::STRING),
    (b'l', KeyspaceEvents::LIST),
    (b's', KeyspaceEvents::SET),
    (b'h', KeyspaceEvents::HASH),
    (b'z', KeyspaceEvents::ZSET),
    (b'x', KeyspaceEvents::EXPIRED),
    (b'e', KeyspaceEvents::EVICTED),
    (b't', KeyspaceEvents::STREAM),
    (b'd', KeyspaceEvents::MODULE),
    (b'n', KeyspaceEvents::NEW),
];

const CHANNELS: [(u8, KeyspaceEvents); 3] =
    [(b'K', KeyspaceEvents::KEYSPACE), (b'E', KeyspaceEvents::KEYEVENT), (b'm', KeyspaceEvents::KEY_MISS)];

impl KeyspaceEvents {
    /// `K`: messages on `__keyspace@<db>__:<key>`.
    pub(crate) const KEYSPACE: Self = Self(1 << 0);
    /// `E`: messages on `__keyevent@<db>__:<event>`.
    pub(crate) const KEYEVENT: Self = Self(1 << 1);
    /// `g`: commands of any type, such as DEL and EXPIRE.
    pub(crate) const GENERIC: Self = Self(1 << 2);
    /// `$`: string commands.
    pub(crate) const STRING: Self = Self(1 << 3);
    /// `l`: list commands.
    pub(crate) const LIST: Self = Self(1 << 4);
    /// `s`: set commands.
    pub(crate) const SET: Self = Self(1 << 5);
    /// `h`: hash commands.
    pub(crate) const HASH: Self = Self(1 << 6);
    /// `z`: sorted set commands.
    pub(crate) const ZSET: Self = Self(1 << 7);
    /// `x`: keys that expired.
    pub(crate) const EXPIRED: Self = Self(1 << 8);
    /// `e`: keys that were evicted.
    pub(crate) const EVICTED: Self = Self(1 << 9);
    /// `t`: stream commands.
    pub(crate) const STREAM: Self = Self(1 << 10);
    /// `m`: lookups of keys that do not exist.
    pub(crate) const KEY_MISS: Self = Self(1 << 11);
    /// `d`: types of modules.
    pub(crate) const MODULE: Self = Self(1 << 12);
    /// `n`: keys that came to be.
    pub(crate) const NEW: Self = Self(1 << 13);
    /// `A`: every class but `m` and `n`.
    pub(crate) const ALL: Self = Self(0b1_0111_1111_1100);

    /// The set as a number, for storage in an atomic.
    pub(crate) const fn bits(self) -> u32 {
        self.0
    }

    /// The inverse of [`KeyspaceEvents::bits`].
    pub(crate) const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// Whether every class of `other` is in this set.
    pub(crate) const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether events of this class are published: that needs a channel.
    pub(crate) const fn publishes(self, class: Self) -> bool {
        self.has_channel() && self.0 & class.0 != 0
    }

    /// Whether any events but those of `class` are published.
    pub(crate) const fn publishes_others_than(self, class: Self) -> bool {
        let others = Self(self.0 & !(class.0 | Self::KEYSPACE.0 | Self::KEYEVENT.0));
        self.publishes(others)
    }

    const fn has_channel(self) -> bool {
        self.0 & (Self::KEYSPACE.0 | Self::KEYEVENT.0) != 0
    }

    /// Parses letters in any order.
    ///
    /// # Errors
    /// The server's words for an unknown letter.
    pub(super) fn parse(text: &[u8]) -> Result<Self, String> {
        let mut events = 0;
        for letter in text {
            events |= match letter {
                b'A' => Self::ALL.0,
                letter => CLASSES
                    .iter()
                    .chain(&CHANNELS)
                    .find(|(known, _)| known == letter)
                    .map(|(_, class)| class.0)
                    .ok_or("Invalid event class character. Use 'Ag$lshzxeKEtmdn'.")?,
            };
        }
        Ok(Self(events))
    }
}

impl fmt::Display for KeyspaceEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let classes: &[(u8, Self)] = if self.contains(Self::ALL) { &[(b'A', Self::ALL)] } else { &CLASSES };
        for (letter, class) in classes.iter().chain(&CHANNELS) {
            if self.contains(*class) {
                write!(f, "{}", char::from(*letter))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_printed_in_the_servers_order() {
        for (given, printed) in [
            ("KEA", "AKE"),
            ("KEg$lshzxedtmn", "AKEm"),
            ("Kn", "nK"),
            ("A", "A"),
            ("g$lshzxetd", "A"),
            ("g$lshzxet", "g$lshzxet"),
            ("Kgm", "gKm"),
            ("ElsK", "lsKE"),
            ("xn", "xn"),
            ("", ""),
        ] {
            assert_eq!(KeyspaceEvents::parse(given.as_bytes()).unwrap().to_string(), printed);
        }
        assert!(KeyspaceEvents::parse(b"q").is_err());
    }
}
