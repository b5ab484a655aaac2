//! Verifying files: every checksum, every structure, every command's name. Nothing is changed, and no engine needs to be closed for it.

use std::fs;
use std::path::Path;

use crate::commands::table;
use crate::engine::Engine;
use crate::error::{Error, ErrorKind, Result};
use crate::persist::loading::{Loaded, Time};
use crate::persist::log_reader::{self, Receiver, Source};
use crate::persist::logging::{self, FoundLog};
use crate::persist::{backups, files, mapped};
use crate::rdb::KeyRecord;
use crate::transfer::{Reading, Watch};

/// Verifies a snapshot, a log's manifest or file, or all of these in an engine's folder. Returns what was found, a line for each file. O(bytes).
///
/// # Errors
/// Something is damaged, which the text says with the file and the place, or can't be read, or there is nothing to verify.
pub fn check(path: impl AsRef<Path>) -> Result<Vec<String>> {
    check_watched(path, &mut |_| ())
}

/// As [`check`], and tells how far it is.
///
/// # Errors
/// As there.
pub fn check_watched(path: impl AsRef<Path>, watch: &mut Watch<'_>) -> Result<Vec<String>> {
    let path = path.as_ref();
    let mut checking = Checking { engine: Engine::new(), found: Vec::new(), watch };
    let is_folder = fs::metadata(path).map_err(|error| files::told("Opening", path, &error))?.is_dir();
    if is_folder {
        for folder in [path.to_owned(), path.join("appendonlydir"), path.join(backups::FOLDER)] {
            for file in files::files_of(&folder)? {
                checking.file_of_folder(&file)?;
            }
        }
    } else if path.extension().is_some_and(|ending| ending == "manifest") {
        checking.log(path)?;
    } else {
        checking.file(path, true)?;
    }
    if checking.found.is_empty() {
        let text = format!("ERR There is neither a snapshot nor a log in {}", path.display());
        return Err(Error::new(ErrorKind::Io, text));
    }
    Ok(checking.found)
}

struct Checking<'c, 'w> {
    /// Holds nothing: what values are made with.
    engine: Engine,
    found: Vec<String>,
    watch: &'c mut Watch<'w>,
}

impl Checking<'_, '_> {
    /// A file of a folder: what belongs to a log is verified with its manifest, and what is neither that nor a snapshot is not.
    fn file_of_folder(&mut self, path: &Path) -> Result<()> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.ends_with(".manifest") {
            self.log(path)
        } else if (name.ends_with(".rdb") || mapped::is_named_so(path))
            && !name.contains(".base.")
            && path.is_file()
        {
            self.file(path, true)
        } else {
            Ok(())
        }
    }

    /// A log by its manifest.
    fn log(&mut self, manifest: &Path) -> Result<()> {
        FoundLog::read(manifest)?.each_file(|source, may_be_cut| self.file(&source.path, may_be_cut))
    }

    /// A file that may begin with a snapshot, and go on with commands.
    fn file(&mut self, path: &Path, may_be_cut: bool) -> Result<()> {
        let (whole, len) = logging::verify(path)?;
        if 0 < whole && whole < len {
            if !may_be_cut {
                return Err(logging::truncated(path, whole));
            }
            self.found.push(format!("{}: cut off: whole up to byte {whole} of {len}", path.display()));
            return Ok(());
        }
        let (mut counting, mut found) = (Counting(0), Vec::new());
        let keyspace = &self.engine.inner.keyspace;
        let source = Source::whole(path);
        let reading = Reading::of(std::slice::from_ref(&source), self.watch);
        let heard = |bytes| reading.heard(bytes);
        let (loaded, end) = log_reader::read_file(keyspace, &source, Time::Present, &mut counting, &heard)?;
        if let Some(Loaded { keys, expired, functions }) = loaded {
            found.push(format!("{keys} keys, {expired} more have expired"));
            if !functions.is_empty() {
                found.push(format!("{} libraries of functions", functions.len()));
            }
        }
        let Counting(commands) = counting;
        if commands == 0 && found.is_empty() && !end.is_whole() {
            let text = format!("ERR {} is neither a snapshot nor a log", path.display());
            return Err(Error::new(ErrorKind::Io, text));
        }
        if commands > 0 || found.is_empty() {
            found.push(format!("{commands} commands"));
        }
        if !end.is_whole() {
            if !may_be_cut {
                return Err(logging::truncated(path, end.whole));
            }
            found.push(format!("cut off: whole up to byte {} of {}", end.whole, end.len));
        }
        self.found.push(format!("{}: {}", path.display(), found.join(", ")));
        Ok(())
    }
}

/// Counts commands, and knows them.
struct Counting(u64);

impl Receiver for Counting {
    fn key(&mut self, _: KeyRecord) -> Result<()> {
        Ok(())
    }

    fn command(&mut self, words: &[&[u8]]) -> Result<()> {
        self.0 += 1;
        // Libraries of functions are kept as they are.
        let is_known = words[0].eq_ignore_ascii_case(b"FUNCTION") || table::resolve(words).is_ok();
        let unknown = || Error::repeating("unknown or wrong command '", words[0], "'");
        if is_known { Ok(()) } else { Err(unknown()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Config, Form};

    #[test]
    fn files_are_verified_as_they_are() {
        let folder = tempfile::tempdir().unwrap();
        assert!(check(folder.path()).unwrap_err().to_string().contains("neither a snapshot nor a log"));
        let app = folder.path().join("app.ks");
        let config = Config::from_text(b"dbfilename dump.rdb\n").unwrap();
        let engine = Engine::builder().path(&app).config(config).open().unwrap();
        let mut session = engine.session(Form::Resp);
        for words in [&[&b"SET"[..], b"a", b"1"][..], &[b"SET", b"b", b"1"], &[b"SAVE"]] {
            session.execute(words);
        }
        engine.inner.persistence.find_log(engine.config()).unwrap();
        let found = check(&app).unwrap();
        assert_eq!(found.len(), 3, "{found:?}");
        for (found, text) in found.iter().zip(["2 keys", "0 keys", "3 commands"]) {
            assert!(found.contains(text), "{found}");
        }
        drop((session, engine));
        let log = app.join("appendonlydir/appendonly.aof.1.incr.aof");
        let whole = fs::read(&log).unwrap();
        fs::write(&log, &whole[..whole.len() - 1]).unwrap();
        assert!(check(&app).unwrap()[2].contains("cut off: whole up to byte"));
        assert_eq!(fs::read(&log).unwrap().len(), whole.len() - 1, "nothing is changed");
        let text = String::from_utf8(whole.clone()).unwrap();
        fs::write(&log, text.replacen("SET", "SEX", 1)).unwrap();
        assert!(check(&log).unwrap_err().to_string().contains("is damaged behind byte 0"));
        // As a server writes it.
        let plain: String = text.split_inclusive('\n').filter(|line| !line.starts_with("#KS:")).collect();
        fs::write(&log, plain.replacen("SET", "SEX", 1)).unwrap();
        let error = check(app.join("appendonlydir/appendonly.aof.manifest")).unwrap_err().to_string();
        assert!(error.contains("'SEX'") && error.contains("1.incr.aof"), "{error}");
        fs::write(&log, whole).unwrap();
        let snapshot = app.join("dump.rdb");
        let mut bytes = fs::read(&snapshot).unwrap();
        bytes[30] ^= 1;
        fs::write(&snapshot, bytes).unwrap();
        assert!(check(&snapshot).is_err());
        assert!(check(folder.path().join("none")).is_err());
        fs::write(&snapshot, "# A title\n\n**text** and more").unwrap();
        assert!(check(&snapshot).unwrap_err().to_string().ends_with("is neither a snapshot nor a log"));
        let mapped = folder.path().join("copy.ks");
        Engine::builder().path(&app).open().unwrap().snapshot(&mapped).unwrap();
        assert!(check(&mapped).unwrap()[0].ends_with("copy.ks: 2 keys, 0 more have expired"));
        let mut bytes = fs::read(&mapped).unwrap();
        bytes[80_000] ^= 1;
        fs::write(&mapped, bytes).unwrap();
        let error = check(folder.path()).unwrap_err().to_string();
        assert!(error.contains("damaged at byte 77824: a page's checksum is wrong"), "{error}");
    }
}
