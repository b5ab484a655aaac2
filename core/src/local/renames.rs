//! Commands that the configuration gives other names, or takes away: `rename-command`.
//!
//! They are given their own names back when a client calls them, so that nothing else, as the log or the rules of users, knows of other ones.

use std::borrow::Cow;
use std::sync::OnceLock;

use hashbrown::HashMap;

use super::{Local, RENAMED};
use crate::error::{Error, ErrorKind, Result};

/// What names mean that mean something else than the table of commands says; `None` for nothing. In lower case.
#[derive(Default)]
pub(super) struct Renames(OnceLock<HashMap<Vec<u8>, Option<&'static str>>>);

impl Local {
    /// Renames commands as the options say, in their order.
    ///
    /// # Errors
    /// There is no such command, or the name is another's.
    pub(crate) fn rename_commands(&self) -> Result<()> {
        let renames = self.config.renames();
        if renames.is_empty() {
            return Ok(());
        }
        let mut names: HashMap<Vec<u8>, Option<&'static str>> = HashMap::new();
        let meant = |names: &HashMap<Vec<u8>, Option<&'static str>>, name: &[u8]| match names.get(name) {
            Some(meant) => *meant,
            None => self.users.catalog.name_of(name),
        };
        for (from, to) in renames {
            let (from, to) = (from.to_ascii_lowercase(), to.to_ascii_lowercase());
            let wrong = |text: &'static str| Err(Error::new(ErrorKind::Usage, text));
            let Some(command) = meant(&names, &from) else {
                return wrong("No such command in rename-command");
            };
            names.insert(from, None);
            if to.is_empty() {
                continue;
            }
            if meant(&names, &to).is_some() {
                return wrong("Target command name already exists");
            }
            names.insert(to, Some(command));
        }
        // Before anybody has the engine.
        let _ = self.renames.0.set(names);
        self.set_measured(RENAMED, true);
        Ok(())
    }

    /// Whether a command has another name. One load.
    #[inline]
    pub(crate) fn has_renames(&self) -> bool {
        self.renames.0.get().is_some()
    }

    /// The words of a call with the command's own name; `None` if what the client calls is no command.
    pub(crate) fn own_words<'a, 'w>(&self, argv: &'a [&'w [u8]]) -> Option<Cow<'a, [&'w [u8]]>> {
        match self.renames.0.get() {
            None => Some(Cow::Borrowed(argv)),
            Some(names) => renamed(names, argv),
        }
    }
}

#[cold]
fn renamed<'a, 'w>(
    names: &HashMap<Vec<u8>, Option<&'static str>>,
    argv: &'a [&'w [u8]],
) -> Option<Cow<'a, [&'w [u8]]>> {
    let name = argv.first().map(|name| name.to_ascii_lowercase()).unwrap_or_default();
    match names.get(&name) {
        None => Some(Cow::Borrowed(argv)),
        Some(None) => None,
        Some(Some(own)) => {
            let mut words = argv.to_vec();
            words[0] = own.as_bytes();
            Some(Cow::Owned(words))
        }
    }
}
