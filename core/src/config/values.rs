//! The values of an engine's options: its own where somebody set one, and for the rest the defaults, which all engines share.
//!
//! An engine may be one of hundreds in its process, and few set more than a handful of some two hundred options.

use std::ops::Index;
use std::sync::LazyLock;

use super::{Hot, OPTIONS, Value, default_value};

/// What every option is by default.
pub(super) struct Defaults {
    /// One value for each row of [`OPTIONS`].
    values: Vec<Value>,
    pub(super) hot: Hot,
}

pub(super) static DEFAULTS: LazyLock<Defaults> = LazyLock::new(|| {
    let values: Vec<Value> = OPTIONS.iter().map(default_value).collect();
    let hot = Hot::default();
    OPTIONS.iter().zip(&values).for_each(|(spec, value)| hot.publish(spec.name, value));
    Defaults { values, hot }
});

/// A value for each row of [`OPTIONS`].
#[derive(Clone, Debug, Default)]
pub(super) struct Values {
    /// Those that were set, by row.
    own: Vec<(usize, Value)>,
}

impl Values {
    fn place(&self, row: usize) -> Result<usize, usize> {
        self.own.binary_search_by_key(&row, |(own, _)| *own)
    }

    pub(super) fn set(&mut self, row: usize, value: Value) {
        match self.place(row) {
            Ok(place) => self.own[place].1 = value,
            Err(place) => {
                self.own.reserve_exact(1);
                self.own.insert(place, (row, value));
            }
        }
    }

    /// Those that were ever set, with their rows; they may be the defaults again.
    pub(super) fn own(&self) -> &[(usize, Value)] {
        &self.own
    }

    /// All, in the order of the rows.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Value> {
        (0..OPTIONS.len()).map(|row| &self[row])
    }
}

impl Index<usize> for Values {
    type Output = Value;

    fn index(&self, row: usize) -> &Value {
        self.place(row).map_or_else(|_| &DEFAULTS.values[row], |place| &self.own[place].1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn what_is_not_set_is_the_default() {
        let mut values = Values::default();
        [7, 3, 5, 3].into_iter().for_each(|row| values.set(row, Value::Int(row as i64)));
        assert_eq!(values.own(), [3, 5, 7].map(|row| (row, Value::Int(row as i64))));
        assert_eq!((&values[4], &values[5]), (&DEFAULTS.values[4], &Value::Int(5)));
        let changed = values.iter().zip(&DEFAULTS.values).filter(|(now, default)| now != default).count();
        assert_eq!((values.iter().count(), changed), (OPTIONS.len(), 3));
    }

    #[test]
    fn an_option_set_to_its_default_again_is_published() {
        let config = Config::default();
        for (text, expected) in [(&b"1mb"[..], 1 << 20), (b"0", 0)] {
            config.set(&[(b"maxmemory", text)]).unwrap();
            assert_eq!(config.hot().maxmemory(), expected);
        }
        assert_eq!(Config::default().hot().maxmemory(), 0);
    }
}
