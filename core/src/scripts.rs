//! What an engine knows of scripts: those that were cached, and the one that runs.
//!
//! How they are run is the machinery's; nothing here knows a language.

pub(crate) mod libraries;

use std::collections::BTreeMap;
use std::time::Duration;

use hashbrown::HashMap;

use crate::clock::Timer;
use crate::os::Guard;
use crate::sync::{Arc, AtomicBool, AtomicU64, Mutex, Ordering};
use libraries::Libraries;

/// So many scripts that came by EVAL are kept; the one that was not used for longest goes first.
const KEPT: usize = 500;

/// What a script costs beside its text.
const OVERHEAD: usize = 120;

/// The hexadecimal digits of a SHA-1 sum.
pub(crate) type Digest = [u8; 40];

/// What a script says about itself in its first line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ScriptFlags {
    bits: u8,
}

impl ScriptFlags {
    pub(crate) const NO_WRITES: ScriptFlags = ScriptFlags { bits: 1 };
    pub(crate) const ALLOW_OOM: ScriptFlags = ScriptFlags { bits: 2 };

    /// Their names, in the server's order.
    const NAMES: [(&'static str, ScriptFlags); 5] = [
        ("no-writes", ScriptFlags::NO_WRITES),
        ("allow-oom", ScriptFlags::ALLOW_OOM),
        ("allow-stale", ScriptFlags { bits: 4 }),
        ("no-cluster", ScriptFlags { bits: 8 }),
        ("allow-cross-slot-keys", ScriptFlags { bits: 16 }),
    ];

    /// The flag of this name.
    pub(crate) fn from_name(name: &[u8]) -> Option<ScriptFlags> {
        Self::NAMES.iter().find(|(own, _)| own.as_bytes() == name).map(|(_, flag)| *flag)
    }

    pub(crate) fn with(self, other: ScriptFlags) -> ScriptFlags {
        ScriptFlags { bits: self.bits | other.bits }
    }

    pub(crate) fn contains(self, other: ScriptFlags) -> bool {
        self.bits & other.bits == other.bits
    }

    /// The names of those that are set.
    pub(crate) fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES.into_iter().filter(move |(_, flag)| self.contains(*flag)).map(|(name, _)| name)
    }
}

/// A script.
#[derive(Debug)]
pub(crate) struct Script {
    pub(crate) digest: Digest,
    /// Its text, with the line that tells its flags.
    pub(crate) body: Box<[u8]>,
    /// Where in the text the language begins.
    pub(crate) code_at: usize,
    /// Its flags; `None` for one that has no such line, and whose commands are judged one by one.
    pub(crate) flags: Option<ScriptFlags>,
}

impl Script {
    pub(crate) fn code(&self) -> &[u8] {
        &self.body[self.code_at..]
    }
}

/// A script in the cache.
struct Cached {
    script: Arc<Script>,
    /// When it was used last, for those that came by EVAL; `None` is kept until SCRIPT FLUSH.
    used: Option<u64>,
}

/// The scripts that were cached.
#[derive(Default)]
struct Cache {
    scripts: HashMap<Digest, Cached>,
    /// Those that may go, by when they were used.
    by_use: BTreeMap<u64, Digest>,
    uses: u64,
    bytes: usize,
}

impl Cache {
    fn touch(&mut self, digest: &Digest) -> Option<Arc<Script>> {
        let cached = self.scripts.get_mut(digest)?;
        if let Some(used) = &mut cached.used {
            self.by_use.remove(used);
            self.uses += 1;
            *used = self.uses;
            self.by_use.insert(self.uses, *digest);
        }
        Some(cached.script.clone())
    }
}

/// How scripts of an engine have JSON written and read: a script may change it, for those that follow, too.
#[derive(Clone, Copy, Debug)]
pub(crate) struct JsonOptions {
    /// Whether sparse arrays are written as objects, from which ratio of holes on arrays are sparse, and up to which index they never are.
    pub(crate) sparse: (bool, i32, i32),
    pub(crate) encode_depth: i32,
    pub(crate) decode_depth: i32,
    /// Significant digits of numbers.
    pub(crate) precision: i32,
    pub(crate) keeps_buffer: bool,
    /// Whether what is no finite number is refused (0), written as it is (1), or null (2).
    pub(crate) encode_invalid: u8,
    pub(crate) decode_invalid: bool,
}

impl Default for JsonOptions {
    fn default() -> Self {
        Self {
            sparse: (false, 2, 10),
            encode_depth: 1000,
            decode_depth: 1000,
            precision: 14,
            keeps_buffer: true,
            encode_invalid: 0,
            decode_invalid: true,
        }
    }
}

/// What runs at present.
struct Current {
    timer: Timer,
    /// The client whose script it is.
    client: u64,
    /// The name of the function and the words of its call, if it is one.
    function: Option<(Vec<u8>, Vec<Vec<u8>>)>,
}

/// A function that runs, for FUNCTION STATS.
pub(crate) struct RunningFunction {
    pub(crate) name: Vec<u8>,
    pub(crate) words: Vec<Vec<u8>>,
    pub(crate) elapsed: Duration,
}

/// Why a script was not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotKilled {
    /// None runs, or what runs is a function where a script was meant, or the other way round.
    NotBusy,
    /// It has written.
    Unkillable,
    /// A function was to be ended, and a script runs; or the other way round.
    Other,
}

/// The scripts of an engine.
pub(crate) struct Scripts {
    cache: Mutex<Cache>,
    current: Mutex<Option<Current>>,
    /// The one that runs is to end.
    killed: AtomicBool,
    /// The one that runs has written.
    has_written: AtomicBool,
    evicted: AtomicU64,
    /// How many have run.
    runs: AtomicU64,
    /// Bytes that interpreters held when scripts had ended last.
    vm_bytes: AtomicU64,
    /// The state of `math.random`.
    pub(crate) random: AtomicU64,
    json: Mutex<JsonOptions>,
    /// The libraries, and of which of those on disk they were made; `None` before the first use.
    libraries: Mutex<Option<(u64, Arc<Libraries>)>>,
}

impl Default for Scripts {
    fn default() -> Self {
        /// What C's generator of 48 bits begins with.
        const START: u64 = 0x1234_ABCD_330E;
        Self {
            cache: Mutex::default(),
            current: Mutex::default(),
            killed: AtomicBool::new(false),
            has_written: AtomicBool::new(false),
            evicted: AtomicU64::new(0),
            runs: AtomicU64::new(0),
            vm_bytes: AtomicU64::new(0),
            random: AtomicU64::new(START),
            json: Mutex::default(),
            libraries: Mutex::default(),
        }
    }
}

impl Scripts {
    /// Locks what it guards.
    pub(crate) fn freeze<'a>(&'a self, held: &mut Vec<Box<dyn Guard + 'a>>) {
        held.push(Box::new(self.cache.lock()));
        held.push(Box::new(self.current.lock()));
        held.push(Box::new(self.json.lock()));
        held.push(Box::new(self.libraries.lock()));
    }

    /// The libraries, if they were made of what is on disk at this version.
    pub(crate) fn libraries(&self, version: u64) -> Option<Arc<Libraries>> {
        let libraries = self.libraries.lock();
        libraries.as_ref().filter(|(made_of, _)| *made_of == version).map(|(_, libraries)| libraries.clone())
    }

    /// Replaces the libraries.
    #[cfg(feature = "scripting")]
    pub(crate) fn set_libraries(&self, version: u64, libraries: Arc<Libraries>) {
        *self.libraries.lock() = Some((version, libraries));
    }

    /// How JSON is written and read.
    #[cfg(feature = "scripting")]
    pub(crate) fn json(&self) -> JsonOptions {
        *self.json.lock()
    }

    #[cfg(feature = "scripting")]
    pub(crate) fn set_json(&self, options: JsonOptions) {
        *self.json.lock() = options;
    }

    /// The script of this sum, which is in use from now on.
    pub(crate) fn find(&self, digest: &Digest) -> Option<Arc<Script>> {
        self.cache.lock().touch(digest)
    }

    /// Whether there is a script of this sum.
    pub(crate) fn contains(&self, digest: &Digest) -> bool {
        self.cache.lock().scripts.contains_key(digest)
    }

    /// Keeps a script: for good, or until others that came by EVAL take its place.
    pub(crate) fn keep(&self, script: &Arc<Script>, for_good: bool) {
        let cache = &mut *self.cache.lock();
        if let Some(known) = cache.scripts.get_mut(&script.digest) {
            if for_good && let Some(used) = known.used.take() {
                cache.by_use.remove(&used);
            }
            return;
        }
        if !for_good
            && cache.by_use.len() >= KEPT
            && let Some((_, oldest)) = cache.by_use.pop_first()
            && let Some(gone) = cache.scripts.remove(&oldest)
        {
            cache.bytes -= gone.script.body.len() + OVERHEAD;
            self.evicted.fetch_add(1, Ordering::Relaxed);
        }
        cache.uses += 1;
        let used = (!for_good).then_some(cache.uses);
        used.map(|used| cache.by_use.insert(used, script.digest));
        cache.bytes += script.body.len() + OVERHEAD;
        cache.scripts.insert(script.digest, Cached { script: script.clone(), used });
    }

    /// Forgets all scripts.
    pub(crate) fn flush(&self) {
        *self.cache.lock() = Cache::default();
    }

    /// How many scripts are cached, and what they take.
    pub(crate) fn cached(&self) -> (usize, usize) {
        let cache = self.cache.lock();
        (cache.scripts.len(), cache.bytes)
    }

    /// How many had to go for others.
    pub(crate) fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }

    /// Counts those that had to go anew, as CONFIG RESETSTAT asks.
    pub(crate) fn reset(&self) {
        self.evicted.store(0, Ordering::Relaxed);
    }

    /// Bytes of the interpreter that a script ran in last.
    pub(crate) fn vm_bytes(&self) -> u64 {
        self.vm_bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn set_vm_bytes(&self, bytes: usize) {
        self.vm_bytes.store(bytes as u64, Ordering::Relaxed);
    }

    /// A script begins; the caller holds every shard, so that no other one runs.
    pub(crate) fn begin(&self, timer: Timer, client: u64, function: Option<(Vec<u8>, Vec<Vec<u8>>)>) {
        self.runs.fetch_add(1, Ordering::Relaxed);
        self.killed.store(false, Ordering::Relaxed);
        self.has_written.store(false, Ordering::Relaxed);
        *self.current.lock() = Some(Current { timer, client, function });
    }

    /// How many have run, and run.
    pub(crate) fn runs(&self) -> u64 {
        self.runs.load(Ordering::Relaxed)
    }

    /// It has ended.
    pub(crate) fn end(&self) {
        *self.current.lock() = None;
    }

    /// It is about to write.
    pub(crate) fn writes(&self) {
        self.has_written.store(true, Ordering::Relaxed);
    }

    /// Whether the one that runs is to end.
    pub(crate) fn is_killed(&self) -> bool {
        self.killed.load(Ordering::Relaxed)
    }

    /// Has the one that runs end: a function, or a script.
    ///
    /// # Errors
    /// It can't be ended, or there is none.
    pub(crate) fn kill(&self, function: bool) -> Result<(), NotKilled> {
        let current = self.current.lock();
        let Some(current) = &*current else { return Err(NotKilled::NotBusy) };
        if current.function.is_some() != function {
            return Err(NotKilled::Other);
        }
        if self.has_written.load(Ordering::Relaxed) {
            return Err(NotKilled::Unkillable);
        }
        self.killed.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// The function that runs.
    pub(crate) fn running_function(&self) -> Option<RunningFunction> {
        let current = self.current.lock();
        let current = current.as_ref()?;
        let (name, words) = current.function.clone()?;
        Some(RunningFunction { name, words, elapsed: current.timer.elapsed() })
    }

    /// Whether a function runs rather than a script; `None` where nothing does, or what this client itself asked for.
    pub(crate) fn runs_function(&self, client: u64) -> Option<bool> {
        let current = self.current.lock();
        current.as_ref().filter(|current| current.client != client).map(|current| current.function.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(number: usize) -> Arc<Script> {
        let mut digest = [b'0'; 40];
        digest[..6].copy_from_slice(format!("{number:06}").as_bytes());
        Arc::new(Script { digest, body: Box::from(&b"return 1"[..]), code_at: 0, flags: None })
    }

    #[test]
    fn scripts_that_came_by_eval_make_place_for_others() {
        let scripts = Scripts::default();
        let loaded = script(0);
        scripts.keep(&loaded, true);
        for number in 1..=KEPT {
            scripts.keep(&script(number), false);
        }
        assert_eq!((scripts.cached().0, scripts.evicted()), (KEPT + 1, 0));
        assert!(scripts.find(&script(1).digest).is_some());
        scripts.keep(&script(KEPT + 1), false);
        assert_eq!((scripts.cached().0, scripts.evicted()), (KEPT + 1, 1));
        assert!(scripts.contains(&script(1).digest) && !scripts.contains(&script(2).digest));
        assert!(scripts.contains(&loaded.digest));
        // One that is loaded stays from then on.
        scripts.keep(&script(3), true);
        (KEPT + 2..3 * KEPT).for_each(|number| scripts.keep(&script(number), false));
        assert!(scripts.contains(&script(3).digest) && !scripts.contains(&script(4).digest));
        scripts.flush();
        assert_eq!(scripts.cached(), (0, 0));
    }

    #[test]
    fn what_has_written_is_not_ended() {
        let scripts = Scripts::default();
        let timer = crate::Clock::system().timer();
        assert_eq!(scripts.kill(false), Err(NotKilled::NotBusy));
        scripts.begin(timer, 1, None);
        assert_eq!(scripts.kill(true), Err(NotKilled::Other));
        assert_eq!(scripts.kill(false), Ok(()));
        assert!(scripts.is_killed());
        scripts.begin(timer, 1, None);
        assert!(!scripts.is_killed());
        scripts.writes();
        assert_eq!(scripts.kill(false), Err(NotKilled::Unkillable));
        assert_eq!((scripts.runs_function(1), scripts.runs_function(2)), (None, Some(false)));
        scripts.end();
        assert_eq!(scripts.runs_function(2), None);
    }
}
