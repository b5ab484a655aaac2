//! The lock of a folder: one engine at a time writes there. The system's lock of a file decides, and goes with the process that holds it; what the file says
//! is for people alone. It is never removed or replaced.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use super::files;
use crate::error::{Error, ErrorKind, Result};

/// The file's name.
pub(super) const NAME: &str = "lock";

/// A folder that is locked.
pub(super) struct Lock {
    /// The lock is held for as long as it is open.
    file: File,
    folder: PathBuf,
}

impl Lock {
    /// Locks a folder.
    ///
    /// # Errors
    /// Another engine has it, which the text names, or the file can't be had.
    pub(super) fn of(folder: &Path) -> Result<Self> {
        Ok(Self { file: lock(folder)?, folder: folder.to_owned() })
    }

    /// Gives it up.
    pub(super) fn unlock(self) {
        unlock(self.file);
    }

    /// Locks the folder again if it was removed, and made again, since: what was locked is nobody's then.
    ///
    /// # Errors
    /// As of [`Lock::of`].
    pub(super) fn renew(&mut self) -> Result<()> {
        let path = self.folder.join(NAME);
        if !is_same(&self.file, &path).map_err(|error| files::told("Locking", &path, &error))? {
            self.file = lock(&self.folder)?;
        }
        Ok(())
    }
}

/// Locks a folder for as long as the file is open.
///
/// # Errors
/// As of [`Lock::of`].
pub(super) fn lock(folder: &Path) -> Result<File> {
    let path = folder.join(NAME);
    let told = |error: io::Error| files::told("Locking", &path, &error);
    loop {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        #[cfg(unix)]
        {
            use std::os::unix::fs::OpenOptionsExt;
            options.mode(0o600).custom_flags(libc::O_NOFOLLOW);
        }
        let mut file = options.open(&path).map_err(told)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(taken(folder, file)),
            Err(TryLockError::Error(error)) => return Err(told(error)),
        }
        if is_same(&file, &path).map_err(told)? {
            describe(&mut file).map_err(told)?;
            return Ok(file);
        }
    }
}

/// Gives a lock up. A child that was forked off meanwhile has the file, too, and may not have closed it yet: closing it here would not be enough.
pub(super) fn unlock(file: File) {
    // Where that fails it goes with the last of them that is closed.
    let _ = file.unlock();
}

/// Keeps engines from a folder for as long as the file is open, if there ever was one. Others may read it meanwhile.
///
/// # Errors
/// An engine has it, which the text names, or the file can't be had.
pub(super) fn share(folder: &Path) -> Result<Option<File>> {
    let path = folder.join(NAME);
    let told = |error: io::Error| files::told("Locking", &path, &error);
    let file = match File::open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(told)?,
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Err(taken(folder, file)),
        Err(TryLockError::Error(error)) => Err(told(error)),
    }
}

/// Whether a path still leads to a file that was opened by it.
#[cfg(unix)]
fn is_same(file: &File, path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let opened = file.metadata()?;
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        found => found.map(|found| (found.dev(), found.ino()) == (opened.dev(), opened.ino())),
    }
}

#[cfg(not(unix))]
fn is_same(_: &File, _: &Path) -> io::Result<bool> {
    Ok(true)
}

/// Writes down who holds it.
fn describe(file: &mut File) -> io::Result<()> {
    let program = crate::process::executable();
    file.set_len(0)?;
    file.rewind()?;
    write!(file, "process {} ({program})", std::process::id())
}

fn taken(folder: &Path, mut file: File) -> Error {
    let mut holder = String::new();
    // A holder that has not said so yet is not worth waiting for.
    let _ = file.read_to_string(&mut holder);
    let holder = if holder.is_empty() { "another engine" } else { &holder };
    Error::new(ErrorKind::Io, format!("ERR {} is in use by {holder}", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_has_it_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let held = Lock::of(folder.path()).unwrap();
        let error = lock(folder.path()).unwrap_err().to_string();
        assert!(error.contains(&format!("in use by process {}", std::process::id())), "{error}");
        drop(held);
        let mut held = Lock::of(folder.path()).unwrap();
        std::fs::remove_file(folder.path().join(NAME)).unwrap();
        assert!(!is_same(&held.file, &folder.path().join(NAME)).unwrap());
        held.renew().unwrap();
        assert!(Lock::of(folder.path()).is_err());
        assert!(lock(&folder.path().join("none")).is_err());
    }

    #[test]
    fn readers_share_it_and_leave_nothing() {
        let folder = tempfile::tempdir().unwrap();
        assert!(share(folder.path()).unwrap().is_none());
        assert!(!folder.path().join(NAME).exists());
        unlock(lock(folder.path()).unwrap());
        let shared = [(); 2].map(|()| share(folder.path()).unwrap().expect("there is one"));
        assert!(lock(folder.path()).unwrap_err().to_string().contains("in use by"));
        shared.into_iter().for_each(unlock);
        let held = lock(folder.path()).unwrap();
        assert!(share(folder.path()).unwrap_err().to_string().contains("in use by"));
        // As a child has it that was forked off.
        let copy = held.try_clone().unwrap();
        unlock(held);
        unlock(lock(folder.path()).unwrap());
        drop(copy);
    }

    #[cfg(unix)]
    #[test]
    fn links_are_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("elsewhere", folder.path().join(NAME)).unwrap();
        assert!(lock(folder.path()).is_err());
        assert!(!folder.path().join("elsewhere").exists());
    }
}
