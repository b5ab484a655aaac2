//! What a call touches, and whether its user may: asked before a command is queued or run, at EXEC again, and by whoever runs commands for others.
//!
//! What the rules mean is [`crate::acl`]'s.

use std::sync::Weak;

use smallvec::SmallVec;

use super::keys;
use super::run::{Context, Found};
use super::spec::{Categories, Flags, KeyFlags, KeySpec, Spec};
use crate::acl::{Access, Call, Entry, Origin, Reason, Refusal, User};
use crate::clients::ClientInfo;
use crate::error::{Error, ErrorKind, Result};
use crate::local::Local;
use crate::num;
use crate::sync::{Arc, Ordering};

/// A call that its user may not make.
#[derive(Debug)]
pub(crate) struct Denied {
    /// What is not allowed.
    pub(crate) reason: Reason,
    /// The command, key, channel or database, as the log names it.
    pub(crate) object: Vec<u8>,
    /// The same as the caller wrote it.
    word: Vec<u8>,
    command: &'static str,
}

impl Denied {
    /// The error of a call that a client makes.
    pub(crate) fn error(&self, user: &User) -> Error {
        let text: Vec<u8> = match self.reason {
            Reason::Command => {
                let end = format!(" has no permissions to run the '{}' command", self.command);
                [b"NOPERM User ", &*user.name, end.as_bytes()].concat()
            }
            Reason::Database => b"NOPERM No permissions to access database".to_vec(),
            Reason::Key => b"NOPERM No permissions to access a key".to_vec(),
            Reason::Channel => b"NOPERM No permissions to access a channel".to_vec(),
        };
        Error::from_bytes(ErrorKind::NoPerm, text)
    }

    /// The error of a call that a script makes.
    #[cfg(feature = "scripting")]
    pub(crate) fn error_in_script(&self, user: &User) -> Error {
        let error = self.error(user);
        let text = error.as_bytes().strip_prefix(b"NOPERM ").unwrap_or_default();
        Error::from_bytes(ErrorKind::NoPerm, [b"ERR ACL failure in script: ", text].concat())
    }

    /// The error of a queued call that was allowed when it was queued.
    fn error_at_exec(&self) -> Error {
        let reason = match self.reason {
            Reason::Command => "no permission to execute the command or subcommand",
            Reason::Database => "no permission",
            Reason::Key => "no permission to touch the specified keys",
            Reason::Channel => "no permission to access one of the channels used as arguments",
        };
        let text = "NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC call. This command \
                    is no longer allowed for the following reason: ";
        Error::new(ErrorKind::NoPerm, format!("{text}{reason}"))
    }

    /// What somebody is told who asks about another user.
    pub(crate) fn sentence(&self, user: &User) -> Vec<u8> {
        let user: &[u8] = &user.name;
        let word = &self.word[..];
        match self.reason {
            Reason::Command => {
                let end = format!(" has no permissions to run the '{}' command", self.command);
                [b"User ", user, end.as_bytes()].concat()
            }
            Reason::Database => [b"User ", user, b" has no permissions to access database ", word].concat(),
            Reason::Key => [b"User ", user, b" has no permissions to access the '", word, b"' key"].concat(),
            Reason::Channel => {
                [b"User ", user, b" has no permissions to access the '", word, b"' channel"].concat()
            }
        }
    }
}

/// Whether a user may make a call on a database.
///
/// # Errors
/// It may not.
pub(crate) fn check(
    engine: &Local,
    user: &User,
    found: &Found,
    argv: &[&[u8]],
    db: usize,
) -> Result<(), Denied> {
    let touched = Touched::by(engine, found, argv, db);
    user.rights().check(&touched.call(found, argv)).map_err(|refusal| denied(found.spec, argv, refusal))
}

/// Asks again whether a client may make a call that had to wait.
pub(super) struct Permit {
    engine: Weak<Local>,
    found: Found,
}

impl Permit {
    /// For the last command that a client began.
    pub(super) fn of(engine: &Arc<Local>, client: &ClientInfo, spec: &'static Spec) -> Self {
        let id = client.last_command.load(Ordering::Relaxed);
        // It is attempted by other means than this.
        Self { engine: Arc::downgrade(engine), found: Found { spec, id, run: super::run::container } }
    }

    /// # Errors
    /// The client's user may not make it any more.
    pub(super) fn check(&self, client: &ClientInfo, argv: &[&[u8]], db: usize) -> Result<()> {
        if !client.standing().is_restricted {
            return Ok(());
        }
        let Some(engine) = self.engine.upgrade() else { return Ok(()) };
        let user = client.user();
        check(&engine, &user, &self.found, argv, db).map_err(|denied| {
            engine.note_denied(client, &user, Origin::TopLevel, &denied);
            denied.error(&user)
        })
    }
}

fn denied(spec: &'static Spec, argv: &[&[u8]], Refusal { reason, at }: Refusal) -> Denied {
    let word = argv.get(at).copied().unwrap_or_default().to_vec();
    let object = if at == 0 { spec.name.as_bytes().to_vec() } else { word.clone() };
    Denied { reason, object, word, command: spec.name }
}

/// Commands that are about all databases: what the server knows of them by a flag that COMMAND INFO does not tell.
const ABOUT_ALL: [&str; 4] =
    ["flushall", "cluster|cancelslotmigrations", "cluster|flushslot", "cluster|migrateslots"];

/// Keys, channels and databases of a call.
struct Touched {
    keys: SmallVec<[(usize, Access); 4]>,
    channels: SmallVec<[usize; 4]>,
    are_patterns: bool,
    databases: SmallVec<[(usize, usize); 2]>,
    database: Option<usize>,
    is_about_all: bool,
}

impl Touched {
    fn by(engine: &Local, found: &Found, argv: &[&[u8]], db: usize) -> Self {
        let spec = found.spec;
        let keys = keys::of_call(spec, argv).unwrap_or_default();
        let keys = keys.into_iter().map(|(at, flags)| (at, access(flags))).collect();
        let (channels, are_patterns) = channels(spec, argv.len());
        let databases = databases(spec, argv, engine.config.hot().databases());
        let is_about_all = ABOUT_ALL.contains(&spec.name);
        Self { keys, channels, are_patterns, databases, database: uses_own(spec).then_some(db), is_about_all }
    }

    fn call<'c>(&'c self, found: &Found, words: &'c [&'c [u8]]) -> Call<'c> {
        Call {
            command: found.id,
            is_free: found.spec.flags.contains(Flags::NO_AUTH),
            words,
            keys: &self.keys,
            channels: &self.channels,
            are_patterns: self.are_patterns,
            databases: &self.databases,
            database: self.database,
            is_about_all: self.is_about_all,
        }
    }
}

fn access(flags: KeyFlags) -> Access {
    let changes = [KeyFlags::INSERT, KeyFlags::DELETE, KeyFlags::UPDATE];
    Access {
        reads: flags.contains(KeyFlags::ACCESS),
        writes: changes.iter().any(|flag| flags.contains(*flag)),
    }
}

/// Where the channels of a call stand that have to be allowed, and whether they are patterns. Whoever ends a subscription needs no permission.
fn channels(spec: &Spec, words: usize) -> (SmallVec<[usize; 4]>, bool) {
    let (range, are_patterns) = match spec.name {
        "publish" | "spublish" => (1..2, false),
        "subscribe" | "ssubscribe" => (1..words, false),
        "psubscribe" => (1..words, true),
        _ => (0..0, false),
    };
    (range.collect(), are_patterns)
}

/// Whether it works on the session's database.
fn uses_own(spec: &Spec) -> bool {
    // This one only exchanges others.
    if spec.name == "swapdb" {
        return false;
    }
    let categories = spec.categories();
    let is_key = |key_spec: &KeySpec| !key_spec.flags.contains(KeyFlags::NOT_KEY);
    [Categories::READ, Categories::WRITE, Categories::KEYSPACE].iter().any(|own| categories.contains(*own))
        || spec.keys.iter().any(is_key)
}

/// The databases that a call names, with their places; none if one is no database.
fn databases(spec: &Spec, argv: &[&[u8]], count: usize) -> SmallVec<[(usize, usize); 2]> {
    let places: SmallVec<[usize; 2]> = match spec.name {
        "select" => SmallVec::from_slice(&[1]),
        "swapdb" => SmallVec::from_slice(&[1, 2]),
        "move" => SmallVec::from_slice(&[2]),
        "copy" => copied_to(argv),
        _ => SmallVec::new(),
    };
    let database = |at: usize| {
        let index = usize::try_from(num::parse_i64(argv.get(at)?)?).ok()?;
        (index < count).then_some((at, index))
    };
    places.into_iter().map(database).collect::<Option<_>>().unwrap_or_default()
}

/// Where COPY names databases. What stands behind a word that it does not know is never looked at.
fn copied_to(argv: &[&[u8]]) -> SmallVec<[usize; 2]> {
    let mut places = SmallVec::new();
    let mut at = 3;
    while let Some(word) = argv.get(at) {
        if word.eq_ignore_ascii_case(b"DB") && at + 1 < argv.len() {
            places.push(at + 1);
            at += 2;
        } else if word.eq_ignore_ascii_case(b"REPLACE") {
            at += 1;
        } else {
            return SmallVec::new();
        }
    }
    places
}

impl Context<'_, '_> {
    /// Has the session know what its client is by now.
    #[inline]
    pub(super) fn adopt_standing(&mut self) {
        if self.session.is_outdated() {
            self.session.adopt_standing(self.engine.standing_seen(&self.session.info));
        }
    }

    /// Refuses what the session's user may not do, and logs that.
    #[inline]
    pub(super) fn admit_user(&self, found: &Found, argv: &[&[u8]]) -> Result<()> {
        if self.session.is_restricted() { self.admit_restricted(found, argv) } else { Ok(()) }
    }

    #[inline(never)]
    fn admit_restricted(&self, found: &Found, argv: &[&[u8]]) -> Result<()> {
        let user = self.session.info.user();
        check(self.engine, &user, found, argv, self.session.db).map_err(|denied| {
            // The log describes the client, of which this is the last command.
            self.session.began(found.id);
            let origin = if self.session.in_transaction() { Origin::Transaction } else { Origin::TopLevel };
            self.engine.note_denied(&self.session.info, &user, origin, &denied);
            denied.error(&user)
        })
    }

    /// Refuses a queued command that the session's user may no longer execute.
    pub(crate) fn admit_queued(&mut self, found: &Found, argv: &[&[u8]]) -> Result<()> {
        // A command before it may have changed the user.
        self.adopt_standing();
        if !self.session.is_restricted() {
            return Ok(());
        }
        let user = self.session.info.user();
        check(self.engine, &user, found, argv, self.session.db).map_err(|denied| {
            self.engine.note_denied(&self.session.info, &user, Origin::Transaction, &denied);
            denied.error_at_exec()
        })
    }

    /// Refuses SORT by keys that are not among its words, unless its user may read every key.
    #[cold]
    #[inline(never)]
    pub(super) fn refuse_sort(&self, found: &Found, argv: &[&[u8]]) -> Result<()> {
        let Some(option) = option_about_keys(found.spec, argv) else { return Ok(()) };
        let touched = Touched::by(self.engine, found, argv, self.session.db);
        if self.session.info.user().rights().allow_reading_all(&touched.call(found, argv)) {
            return Ok(());
        }
        Err(Error::command(format_args!(
            "{option} option of SORT denied due to insufficient ACL permissions."
        )))
    }
}

/// The first option of SORT that reads further keys, if there is one before what is no option.
fn option_about_keys(spec: &Spec, argv: &[&[u8]]) -> Option<&'static str> {
    let stores = spec.name == "sort";
    let mut words = argv.get(2..)?;
    loop {
        let is = |word: &[u8], option: &str| word.eq_ignore_ascii_case(option.as_bytes());
        words = match words {
            [word, rest @ ..] if ["ASC", "DESC", "ALPHA"].iter().any(|own| is(word, own)) => rest,
            [word, _, _, rest @ ..] if is(word, "LIMIT") => rest,
            [word, _, rest @ ..] if is(word, "STORE") && stores => rest,
            [word, pattern, ..] if is(word, "BY") && pattern.contains(&b'*') => return Some("BY"),
            [word, _, rest @ ..] if is(word, "BY") => rest,
            [word, _, ..] if is(word, "GET") => return Some("GET"),
            _ => return None,
        };
    }
}

impl Local {
    /// Counts and logs a refused call.
    pub(crate) fn note_denied(&self, client: &ClientInfo, user: &User, origin: Origin, denied: &Denied) {
        let counts = &self.users.denied;
        let (count, reason) = match denied.reason {
            Reason::Command => (&counts.command, "command"),
            Reason::Database => (&counts.database, "database"),
            Reason::Key => (&counts.key, "key"),
            Reason::Channel => (&counts.channel, "channel"),
        };
        count.fetch_add(1, Ordering::Relaxed);
        self.log_denied(client, &user.name, origin, (reason, denied.object.clone()));
    }

    /// Counts and logs that somebody was not who they said.
    pub(crate) fn note_stranger(&self, client: &ClientInfo, name: &[u8], origin: Origin, command: &[u8]) {
        self.users.denied.authentication.fetch_add(1, Ordering::Relaxed);
        self.log_denied(client, name, origin, ("auth", command.to_vec()));
    }

    fn log_denied(
        &self,
        client: &ClientInfo,
        name: &[u8],
        origin: Origin,
        (reason, object): (&'static str, Vec<u8>),
    ) {
        let now_ms = self.keyspace.clock.now_ms();
        let mut described = (self.describe)(client, self.keyspace.clock.coarse_ms());
        described.truncate(described.trim_end().len());
        let entry = Entry {
            number: 0,
            count: 1,
            reason,
            origin,
            object,
            user: name.to_vec(),
            client: described,
            created_ms: now_ms,
            updated_ms: now_ms,
        };
        self.users.log.lock().add(entry, self.config.hot().acllog_max_len());
    }
}
