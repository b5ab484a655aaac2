//! PFMERGE.

use super::{copied, most_sparse, store};
use crate::command::{Command, Reply, Write};
use crate::error::Result;
use crate::keyspace::{Db, Key};
use crate::value::hyperloglog::{Form, Sketch, Union};

/// Merges HyperLogLogs into one, which is created if need be and else is merged with them.
///
/// Returns `OK`.
#[derive(Command)]
#[command(
    name = "PFMERGE", group = HyperLogLog, since = "2.8.9", complexity = "O(N) to merge N HyperLogLogs, but with high constant times.", arity = -2,
    flags(WRITE, DENYOOM),
    reply = "ok",
)]
pub struct PfMerge<'a> {
    #[key(RW, ACCESS, INSERT)]
    destkey: Key<'a>,
    #[key(RO, ACCESS, last = -1)]
    #[arg(key_spec = 1)]
    sourcekey: Option<Vec<Key<'a>>>,
}

impl Write for PfMerge<'_> {
    fn execute(&self, db: &mut Db<'_>, reply: &mut Reply) -> Result<()> {
        let mut union = Union::new();
        let mut is_dense = false;
        for key in std::iter::once(&self.destkey).chain(self.sourcekey.iter().flatten()) {
            if let Some(entry) = db.lookup(key) {
                is_dense |= union.add(&entry.value().text()?)? == Form::Dense;
            }
        }
        let found = copied(db, &self.destkey)?;
        let mut sketch = match found {
            Some(sketch) => sketch,
            None => Sketch::empty(most_sparse(db)),
        };
        if is_dense {
            sketch.make_dense()?;
        }
        sketch.raise_all(&union)?;
        store(db, &self.destkey, sketch)?;
        reply.ok();
        Ok(())
    }
}
