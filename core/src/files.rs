//! Files that are there whole or not at all: written beside, synced, renamed, and the folder synced.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// A file for this user alone, emptied if it was there.
///
/// # Errors
/// The system's.
pub(crate) fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).read(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Makes a folder for this user alone, if it is not there. Either way it is on the disk then: a killed process may have made it a moment ago.
///
/// # Errors
/// The system's.
pub(crate) fn create_folder(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    match builder.create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
        other => other?,
    }
    match sync_folder(folder_of(path)) {
        // Whoever may not read a folder can't sync it.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        other => other,
    }
}

/// Has what was renamed, created or removed in a folder reach the disk.
///
/// # Errors
/// The system's.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    #[cfg(unix)]
    File::open(folder)?.sync_all()?;
    let _ = folder;
    Ok(())
}

/// What the names of files begin with that are written beside others, before the process's number.
const BESIDE: &str = "temp-";

/// Removes what killed processes were writing beside files whose names begin with `name`. Nobody writes there.
pub(crate) fn remove_abandoned(folder: &Path, name: &str) {
    let is_abandoned = |file: &str| {
        let rest = file.strip_prefix(BESIDE).and_then(|rest| rest.split_once('-'));
        rest.is_some_and(|(process, rest)| {
            !process.is_empty() && process.bytes().all(|byte| byte.is_ascii_digit()) && rest.starts_with(name)
        })
    };
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().to_str().is_some_and(is_abandoned) {
            // What can't be removed stays; it is in nobody's way.
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// A file that is being written to take the place of another. Unless it [does](Replacement::commit) it is removed.
#[derive(Debug)]
pub(crate) struct Replacement {
    target: PathBuf,
    beside: PathBuf,
    file: Option<File>,
}

impl Replacement {
    /// Begins to write what is to be at `target`, to a file beside it of a name that begins with [`BESIDE`].
    ///
    /// # Errors
    /// It can't be created.
    pub(crate) fn begin(target: &Path) -> Result<Self> {
        Self::try_begin(target).map_err(|error| told("Creating", target, &error))
    }

    /// [`Replacement::begin`] with the system's error.
    ///
    /// # Errors
    /// As there.
    pub(crate) fn try_begin(target: &Path) -> io::Result<Self> {
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        let beside = target.with_file_name(format!("{BESIDE}{}-{name}", std::process::id()));
        let file = create(&beside)?;
        Ok(Self { target: target.to_owned(), beside, file: Some(file) })
    }

    /// The file.
    pub(crate) fn file(&mut self) -> &mut File {
        self.file.as_mut().expect("it is there until it is committed")
    }

    /// Puts the file where it belongs, when all of it has reached the disk. Returns it.
    ///
    /// # Errors
    /// One of the steps failed: what was there is there.
    pub(crate) fn commit(self) -> Result<File> {
        let target = self.target.clone();
        self.try_commit().map_err(|error| told("Replacing", &target, &error))
    }

    /// [`Replacement::commit`] with the system's error.
    ///
    /// # Errors
    /// As there.
    pub(crate) fn try_commit(mut self) -> io::Result<File> {
        let file = self.file.take().expect("it is committed once");
        file.sync_all()?;
        fs::rename(&self.beside, &self.target)?;
        self.beside.clear();
        sync_folder(folder_of(&self.target))?;
        Ok(file)
    }
}

impl Drop for Replacement {
    fn drop(&mut self) {
        if !self.beside.as_os_str().is_empty() {
            // What can't be removed stays; it is in nobody's way.
            let _ = fs::remove_file(&self.beside);
        }
    }
}

/// Replaces a file by one of these bytes.
///
/// # Errors
/// As of [`Replacement`].
pub(crate) fn replace(target: &Path, bytes: &[u8]) -> Result<()> {
    let mut replacement = Replacement::begin(target)?;
    let written = replacement.file().write_all(bytes);
    written.map_err(|error| told("Writing", target, &error))?;
    replacement.commit().map(drop)
}

/// The folder that a path is in.
pub(crate) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// The files of a folder in the order of their names; none where there is no such folder.
///
/// # Errors
/// It can't be read.
pub(crate) fn files_of(folder: &Path) -> Result<Vec<PathBuf>> {
    let told = |error: io::Error| told("Reading", folder, &error);
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(told)?,
    };
    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
    let mut paths = paths.collect::<io::Result<Vec<_>>>().map_err(told)?;
    paths.sort();
    Ok(paths)
}

/// Whether a folder is on a file system of this machine, as far as that can be told: on others, files are not mapped.
pub(crate) fn is_local(folder: &Path) -> bool {
    /// NFS, SMB (three of them), FUSE, 9P, Ceph, AFS, Lustre, GFS2, OCFS2.
    #[cfg(target_os = "linux")]
    const ELSEWHERE: [u32; 11] = [
        0x6969,
        0x517b,
        0xff53_4d42,
        0xfe53_4d42,
        0x6573_5546,
        0x0102_1997,
        0x00c3_6400,
        0x5346_414f,
        0x0bd0_0bd0,
        0x0116_1970,
        0x7461_636f,
    ];
    #[cfg(target_os = "linux")]
    return rustix::fs::statfs(folder).is_ok_and(|found| !ELSEWHERE.contains(&(found.f_type as u32)));
    #[cfg(not(target_os = "linux"))]
    {
        let _ = folder;
        false
    }
}

/// What went wrong with a file.
pub(crate) fn told(what: &str, path: &Path, error: &io::Error) -> Error {
    Error::io(format_args!("{what} {}", path.display()), error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_replaced_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("data");
        replace(&target, b"first").unwrap();
        let mut given_up = Replacement::begin(&target).unwrap();
        given_up.file().write_all(b"half").unwrap();
        drop(given_up);
        assert_eq!(fs::read(&target).unwrap(), b"first");
        replace(&target, b"second").unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"second");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(&target).unwrap().permissions().mode() & 0o777, 0o600);
        }
        let missing = replace(&folder.path().join("none/data"), b"").unwrap_err();
        assert!(missing.to_string().contains("No such file"), "{missing}");
    }

    #[test]
    fn what_killed_processes_were_writing_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        for name in [
            "temp-12-data",
            "temp-12-data.1",
            "temp-x-data",
            "temp-12",
            "temp--data",
            "temp-12-other",
            "data",
        ] {
            fs::write(folder.path().join(name), b"half").unwrap();
        }
        remove_abandoned(folder.path(), "data");
        let left = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut left: Vec<String> = left.collect();
        left.sort();
        assert_eq!(left, ["data", "temp--data", "temp-12", "temp-12-other", "temp-x-data"]);
        remove_abandoned(&folder.path().join("none"), "data");
    }
}
