//! Import: the folder of an engine is made of files of a server.

use std::path::Path;

use super::{Watch, config, load, survey, told, write};
use crate::error::{Error, ErrorKind, Result};
use crate::persist::saving::Progress;
use crate::persist::source::LOG_FOLDER;
use crate::persist::staging::Staging;
use crate::persist::writing::Form;

/// Makes a folder, which [`Builder::path`](crate::Builder::path) opens, of what Valkey and Redis leave behind: a snapshot (`dump.rdb`), a log (`appendonlydir`, its
/// manifest, or a single `appendonly.aof`), or a folder that has one of these. Of a folder that has both a snapshot and a log it is the log. Whatever was
/// read stays as it is. Returns what is to be said: what was left out, and what there is now. O(data), in memory, too.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let (dump, app) = (folder.path().join("dump.rdb"), folder.path().join("app.ks"));
/// # keystead::Engine::new().snapshot(&dump)?;
/// keystead::import(&dump, &app)?;
/// let engine = keystead::Engine::builder().path(&app).open()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// The folder holds something already, the files are damaged or can't be read, or the folder can't be written. Then there is no more than there was.
pub fn import(source: impl AsRef<Path>, folder: impl AsRef<Path>) -> Result<Vec<String>> {
    import_watched(source, folder, &mut |_| ())
}

/// As [`import`], and tells how far it is.
///
/// # Errors
/// As there.
pub fn import_watched(
    source: impl AsRef<Path>,
    folder: impl AsRef<Path>,
    watch: &mut Watch<'_>,
) -> Result<Vec<String>> {
    let (source, folder) = (source.as_ref(), folder.as_ref());
    let staging = Staging::begin(folder, true)?;
    let config = config()?;
    config.set_option("dir", utf8(staging.path())?)?;
    config.set_option("base-format", "snapshot")?;
    let engine = load(source, config, watch)?;
    let (survey, progress) = (survey(&engine), Progress::default());
    let form = Form::of_base(engine.config().hot());
    let (persistence, keyspace) = (&engine.inner.persistence, &engine.inner.keyspace);
    write(survey.keys() as u64, &progress, watch, || persistence.write_log(keyspace, &progress, form))?;
    let from = staging.path().to_owned();
    staging.commit(&from, &[LOG_FOLDER.into()])?;
    Ok(told(&engine, &survey, folder))
}

/// A path as options have it.
pub(super) fn utf8(path: &Path) -> Result<&str> {
    path.to_str().ok_or_else(|| Error::new(ErrorKind::Usage, "ERR a path has to be UTF-8"))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{Engine, Form, Stage};

    fn run(engine: &Engine, line: &str) -> String {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let mut session = engine.session(Form::Resp);
        String::from_utf8_lossy(session.execute(&words)).trim_end().replace("\r\n", " ")
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_snapshot_becomes_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let (dump, app) = (folder.path().join("dump.rdb"), folder.path().join("app.ks"));
        let engine = Engine::new();
        for number in 0..1000 {
            run(&engine, &format!("SET key:{number} {number}"));
        }
        engine.snapshot(&dump).unwrap();
        let before = fs::read(&dump).unwrap();
        let mut told = Vec::new();
        let said = import_watched(&dump, &app, &mut |progress| told.push(progress)).unwrap();
        assert!(said.last().unwrap().ends_with("app.ks: 1000 keys"), "{said:?}");
        for (stage, total) in [(Stage::Reading, before.len() as u64), (Stage::Writing, 1000)] {
            let last = told.iter().rfind(|progress| progress.stage == stage).unwrap();
            assert_eq!((last.done, last.total), (total, total), "{stage:?}");
        }
        assert_eq!(names(&app), ["appendonlydir", "lock"]);
        let again = Engine::builder().path(&app).open().unwrap();
        assert_eq!(run(&again, "GET key:7"), "$1 7");
        assert_eq!(run(&again, "DBSIZE"), ":1000");
        assert!(
            import(&dump, &app).unwrap_err().to_string().contains("holds something already: appendonlydir")
        );
        assert_eq!(fs::read(&dump).unwrap(), before);
    }

    #[test]
    fn a_log_is_read_as_it_is_left_behind() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("appendonly.aof");
        let words = "*2\r\n$6\r\nSELECT\r\n$2\r\n40\r\n*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\n\
            *5\r\n$3\r\nSET\r\n$1\r\nb\r\n$1\r\n1\r\n$4\r\nPXAT\r\n$4\r\n9999\r\n*2\r\n$3\r\nDEL";
        fs::write(&log, words).unwrap();
        let app = folder.path().join("app.ks");
        let said = import(&log, &app).unwrap().join(", ");
        assert!(said.starts_with("The last 11 bytes of "), "{said}");
        assert!(said.contains("app.ks: 1 keys, Database 40 has keys"), "{said}");
        assert_eq!(fs::read_to_string(&log).unwrap(), words, "nothing is cut off");
        let config = crate::Config::from_text(b"databases 41").unwrap();
        let engine = Engine::builder().path(&app).config(config).open().unwrap();
        assert_eq!(engine.database(40).unwrap().get("a").unwrap().unwrap(), b"1");
    }

    #[test]
    fn what_an_engine_was_killed_with_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let (app, copy) = (folder.path().join("app.ks"), folder.path().join("copy.ks"));
        let engine = Engine::builder().path(&app).open().unwrap();
        run(&engine, "SET a 1");
        let in_use = import(&app, &copy).unwrap_err().to_string();
        assert!(in_use.contains("in use by process") && !copy.exists(), "{in_use}");
        // As the ring is when a process ends at once: the file has not got what it has.
        let ring = fs::read(app.join("appendonlydir/appendonly.aof.ring")).unwrap();
        drop(engine);
        fs::write(app.join("appendonlydir/appendonly.aof.ring"), ring).unwrap();
        fs::write(app.join("appendonlydir/appendonly.aof.1.incr.aof"), "").unwrap();
        import(&app, &copy).unwrap();
        assert_eq!(fs::read(app.join("appendonlydir/appendonly.aof.1.incr.aof")).unwrap(), b"");
        let copied = Engine::builder().path(&copy).open().unwrap();
        assert_eq!(run(&copied, "GET a"), "$1 1");
    }

    #[test]
    fn nothing_half_made_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let (dump, app) = (folder.path().join("dump.rdb"), folder.path().join("app.ks"));
        fs::write(&dump, "VALKEY080 and no more").unwrap();
        assert!(import(&dump, &app).unwrap_err().to_string().contains("damaged"));
        assert!(!app.exists());
        fs::create_dir(&app).unwrap();
        assert!(import(&dump, &app).is_err());
        assert!(import(folder.path().join("none"), &app).is_err());
        assert_eq!(names(&app), [""; 0]);
    }
}
