//! The databases of an engine for who names them by number at each call, as bindings do.

use std::ops::Deref;

use crate::database::Database;
use crate::engine::Engine;
use crate::error::Result;

/// Databases that handles are kept of: there may be two thousand million.
const KEPT: usize = 16;

/// An engine, and handles of the databases that nearly everybody uses.
pub struct Databases {
    engine: Engine,
    kept: Vec<Database>,
}

/// A database for one call.
pub enum Numbered<'a> {
    /// One of those that are kept.
    Kept(&'a Database),
    /// Another.
    Made(Database),
}

impl Databases {
    /// Those of this engine.
    pub fn of(engine: &Engine) -> Self {
        let kept = (0..KEPT).map_while(|index| engine.database(index).ok()).collect();
        Self { engine: engine.clone(), kept }
    }

    /// The engine.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The database of this number. O(1).
    ///
    /// # Errors
    /// There is no such database.
    #[inline]
    pub fn get(&self, index: usize) -> Result<Numbered<'_>> {
        match self.kept.get(index) {
            Some(database) => Ok(Numbered::Kept(database)),
            None => self.engine.database(index).map(Numbered::Made),
        }
    }
}

impl Deref for Numbered<'_> {
    type Target = Database;

    #[inline]
    fn deref(&self) -> &Database {
        match self {
            Self::Kept(database) => database,
            Self::Made(database) => database,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Config;

    #[test]
    fn every_number_has_its_database() {
        let config = Config::from_text(b"databases 40").unwrap();
        let engine = Engine::builder().config(config).open().unwrap();
        let databases = Databases::of(&engine);
        for index in [0, KEPT - 1, KEPT, 39] {
            databases.get(index).unwrap().set("k", index.to_string()).unwrap();
            assert_eq!(
                engine.database(index).unwrap().get("k").unwrap(),
                Some(index.to_string().into_bytes())
            );
        }
        assert!(databases.get(40).is_err());
    }
}
