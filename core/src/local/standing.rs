//! Who the clients act as, and what follows for them when users change.
//!
//! A session decides by itself whether its commands may take the short way, and looks at nothing that others write. Therefore, when a client may do less
//! than its session knows, no command of the engine takes the short way until that session has seen it, which it does with its next command, or is gone.

use super::{Local, UNAWARE};
use crate::acl::{Anew, Rights, User};
use crate::clients::{ClientInfo, Standing, SubscriptionKind};
use crate::sync::Arc;

/// Clients that a change of the users leaves without a right to be there: their connections are to be ended when nothing is locked.
pub(crate) type Ended = Vec<Arc<ClientInfo>>;

impl Local {
    /// A client is the default user from now on, as at its beginning.
    pub(crate) fn begin_as_default(&self, client: &ClientInfo) {
        let mut registry = self.users.lock();
        let default = self.users.default_user();
        client.set_user(default.clone());
        let standing = Standing {
            is_anonymous: !self.users.default_is_open(),
            is_restricted: !self.users.may_all(default),
        };
        // Its own session asks.
        self.set_standing(&mut registry.unaware, client, standing, true);
    }

    /// A client has said that it is a user, by a password. Says whether it is.
    pub(crate) fn authenticate(&self, client: &ClientInfo, name: &[u8], password: &[u8]) -> bool {
        // A long password takes its time.
        let Some(user) = self.users.find(name).filter(|user| user.rights().admits(password)) else {
            return false;
        };
        let mut registry = self.users.lock();
        if !registry.find(name).is_some_and(|own| Arc::ptr_eq(own, &user)) {
            return false;
        }
        self.become_user(&mut registry.unaware, client, user);
        true
    }

    /// A client has shown a certificate of a user. Says whether there is one of this name that may be used.
    #[cfg(feature = "listener")]
    pub(crate) fn identify(&self, client: &ClientInfo, name: &[u8]) -> bool {
        let mut registry = self.users.lock();
        let Some(user) = registry.find(name).filter(|user| user.rights().is_on()).cloned() else {
            return false;
        };
        self.become_user(&mut registry.unaware, client, user);
        true
    }

    /// Gives a user rights. Returns who hears what that user may no longer hear.
    pub(crate) fn set_rights(&self, name: &[u8], rights: Rights) -> Ended {
        let mut registry = self.users.lock();
        let user = registry.set(name, rights);
        self.adopt_rights(&mut registry.unaware, &[user])
    }

    /// Changes the rights of a user, or of a new one. Returns who hears what that user may no longer hear.
    pub(crate) fn change_rights<E>(
        &self,
        name: &[u8],
        change: impl FnOnce(Option<Arc<Rights>>) -> Result<Rights, E>,
    ) -> Result<Ended, E> {
        let mut registry = self.users.lock();
        let rights = change(registry.find(name).map(|user| user.rights()))?;
        let user = registry.set(name, rights);
        Ok(self.adopt_rights(&mut registry.unaware, &[user]))
    }

    /// Removes users. Returns how many there were, and their clients.
    pub(crate) fn remove_users(&self, names: &[&[u8]]) -> (usize, Ended) {
        let mut registry = self.users.lock();
        let gone: Vec<Arc<User>> = names.iter().filter_map(|name| registry.remove(name)).collect();
        (gone.len(), self.depose(&mut registry.unaware, &gone))
    }

    /// Has the users be those of a file. Returns the clients that may not be there any more.
    ///
    /// # Errors
    /// What is wrong with the file; nothing has changed.
    pub(crate) fn load_users(&self, text: &[u8], path: &str) -> Result<Ended, Vec<u8>> {
        let mut registry = self.users.lock();
        let Anew { gone } =
            registry.load(text, path, self.users.catalog, self.config.allows_all_channels())?;
        let mut ended = self.depose(&mut registry.unaware, &gone);
        let users: Vec<Arc<User>> = registry.all().cloned().collect();
        ended.extend(self.adopt_rights(&mut registry.unaware, &users));
        Ok(ended)
    }

    /// The session of a client has seen its standing.
    pub(crate) fn standing_seen(&self, client: &ClientInfo) -> Standing {
        let mut registry = self.users.lock();
        let standing = client.standing();
        self.set_standing(&mut registry.unaware, client, standing, true);
        standing
    }

    /// A client acts as a user from now on, and its own session knows.
    fn become_user(&self, unaware: &mut usize, client: &ClientInfo, user: Arc<User>) {
        let is_restricted = !self.users.may_all(&user);
        client.set_user(user);
        self.set_standing(unaware, client, Standing { is_anonymous: false, is_restricted }, true);
    }

    /// A session ends.
    pub(crate) fn forget_standing(&self, client: &ClientInfo) {
        if client.is_unaware() {
            self.standing_seen(client);
        }
    }

    /// The clients of users that are no more become nobody.
    fn depose(&self, unaware: &mut usize, gone: &[Arc<User>]) -> Ended {
        if gone.is_empty() {
            return Vec::new();
        }
        let default = self.users.default_user();
        let is_gone = |client: &Arc<ClientInfo>| gone.iter().any(|user| Arc::ptr_eq(user, &client.user()));
        let clients: Vec<_> = self.clients.all().into_iter().filter(is_gone).collect();
        for client in &clients {
            client.set_user(default.clone());
            let standing = Standing { is_anonymous: true, is_restricted: !self.users.may_all(default) };
            self.set_standing(unaware, client, standing, false);
        }
        clients
    }

    fn adopt_rights(&self, unaware: &mut usize, users: &[Arc<User>]) -> Ended {
        let mut ended = Vec::new();
        for client in self.clients.all() {
            let user = client.user();
            if !users.iter().any(|changed| Arc::ptr_eq(changed, &user)) {
                continue;
            }
            let standing = Standing { is_restricted: !self.users.may_all(&user), ..client.standing() };
            self.set_standing(unaware, &client, standing, false);
            if client.subscribed.is_any() && self.hears_too_much(&client, &user.rights()) {
                ended.push(client);
            }
        }
        ended
    }

    fn hears_too_much(&self, client: &ClientInfo, rights: &Rights) -> bool {
        SubscriptionKind::ALL.into_iter().any(|kind| {
            let is_pattern = kind == SubscriptionKind::Pattern;
            let names = self.clients.channels.of_client(kind, client.id);
            names.iter().any(|name| !rights.allow_channel(name, is_pattern))
        })
    }

    fn set_standing(&self, unaware: &mut usize, client: &ClientInfo, standing: Standing, is_seen: bool) {
        let (was, is) = client.set_standing(standing, is_seen);
        *unaware = *unaware + usize::from(is) - usize::from(was);
        self.set_measured(UNAWARE, *unaware > 0);
    }
}
