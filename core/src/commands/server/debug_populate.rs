//! DEBUG POPULATE: makes keys for tests.

use crate::command::Context;
use crate::error::{Error, Result};
use crate::num;
use crate::value::string::encode;

/// Makes so many strings, unless there are such keys: `key:0`, or another beginning, and so on. Their values have so many bytes, if a size is given. The log
/// hears nothing of them, as replicas of the server do not.
pub(super) fn populate(context: &mut Context<'_, '_>, words: &[&[u8]]) -> Result<()> {
    let positive = |word: &&[u8]| {
        let number = num::parse_i64(word).and_then(|number| usize::try_from(number).ok());
        number.ok_or_else(|| Error::command("value is out of range, must be positive"))
    };
    let count = words.first().map(positive).transpose()?.unwrap_or_default();
    let prefix = words.get(1).copied().unwrap_or(b"key");
    let size = words.get(2).map(positive).transpose()?.filter(|size| *size > 0);
    context.with_keyspace(&[], |db| {
        let recorded = db.recorded();
        for number in 0..count {
            let name = [prefix, format!(":{number}").as_bytes()].concat();
            let key = db.key(&name);
            if db.contains(&key) {
                continue;
            }
            let mut value = format!("value:{number}").into_bytes();
            if let Some(size) = size {
                value.truncate(size);
                value.try_reserve_exact(size.saturating_sub(value.len())).map_err(|_| Error::no_memory())?;
                value.resize(size, 0);
            }
            db.insert(&key, encode(&value), None)?;
        }
        db.forget_since(recorded);
        Ok(())
    })
}
