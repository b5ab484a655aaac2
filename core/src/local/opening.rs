//! The users that an engine begins with: those of its options, or of a file.

use std::fs;
use std::path::Path;

use super::Local;
use crate::acl::{DEFAULT_USER, Rights, check_name, join_selectors};
use crate::error::{Error, ErrorKind, Result, reason};

impl Local {
    /// Makes the users that the options name.
    ///
    /// # Errors
    /// A rule is wrong, or the file can't be read.
    pub(crate) fn open_users(&self) -> Result<()> {
        if self.config.text("requirepass").is_some_and(|password| !password.is_empty()) {
            self.adopt_password();
        }
        let users = self.config.users();
        let file = self.config.acl_file();
        if file.is_some() && !users.is_empty() {
            let text = "Users stand in the configuration file and in an ACL file: only one of the two may have any. Remove the option \
                        'aclfile', or all 'user' lines.";
            return Err(Error::new(ErrorKind::Usage, text));
        }
        for (at, user) in users.iter().enumerate() {
            let [name, rules @ ..] = &user[..] else { continue };
            let wrong = |name: &[u8], what: &str| {
                let name = String::from_utf8_lossy(name);
                Error::new(ErrorKind::Usage, format!("Error in user declaration '{name}': {what}"))
            };
            if !check_name(name) {
                return Err(Error::new(ErrorKind::Usage, "Spaces not allowed in ACL usernames"));
            }
            if users[..at].iter().any(|other| other.first() == Some(name)) {
                let text = "Duplicate user found. A user can only be defined once in config files";
                return Err(wrong(name, text));
            }
            let rules: Vec<&[u8]> = rules.iter().map(Vec::as_slice).collect();
            let rules = join_selectors(&rules).map_err(|open| wrong(&open, "Wrong format"))?;
            let mut rights = Rights::none(self.users.catalog, self.config.allows_all_channels());
            for rule in rules {
                rights
                    .apply(&rule, self.users.catalog, self.config.allows_all_channels())
                    .map_err(|error| wrong(name, error.text()))?;
            }
            drop(self.set_rights(name, rights));
        }
        match file {
            Some(path) => self.load_user_file(&path).map(drop).map_err(|text| {
                let text = String::from_utf8_lossy(&text).into_owned();
                Error::new(ErrorKind::Usage, format!("Aborting startup because of ACL errors: {text}"))
            }),
            None => Ok(()),
        }
    }

    /// Has the users be those of a file. Returns the clients that may not be there any more.
    ///
    /// # Errors
    /// What is wrong, in one line; nothing has changed.
    pub(crate) fn load_user_file(&self, path: &Path) -> Result<super::standing::Ended, Vec<u8>> {
        let name = path.display().to_string();
        let text = fs::read(path).map_err(|error| {
            format!("Error loading ACLs, opening file '{name}': {}", reason(&error)).into_bytes()
        })?;
        self.load_users(&text, &name).map_err(|mut errors| {
            let end =
                "WARNING: ACL errors detected, no change to the previously active ACL rules was performed";
            errors.extend_from_slice(end.as_bytes());
            errors
        })
    }

    /// Has the default user be who knows the password of the option `requirepass`, or everybody where that is empty.
    pub(crate) fn adopt_password(&self) {
        let password = self.config.text("requirepass").unwrap_or_default();
        let rule = if password.is_empty() { b"nopass".to_vec() } else { [b">", &password[..]].concat() };
        let changed = self.change_rights(DEFAULT_USER, |rights| {
            let mut rights =
                rights.map_or_else(|| Rights::all(self.users.catalog), |rights| (*rights).clone());
            rights.apply(b"resetpass", self.users.catalog, false)?;
            rights.apply(&rule, self.users.catalog, false).map(|()| rights)
        });
        debug_assert!(changed.is_ok_and(|ended| ended.is_empty()), "a password is no question of channels");
    }
}
