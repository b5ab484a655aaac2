//! Which files hold the data that a path stands for: a snapshot, a log, or a folder of either, of a server or of an engine.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::log_reader::Source;
use super::logging::FoundLog;
use super::{files, lock};
use crate::error::{Error, ErrorKind, Result};

/// The names that the options have by default.
const SNAPSHOT: &str = "dump.rdb";
const MAPPED: &str = "dump.ks";
const LOG: &str = "appendonly.aof";
pub(crate) const LOG_FOLDER: &str = "appendonlydir";

/// What was found.
pub(crate) struct Found {
    /// They are read in this order.
    pub(crate) sources: Vec<Source>,
    /// Keep engines from the folder meanwhile.
    locks: Vec<File>,
}

impl Drop for Found {
    fn drop(&mut self) {
        self.locks.drain(..).for_each(lock::unlock);
    }
}

/// The files that a path stands for. In a folder with a log and a snapshot it is the log, as for whoever opens it.
///
/// # Errors
/// There is none, an engine has the folder open, or something can't be read.
pub(crate) fn find(path: &Path) -> Result<Found> {
    let metadata = fs::metadata(path).map_err(|error| files::told("Opening", path, &error))?;
    if metadata.is_dir() {
        return in_folder(path);
    }
    if path.extension().is_some_and(|ending| ending == "manifest") {
        return of_manifest(path);
    }
    if !starts_well(path).map_err(|error| files::told("Reading", path, &error))? {
        let text = format!("ERR {} is neither a snapshot nor a log", path.display());
        return Err(Error::new(ErrorKind::Io, text));
    }
    Ok(Found { sources: vec![Source::whole(path)], locks: Vec::new() })
}

fn in_folder(folder: &Path) -> Result<Found> {
    let lock = lock::share(folder)?;
    for folder in [folder, &folder.join(LOG_FOLDER)] {
        match &manifests_in(folder)?[..] {
            [] => {}
            [manifest] => {
                let mut found = of_manifest(manifest)?;
                found.locks.extend(lock);
                return Ok(found);
            }
            [one, other, ..] => {
                let text = format!("ERR there are several logs: {} and {}", one.display(), other.display());
                return Err(Error::new(ErrorKind::Usage, text));
            }
        }
    }
    let single =
        [LOG, MAPPED, SNAPSHOT].map(|name| folder.join(name)).into_iter().find(|path| path.is_file());
    let Some(single) = single else {
        let text = format!("ERR There is neither a snapshot nor a log in {}", folder.display());
        return Err(Error::new(ErrorKind::Io, text));
    };
    let mut found = find(&single)?;
    found.locks.extend(lock);
    Ok(found)
}

/// A log, with what a killed engine left of it in the ring.
fn of_manifest(manifest: &Path) -> Result<Found> {
    let told = |error: io::Error| files::told("Reading", manifest, &error);
    let full = manifest.canonicalize().map_err(told)?;
    let mut locks = Vec::new();
    // The folder of the log, and that of the engine.
    for folder in full.ancestors().skip(1).take(2) {
        locks.extend(lock::share(folder)?);
    }
    let sources = FoundLog::read(manifest)?.sources(&manifest.with_extension("ring"))?;
    Ok(Found { sources, locks })
}

/// The manifests in a folder; none where there is no such folder.
fn manifests_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let files = files::files_of(folder)?;
    Ok(files.into_iter().filter(|path| path.extension().is_some_and(|ending| ending == "manifest")).collect())
}

/// Whether a file begins as a snapshot or a log does. An empty log is one.
fn starts_well(path: &Path) -> io::Result<bool> {
    let mut head = Vec::new();
    File::open(path)?.take(8).read_to_end(&mut head)?;
    let beginnings: [&[u8]; 6] = [b"REDIS", b"VALKEY", b"*", b"#TS:", b"#KS:", b"KEYSTEAD"];
    Ok(head.is_empty() || beginnings.iter().any(|beginning| head.starts_with(beginning)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(path: &Path) -> Vec<String> {
        let name = |source: &Source| source.path.file_name().unwrap().to_string_lossy().into_owned();
        find(path).unwrap().sources.iter().map(name).collect()
    }

    fn refusal(path: &Path) -> String {
        find(path).err().expect("it is refused").to_string()
    }

    #[test]
    fn a_path_stands_for_files() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        assert!(refusal(folder).contains("neither a snapshot nor a log in"));
        assert!(refusal(&folder.join("none")).contains("No such file"));
        fs::write(folder.join("dump.rdb"), "VALKEY080").unwrap();
        assert_eq!(names(folder), ["dump.rdb"]);
        assert_eq!(names(&folder.join("dump.rdb")), ["dump.rdb"]);
        fs::write(folder.join("appendonly.aof"), "").unwrap();
        assert_eq!(names(folder), ["appendonly.aof"], "the log is what counts");
        fs::write(folder.join("page"), "# A title").unwrap();
        assert!(refusal(&folder.join("page")).ends_with("is neither a snapshot nor a log"));
        let logs = folder.join(LOG_FOLDER);
        fs::create_dir(&logs).unwrap();
        fs::write(
            logs.join("a.manifest"),
            "file a.1.base.rdb seq 1 type b\nfile a.1.incr.aof seq 1 type i\n",
        )
        .unwrap();
        for path in [folder, &logs, &logs.join("a.manifest")] {
            assert_eq!(names(path), ["a.1.base.rdb", "a.1.incr.aof"]);
        }
        fs::write(logs.join("b.manifest"), "").unwrap();
        assert!(refusal(folder).contains("several logs"));
        assert!(!folder.join("lock").exists(), "nothing is changed");
    }
}
