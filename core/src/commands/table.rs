//! The table of commands at run time: finds a command by its name and numbers all of them for statistics.
//!
//! The list itself is [`crate::commands::LIST`].

use std::sync::LazyLock;

use hashbrown::HashMap;

use super::LIST;
use crate::acl::{Catalog, Row};
use crate::command::Parse;
use crate::command::run::Run;
pub use crate::command::run::{Found, Unresolved};
use crate::command::spec::{Categories, Spec};
use crate::error::{Error, ErrorKind, until_zero};

/// One command or subcommand: what it declares, and what parses and executes it.
#[derive(Clone, Copy)]
pub struct Declared {
    /// What it declares.
    pub spec: &'static Spec,
    run: Run,
}

impl Declared {
    /// What `C` declares.
    pub(super) const fn of<C: Parse<'static>>() -> Self {
        Self { spec: C::SPEC, run: C::RUN }
    }
}

/// A command in the list, with its subcommands.
pub struct Listed {
    /// The command itself.
    pub command: Declared,
    /// Its subcommands, for containers.
    pub subcommands: &'static [Declared],
}

struct Table {
    /// In the order of the list, which is that of the numbers.
    all: Vec<Found>,
    /// By name: where it stands among all.
    by_name: HashMap<&'static [u8], usize>,
}

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let declared = LIST.iter().flat_map(|listed| std::iter::once(&listed.command).chain(listed.subcommands));
    let found = |(id, declared): (usize, &Declared)| Found { spec: declared.spec, id, run: declared.run };
    let all: Vec<Found> = declared.enumerate().map(found).collect();
    let by_name = all.iter().map(|found| (found.spec.name.as_bytes(), found.id)).collect();
    Table { all, by_name }
});

/// Longest name with its subcommand; anything longer is unknown.
const MAX_NAME: usize = 40;

/// Makes the table now, or waits until it is made, and not at its first use.
pub(crate) fn make() {
    LazyLock::force(&TABLE);
}

static CATALOG: LazyLock<Catalog> = LazyLock::new(|| {
    let names: Vec<&str> = Categories::all().iter().map(|(_, name)| *name).collect();
    let bits = |own: Categories| {
        let places = Categories::all().iter().enumerate();
        places.filter(|(_, (category, _))| own.contains(*category)).fold(0, |bits, (at, _)| bits | 1 << at)
    };
    let row = |found: &Found| {
        let container = found.spec.name.split_once('|').and_then(|(name, _)| by_name(name.as_bytes()));
        Row {
            name: found.spec.name,
            categories: bits(found.spec.categories()),
            container: container.map(|container| container.id),
            is_container: found.spec.container,
        }
    };
    Catalog::new(all().iter().map(row).collect(), names)
});

/// The commands as rules of users name them.
pub(crate) fn catalog() -> &'static Catalog {
    &CATALOG
}

/// Number of commands and subcommands.
pub fn count() -> usize {
    TABLE.all.len()
}

/// All commands and subcommands, in the order of the list and of their numbers.
pub fn all() -> &'static [Found] {
    &TABLE.all
}

/// The command of this name, in any case of letters; subcommands as `container|name`.
pub fn by_name(name: &[u8]) -> Option<&'static Found> {
    let mut lower = [0; MAX_NAME];
    let lower = lower.get_mut(..name.len())?;
    // Names are short: to copy them and then to go over them again takes longer.
    lower.iter_mut().zip(name).for_each(|(to, byte)| *to = byte.to_ascii_lowercase());
    TABLE.by_name.get(&*lower).map(|id| &TABLE.all[*id])
}

fn subcommand(container: &str, name: &[u8]) -> Option<&'static Found> {
    let mut full = [0; MAX_NAME];
    let full = full.get_mut(..container.len() + 1 + name.len())?;
    full[..container.len()].copy_from_slice(container.as_bytes());
    full[container.len()] = b'|';
    full[container.len() + 1..].copy_from_slice(name);
    by_name(full)
}

/// The command that an argv names, whatever its arguments. A container without a subcommand is itself.
pub fn find(argv: &[&[u8]]) -> Option<&'static Found> {
    match resolve(argv) {
        Ok(found) => Some(found),
        Err(unresolved) => unresolved.id.map(|id| &TABLE.all[id]),
    }
}

/// The command that an argv names.
///
/// # Errors
/// The server's texts for unknown commands, unknown subcommands and wrong numbers of arguments.
pub fn resolve(argv: &[&[u8]]) -> Result<&'static Found, Unresolved> {
    let name = argv.first().copied().unwrap_or_default();
    let unresolved = |error| Unresolved { id: None, error };
    let found = by_name(name).filter(|found| !found.spec.name.contains('|'));
    let found = found.ok_or_else(|| unresolved(unknown(argv)))?;
    if !found.spec.container || argv.len() == 1 {
        return check_arity(found, argv);
    }
    match subcommand(found.spec.name, argv[1]) {
        Some(found) => check_arity(found, argv),
        None => Err(unresolved(unknown_subcommand(found.spec, argv[1]))),
    }
}

#[inline]
fn check_arity(found: &'static Found, argv: &[&[u8]]) -> Result<&'static Found, Unresolved> {
    if found.spec.arity_allows(argv.len()) {
        Ok(found)
    } else {
        Err(Unresolved { id: Some(found.id), error: Error::arity(found.spec.name) })
    }
}

/// The error of words that name no command.
pub(crate) fn unresolved(argv: &[&[u8]]) -> Unresolved {
    Unresolved { id: None, error: unknown(argv) }
}

fn unknown(argv: &[&[u8]]) -> Error {
    const QUOTED: usize = 128;
    let name = until_zero(argv.first().copied().unwrap_or_default());
    let mut text = b"ERR unknown command '".to_vec();
    text.extend_from_slice(&name[..name.len().min(QUOTED)]);
    text.extend_from_slice(b"', with args beginning with: ");
    let mut quoted = 0;
    for word in argv.iter().skip(1) {
        if quoted >= QUOTED {
            break;
        }
        let word = until_zero(word);
        let word = &word[..word.len().min(QUOTED - quoted)];
        text.push(b'\'');
        text.extend_from_slice(word);
        text.extend_from_slice(b"' ");
        quoted += word.len() + 3;
    }
    Error::from_bytes(ErrorKind::Command, text)
}

fn unknown_subcommand(container: &Spec, name: &[u8]) -> Error {
    const QUOTED: usize = 128;
    let name = until_zero(name);
    let mut text = b"ERR unknown subcommand '".to_vec();
    text.extend_from_slice(&name[..name.len().min(QUOTED)]);
    text.extend_from_slice(format!("'. Try {} HELP.", container.name.to_uppercase()).as_bytes());
    Error::from_bytes(ErrorKind::Command, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_short_and_lower_case() {
        let listed: usize = LIST.iter().map(|listed| 1 + listed.subcommands.len()).sum();
        assert_eq!(listed, count());
        for found in all() {
            assert!(found.spec.name.len() <= MAX_NAME);
            assert_eq!(found.spec.name, found.spec.name.to_lowercase());
            assert!(found.spec.summary.ends_with('.'), "{}: {}", found.spec.name, found.spec.summary);
        }
    }

    #[test]
    fn names_are_found_in_any_case() {
        assert_eq!(by_name(b"GeT").unwrap().spec.name, "get");
        assert!(by_name(b"nosuch").is_none());
        assert!(by_name(&[b'x'; 200]).is_none());
    }

    #[test]
    fn unknown_commands_are_quoted_as_the_server_does() {
        let error = resolve(&[b"foo", b"bar", b"b\r\nz"]).err().unwrap();
        assert_eq!(
            error.error.as_bytes(),
            b"ERR unknown command 'foo', with args beginning with: 'bar' 'b  z' "
        );
    }
}
