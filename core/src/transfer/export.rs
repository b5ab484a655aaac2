//! Export: files of a server are made of the folder of an engine, or of anything else that can be read.
//!
//! **Older servers.** RDB version 11 is what Valkey 7.2 to 8.1 and Redis 7.2 read. It has no hashes with deadlines of fields; all else that 9.1 writes it has, too.
//! Such a hash is an error that names it, unless the caller has its fields stay for good.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::import::utf8;
use super::{Watch, config, load, survey, told, write};
use crate::command::Form as ReplyForm;
use crate::engine::Engine;
use crate::error::{Error, ErrorKind, Result};
use crate::keyspace::locks::Locks;
use crate::keyspace::{Db, scan};
use crate::persist::files;
use crate::persist::saving::Progress;
use crate::persist::source::LOG_FOLDER;
use crate::persist::staging::Staging;
use crate::persist::writing::Form;
use crate::rdb::Version;
use crate::value::Value;

/// What [`export`] writes, and for which servers.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let (app, dump) = (folder.path().join("app.ks"), folder.path().join("dump.rdb"));
/// # keystead::Engine::builder().path(&app).open()?;
/// use keystead::Export;
///
/// // Valkey 8.1 loads this; what it can't hold would be an error.
/// keystead::export(&app, &Export::rdb(&dump).rdb_version(11))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Export {
    target: Target,
    version: u16,
    drops_field_ttls: bool,
    begins_with_commands: bool,
}

#[derive(Clone, Debug)]
enum Target {
    Rdb(PathBuf),
    Log(PathBuf),
}

impl Export {
    fn to(target: Target) -> Self {
        Self { target, version: 80, drops_field_ttls: false, begins_with_commands: false }
    }

    /// A snapshot: an RDB file, which takes the place of what is there.
    pub fn rdb(file: impl Into<PathBuf>) -> Self {
        Self::to(Target::Rdb(file.into()))
    }

    /// A log of several files, as in the server's `appendonlydir`: a folder that is made, or is there and holds nothing.
    pub fn aof(folder: impl Into<PathBuf>) -> Self {
        Self::to(Target::Log(folder.into()))
    }

    /// The version of RDB: 80, as Valkey 9 writes it, which is the default; or 11, for Valkey 7.2 to 8.1 and Redis 7.2.
    pub fn rdb_version(mut self, version: u16) -> Self {
        self.version = version;
        self
    }

    /// Where the version has no fields with a time to live: whether they are written without, so that they stay for good. By default that is an error.
    pub fn drop_field_ttls(mut self, drops: bool) -> Self {
        self.drops_field_ttls = drops;
        self
    }

    /// Whether a log begins with commands rather than with an RDB file, as with the option `aof-use-rdb-preamble no`.
    pub fn commands(mut self, begins_with_commands: bool) -> Self {
        self.begins_with_commands = begins_with_commands;
        self
    }

    fn version(&self) -> Result<Version> {
        match self.version {
            11 => Ok(Version::Common),
            80 => Ok(Version::Valkey),
            other => {
                let text = format!("ERR RDB version {other} can't be written: there are 80 and 11");
                Err(Error::new(ErrorKind::Usage, text))
            }
        }
    }
}

/// Writes what the folder of an engine holds, or anything else that [`import`](crate::import) reads, as files that Valkey loads. What was read stays as it
/// is. Returns what is to be said: what was left out, and what there is now. O(data), in memory, too.
///
/// # Errors
/// An engine has the folder open (then [`Engine::snapshot`](crate::Engine::snapshot) writes an RDB file), what is there is damaged or can't be read, the version
/// can't hold it, or the files can't be written. Then there is no more than there was.
pub fn export(source: impl AsRef<Path>, export: &Export) -> Result<Vec<String>> {
    export_watched(source, export, &mut |_| ())
}

/// As [`export`], and tells how far it is.
///
/// # Errors
/// As there.
pub fn export_watched(
    source: impl AsRef<Path>,
    export: &Export,
    watch: &mut Watch<'_>,
) -> Result<Vec<String>> {
    let (source, version, config) = (source.as_ref(), export.version()?, config()?);
    match &export.target {
        Target::Rdb(file) => {
            let engine = load(source, config, watch)?;
            let dropped = fit(&engine, version, export.drops_field_ttls)?;
            let (survey, progress) = (survey(&engine), Progress::default());
            let (persistence, keyspace) = (&engine.inner.persistence, &engine.inner.keyspace);
            write(survey.keys() as u64, &progress, watch, || {
                persistence.write_snapshot(keyspace, file, Form::Rdb(version), &progress)
            })?;
            Ok(dropped.into_iter().chain(told(&engine, &survey, file)).collect())
        }
        Target::Log(folder) => {
            let staging = Staging::begin(folder, false)?;
            config.set_option("dir", utf8(staging.path())?)?;
            let engine = load(source, config, watch)?;
            let dropped = fit(&engine, version, export.drops_field_ttls)?;
            let (survey, progress) = (survey(&engine), Progress::default());
            let (persistence, keyspace) = (&engine.inner.persistence, &engine.inner.keyspace);
            let form = if export.begins_with_commands { Form::Commands } else { Form::Rdb(version) };
            write(survey.keys() as u64, &progress, watch, || {
                persistence.write_log(keyspace, &progress, form)
            })?;
            let from = staging.path().join(LOG_FOLDER);
            let names = log_files(&from)?;
            staging.commit(&from, &names)?;
            Ok(dropped.into_iter().chain(told(&engine, &survey, folder)).collect())
        }
    }
}

/// The names of a log's files, the manifest last: what it names is there then.
fn log_files(folder: &Path) -> Result<Vec<OsString>> {
    let files = files::files_of(folder)?;
    let mut names: Vec<OsString> =
        files.iter().filter_map(|path| path.file_name().map(ToOwned::to_owned)).collect();
    names.sort_by_key(|name| Path::new(name).extension().is_some_and(|ending| ending == "manifest"));
    Ok(names)
}

/// Hashes with deadlines of fields: the database and the key of each, and the fields that have one.
type Timed = BTreeMap<(usize, Vec<u8>), Vec<Vec<u8>>>;

/// Has an engine hold nothing that a version does not have. Returns what is to be said.
fn fit(engine: &Engine, version: Version, drops_field_ttls: bool) -> Result<Option<String>> {
    if version == Version::Valkey || survey(engine).databases.iter().all(|db| db.with_inside == 0) {
        return Ok(None);
    }
    let timed = timed(engine);
    if timed.is_empty() {
        return Ok(None);
    }
    let found = describe(&timed);
    if !drops_field_ttls {
        let text = format!(
            "ERR RDB version 11 has no fields with a time to live: {found}. They can be told to stay for good \
             (--drop-field-ttls)"
        );
        return Err(Error::new(ErrorKind::Usage, text));
    }
    let mut session = engine.session(ReplyForm::Resp);
    for ((db, key), fields) in &timed {
        session.execute(&[b"SELECT", db.to_string().as_bytes()]);
        let count = fields.len().to_string();
        let head: [&[u8]; 4] = [b"HPERSIST", key, b"FIELDS", count.as_bytes()];
        let words: Vec<&[u8]> = head.into_iter().chain(fields.iter().map(Vec::as_slice)).collect();
        session.execute(&words);
    }
    Ok(Some(format!("Fields that had a time to live stay for good: {found}")))
}

fn timed(engine: &Engine) -> Timed {
    let keyspace = &engine.inner.keyspace;
    let mut db = Db::new(keyspace, (0, 0), Locks::all(keyspace));
    let mut timed = Timed::new();
    for index in db.databases() {
        db.select(index);
        scan::each(&db, |entry| {
            let Value::Hash(hash) = entry.value() else { return };
            let mut fields = Vec::new();
            hash.each_with_deadline(|field, _, deadline| {
                if deadline.is_some() {
                    fields.push(field.to_vec());
                }
            });
            if !fields.is_empty() {
                timed.insert((index, entry.key().to_vec()), fields);
            }
        });
    }
    timed
}

/// How many there are, and the first of them.
fn describe(timed: &Timed) -> String {
    const NAMED: usize = 10;
    let fields: usize = timed.values().map(Vec::len).sum();
    let hashes = if timed.len() == 1 { "hash" } else { "hashes" };
    let mut text = format!("{} {hashes} with {fields} such fields:", timed.len());
    for (at, ((db, key), fields)) in timed.iter().take(NAMED).enumerate() {
        let between = if at > 0 { "," } else { "" };
        write!(text, "{between} '{}' ({}) in database {db}", key.escape_ascii(), fields.len())
            .expect("strings can be written to");
    }
    if timed.len() > NAMED {
        write!(text, ", and {} more", timed.len() - NAMED).expect("strings can be written to");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::Config;

    fn run(engine: &Engine, line: &str) -> String {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let mut session = engine.session(ReplyForm::Resp);
        String::from_utf8_lossy(session.execute(&words)).trim_end().replace("\r\n", " ")
    }

    fn open(path: &Path) -> Engine {
        let config = Config::from_text(b"enable-debug-command yes").unwrap();
        Engine::builder().path(path).config(config).open().unwrap()
    }

    /// A folder with something of each type, and its digest.
    fn filled(app: &Path) -> String {
        let engine = open(app);
        for line in [
            "SET text value",
            "SET number 17 PX 100000000",
            "HSET hash a 1 b 2",
            "HSET timed a 1 b 2 c 3",
            "HPEXPIRE timed 100000000 FIELDS 2 a b",
            "RPUSH list a 2 c",
            "SADD set 1 2 x",
            "SADD ints 1 2 3",
            "ZADD zset 1.1 a inf b -3e200 c",
            "XADD stream 1-1 f v g 5",
            "XADD stream 2-1 f w g 6",
            "XADD stream 3-1 other 7",
            "XDEL stream 2-1",
            "XGROUP CREATE stream group 0",
            "XGROUP CREATECONSUMER stream group lazy",
            "XREADGROUP GROUP group one COUNT 1 STREAMS stream >",
            "XGROUP CREATE empty group 5-5 MKSTREAM",
        ] {
            assert!(!run(&engine, line).starts_with('-'), "{line}");
        }
        for number in 0..700 {
            for line in
                ["RPUSH list:long eN", "SADD set:long mN", "ZADD zset:long N mN", "HSET hash:long fN vN"]
            {
                run(&engine, &line.replace('N', &number.to_string()));
            }
        }
        let mut other = engine.session(ReplyForm::Resp);
        other.execute(&[b"SELECT", b"3"]);
        other.execute(&[b"SET", b"other", b"1"]);
        run(&engine, "DEBUG DIGEST")
    }

    #[test]
    fn what_is_exported_can_be_imported() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let (app, dump, log) = (path("app.ks"), path("out.rdb"), path("log"));
        let digest = filled(&app);
        for (at, export) in
            [Export::rdb(&dump), Export::aof(&log), Export::aof(path("commands")).commands(true)]
                .into_iter()
                .enumerate()
        {
            let told = super::export(&app, &export).unwrap();
            assert!(told.last().unwrap().ends_with(": 15 keys in 2 databases"), "{told:?}");
            let (Target::Rdb(target) | Target::Log(target)) = &export.target;
            let back = path(&format!("back{at}.ks"));
            crate::import(target, &back).unwrap();
            let engine = open(&back);
            assert_eq!(run(&engine, "DEBUG DIGEST"), digest, "{export:?}");
            for line in
                ["XINFO STREAM stream", "XINFO GROUPS stream", "XPENDING stream group", "XINFO GROUPS empty"]
            {
                assert_eq!(run(&engine, line), run(&open(&app), line), "{line} {export:?}");
            }
            if matches!(export.target, Target::Log(_)) {
                let refused = super::export(&app, &export).unwrap_err().to_string();
                assert!(refused.contains("holds something already"), "{refused}");
            }
        }
        let mut names: Vec<_> =
            fs::read_dir(path("commands")).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(
            names,
            ["appendonly.aof.1.base.aof", "appendonly.aof.1.incr.aof", "appendonly.aof.manifest"]
        );
        assert!(
            fs::read(path("commands/appendonly.aof.1.base.aof")).unwrap().starts_with(b"*2\r\n$6\r\nSELECT")
        );
    }

    #[test]
    fn what_a_version_does_not_have_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        filled(&path("app.ks"));
        for export in [Export::rdb(path("out.rdb")), Export::aof(path("log")).commands(true)] {
            let refused = super::export(path("app.ks"), &export.clone().rdb_version(11)).unwrap_err();
            let refused = refused.to_string();
            assert!(refused.contains("1 hash with 2 such fields: 'timed' (2) in database 0."), "{refused}");
            let (Target::Rdb(target) | Target::Log(target)) = &export.target;
            assert!(!target.exists());
            let told = super::export(path("app.ks"), &export.rdb_version(11).drop_field_ttls(true)).unwrap();
            assert!(told[0].starts_with("Fields that had a time to live stay for good: 1 hash "), "{told:?}");
        }
        assert!(fs::read(path("out.rdb")).unwrap().starts_with(b"REDIS0011"));
        for from in ["out.rdb", "log"] {
            let back = path(&format!("{from}.ks"));
            crate::import(path(from), &back).unwrap();
            assert_eq!(run(&open(&back), "HTTL timed FIELDS 3 a b c"), "*3 :-1 :-1 :-1");
        }
        let unknown = super::export(path("app.ks"), &Export::rdb(path("x")).rdb_version(12)).unwrap_err();
        assert!(unknown.to_string().contains("RDB version 12 can't be written"));
    }

    #[test]
    fn fields_that_have_expired_do_not_come_back() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("appendonly.aof");
        let words = "*8\r\n$6\r\nHSETEX\r\n$1\r\nh\r\n$4\r\nPXAT\r\n$4\r\n9999\r\n$6\r\nFIELDS\r\n$1\r\n1\r\n$1\r\na\r\n$1\r\n1\r\n\
            *4\r\n$4\r\nHSET\r\n$1\r\nh\r\n$1\r\nb\r\n$1\r\n2\r\n\
            *8\r\n$6\r\nHSETEX\r\n$1\r\ng\r\n$4\r\nPXAT\r\n$4\r\n9999\r\n$6\r\nFIELDS\r\n$1\r\n1\r\n$1\r\na\r\n$1\r\n1\r\n";
        fs::write(&log, words).unwrap();
        let dump = folder.path().join("dump.rdb");
        let export = Export::rdb(&dump).rdb_version(11).drop_field_ttls(true);
        assert!(super::export(&log, &export).unwrap().last().unwrap().ends_with("dump.rdb: 1 keys"));
        let back = folder.path().join("back.ks");
        crate::import(&dump, &back).unwrap();
        assert_eq!(run(&open(&back), "HGETALL h"), "*2 $1 b $1 2");
    }
}
