//! What rules can name: the commands with their subcommands, and the categories.

use hashbrown::HashMap;

/// A command or subcommand.
pub(crate) struct Row {
    /// In lower case; of a subcommand as `container|name`.
    pub(crate) name: &'static str,
    /// Its categories, as bits in the order of [`Catalog::categories`].
    pub(crate) categories: u32,
    /// The number of its container, if it is a subcommand.
    pub(crate) container: Option<usize>,
    /// It holds subcommands.
    pub(crate) is_container: bool,
}

/// All commands by their numbers, and the names of the categories.
pub(crate) struct Catalog {
    rows: Vec<Row>,
    categories: Vec<&'static str>,
    by_name: HashMap<&'static [u8], usize>,
}

impl Catalog {
    /// One of these commands.
    pub(crate) fn new(rows: Vec<Row>, categories: Vec<&'static str>) -> Self {
        let by_name = rows.iter().enumerate().map(|(id, row)| (row.name.as_bytes(), id)).collect();
        Self { rows, categories, by_name }
    }

    /// How many commands there are.
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn rows(&self) -> &[Row] {
        &self.rows
    }

    pub(super) fn row(&self, id: usize) -> &Row {
        &self.rows[id]
    }

    /// The number of the command of a name in lower case.
    pub(super) fn find(&self, name: &[u8]) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// The command of a name in lower case, if it is no subcommand.
    pub(crate) fn name_of(&self, name: &[u8]) -> Option<&'static str> {
        let row = self.find(name).map(|id| self.row(id))?;
        row.container.is_none().then_some(row.name)
    }

    /// The bit of the category of a name in lower case.
    pub(super) fn category(&self, name: &[u8]) -> Option<u32> {
        self.categories.iter().position(|own| own.as_bytes() == name).map(|at| 1 << at)
    }
}
