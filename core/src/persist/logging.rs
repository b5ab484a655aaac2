//! The files of a log: a base, what was written since, and the manifest that names them. Beginning, going on, rewriting, ending.
//!
//! **Rewriting.** A new file is begun, and the manifest names it before anything is written to it. At one moment the log goes over to that file, and a snapshot
//! begins, which becomes the new base. When that is on the disk the manifest names these two alone, and what they replace is removed. Whatever fails on the
//! way, the manifest names files that hold all.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use super::frames::{self, Framed, LONGEST_HEAD, Rest};
use super::lock::Lock;
use super::log::Log;
use super::log_reader::Source;
use super::manifest::{LogFile, Manifest, Part};
use super::ring::{self, Recovered, Ring};
use super::saving::{self, Progress, Purpose};
use super::writing::Form;
use super::{Persistence, Task, beside_log, files, folder, text};
use crate::config::Config;
use crate::error::{Error, ErrorKind, Result};
use crate::keyspace::locks::Locks;
use crate::keyspace::{Journal, Keyspace};
use crate::sync::Arc;

/// A log that is being written.
pub(super) struct Logging {
    pub(super) log: Arc<Log>,
    thread: JoinHandle<()>,
}

/// What there is of a log on disk.
#[derive(Default)]
pub(super) struct Files {
    pub(super) manifest: Manifest,
    /// Bytes of the base and of all increments but the last.
    before: u64,
    /// Bytes of all when it was rewritten last, or when the engine began.
    at_rewrite: u64,
}

/// The places of a log's files.
pub(crate) struct Places {
    folder: PathBuf,
    name: String,
}

impl Places {
    /// As the options say.
    pub(crate) fn of(config: &Config) -> Self {
        let name = text(config, "appendfilename").to_string_lossy().into_owned();
        Self { folder: folder(config).join(text(config, "appenddirname")), name }
    }

    fn manifest(&self) -> PathBuf {
        self.folder.join(format!("{}.manifest", self.name))
    }

    fn ring(&self) -> PathBuf {
        self.folder.join(format!("{}.ring", self.name))
    }

    fn file(&self, ending: &str, number: u64) -> LogFile {
        LogFile { name: format!("{}.{number}.{ending}", self.name), number }
    }

    fn path(&self, file: &LogFile) -> PathBuf {
        self.folder.join(&file.name)
    }

    /// The manifest, if there is one.
    ///
    /// # Errors
    /// It is damaged, or can't be read.
    fn read_manifest(&self) -> Result<Option<Manifest>> {
        let path = self.manifest();
        match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(files::told("Reading", &path, &error)),
            Ok(text) => Manifest::parse(&text).map(Some),
        }
    }

    fn write_manifest(&self, manifest: &Manifest) -> Result<()> {
        files::replace(&self.manifest(), manifest.text().as_bytes())
    }

    /// The base that the manifest names, if there is one.
    pub(crate) fn base(&self) -> Option<PathBuf> {
        let manifest = self.read_manifest().ok()??;
        manifest.base.as_ref().map(|base| self.path(base))
    }

    /// Cuts off what of the increments was not written whole, and adds what a killed process left in the ring. All of them are on the disk then. Says what was
    /// done, and the place at which the last one goes on; none if a server was the last to write there.
    ///
    /// # Errors
    /// One is damaged, or can't be read or written; or something is missing, and `may_be_cut` does not allow for that.
    fn complete(&self, manifest: &Manifest, may_be_cut: bool) -> Result<(Vec<String>, Option<u64>)> {
        let (mut notes, mut files) = (Vec::new(), Vec::new());
        for increment in &manifest.increments {
            let path = self.path(increment);
            let found = frames::look(&path).map_err(|error| files::told("Reading", &path, &error))?;
            files.push((path, increment.number, found));
        }
        let (mut place, mut is_ring_spent) = (None, true);
        for (index, (path, number, found)) in files.iter().enumerate() {
            let later = &files[index + 1..];
            let own = found.places.map(|places| places.1).or(place);
            // Where the next one that has anything does not go on, something is missing.
            let next = later.iter().find(|(_, _, found)| found.len > 0);
            let goes_on =
                next.and_then(|(_, _, next)| next.places).is_none_or(|next| next.0 == own.unwrap_or(0));
            let is_torn = found.rest == Rest::Torn || (found.rest == Rest::Nothing && !goes_on);
            let was_synced = later.iter().any(|(_, _, later)| own.is_some_and(|own| later.synced > own));
            if found.rest == Rest::Damaged || (is_torn && was_synced) {
                return Err(damaged(path, found.whole));
            }
            let told = |error: io::Error| files::told("Completing", path, &error);
            let mut file = OpenOptions::new().append(true).open(path).map_err(told)?;
            let start = own.unwrap_or(0);
            let recovered = match found.rest {
                Rest::Foreign => Recovered { missing: Vec::new(), has_more: true },
                _ => ring::recover(&self.ring(), *number, start).map_err(told)?,
            };
            let missing = recovered.missing;
            is_ring_spent = !recovered.has_more;
            let cut = found.len - found.whole;
            // What a killed process was writing is in the ring.
            let is_in_ring = !missing.is_empty() && cut <= (missing.len() + LONGEST_HEAD) as u64;
            let is_lost = next.is_some() || !is_in_ring;
            if is_torn && is_lost && !may_be_cut {
                return Err(truncated(path, found.whole));
            }
            if is_torn {
                self.empty(later, &mut notes)?;
                is_ring_spent &= later.is_empty() || !missing.is_empty();
                file.set_len(found.whole).map_err(told)?;
                notes.extend((is_lost && cut > 0).then(|| cut_off(path, cut)));
            }
            if !missing.is_empty() {
                let all = [&frames::head(start, 0, &missing)[..], &missing].concat();
                io::Write::write_all(&mut file, &all).map_err(told)?;
                notes.push(format!("{} bytes of the log were taken from its ring", missing.len()));
            }
            file.sync_data().map_err(told)?;
            place = (found.rest != Rest::Foreign).then_some(start + missing.len() as u64);
            if is_torn {
                break;
            }
        }
        if !is_ring_spent {
            self.remove_ring()?;
        }
        Ok((notes, place))
    }

    /// Empties files behind a gap: what they have was promised to nobody. The ring has more of the kind, if it has nothing of the file before.
    fn empty(&self, files: &[(PathBuf, u64, Framed)], notes: &mut Vec<String>) -> Result<()> {
        for (path, _, found) in files.iter().filter(|(_, _, found)| found.len > 0) {
            let emptied = files::create(path).and_then(|file| file.sync_all());
            emptied.map_err(|error| files::told("Emptying", path, &error))?;
            notes.push(cut_off(path, found.len));
        }
        Ok(())
    }

    /// Removes the ring, if there is one: no power loss brings it back.
    fn remove_ring(&self) -> Result<()> {
        let ring = self.ring();
        let removed = fs::remove_file(&ring).and_then(|()| files::sync_folder(&self.folder));
        removed.or_else(|error| {
            let is_gone = error.kind() == io::ErrorKind::NotFound;
            if is_gone { Ok(()) } else { Err(files::told("Removing", &ring, &error)) }
        })
    }

    /// A ring for an increment of a number; none on file systems of other machines.
    fn open_ring(&self, number: u64) -> Result<Option<Ring>> {
        let is_local = files::is_local(&self.folder);
        is_local.then(|| Ring::open(&self.ring(), number)).transpose()
    }

    /// Begins an increment. It is on the disk before a manifest can name it.
    fn begin(&self, manifest: &Manifest) -> Result<(LogFile, File)> {
        let increment = self.file("incr.aof", manifest.next_number(Part::Increment));
        let path = self.path(&increment);
        let told = |error: io::Error| files::told("Creating", &path, &error);
        // A power loss may undo that a file was emptied: what an earlier life left under this name would be loaded as this log's.
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(told(error)),
            _ => {}
        }
        let file = files::create(&path).map_err(told)?;
        files::sync_folder(&self.folder).map_err(told)?;
        Ok((increment, file))
    }
}

/// A log that is on disk.
pub(crate) struct FoundLog {
    manifest: Manifest,
    folder: PathBuf,
    /// Where its last increment goes on; none if a server has written there.
    place: Option<u64>,
}

impl FoundLog {
    /// The log of a manifest.
    ///
    /// # Errors
    /// It is damaged, or can't be read.
    pub(crate) fn read(manifest: &Path) -> Result<Self> {
        let text = fs::read(manifest).map_err(|error| files::told("Reading", manifest, &error))?;
        let folder = files::folder_of(manifest).to_owned();
        Ok(Self { manifest: Manifest::parse(&text)?, folder, place: None })
    }

    /// Calls `read` for each file in its order, with whether its end may be cut off: all but the last that is not empty have to be whole.
    ///
    /// # Errors
    /// The first of `read`.
    pub(crate) fn each_file(&self, mut read: impl FnMut(&Source, bool) -> Result<()>) -> Result<()> {
        let sources: Vec<Source> = self.manifest.in_order().map(|file| self.source(file)).collect();
        each_of(&sources, &mut read)
    }

    /// The files in their order, with what a killed process left of them in the ring at a path. Nobody writes to them. Nothing is changed.
    ///
    /// # Errors
    /// The ring can't be read.
    pub(crate) fn sources(&self, ring: &Path) -> Result<Vec<Source>> {
        let mut sources: Vec<Source> = self.manifest.base.iter().map(|base| self.source(base)).collect();
        let mut place = None;
        for increment in &self.manifest.increments {
            let mut source = self.source(increment);
            let told = |error: io::Error| files::told("Reading", &source.path, &error);
            if !source.path.exists() {
                // Whoever reads it says so.
                sources.push(source);
                continue;
            }
            let found = frames::look(&source.path).map_err(told)?;
            if found.rest == Rest::Damaged {
                return Err(damaged(&source.path, found.whole));
            }
            if found.places.is_some_and(|places| places.0 != place.unwrap_or(places.0)) {
                // Behind a gap nothing was promised to anybody.
                break;
            }
            let end = found.places.map(|places| places.1).or(place).unwrap_or(0);
            if found.rest != Rest::Foreign {
                source.missing = ring::recover(ring, increment.number, end).map_err(told)?.missing;
            }
            let is_torn = found.rest == Rest::Torn;
            source.whole = is_torn.then_some(found.whole);
            place = (found.rest != Rest::Foreign).then_some(end + source.missing.len() as u64);
            sources.push(source);
            if is_torn {
                break;
            }
        }
        Ok(sources)
    }

    fn source(&self, file: &LogFile) -> Source {
        Source::whole(&self.folder.join(&file.name))
    }
}

/// Calls `read` for each file of a log, with whether its end may be cut off: all but the last that is not empty have to be whole.
///
/// # Errors
/// The first of `read`.
pub(crate) fn each_of(sources: &[Source], read: &mut dyn FnMut(&Source, bool) -> Result<()>) -> Result<()> {
    let has_some = |source: &Source| {
        !source.missing.is_empty() || source.path.metadata().is_ok_and(|file| file.len() > 0)
    };
    let last = sources.iter().rposition(has_some);
    let mut sources = sources.iter().enumerate();
    sources.try_for_each(|(index, source)| read(source, last.is_none_or(|last| index >= last)))
}

/// Where a log of one file is, as servers before 7.0 wrote it.
pub(crate) fn single_file(config: &Config) -> PathBuf {
    folder(config).join(text(config, "appendfilename"))
}

impl Persistence {
    /// Locks the folder of the log, if that of the engine is not locked.
    ///
    /// # Errors
    /// Another engine has it, or it can't be made.
    pub(crate) fn lock_log(&self, config: &Config) -> Result<()> {
        // Asked before: the options' lock comes before this one.
        let places = Places::of(config);
        let mut lock = self.lock.lock();
        if lock.is_none() {
            let made = files::create_folder(&places.folder);
            made.map_err(|error| files::told("Creating", &places.folder, &error))?;
            *lock = Some(Lock::of(&places.folder)?);
        }
        Ok(())
    }

    /// The log that the options name, if there is one, with all that a killed process has left of it.
    ///
    /// # Errors
    /// Its manifest is damaged, or something can't be read or written.
    pub(crate) fn find_log(&self, config: &Config) -> Result<Option<FoundLog>> {
        self.check_folder()?;
        let places = Places::of(config);
        if let Some(log) = self.log() {
            log.flush()?;
        }
        let Some(manifest) = places.read_manifest()? else { return Ok(None) };
        let mut place = None;
        if !self.is_logging() {
            files::remove_abandoned(&places.folder, &places.name);
            let (notes, goes_on) = places.complete(&manifest, config.hot().aof_load_truncated())?;
            notes.into_iter().for_each(|note| self.note(note));
            place = goes_on;
        }
        Ok(Some(FoundLog { manifest, folder: places.folder, place }))
    }

    /// Goes on with the log that was loaded: in its last file, or in a new one behind that of a server. The caller is alone with the engine.
    ///
    /// # Errors
    /// It can't be written to.
    pub(crate) fn go_on_logging(&self, keyspace: &Keyspace, found: FoundLog) -> Result<()> {
        let FoundLog { mut manifest, place, .. } = found;
        let places = Places::of(&keyspace.config);
        let len = |file: &LogFile| fs::metadata(places.path(file)).map_or(0, |metadata| metadata.len());
        let all: u64 = manifest.in_order().map(len).sum();
        let Some(mut last) = manifest.increments.last().cloned() else {
            *self.files.lock() = Files { manifest, before: all, at_rewrite: all };
            return self.begin_logging(keyspace);
        };
        let (file, len) = if let Some(place) = place {
            let (path, len) = (places.path(&last), len(&last));
            let told = |error| files::told("Opening", &path, &error);
            let mut file = OpenOptions::new().append(true).open(&path).map_err(told)?;
            if len == 0 && place > 0 {
                // Files before it had more than what is left: where it goes on has to be said.
                io::Write::write_all(&mut file, &frames::head(place, place, b"")).map_err(told)?;
            }
            (file, len)
        } else {
            let begun = places.begin(&manifest)?;
            last = begun.0;
            manifest.increments.push(last.clone());
            places.write_manifest(&manifest)?;
            (begun.1, 0)
        };
        *self.files.lock() = Files { manifest, before: all - len, at_rewrite: all };
        let log = self.new_log(keyspace, &places, (file, len, place.unwrap_or(0)), last.number)?;
        let _all = Locks::all(keyspace);
        keyspace.hooks.set_journal(Some(log));
        Ok(())
    }

    /// Begins a log of what there is.
    ///
    /// # Errors
    /// Its files can't be written.
    pub(crate) fn begin_logging(&self, keyspace: &Keyspace) -> Result<()> {
        let progress = self.begin_in_turn(Task::Rewrite)?;
        self.rewrite(keyspace, &progress, true)
    }

    /// A log and its thread.
    fn new_log(
        &self,
        keyspace: &Keyspace,
        places: &Places,
        file: (File, u64, u64),
        number: u64,
    ) -> Result<Arc<dyn Journal>> {
        let ring = places.open_ring(number)?;
        let log = Arc::new(Log::new(&keyspace.config, &keyspace.clock, file, ring));
        let own = log.clone();
        let thread = std::thread::Builder::new().name("keystead-log".into()).spawn(move || own.run());
        let thread = thread.map_err(|error| Error::io("Starting a thread", &error))?;
        *self.logging.lock() = Some(Logging { log: log.clone(), thread });
        Ok(log)
    }

    /// The log that is being written.
    pub(super) fn log(&self) -> Option<Arc<Log>> {
        self.logging.lock().as_ref().map(|logging| logging.log.clone())
    }

    /// Whether a log is being written.
    pub(crate) fn is_logging(&self) -> bool {
        self.logging.lock().is_some()
    }

    /// Writes what there is as a log that nobody goes on with, whose base is of this form. O(data).
    ///
    /// # Errors
    /// As [`Persistence::rewrite`].
    pub(crate) fn write_log(&self, keyspace: &Keyspace, progress: &Progress, form: Form) -> Result<()> {
        self.try_rewrite(keyspace, (progress, form), None, false)
    }

    /// Writes the log anew: what there is becomes its base. It was begun before. If there is none it is only written, or, with `begins`, gone on with.
    /// O(data).
    ///
    /// # Errors
    /// The files can't be written, or it was cancelled: the log goes on as before.
    pub(crate) fn rewrite(&self, keyspace: &Keyspace, progress: &Progress, begins: bool) -> Result<()> {
        let timer = keyspace.clock.timer();
        self.state.lock().started(keyspace.clock.now_ms() / 1000);
        let log = self.log();
        let log = log.as_deref();
        let form = Form::of_base(keyspace.config.hot());
        let rewritten = beside_log(log, || self.try_rewrite(keyspace, (progress, form), log, begins));
        self.state.lock().ended(rewritten.is_ok(), timer.elapsed());
        self.idle.notify_all();
        rewritten
    }

    pub(super) fn try_rewrite(
        &self,
        keyspace: &Keyspace,
        (progress, form): (&Progress, Form),
        log: Option<&Log>,
        begins: bool,
    ) -> Result<()> {
        self.renew_lock()?;
        let places = Places::of(&keyspace.config);
        let folder = files::create_folder(&places.folder);
        folder.map_err(|error| files::told("Creating", &places.folder, &error))?;
        let before = match log {
            Some(_) => self.files.lock().manifest.clone(),
            None => places.read_manifest()?.unwrap_or_default(),
        };
        let (increment, file) = places.begin(&before)?;
        let number = increment.number;
        let mut between = before.clone();
        between.increments.push(increment.clone());
        if log.is_some() {
            places.write_manifest(&between)?;
            self.files.lock().manifest = between.clone();
        }
        let base = places.file(form.ending_of_base(), before.next_number(Part::Base));
        let functions = self.functions.lock().clone();
        let new = if begins && log.is_none() {
            let own = file.try_clone().map_err(|error| files::told("Opening", &places.folder, &error))?;
            Some(self.new_log(keyspace, &places, (own, 0, 0), number)?)
        } else {
            None
        };
        // Somebody may have removed it, and with it what is in no file yet.
        let mut ring =
            if log.is_some() && !places.ring().exists() { places.open_ring(number)? } else { None };
        let mut switched = Ok(());
        let begin = || {
            switched = match (log, &new) {
                (Some(log), _) => log.switch((file, number), ring.take()),
                (None, Some(new)) => {
                    keyspace.hooks.set_journal(Some(new.clone()));
                    Ok(())
                }
                (None, None) => Ok(()),
            };
            if switched.is_err() {
                progress.cancel();
            }
        };
        let saved =
            saving::save(keyspace, &places.path(&base), (Purpose::Base, form, &functions), progress, begin);
        let is_unused = switched.is_err() || log.is_none();
        let bytes = match switched.and(saved) {
            Ok(bytes) => bytes,
            Err(error) => {
                if new.is_some() {
                    self.end_logging(keyspace);
                }
                if is_unused {
                    self.take_back(&places, before, &increment);
                }
                return Err(error);
            }
        };
        let removed: Vec<LogFile> =
            before.base.into_iter().chain(before.history).chain(before.increments).collect();
        // What is removed is named until it is: who is killed before leaves it to the next one.
        let mut after = Manifest { base: Some(base), history: removed, increments: vec![increment] };
        places.write_manifest(&after)?;
        after.history.retain(|file| {
            let removed = fs::remove_file(places.path(file));
            removed.is_err_and(|error| error.kind() != io::ErrorKind::NotFound)
        });
        // One that names files which are gone is as good.
        let _ = places.write_manifest(&after);
        let mut files = self.files.lock();
        *files = Files { manifest: after, before: bytes, at_rewrite: bytes };
        if let Some(log) = log {
            log.begun_anew();
            files.at_rewrite += log.len();
        }
        Ok(())
    }

    /// Has the manifest name a file no more that the log has not gone over to.
    fn take_back(&self, places: &Places, before: Manifest, increment: &LogFile) {
        // Where that fails the file stays, empty.
        if !self.is_logging() || places.write_manifest(&before).is_ok() {
            let _ = fs::remove_file(places.path(increment));
            self.files.lock().manifest = before;
        }
    }

    /// Ends the log: what was appended is on the disk.
    pub(crate) fn end_logging(&self, keyspace: &Keyspace) {
        {
            let _all = Locks::all(keyspace);
            keyspace.hooks.set_journal(None);
        }
        // Nobody is left who could hear of an error; what could not be written is in the ring.
        let _ = self.end_log();
    }

    /// As [`Persistence::end_logging`], when nobody appends any more.
    ///
    /// # Errors
    /// Something that was appended can't be written.
    pub(crate) fn end_log(&self) -> Result<()> {
        let logging = self.logging.lock().take();
        if let Some(Logging { log, thread }) = logging
            && log.is_here()
        {
            log.end();
            // One that panicked has ended, too.
            let _ = thread.join();
            return log.refusal().map_or(Ok(()), Err);
        }
        Ok(())
    }

    /// Bytes of the log's files: now, and when it was rewritten last.
    pub(super) fn log_sizes(&self) -> (u64, u64) {
        let last = self.log().map_or(0, |log| log.len());
        let files = self.files.lock();
        (files.before + last, files.at_rewrite)
    }

    /// Whether the log has grown so much that the options ask for it to be rewritten, or only a new file helps.
    pub(crate) fn is_rewrite_due(&self, config: &Config) -> bool {
        if self.log().is_some_and(|log| log.is_broken()) {
            return true;
        }
        let hot = config.hot();
        let (percentage, least) = (hot.auto_aof_rewrite_percentage(), hot.auto_aof_rewrite_min_size());
        if percentage == 0 || !self.is_logging() {
            return false;
        }
        let (now, before) = self.log_sizes();
        now > least && now.saturating_mul(100) / before.max(1) >= percentage.saturating_add(100)
    }
}

/// What is told of an end that is not there any more.
pub(crate) fn cut_off(path: &Path, bytes: u64) -> String {
    format!("The last {bytes} bytes of {} were not written whole and have been cut off", path.display())
}

/// Bytes of a file of a log that are as they were written, or a server's, and bytes that there are. O(bytes).
///
/// # Errors
/// It is damaged, or can't be read.
pub(crate) fn verify(path: &Path) -> Result<(u64, u64)> {
    let found = frames::look(path).map_err(|error| files::told("Reading", path, &error))?;
    match found.rest {
        Rest::Damaged => Err(damaged(path, found.whole)),
        Rest::Torn => Ok((found.whole, found.len)),
        Rest::Foreign | Rest::Nothing => Ok((found.len, found.len)),
    }
}

fn damaged(path: &Path, place: u64) -> Error {
    let text = format!(
        "ERR {} is damaged behind byte {place}: it is not what was written. To load it nevertheless take the lines that begin with #KS: out of a copy.",
        path.display()
    );
    Error::new(ErrorKind::Io, text)
}

/// What a log that can't be read to its end comes to.
pub(crate) fn truncated(path: &Path, whole: u64) -> Error {
    let text = format!(
        "ERR Unexpected end of file reading the append only file {}: it is whole up to byte {whole}. With aof-load-truncated the rest is cut \
         off; keep a copy before.",
        path.display()
    );
    Error::new(ErrorKind::Io, text)
}
