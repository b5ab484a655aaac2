//! Listing, counting and clearing the keys that begin alike: the part of a database that a cache with a namespace or a prefix calls its own.

use std::collections::HashSet;

use crate::cache::keys;
use crate::cache::leases::LEASES;
use crate::database::Database;
use crate::error::Result;
use crate::keyspace::Db;
use crate::keyspace::locks::Locks;
use crate::typed::Typed;

impl Database {
    /// Keys that begin with `prefix`, from `cursor` on: the cursor of the next page and the keys of this one, which may be none. Begin with 0; 0 is
    /// also the end. A key that exists from the first page to the last is met, perhaps twice. O(1).
    ///
    /// # Errors
    /// The engine stands elsewhere and can't be reached.
    #[doc(hidden)]
    pub fn page(&self, cursor: u64, prefix: &[u8]) -> Result<(u64, Vec<Vec<u8>>)> {
        if let Some(elsewhere) = self.elsewhere() {
            return elsewhere.page(cursor, prefix);
        }
        let keyspace = &self.inner().keyspace;
        let db = Db::new(keyspace, self.origin(), Locks::all(keyspace));
        let page = keys::page(&db, cursor, prefix);
        db.finish_unasked(self.index());
        Ok(page)
    }

    /// Number of keys that begin with `prefix`. O(all keys), O(shards) without a prefix.
    ///
    /// # Errors
    /// The engine stands elsewhere and can't be reached.
    pub fn count(&self, prefix: impl AsRef<[u8]>) -> Result<usize> {
        let prefix = prefix.as_ref();
        if prefix.is_empty() {
            return self.len();
        }
        let mut met = HashSet::new();
        for keys in self.pages(prefix) {
            met.extend(keys?);
        }
        Ok(met.len())
    }

    /// Deletes the keys that begin with `prefix` and returns how many there were. What is being loaded for such a key will not be stored.
    /// O(all keys); without a prefix all keys go at one moment, else a page at a time.
    ///
    /// # Errors
    /// The log refuses writes.
    pub fn clear(&self, prefix: impl AsRef<[u8]>) -> Result<usize> {
        let prefix = prefix.as_ref();
        if prefix.is_empty() {
            return self.flush();
        }
        // Before the first page: what is stored until now will be met.
        LEASES.void(self.inner().number, self.index(), prefix);
        self.pages(prefix).map(|keys| self.delete_many(&keys?)).sum()
    }

    fn pages(&self, prefix: &[u8]) -> impl Iterator<Item = Result<Vec<Vec<u8>>>> {
        let mut next = Some(0);
        std::iter::from_fn(move || {
            let page = self.page(next?, prefix);
            next = page.as_ref().ok().map(|(cursor, _)| *cursor).filter(|cursor| *cursor != 0);
            Some(page.map(|(_, keys)| keys))
        })
    }

    fn flush(&self) -> Result<usize> {
        if let Some(elsewhere) = self.elsewhere() {
            LEASES.void(self.inner().number, self.index(), b"");
            return elsewhere.flush();
        }
        let keyspace = &self.inner().keyspace;
        self.inner().ensure_background();
        self.refuse_write()?;
        let mut db = Db::new(keyspace, self.origin(), Locks::all(keyspace));
        let deleted = db.clear();
        if !keyspace.config.hot().lazyfree_lazy_user_flush() {
            db.drop_garbage_here();
        }
        db.propagate(|| [b"FLUSHDB"]);
        db.finish(self.index())?;
        Ok(deleted)
    }
}

#[cfg(test)]
mod tests {
    use crate::{Database, Engine};

    fn filled() -> Database {
        let db = Engine::new().database(3).unwrap();
        for number in 0..2500 {
            for prefix in ["a:", "a*:", "b"] {
                db.set(format!("{prefix}{number}"), "v").unwrap();
            }
        }
        db
    }

    #[test]
    fn keys_that_begin_alike_are_counted_and_cleared() {
        let db = filled();
        db.set(b"\xff\xfe", "v").unwrap();
        assert_eq!(
            (
                db.count(b"a").unwrap(),
                db.count(b"a*:").unwrap(),
                db.count(b"c").unwrap(),
                db.count(b"\xff").unwrap()
            ),
            (5000, 2500, 0, 1)
        );
        assert_eq!(
            (db.count(b"").unwrap(), db.clear(b"a*").unwrap()),
            (7501, 2500),
            "a prefix is no pattern"
        );
        assert_eq!((db.count(b"a").unwrap(), db.clear(b"none").unwrap()), (2500, 0));
        db.engine().database(4).unwrap().set("a:1", "v").unwrap();
        assert_eq!((db.clear(b"").unwrap(), db.len().unwrap()), (5001, 0));
        assert_eq!(db.engine().database(4).unwrap().len().unwrap(), 1);
    }

    #[test]
    fn pages_meet_every_key() {
        let db = filled();
        let (mut cursor, mut met) = (0, std::collections::HashSet::new());
        loop {
            let (next, keys) = db.page(cursor, b"b").unwrap();
            assert!(keys.iter().all(|key| key.starts_with(b"b")));
            met.extend(keys);
            if next == 0 {
                break;
            }
            cursor = next;
        }
        assert_eq!(met.len(), 2500);
    }
}
