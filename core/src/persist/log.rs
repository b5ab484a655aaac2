//! The log: the effects of all writes, one after the other, in the server's own format.
//!
//! **Safe from a kill.** What is appended is copied into the [ring](super::ring) before the writer goes on, which outlives the process; a thread writes it to
//! the file from there, some ten times a second, or when the ring fills. So a write costs a copy, not a system call. What is too long for the ring, or finds no
//! room there, is written to the file before the writer goes on, and so is what comes behind it until that is done: there may be no gap.
//!
//! **Safe from a power loss** is what was synced: before the writer goes on (`appendfsync always`, all who wait at one time by one of them), every second, or
//! when the system likes. What is written at one time is a [frame](super::frames), so that what a power loss has left is known from what it has torn.
//!
//! **Errors.** A file that can't be written to is tried again and again; meanwhile no write may begin. What was acknowledged is in the ring. Where syncing
//! fails nobody knows what is on the disk: only a new file helps, which a rewrite begins.
//!
//! **Locks.** `output` before `tail`, and both behind shards. In a child of the process nothing is written.

use std::fs::File;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;

use super::frames;
use super::ring::{LONGEST, Ring};
use crate::clock::{Clock, Timer};
use crate::config::Config;
use crate::error::{Error, ErrorKind, Result, reason};
use crate::keyspace::{Group, Journal, Ticket};
use crate::os::{self, Guard};
use crate::sync::apart::{Condvar, Mutex, MutexGuard};

/// Time between two writes to the file while there is something to write.
const WRITTEN_EVERY: Duration = Duration::from_millis(100);

/// Time after which `appendfsync everysec` syncs again. The thread looks so often that what is promised, a second, is not over then.
const SYNCED_EVERY: Duration = Duration::from_millis(800);
const _: () = assert!(SYNCED_EVERY.as_millis() + WRITTEN_EVERY.as_millis() < 1000);

/// Bytes that a buffer keeps when it is empty.
const KEPT: usize = 1 << 20;

/// Numbers of the values of `appendfsync`.
const ALWAYS: usize = 1;
const EVERY_SECOND: usize = 0;

/// See the module's text.
pub(crate) struct Log {
    config: Arc<Config>,
    clock: Clock,
    /// The process that writes it.
    generation: u64,
    tail: Mutex<Tail>,
    output: Mutex<Output>,
    /// Whoever holds it syncs, for all who wait for it.
    turn: Mutex<()>,
    /// The thread has something to do.
    more: Condvar,
    /// Up to where all is synced.
    synced: AtomicU64,
    is_refusing: AtomicBool,
    refusal: ArcSwapOption<Error>,
    /// Nothing is synced every second, since a snapshot is being written and the options ask for that.
    pub(super) is_saving: AtomicBool,
    /// Syncs that came late.
    pub(super) delayed: AtomicU64,
}

/// What was appended last.
struct Tail {
    ring: Option<Ring>,
    /// What the file has not got.
    pending: Vec<u8>,
    /// The place up to here, and the one at which this log went on in the file of the moment, which had so many bytes then.
    end: u64,
    start: u64,
    before: u64,
    /// Up to where the files have it, and up to where something is that is in no ring.
    written: u64,
    insecure: u64,
    /// The database that the file has selected.
    db: Option<usize>,
    /// Unix seconds that the file has noted.
    second: u64,
    /// The thread will look without being told.
    is_awake: bool,
    /// It was told that the ring is filling.
    is_hurried: bool,
    has_ended: bool,
}

/// What is being written.
struct Output {
    /// `None`: it is another process's.
    file: Option<Arc<File>>,
    /// Files before, which are not synced yet.
    unsynced: Vec<Arc<File>>,
    /// The frame that is being written, as far as the file has not got it.
    head: Vec<u8>,
    bytes: Vec<u8>,
    /// Up to where a frame says that all is synced.
    told: u64,
    /// A sync has failed.
    is_broken: bool,
}

impl Log {
    /// A log that goes on at a place, in a file of so many bytes, which are on the disk.
    pub(super) fn new(
        config: &Arc<Config>,
        clock: &Clock,
        (file, len, place): (File, u64, u64),
        ring: Option<Ring>,
    ) -> Self {
        Self {
            config: config.clone(),
            clock: clock.clone(),
            generation: os::generation(),
            tail: Mutex::new(Tail {
                ring,
                pending: Vec::new(),
                end: place,
                start: place,
                before: len,
                written: place,
                insecure: 0,
                db: None,
                second: 0,
                is_awake: false,
                is_hurried: false,
                has_ended: false,
            }),
            output: Mutex::new(Output {
                file: Some(Arc::new(file)),
                unsynced: Vec::new(),
                head: Vec::new(),
                bytes: Vec::new(),
                told: place,
                is_broken: false,
            }),
            turn: Mutex::default(),
            more: Condvar::new(),
            synced: AtomicU64::new(place),
            is_refusing: AtomicBool::new(false),
            refusal: ArcSwapOption::empty(),
            is_saving: AtomicBool::new(false),
            delayed: AtomicU64::new(0),
        }
    }

    /// Locks what it guards.
    pub(super) fn freeze<'a>(&'a self, held: &mut Vec<Box<dyn Guard + 'a>>) {
        held.push(Box::new(self.turn.lock()));
        held.push(Box::new(self.output.lock()));
        held.push(Box::new(self.tail.lock()));
    }

    /// Lets go of the files, which are another process's: this one is a child of it.
    pub(super) fn disown(&self) {
        let mut output = self.output.lock();
        (output.file, output.unsynced) = (None, Vec::new());
        self.tail.lock().ring = None;
    }

    /// Whether this process writes it, not one that it is a child of.
    pub(super) fn is_here(&self) -> bool {
        self.generation == os::generation()
    }

    /// Bytes of the file of the moment, with what it has not got yet.
    pub(super) fn len(&self) -> u64 {
        let tail = self.tail.lock();
        tail.end - tail.start + tail.before
    }

    /// Bytes that the file has not got yet.
    pub(super) fn pending(&self) -> usize {
        self.tail.lock().pending.len()
    }

    /// Whether the last attempt to write went well.
    pub(super) fn is_well(&self) -> bool {
        !self.is_refusing.load(Ordering::Relaxed)
    }

    /// Goes on in another, empty file of a number, and in another ring if there is one. Nobody appends meanwhile: the caller holds every shard.
    ///
    /// # Errors
    /// One of the files can't be written to: it goes on in the one before.
    pub(super) fn switch(&self, (file, number): (File, u64), ring: Option<Ring>) -> Result<()> {
        let mut output = self.output.lock();
        let end = self.write_out(&mut output)?;
        // Where it goes on is in the file before anything is in the ring alone.
        let head = frames::head(end, self.synced.load(Ordering::Acquire), b"");
        write_all(&file, &head, &mut 0).map_err(|error| Error::io("Beginning a file of the log", &error))?;
        let before = output.file.replace(Arc::new(file));
        output.unsynced.extend(before);
        let mut tail = self.tail.lock();
        (tail.start, tail.before, output.told) = (end, 0, end);
        tail.db = None;
        if ring.is_some() {
            tail.ring = ring;
        }
        if let Some(ring) = &mut tail.ring {
            ring.begin(number);
        }
        Ok(())
    }

    /// A new file has all that the ones before have, so that it does not matter any more what of them is on the disk.
    pub(super) fn begun_anew(&self) {
        let mut output = self.output.lock();
        output.unsynced.clear();
        output.is_broken = false;
        self.admit();
    }

    /// Writes to the file what it has not got.
    ///
    /// # Errors
    /// It can't be written; no write may begin until it can.
    pub(super) fn flush(&self) -> Result<()> {
        self.write_out(&mut self.output.lock()).map(drop)
    }

    /// Returns up to where all is written.
    fn write_out(&self, output: &mut MutexGuard<'_, Output>) -> Result<u64> {
        if output.file.is_none() || !self.is_here() {
            return Ok(self.tail.lock().end);
        }
        self.finish(output)?;
        let (end, used) = {
            let mut tail = self.tail.lock();
            std::mem::swap(&mut output.bytes, &mut tail.pending);
            tail.is_hurried = false;
            (tail.end, tail.ring.as_ref().map_or(0, Ring::used))
        };
        if !output.bytes.is_empty() {
            let synced = self.synced.load(Ordering::Acquire);
            output.head = frames::head(end - output.bytes.len() as u64, synced, &output.bytes);
            output.told = output.told.max(synced);
            self.finish(output)?;
        }
        let mut tail = self.tail.lock();
        tail.written = end;
        if let Some(ring) = &mut tail.ring {
            ring.free(used);
        }
        drop(tail);
        if !output.is_broken {
            self.admit();
        }
        Ok(end)
    }

    /// Writes what is left of a frame.
    fn finish(&self, output: &mut Output) -> Result<()> {
        let Output { file: Some(file), head, bytes, .. } = output else { return Ok(()) };
        for part in [head, bytes] {
            let mut done = 0;
            if let Err(error) = write_all(file, part, &mut done) {
                part.drain(..done);
                return Err(self.refuse(&error));
            }
            part.clear();
            if part.capacity() > KEPT {
                *part = Vec::new();
            }
        }
        Ok(())
    }

    /// Has the disk have all that was appended by now.
    ///
    /// # Errors
    /// It can't be written or synced.
    pub(super) fn sync(&self) -> Result<()> {
        // Another one may have begun with files that this one would not look at.
        let _turn = self.turn.lock();
        self.sync_in_turn()
    }

    fn sync_in_turn(&self) -> Result<()> {
        let (files, end) = {
            let mut output = self.output.lock();
            if let Some(error) = self.refusal.load_full().filter(|_| output.is_broken) {
                // The system tells of a failure once; later syncs go well whatever was lost.
                return Err((*error).clone());
            }
            let end = self.write_out(&mut output)?;
            let mut files = std::mem::take(&mut output.unsynced);
            files.extend(output.file.clone());
            (files, end)
        };
        for file in files {
            if let Err(error) = file.sync_data() {
                let mut output = self.output.lock();
                output.is_broken = true;
                return Err(self.refuse(&error));
            }
        }
        self.synced.fetch_max(end, Ordering::Release);
        Ok(())
    }

    /// Has the file say that all of it is on the disk, if it does not.
    fn tell_synced(&self) -> Result<()> {
        let mut output = self.output.lock();
        let (synced, end) = (self.synced.load(Ordering::Acquire), self.tail.lock().end);
        if synced != end || output.told == end || output.file.is_none() || !self.is_here() {
            return Ok(());
        }
        output.head = frames::head(end, end, b"");
        output.told = end;
        self.finish(&mut output)
    }

    fn refuse(&self, error: &io::Error) -> Error {
        let text = format!("MISCONF Errors writing to the AOF file: {}", reason(error));
        let refusal = Error::new(ErrorKind::Misconf, text);
        self.refusal.store(Some(Arc::new(refusal.clone())));
        self.is_refusing.store(true, Ordering::Release);
        refusal
    }

    fn admit(&self) {
        if self.is_refusing.load(Ordering::Relaxed) {
            self.is_refusing.store(false, Ordering::Release);
            self.refusal.store(None);
        }
    }

    /// Whether the disk has all that was appended by now.
    pub(super) fn is_synced(&self) -> bool {
        self.synced.load(Ordering::Acquire) >= self.tail.lock().end
    }

    /// Whether only a new file helps: a sync has failed.
    pub(super) fn is_broken(&self) -> bool {
        self.output.lock().is_broken
    }

    fn is_unsynced(&self) -> bool {
        self.config.hot().appendfsync() == EVERY_SECOND
            && self.synced.load(Ordering::Relaxed) < self.tail.lock().written
    }

    /// Writes and syncs until [`Log::end`]: what its thread does.
    pub(super) fn run(&self) {
        let mut since_sync = self.clock.timer();
        while !self.wait_for_work(&mut since_sync) {
            // What goes wrong is remembered, and tried again.
            let _ = self.flush();
            let hot = self.config.hot();
            let waits = hot.no_appendfsync_on_rewrite() && self.is_saving.load(Ordering::Relaxed);
            if !waits && self.is_unsynced() && since_sync.elapsed() >= SYNCED_EVERY {
                self.sync_in_time(&mut since_sync);
            }
        }
        if self.sync().is_ok() {
            let _ = self.tell_synced();
        }
    }

    fn sync_in_time(&self, since_sync: &mut Timer) {
        if since_sync.elapsed() > 2 * SYNCED_EVERY {
            self.delayed.fetch_add(1, Ordering::Relaxed);
        }
        let _ = self.sync();
        *since_sync = self.clock.timer();
    }

    /// Waits until there is something to do. Says whether nothing will be any more.
    fn wait_for_work(&self, since_sync: &mut Timer) -> bool {
        let is_unsynced = self.is_unsynced();
        let mut tail = self.tail.lock();
        if tail.pending.is_empty() && !is_unsynced && self.is_well() {
            tail.is_awake = false;
            while !tail.is_awake && !tail.has_ended {
                tail = self.more.wait(tail, None);
            }
            *since_sync = self.clock.timer();
        }
        if !tail.has_ended && !tail.is_hurried {
            tail = self.more.wait(tail, Some(WRITTEN_EVERY));
        }
        tail.has_ended
    }

    /// Has the thread end, when all is written.
    pub(super) fn end(&self) {
        self.tail.lock().has_ended = true;
        self.more.notify_all();
    }
}

/// Counts in `done` what was written.
fn write_all(mut file: &File, bytes: &[u8], done: &mut usize) -> io::Result<()> {
    while *done < bytes.len() {
        match file.write(&bytes[*done..]) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => *done += written,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

impl Tail {
    /// Appends a group as a file has it. Returns where it begins among what is pending.
    fn encode(&mut self, group: &Group, now_s: Option<u64>) -> usize {
        let before = self.pending.len();
        if let Some(now_s) = now_s
            && now_s != self.second
        {
            self.second = now_s;
            self.pending.extend_from_slice(format!("#TS:{now_s}\r\n").as_bytes());
        }
        let mut effects = group.effects();
        let Some(first) = effects.next() else { return before };
        self.select(first.db);
        let is_one = group.len() == 1;
        if !is_one {
            self.pending.extend_from_slice(b"*1\r\n$5\r\nMULTI\r\n");
        }
        self.pending.extend_from_slice(first.command);
        for effect in effects {
            self.select(effect.db);
            self.pending.extend_from_slice(effect.command);
        }
        if !is_one {
            self.pending.extend_from_slice(b"*1\r\n$4\r\nEXEC\r\n");
        }
        before
    }

    fn select(&mut self, db: usize) {
        if self.db != Some(db) {
            self.db = Some(db);
            let mut select = Group::default();
            select.push(db, ["SELECT", &db.to_string()]);
            self.pending.extend_from_slice(select.bytes());
            select.recycle();
        }
    }

    /// Puts into the ring what is pending from here on. Says whether it is there, and all before it is there or in a file.
    fn secure(&mut self, from: usize) -> bool {
        let (place, bytes) = (self.end, &self.pending[from..]);
        self.end += bytes.len() as u64;
        let is_secure = self.insecure <= self.written
            && bytes.len() <= LONGEST
            && self.ring.as_mut().is_some_and(|ring| ring.put(place, bytes));
        if !is_secure {
            self.insecure = self.end;
        }
        is_secure
    }
}

impl Journal for Log {
    #[inline]
    fn refusal(&self) -> Option<Error> {
        if !self.is_refusing.load(Ordering::Relaxed) || !self.is_here() {
            return None;
        }
        self.refusal.load_full().map(|error| (*error).clone())
    }

    fn append(&self, group: &Group) -> Result<Ticket> {
        if !self.is_here() {
            return Ok(Ticket::default());
        }
        let now_s = self.config.hot().aof_timestamp_enabled().then(|| self.clock.now_ms() / 1000);
        let mut tail = self.tail.lock();
        let from = tail.encode(group, now_s);
        let is_secure = tail.secure(from);
        let end = tail.end;
        let hurries = !tail.is_hurried && tail.ring.as_ref().is_some_and(Ring::is_filling);
        tail.is_hurried |= hurries;
        let wakes = hurries || !tail.is_awake;
        tail.is_awake = true;
        drop(tail);
        if wakes {
            self.more.notify_all();
        }
        if !is_secure {
            self.flush()?;
        }
        Ok(Ticket(end))
    }

    fn wait(&self, ticket: Ticket) -> Result<()> {
        let is_synced = || self.synced.load(Ordering::Acquire) >= ticket.0;
        if self.config.hot().appendfsync() != ALWAYS || is_synced() || !self.is_here() {
            return Ok(());
        }
        let _turn = self.turn.lock();
        if is_synced() { Ok(()) } else { self.sync_in_turn() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(len: usize) -> Group {
        let mut group = Group::default();
        group.push(0, [&b"SET"[..], b"k", &b"v".repeat(len)]);
        group
    }

    #[test]
    fn nothing_is_acknowledged_behind_a_gap() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let ring = Ring::open(&folder.path().join("ring"), 1).unwrap();
        let file = super::super::files::create(&path).unwrap();
        let log = Log::new(&Arc::default(), &Clock::system(), (file, 0, 0), Some(ring));
        // What is too long for the ring goes to the file at once.
        log.append(&group(LONGEST)).unwrap();
        let end = || frames::look(&path).unwrap().places.unwrap().1;
        assert_eq!(end(), log.len());
        log.append(&group(1)).unwrap();
        assert!(end() < log.len(), "it is in the ring alone");
        // As if a thread had appended what is too long, and had not written it yet.
        let mut tail = log.tail.lock();
        let from = tail.encode(&group(LONGEST), None);
        assert!(!tail.secure(from));
        let from = tail.encode(&group(1), None);
        assert!(!tail.secure(from), "it would be lost with what is before it");
        drop(tail);
        log.append(&group(2)).unwrap();
        assert_eq!(end(), log.len(), "so all is written");
        log.append(&group(1)).unwrap();
        assert!(end() < log.len());
        drop(log);
        let missing = super::super::ring::recover(&folder.path().join("ring"), 1, end()).unwrap().missing;
        assert!(missing.ends_with(b"$1\r\nv\r\n"), "{}", missing.escape_ascii());
    }

    #[test]
    fn a_full_disk_refuses_writes_until_there_is_room() {
        let full = || std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let log = Log::new(&Arc::default(), &Clock::system(), (full(), 0, 0), None);
        let error = log.append(&group(1)).unwrap_err();
        assert_eq!(error.to_string(), "MISCONF Errors writing to the AOF file: No space left on device");
        assert_eq!(log.refusal(), Some(error));
        assert!(!log.is_well());
        // A rewrite can't begin either, since the last file has to be whole.
        let path = folder.path().join("log");
        assert!(log.switch((super::super::files::create(&path).unwrap(), 2), None).is_err());
        log.output.lock().file = Some(Arc::new(std::fs::File::options().append(true).open(&path).unwrap()));
        log.flush().unwrap();
        assert!(log.refusal().is_none() && log.is_well());
        assert_eq!(frames::look(&path).unwrap().places.unwrap().1, log.len());
    }

    #[cfg(unix)]
    #[test]
    fn a_sync_that_fails_is_not_made_good_by_the_next_one() {
        let folder = tempfile::tempdir().unwrap();
        let config = Config::from_text(b"appendfsync always\n").unwrap();
        // It takes what is written, and can't be synced.
        let null = std::fs::OpenOptions::new().write(true).open("/dev/null").unwrap();
        let log = Log::new(&Arc::new(config), &Clock::system(), (null, 0, 0), None);
        let (first, second) = (log.append(&group(1)).unwrap(), log.append(&group(1)).unwrap());
        assert!(log.wait(first).is_err() && log.is_broken());
        let file = super::super::files::create(&folder.path().join("log")).unwrap();
        log.output.lock().file = Some(Arc::new(file));
        assert!(log.wait(second).is_err(), "what was written before is not on the disk");
        assert!(log.refusal().is_some());
        log.begun_anew();
        log.wait(second).unwrap();
        assert!(log.refusal().is_none());
    }
}
