//! Filling a folder that holds nothing: all files come into it at once, when they are there whole. Until then they stand in a folder of their own within it.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::{files, lock};
use crate::error::{Error, ErrorKind, Result};

/// How the folder's name begins, before the process's number, in which files stand meanwhile.
const BESIDE: &str = "temp-filling-";

/// A folder that is being filled. Unless it [is](Staging::commit) nothing is left of that.
pub(crate) struct Staging {
    target: PathBuf,
    own: PathBuf,
    /// It was not there before.
    is_new: bool,
    /// The file of the lock was not there before.
    has_made_lock: bool,
    lock: Option<File>,
    is_filled: bool,
}

impl Staging {
    /// Begins to fill a folder, which is made if it is not there. With `is_engine` it is locked as an engine's.
    ///
    /// # Errors
    /// It holds something, an engine has it, or it can't be written to.
    pub(crate) fn begin(target: &Path, is_engine: bool) -> Result<Self> {
        let told = |error| files::told("Creating", target, &error);
        let is_new = !target.exists();
        files::create_folder(target).map_err(told)?;
        // From here on what was made is removed again.
        let mut staging = Self {
            own: target.join(format!("{BESIDE}{}", std::process::id())),
            target: target.to_owned(),
            is_new,
            has_made_lock: false,
            lock: None,
            is_filled: false,
        };
        refuse_if_full(target)?;
        if is_engine {
            let is_there = target.join(lock::NAME).exists();
            staging.lock = Some(lock::lock(target)?);
            staging.has_made_lock = !is_there;
            // Whoever had it before looked.
            refuse_if_full(target)?;
            remove_abandoned(target);
        }
        files::create_folder(&staging.own).map_err(told)?;
        Ok(staging)
    }

    /// Where the files are to be written.
    pub(crate) fn path(&self) -> &Path {
        &self.own
    }

    /// Has files or folders, which are whole and on the disk, be where they belong, in this order. `from`: where they stand below [`Staging::path`].
    ///
    /// # Errors
    /// One of them can't be renamed: those before are gone again.
    pub(crate) fn commit(mut self, from: &Path, names: &[OsString]) -> Result<()> {
        let told = |error| files::told("Filling", &self.target, &error);
        for (done, name) in names.iter().enumerate() {
            let renamed = fs::rename(from.join(name), self.target.join(name));
            if let Err(error) = renamed {
                for name in &names[..done] {
                    // What can't be taken back stays; the error is told.
                    let _ = fs::rename(self.target.join(name), from.join(name));
                }
                return Err(told(error));
            }
        }
        self.is_filled = true;
        files::sync_folder(&self.target).map_err(told)
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // What can't be removed stays; it is in nobody's way.
        let _ = fs::remove_dir_all(&self.own);
        if self.has_made_lock && !self.is_filled {
            let _ = fs::remove_file(self.target.join(lock::NAME));
        }
        if let Some(lock) = self.lock.take() {
            lock::unlock(lock);
        }
        if self.is_new && !self.is_filled {
            let _ = fs::remove_dir(&self.target);
        }
    }
}

/// What a folder may hold that holds nothing: a lock, what a killed process was filling it with, and what file systems put there.
fn is_nothing(name: &str) -> bool {
    name == lock::NAME || name.starts_with(BESIDE) || name == "lost+found"
}

fn refuse_if_full(folder: &Path) -> Result<()> {
    let told = |error| files::told("Reading", folder, &error);
    for entry in fs::read_dir(folder).map_err(told)? {
        let name = entry.map_err(told)?.file_name();
        let name = name.to_string_lossy();
        if !is_nothing(&name) {
            let text = format!("ERR {} holds something already: {name}", folder.display());
            return Err(Error::new(ErrorKind::Usage, text));
        }
    }
    Ok(())
}

/// Removes what killed processes were filling a folder with, which is locked.
fn remove_abandoned(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(BESIDE) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_folder_is_filled_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("app.ks");
        let staging = Staging::begin(&target, true).unwrap();
        fs::write(staging.path().join("data"), "half").unwrap();
        assert!(Staging::begin(&target, true).is_err(), "it is locked");
        drop(staging);
        assert!(!target.exists());
        let staging = Staging::begin(&target, true).unwrap();
        fs::write(staging.path().join("data"), "whole").unwrap();
        let from = staging.path().to_owned();
        staging.commit(&from, &["data".into()]).unwrap();
        assert_eq!(names(&target), ["data", "lock"]);
        let refused = Staging::begin(&target, true).err().unwrap().to_string();
        assert!(refused.ends_with("holds something already: data"), "{refused}");
        assert_eq!(names(&target), ["data", "lock"]);
    }

    #[test]
    fn what_was_there_stays() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path();
        let staging = Staging::begin(target, true).unwrap();
        let from = staging.path().to_owned();
        fs::write(from.join("one"), "").unwrap();
        let failed = staging.commit(&from, &["one".into(), "none".into()]).unwrap_err();
        assert!(failed.to_string().contains("No such file"), "{failed}");
        assert_eq!(names(target), [""; 0]);
        let killed = target.join(format!("{BESIDE}1"));
        fs::create_dir(&killed).unwrap();
        drop(Staging::begin(target, false).unwrap());
        assert!(killed.exists(), "it may be another's");
        drop(Staging::begin(target, true).unwrap());
        assert_eq!(names(target), [""; 0]);
    }
}
