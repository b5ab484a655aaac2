//! The users of an engine by their names.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use arc_swap::ArcSwap;

use super::DEFAULT_USER;
use super::catalog::Catalog;
use super::file;
use super::log::Log;
use super::rights::Rights;
use crate::os::Guard;
use crate::sync::{Mutex, MutexGuard};

/// A user. Its sessions look at its rights as they are now.
#[derive(Debug)]
pub(crate) struct User {
    pub(crate) name: Box<[u8]>,
    rights: ArcSwap<Rights>,
}

impl User {
    fn new(name: &[u8], rights: Rights) -> Arc<Self> {
        Arc::new(Self { name: name.into(), rights: ArcSwap::from_pointee(rights) })
    }

    /// What it may do now.
    pub(crate) fn rights(&self) -> Arc<Rights> {
        self.rights.load_full()
    }

    /// Its name and its rules, as they are shown.
    pub(crate) fn describe(&self) -> Vec<u8> {
        [&*self.name, &self.rights.load().describe(false)].join(&b' ')
    }

    /// The line of a file that makes such a user, without the word `user`.
    pub(crate) fn directive(&self) -> Vec<u8> {
        [&*self.name, &self.rights.load().describe(true)].join(&b' ')
    }
}

/// All users, by name. Whoever changes one, or has a session act as another, has it locked.
#[derive(Default)]
pub(crate) struct Registry {
    named: BTreeMap<Box<[u8]>, Arc<User>>,
    /// Clients whose standing has changed and that have not seen it.
    pub(crate) unaware: usize,
}

/// What a file of users has changed.
pub(crate) struct Anew {
    /// Users that are no more.
    pub(crate) gone: Vec<Arc<User>>,
}

/// See the module's text.
pub(crate) struct Users {
    registry: Mutex<Registry>,
    default: Arc<User>,
    pub(crate) catalog: &'static Catalog,
    pub(crate) log: Mutex<Log>,
    /// How many were refused: who said they were somebody, and then by the order of reasons.
    pub(crate) denied: Denied,
}

/// How many calls were refused. CONFIG RESETSTAT leaves them, as the server's does.
#[derive(Debug, Default)]
pub(crate) struct Denied {
    pub(crate) authentication: AtomicU64,
    pub(crate) command: AtomicU64,
    pub(crate) key: AtomicU64,
    pub(crate) channel: AtomicU64,
    pub(crate) database: AtomicU64,
}

impl Users {
    /// Only the default user, who may do everything.
    pub(crate) fn new(catalog: &'static Catalog) -> Self {
        let default = User::new(DEFAULT_USER, Rights::all(catalog));
        let named = BTreeMap::from([(DEFAULT_USER.into(), default.clone())]);
        Self {
            registry: Mutex::new(Registry { named, unaware: 0 }),
            default,
            catalog,
            log: Mutex::default(),
            denied: Denied::default(),
        }
    }

    /// Locks what it guards.
    pub(crate) fn freeze<'a>(&'a self, held: &mut Vec<Box<dyn Guard + 'a>>) {
        held.push(Box::new(self.registry.lock()));
        held.push(Box::new(self.log.lock()));
    }

    /// Locks the users.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock()
    }

    /// The user that every connection begins as.
    pub(crate) fn default_user(&self) -> &Arc<User> {
        &self.default
    }

    /// Whether a connection is the default user's from its beginning, who needs no password.
    pub(crate) fn default_is_open(&self) -> bool {
        let rights = self.default.rights.load();
        rights.is_on() && rights.needs_no_password()
    }

    /// The user of this name.
    pub(crate) fn find(&self, name: &[u8]) -> Option<Arc<User>> {
        self.lock().named.get(name).cloned()
    }

    /// All users, by their names.
    pub(crate) fn all(&self) -> Vec<Arc<User>> {
        self.lock().named.values().cloned().collect()
    }

    /// Whether a user may do everything.
    pub(crate) fn may_all(&self, user: &User) -> bool {
        user.rights.load().are_all(self.catalog)
    }

    /// The text of a file that makes these users.
    pub(crate) fn file_text(&self) -> Vec<u8> {
        self.all().iter().flat_map(|user| [b"user ", &user.directive()[..], b"\n"].concat()).collect()
    }
}

impl Registry {
    /// The user of this name.
    pub(crate) fn find(&self, name: &[u8]) -> Option<&Arc<User>> {
        self.named.get(name)
    }

    /// Gives a user these rights; one that is not there is made.
    pub(crate) fn set(&mut self, name: &[u8], rights: Rights) -> Arc<User> {
        match self.named.get(name) {
            Some(user) => {
                user.rights.store(Arc::new(rights));
                user.clone()
            }
            None => {
                let user = User::new(name, rights);
                self.named.insert(name.into(), user.clone());
                user
            }
        }
    }

    /// All users, by their names.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<User>> {
        self.named.values()
    }

    /// Removes a user.
    pub(crate) fn remove(&mut self, name: &[u8]) -> Option<Arc<User>> {
        self.named.remove(name)
    }

    /// Has the users be those of a file, and the default user be open where it names none. Sessions of users that remain go on.
    ///
    /// # Errors
    /// What is wrong with the file, in one line; nothing has changed.
    pub(crate) fn load(
        &mut self,
        text: &[u8],
        path: &str,
        catalog: &Catalog,
        all_channels: bool,
    ) -> Result<Anew, Vec<u8>> {
        let mut users = file::parse(text, path, catalog, all_channels)?;
        users.entry(DEFAULT_USER.into()).or_insert_with(|| Rights::all(catalog));
        let is_gone = |name: &[u8]| !users.contains_key(name);
        let gone: Vec<Arc<User>> = self.named.values().filter(|user| is_gone(&user.name)).cloned().collect();
        gone.iter().for_each(|user| drop(self.named.remove(&user.name)));
        for (name, rights) in users {
            self.set(&name, rights);
        }
        Ok(Anew { gone })
    }
}

/// Whether a user can have this name.
pub(crate) fn check_name(name: &[u8]) -> bool {
    !name.iter().any(|byte| byte.is_ascii_whitespace() || matches!(byte, 0 | 0x0b))
}
