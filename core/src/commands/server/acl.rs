//! ACL SETUSER, DELUSER, GETUSER, LIST, USERS, LOAD and SAVE: the users and what each may do. The rest of ACL is in [`super::acl_log`].

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use crate::acl::{DEFAULT_USER, Rights, check_name, join_selectors};
use crate::clients::{ClientInfo, Ending};
use crate::command::{Args, Command, Context, Reply, Session};
use crate::error::{Error, ErrorKind, Result};
use crate::files::Replacement;
use crate::sync::Arc;

/// Holds the commands about users and what they may do.
#[derive(Command)]
#[command(
    name = "ACL", group = Server, since = "6.0.0", complexity = "Depends on subcommand.", arity = -2,
    container, reply = "any",
)]
pub struct Acl {}

/// All words behind the subcommand: names, rules, and passwords in them.
pub(super) fn all_words(argv: &[&[u8]]) -> Vec<usize> {
    (2..argv.len()).collect()
}

/// Makes a user or changes what it may do, rule by rule.
///
/// Returns `OK`. Where a rule is wrong nothing has changed. What changes, changes for open connections too.
#[derive(Command)]
#[command(
    name = "ACL|SETUSER", group = Server, since = "6.0.0", complexity = "O(N). Where N is the number of rules provided.", arity = -3,
    flags(ADMIN, NOSCRIPT, LOADING, STALE), tips("request_policy:all_nodes", "response_policy:all_succeeded"),
    history(("6.2.0", "Added Pub/Sub channel patterns."), ("7.0.0", "Added selectors and key based permissions."), ("9.1.0", "Added database permission rules.")),
    secrets = all_words, whole_keyspace, custom_parse, reply = "ok",
)]
pub struct AclSetUser<'a> {
    username: &'a [u8],
    #[arg(optional)]
    rule: Vec<&'a [u8]>,
}

impl<'a> AclSetUser<'a> {
    fn parse_args(args: &mut Args<'a>) -> Result<Self> {
        Ok(Self { username: args.required()?, rule: args.take_rest().to_vec() })
    }
}

impl Session for AclSetUser<'_> {
    fn execute(&self, context: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        if !check_name(self.username) {
            return Err(Error::command("Usernames can't contain spaces or null characters"));
        }
        let rules = join_selectors(&self.rule).map_err(|open| {
            Error::repeating("Unmatched parenthesis in acl selector starting at '", &open, "'.")
        })?;
        let engine = context.engine;
        let (catalog, all_channels) = (engine.users.catalog, engine.config.allows_all_channels());
        let ended = engine.change_rights(self.username, |rights| {
            let mut rights =
                rights.map_or_else(|| Rights::none(catalog, all_channels), |rights| (*rights).clone());
            for rule in &rules {
                rights.apply(rule, catalog, all_channels).map_err(|error| {
                    let end = format!("': {}", error.text());
                    Error::repeating("Error in ACL SETUSER modifier '", rule, &end)
                })?;
            }
            Ok::<_, Error>(rights)
        })?;
        context.end(&ended);
        reply.ok();
        Ok(())
    }
}

/// Removes users and ends their connections.
///
/// Returns how many there were. The default user can't be removed.
#[derive(Command)]
#[command(
    name = "ACL|DELUSER", group = Server, since = "6.0.0", complexity = "O(1) amortized time considering the typical user.", arity = -3,
    flags(ADMIN, NOSCRIPT, LOADING, STALE), tips("request_policy:all_nodes", "response_policy:all_succeeded"),
    secrets = all_words, whole_keyspace, reply = "int",
)]
pub struct AclDelUser<'a> {
    username: Vec<&'a [u8]>,
}

impl Session for AclDelUser<'_> {
    fn execute(&self, context: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        if self.username.contains(&DEFAULT_USER) {
            return Err(Error::command("The 'default' user cannot be removed"));
        }
        let (removed, ended) = context.engine.remove_users(&self.username);
        context.end(&ended);
        reply.count(removed);
        Ok(())
    }
}

/// Describes what a user may do.
///
/// Returns null where there is no such user.
#[derive(Command)]
#[command(
    name = "ACL|GETUSER", group = Server, since = "6.0.0", complexity = "O(N). Where N is the number of password, command and pattern rules that the user has.", arity = 3,
    flags(ADMIN, NOSCRIPT, LOADING, STALE),
    history(("6.2.0", "Added Pub/Sub channel patterns."), ("7.0.0", "Added selectors and changed the format of key and channel patterns from a list to their rule representation."), ("9.1.0", "Added database permission rules.")),
    secrets = all_words, reply = "map(bulk, any) | null",
)]
pub struct AclGetUser<'a> {
    username: &'a [u8],
}

impl Session for AclGetUser<'_> {
    fn execute(&self, context: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        let Some(user) = context.engine.users.find(self.username) else {
            reply.null();
            return Ok(());
        };
        let rights = user.rights();
        let mut selectors = rights.selectors();
        reply.map(7);
        reply.bulk(b"flags");
        reply.set(1 + usize::from(rights.needs_no_password()));
        reply.bulk(if rights.is_on() { b"on" } else { b"off" });
        if rights.needs_no_password() {
            reply.bulk(b"nopass");
        }
        reply.bulk(b"passwords");
        let passwords = rights.passwords();
        reply.array(passwords.len());
        passwords.for_each(|digits| reply.bulk(digits.as_bytes()));
        if let Some(main) = selectors.next() {
            write_selector(main, reply);
        }
        reply.bulk(b"selectors");
        let further: Vec<_> = selectors.collect();
        reply.array(further.len());
        for selector in further {
            reply.map(4);
            write_selector(selector, reply);
        }
        Ok(())
    }
}

fn write_selector(selector: &crate::acl::Selector, reply: &mut Reply) {
    let databases = selector.databases().into_bytes();
    let fields = [
        ("commands", selector.commands()),
        ("keys", selector.keys()),
        ("channels", selector.channels()),
        ("databases", databases),
    ];
    for (name, text) in fields {
        reply.bulk(name.as_bytes());
        reply.bulk(&text);
    }
}

/// Describes all users, as in a file of users.
///
/// Returns a line for each.
#[derive(Command)]
#[command(
    name = "ACL|LIST", group = Server, since = "6.0.0", complexity = "O(N). Where N is the number of configured users.", arity = 2,
    flags(ADMIN, NOSCRIPT, LOADING, STALE),
    reply = "array(bulk)",
)]
pub struct AclList {}

impl Session for AclList {
    fn execute(&self, context: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        let users = context.engine.users.all();
        reply.array(users.len());
        users.iter().for_each(|user| reply.bulk(&[b"user ", &user.describe()[..]].concat()));
        Ok(())
    }
}

/// Lists the names of all users.
///
/// Returns them.
#[derive(Command)]
#[command(
    name = "ACL|USERS", group = Server, since = "6.0.0", complexity = "O(N). Where N is the number of configured users.", arity = 2,
    flags(ADMIN, NOSCRIPT, LOADING, STALE),
    reply = "array(bulk)",
)]
pub struct AclUsers {}

impl Session for AclUsers {
    fn execute(&self, context: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        let users = context.engine.users.all();
        reply.array(users.len());
        users.iter().for_each(|user| reply.bulk(&user.name));
        Ok(())
    }
}

/// Has the users be those of the file that `aclfile` names.
///
/// Returns `OK`. Where the file is wrong nothing has changed. Connections of users that are no more end.
#[derive(Command)]
#[command(
    name = "ACL|LOAD", group = Server, since = "6.0.0", complexity = "O(N). Where N is the number of configured users.", arity = 2,
    flags(ADMIN, NOSCRIPT, LOADING, STALE),
    whole_keyspace, reply = "ok",
)]
pub struct AclLoad {}

impl Session for AclLoad {
    fn execute(&self, context: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        let path = context.engine.config.acl_file().ok_or_else(no_file)?;
        let ended = context.engine.load_user_file(&path);
        let ended =
            ended.map_err(|text| Error::from_bytes(ErrorKind::Command, [b"ERR ", &text[..]].concat()))?;
        context.end(&ended);
        reply.ok();
        Ok(())
    }
}

/// Writes the users to the file that `aclfile` names.
///
/// Returns `OK`. The file is replaced whole or not at all.
#[derive(Command)]
#[command(
    name = "ACL|SAVE", group = Server, since = "6.0.0", complexity = "O(N). Where N is the number of configured users.", arity = 2,
    flags(ADMIN, NOSCRIPT, LOADING, STALE), tips("request_policy:all_nodes", "response_policy:all_succeeded"),
    reply = "ok",
)]
pub struct AclSave {}

impl Session for AclSave {
    fn execute(&self, context: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        let path = context.engine.config.acl_file().ok_or_else(no_file)?;
        let text = context.engine.users.file_text();
        save(&path, &text).map_err(|_| {
            Error::command(
                "There was an error trying to save the ACLs. Please check the server logs for more information",
            )
        })?;
        reply.ok();
        Ok(())
    }
}

fn save(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut replacement = Replacement::try_begin(path)?;
    if let Ok(metadata) = fs::metadata(path) {
        replacement.file().set_permissions(metadata.permissions())?;
    }
    replacement.file().write_all(text)?;
    replacement.try_commit().map(drop)
}

fn no_file() -> Error {
    Error::command(
        "This instance is not configured to use an ACL file. You may want to specify users via the ACL SETUSER command and then \
         issue a CONFIG REWRITE (assuming you have a configuration file set) in order to store users in the configuration.",
    )
}

impl Context<'_, '_> {
    /// Ends the connections of clients that may not be there any more; the session's own when it has its reply. A session in the process has none, and stays.
    fn end(&mut self, clients: &[Arc<ClientInfo>]) {
        for client in clients.iter().filter(|client| client.has_connection()) {
            if client.id == self.session.info.id {
                self.session.quitting = true;
                continue;
            }
            client.cut();
            self.unblock(client, Ending::Gone);
            // Gone at once, for CLIENT LIST too; its thread needs a moment.
            self.engine.clients.forget(client.id);
        }
    }
}

#[cfg(test)]
mod tests;
