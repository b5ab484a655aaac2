//! What the pops of lists and of sorted sets share: the words of LMPOP and ZMPOP, and all of BLPOP and BZPOPMIN but the taking.

use crate::alloc;
use crate::command::{Arg, Args};
use crate::error::{Error, Result};
use crate::keyspace::Key;
use crate::num;

/// Keys, an end and a count: all the words of LMPOP and ZMPOP, and those behind the timeout of BLMPOP and BZMPOP.
pub(super) struct MultiPop<'a, E> {
    pub(super) numkeys: i64,
    pub(super) key: Vec<Key<'a>>,
    pub(super) end: E,
    pub(super) count: Option<i64>,
}

impl<'a, E: Arg<'a>> MultiPop<'a, E> {
    pub(super) fn parse(args: &mut Args<'a>) -> Result<Self> {
        let positive = |text: &[u8], name: &str| {
            num::parse_i64(text)
                .filter(|number| *number > 0)
                .ok_or_else(|| Error::command(format_args!("{name} should be greater than 0")))
        };
        let numkeys = positive(args.required()?, "numkeys")?;
        let keys = usize::try_from(numkeys).unwrap_or(usize::MAX);
        if keys >= args.remaining() {
            return Err(Error::syntax());
        }
        let mut key = alloc::with_room_for(keys)?;
        for _ in 0..keys {
            key.push(Key::parse(args)?);
        }
        let end = E::parse(args)?;
        let count = if args.remaining() > 1 && args.skip_token("COUNT") {
            Some(positive(args.value()?, "count")?)
        } else {
            None
        };
        args.finish()?;
        Ok(Self { numkeys, key, end, count })
    }
}

/// How many are popped at most; one without a count.
pub(super) fn most(count: Option<i64>) -> usize {
    usize::try_from(count.unwrap_or(1)).unwrap_or(usize::MAX)
}

/// Declares a command that pops from the first of several keys that there is, or waits for one: what it waits for, what takes, and from which end.
macro_rules! blocking_pop_command {
    ($(#[$attribute:meta])* $name:ident, $awaited:literal, $take:path, $end:expr) => {
        $(#[$attribute])*
        pub struct $name<'a> {
            #[key(RW, ACCESS, DELETE, last = -2)]
            #[arg(key_spec = 0)]
            key: Vec<Key<'a>>,
            #[arg(kind = Double)]
            timeout: &'a [u8],
            #[arg(hidden)]
            patience: Option<Duration>,
        }

        impl<'a> $name<'a> {
            fn parse_args(args: &mut Args<'a>) -> Result<Self> {
                let mut key = alloc::with_room_for(args.remaining())?;
                while args.remaining() > 1 {
                    key.push(Key::parse(args)?);
                }
                let timeout = args.required()?;
                Ok(Self { key, timeout, patience: patience_of_seconds(timeout)? })
            }
        }

        impl Block for $name<'_> {
            const AWAITED: Option<&'static str> = Some($awaited);

            fn attempt(&self, db: &mut Db<'_>, reply: &mut Reply) -> Result<Attempt> {
                $take(db, &self.key, $end, reply)
            }

            fn patience(&self) -> Option<Duration> {
                self.patience
            }

            fn each_awaited(&self, visit: &mut dyn FnMut(&[u8])) {
                self.key.iter().for_each(|key| visit(key.bytes()));
            }
        }
    };
}
pub(super) use blocking_pop_command;
