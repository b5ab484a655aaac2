//! PFADD.

use super::{copied, most_sparse, store, tell};
use crate::command::{Command, Reply, Write};
use crate::error::Result;
use crate::keyspace::{Db, Key};
use crate::value::hyperloglog::{Form, Sketch, form_of, place, raising, staleness};

/// Adds elements to a HyperLogLog, which is created if need be.
///
/// Returns 1 if that changed it, or created it, otherwise 0.
#[derive(Command)]
#[command(
    name = "PFADD", group = HyperLogLog, since = "2.8.9", complexity = "O(1) to add every element.", arity = -2,
    flags(WRITE, DENYOOM, FAST),
    reply = "int",
)]
pub struct PfAdd<'a> {
    #[key(RW, INSERT)]
    key: Key<'a>,
    element: Option<Vec<&'a [u8]>>,
}

impl Write for PfAdd<'_> {
    fn execute(&self, db: &mut Db<'_>, reply: &mut Reply) -> Result<()> {
        let form = match db.peek(&self.key) {
            Some(entry) => Some(form_of(&entry.value().text()?)?),
            None => None,
        };
        let has_changed = match form {
            Some(Form::Dense) => self.add_in_place(db)?,
            _ => self.add_to_copy(db)?,
        };
        reply.integer(has_changed.into());
        Ok(())
    }
}

impl PfAdd<'_> {
    fn elements(&self) -> &[&[u8]] {
        self.element.as_deref().unwrap_or_default()
    }

    /// Adds to a dense string where it stands. Only the first write may need memory.
    fn add_in_place(&self, db: &mut Db<'_>) -> Result<bool> {
        let Some(mut entry) = db.lookup_mut(&self.key) else { return Ok(false) };
        let mut has_changed = false;
        for element in self.elements() {
            let patch = raising(&entry.value().text()?, place(element));
            if let Some(patch) = patch {
                entry.write_string(patch.at, patch.bytes())?;
                has_changed = true;
            }
        }
        if has_changed {
            let patch = staleness(&entry.value().text()?);
            if let Some(patch) = patch {
                entry.write_string(patch.at, patch.bytes())?;
            }
            tell(db, &self.key);
        }
        Ok(has_changed)
    }

    /// Adds to a copy, which takes the place of the sparse string if anything changed.
    fn add_to_copy(&self, db: &mut Db<'_>) -> Result<bool> {
        let found = copied(db, &self.key)?;
        let mut has_changed = found.is_none();
        let mut sketch = match found {
            Some(sketch) => sketch,
            None => Sketch::empty(most_sparse(db)),
        };
        for element in self.elements() {
            has_changed |= sketch.raise(place(element))?;
        }
        if has_changed {
            store(db, &self.key, sketch)?;
        } else if let Some(mut entry) = db.lookup_mut(&self.key) {
            entry.make_raw()?;
        }
        Ok(has_changed)
    }
}
