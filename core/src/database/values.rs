//! What only caches ask of a database: whether a value can fit at all, and a value that goes with its key.

use crate::commands::generic::delete::delete;
use crate::database::{Database, Found};
use crate::error::{Error, ErrorKind, Result};
use crate::keyspace::Key;
use crate::store::memory::{Arena, PAGE};
use crate::typed::{Typed, found};
use crate::value::MAX_IN_ARENA;

impl Database {
    /// Refuses what is larger than `maxmemory` by itself: it would cost all other keys their place and then go, too. Caches ask before they set
    /// anything; SET does not, as in the server.
    ///
    /// # Errors
    /// Out of memory.
    #[inline]
    pub fn check_fit<K: AsRef<[u8]>, V: AsRef<[u8]>>(&self, pairs: &[(K, V)]) -> Result<()> {
        if self.elsewhere().is_some() {
            return Ok(());
        }
        let limit = self.inner().config.hot().maxmemory();
        if limit == 0 { Ok(()) } else { check_fit(pairs, limit) }
    }

    /// Calls `read` with the string of a key, or `None`, and removes the key if it says so, in one step for all threads; `read` runs under the lock
    /// of the key's shard, as that of [`Database::get_with`]. Where the engine stands elsewhere, it is called again if others have changed the key before
    /// it could be removed. O(length).
    ///
    /// # Errors
    /// WRONGTYPE if the key holds no string, or the log refuses writes.
    pub fn take_with<R>(
        &self,
        key: &[u8],
        mut read: impl FnMut(Option<Found<'_>>) -> (R, bool),
    ) -> Result<R> {
        if let Some(elsewhere) = self.elsewhere_to_change(key) {
            return elsewhere.take(key, read);
        }
        self.write(&self.key(key), |db, key| {
            let (result, is_taken) = match db.lookup(key) {
                None => read(None),
                Some(entry) => {
                    let text = entry.value().text()?;
                    read(Some(found(text, entry.is_ascii())))
                }
            };
            if is_taken && delete(db, std::slice::from_ref::<Key<'_>>(key)) > 0 {
                db.propagate(|| [b"DEL", key.bytes()]);
            }
            Ok(result)
        })
    }
}

fn check_fit<K: AsRef<[u8]>, V: AsRef<[u8]>>(pairs: &[(K, V)], limit: u64) -> Result<()> {
    /// What an entry takes beside its key and its value.
    const HEAD: usize = 24;
    let bytes = |(key, value): &(K, V)| {
        let (key, value) = (key.as_ref().len() + HEAD, value.as_ref().len());
        if value > MAX_IN_ARENA {
            Arena::class_bytes(key) + value.next_multiple_of(PAGE)
        } else {
            Arena::class_bytes(key + value)
        }
    };
    if pairs.iter().map(|pair| bytes(pair) as u64).sum::<u64>() <= limit {
        return Ok(());
    }
    let what =
        if pairs.len() == 1 { "the value is larger than" } else { "the values are together larger than" };
    Err(Error::new(ErrorKind::OutOfMemory, format!("OOM {what} maxmemory")))
}

#[cfg(test)]
mod tests {
    use crate::{Config, Engine};

    #[test]
    fn what_never_fits_is_refused() {
        let config = Config::from_text(b"maxmemory 1mb\nmaxmemory-policy allkeys-lru").unwrap();
        let db = Engine::builder().config(config).open().unwrap().database(0).unwrap();
        let (small, large) = (vec![0; 500_000], vec![0; 1_048_576]);
        assert!(db.check_fit(&[("k", &small)]).is_ok() && db.check_fit(&[("k", &large)]).is_err());
        assert!(db.check_fit(&[(&large, "v")]).is_err());
        assert!(db.check_fit(&[("a", &small), ("b", &small)]).is_ok());
        assert!(db.check_fit(&[("a", &small), ("b", &small), ("c", &small)]).is_err());
        let unlimited = Engine::new().database(0).unwrap();
        assert!(unlimited.check_fit(&[("k", &large)]).is_ok());
    }

    #[test]
    fn one_of_many_threads_takes_a_value() {
        let db = Engine::new().database(0).unwrap();
        let text = |found: Option<crate::Found<'_>>| (found.map(|found| found.text.to_vec()), true);
        let long = vec![b'v'; 100_000];
        for value in [&b"17"[..], b"text", &long] {
            db.set("k", value).unwrap();
            let taken = std::thread::scope(|scope| {
                let threads: Vec<_> =
                    (0..4).map(|_| scope.spawn(|| db.take_with(b"k", text).unwrap())).collect();
                threads.into_iter().filter_map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
            });
            assert_eq!(taken, [value]);
            assert!(!db.contains("k").unwrap());
        }
        db.set("k", "v").unwrap();
        assert!(db.take_with(b"k", |found| (found.is_some(), false)).unwrap() && db.contains("k").unwrap());
        db.hset("h", b"f", b"v").unwrap();
        assert!(db.take_with(b"h", text).is_err() && db.contains("h").unwrap());
    }
}
