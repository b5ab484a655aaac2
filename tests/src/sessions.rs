//! Several sessions at once, some of which wait for keys and hear of messages, of what happens to keys, and of changes of keys that they have read, on both
//! servers.
//!
//! One command is sent at a time, and the next when the server has come to rest: each session has replied, or waits, as CLIENT LIST tells. So what happens
//! is determined: who is served, in which order, and what each session is told meanwhile.

use crate::compare;
use crate::quote;
use crate::resp::{self, Client, Reply};
use crate::rng::Rng;
use crate::scripted;
use crate::server::{Pair, Server};
use std::collections::BTreeSet;
use std::io;
use std::time::{Duration, Instant};

const SESSIONS: usize = 4;
/// The one that is told of changes of keys that it has read.
const TRACKER: usize = 0;
/// Commands between two FLUSHALLs, with sessions of their own.
const SEQUENCE: usize = 80;
/// How long the subject may take to come to the rest that the oracle came to.
const PATIENCE: Duration = Duration::from_secs(10);

/// Sends about that many commands; stops at the first difference and tells of it.
///
/// `planted`, if not empty, is a command run on the subject alone after each reset.
///
/// # Errors
/// Servers that do not start.
pub fn hunt(pair: &Pair, seed: u64, commands: usize, planted: &[Vec<u8>]) -> io::Result<Option<String>> {
    let (oracle, subject) = (Server::start(&pair.oracle)?, Server::start(&pair.subject)?);
    let mut rng = Rng::new(seed);
    for _ in 0..commands.div_ceil(SEQUENCE) {
        let mut sides = [Side::start(&oracle, &[])?, Side::start(&subject, planted)?];
        let mut sent = Vec::new();
        for _ in 0..SEQUENCE {
            let step = Step::draw(&mut rng, &sides[0], sent.len());
            sent.push(step.line());
            if let Err(difference) = judge(&mut sides, &step) {
                return Ok(Some(format!("seed {seed}\n{difference}\nAfter:\n{}", sent.join("\n"))));
            }
        }
    }
    Ok(None)
}

fn judge(sides: &mut [Side; 2], step: &Step) -> Result<(), String> {
    let [oracle, subject] = sides;
    let broken = |who: &str| {
        let who = who.to_owned();
        move |error: io::Error| format!("{who}: {error}")
    };
    let expected = oracle.take(step, None).map_err(broken("the oracle"))?;
    let waits = oracle.waiting();
    let told = subject.take(step, Some(&waits)).map_err(broken("the subject"))?;
    if subject.waiting() != waits {
        return Err(format!("sessions {:?} wait, and there {waits:?}", subject.waiting()));
    }
    for (session, (expected, told)) in expected.iter().zip(&told).enumerate() {
        for at in 0..expected.len().max(told.len()) {
            let missing = Reply::Simple(b"(nothing)".to_vec());
            let (a, b) = (expected.get(at).unwrap_or(&missing), told.get(at).unwrap_or(&missing));
            if let Some(text) = compare::difference(&[], a, b) {
                let all = |told: &[Reply]| told.iter().map(|word| format!("  {word}\n")).collect::<String>();
                let (there, here) = (all(expected), all(told));
                return Err(format!(
                    "session {session}, its word {at}:\n{text}\nall there:\n{there}and here:\n{here}"
                ));
            }
        }
    }
    Ok(())
}

/// What happens next.
enum Step {
    /// A session sends a command.
    Send(usize, Vec<Vec<u8>>),
    /// The wait of a session is ended by another client, as a timeout or an error.
    Unblock(usize, &'static str),
}

impl Step {
    fn line(&self) -> String {
        match self {
            Step::Send(session, words) => format!("@{session} {}", quote::line(words)),
            Step::Unblock(session, how) => format!("CLIENT UNBLOCK (session {session}) {how}"),
        }
    }

    fn draw(rng: &mut Rng, side: &Side, number: usize) -> Self {
        let session = rng.below(SESSIONS);
        if side.sessions[session].owes.is_some() {
            return Step::Unblock(session, rng.pick(&["TIMEOUT", "ERROR"]));
        }
        let (mut list, mut zset, mut stream) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..2 {
            list.push(rng.pick(&["a", "b", "c"]));
            zset.push(rng.pick(&["y", "z"]));
            stream.push(rng.pick(&["s", "t"]));
        }
        let any = rng.pick(&["a", "b", "c", "y", "z", "s", "t"]);
        let (element, id) = (format!("e{number}"), format!("{}-1", number + 1));
        let end = rng.pick(&["LEFT", "RIGHT"]);
        let channel = rng.pick(&["one", "two"]);
        // One a session: in which order the server sends a message for several is open.
        let pattern = match session {
            // In which order the server tells of an event and of the change of a key is open.
            TRACKER => "[to]*",
            _ if session.is_multiple_of(2) => "*o*",
            _ => "__keyevent@*",
        };
        let noloop = ["CLIENT", "TRACKING", "ON", "NOLOOP"];
        let by_prefix = ["CLIENT", "TRACKING", "ON", "BCAST", "NOLOOP", "PREFIX", any];
        let (tracking, caching): (&[&str], &[&str]) = match (session == TRACKER, rng.below(12)) {
            (true, 0..5) => (&noloop[..3], &["CLIENT", "CACHING", "YES"]),
            (true, 5) => (&noloop, &["CLIENT", "CACHING", "NO"]),
            (true, 6) => (&["CLIENT", "TRACKING", "ON", "OPTIN"], &["CLIENT", "CACHING", "YES"]),
            (true, 7) => (&["CLIENT", "TRACKING", "ON", "OPTOUT"], &["CLIENT", "CACHING", "NO"]),
            (true, 8) => (&by_prefix, &["CLIENT", "TRACKINGINFO"]),
            (true, 9) => (&["CLIENT", "TRACKING", "OFF"], &["CLIENT", "TRACKINGINFO"]),
            _ => (&["EXISTS", "a", "s", "z"], &["TYPE", any]),
        };
        let database = rng.pick(&["0", "0", "1"]);
        let [l, m] = list[..] else { unreachable!("two were drawn") };
        let [y, z] = zset[..] else { unreachable!("two were drawn") };
        let [s, t] = stream[..] else { unreachable!("two were drawn") };
        let words: &[&str] = match rng.below(76) {
            0..3 => &["BLPOP", l, m, "0"],
            3..5 => &["BRPOP", l, "0"],
            5 => &["BLMOVE", l, m, end, "RIGHT", "0"],
            6 => &["BRPOPLPUSH", l, m, "0"],
            7 => &["BLMPOP", "0", "2", l, m, end, "COUNT", "2"],
            8 => &["BZPOPMIN", y, z, "0"],
            9 => &["BZPOPMAX", y, "0"],
            10 => &["BZMPOP", "0", "2", y, z, "MIN", "COUNT", "2"],
            11..13 => &["XREAD", "BLOCK", "0", "STREAMS", s, t, "$", "$"],
            13 => &["XREAD", "COUNT", "1", "BLOCK", "0", "STREAMS", s, "+"],
            14..16 => &["XREADGROUP", "GROUP", "g", "c", "BLOCK", "0", "STREAMS", s, ">"],
            16..21 => &["LPUSH", l, &element],
            21..24 => &["RPUSH", l, &element, "second", "third"],
            24 => &["LMOVE", l, m, end, "LEFT"],
            25 => &["RPOP", l],
            26 => &["LPOP", l, "2"],
            27..30 => &["ZADD", y, "1", &element, "2", "other"],
            30 => &["ZPOPMIN", y],
            31 => &["ZREM", y, "other"],
            32..36 => &["XADD", s, &id, "f", &element],
            36 => &["XGROUP", "CREATE", s, "g", "$", "MKSTREAM"],
            37 => &["XGROUP", "DESTROY", s, "g"],
            38 => &["XDEL", s, &id],
            39 => &["DEL", any],
            40 => &["SET", any, &element],
            41 => &["RENAME", l, m],
            42 => &["RENAME", s, t],
            43 => &["COPY", l, m, "REPLACE"],
            44 => &["MOVE", any, "1"],
            45 => &["SWAPDB", "0", "1"],
            46 => &["SELECT", database],
            47 => &["FLUSHDB"],
            48 => &["MULTI"],
            49..51 => &["EXEC"],
            51 => &["WATCH", any],
            52 => &["SORT", l, "ALPHA", "STORE", m],
            53 => &["SUBSCRIBE", channel],
            54 => &["PSUBSCRIBE", pattern],
            55 => &["UNSUBSCRIBE", channel],
            56 => &["SSUBSCRIBE", channel],
            57 => &["SPUBLISH", channel, &element],
            58..60 => &["PUBLISH", channel, &element],
            60..63 => tracking,
            63 => caching,
            64..66 => &["LRANGE", l, "0", "-1"],
            66..68 => &["ZRANGE", y, "0", "-1"],
            68..70 => &["XRANGE", s, "-", "+"],
            70..72 => &["GET", any],
            72 => &["XREAD", "STREAMS", s, t, "0", "0"],
            73 => &["EXPIRE", any, "1000"],
            74 => &["APPEND", any, &element],
            _ => &["MGET", any, l, s],
        };
        let words: Vec<Vec<u8>> = words.iter().map(|word| word.as_bytes().to_vec()).collect();
        Step::Send(session, if rng.one_in(8) { scripted::wrap(rng, &words, true) } else { words })
    }
}

/// One server's sessions.
struct Side {
    control: Client,
    sessions: Vec<Session>,
}

struct Session {
    client: Client,
    /// As CLIENT ID tells it.
    id: i64,
    /// The last thing that it has still to say; `None` if it has said all.
    owes: Option<Owed>,
    /// A transaction is open, as far as its replies told.
    queues: bool,
    /// What it has said since it owes something: one that waits may have been told of events meanwhile.
    heard: Vec<Reply>,
    /// It has waited for that.
    has_waited: bool,
}

/// What ends the replies of a session.
#[derive(Clone, PartialEq, Eq)]
enum Owed {
    /// Any reply that is no push.
    Reply,
    /// The reply to the PING behind the command.
    Echo(Vec<u8>),
}

impl Side {
    fn start(server: &Server, planted: &[Vec<u8>]) -> io::Result<Self> {
        let mut control = server.client()?;
        control.call(&["FLUSHALL"])?;
        control.call(&scripted::load())?;
        control.call(&["CONFIG", "SET", "notify-keyspace-events", "AEmn"])?;
        if !planted.is_empty() {
            control.call(planted)?;
        }
        // Somebody tracks always: what the server remembers for who has ended to would be told to who begins anew.
        control.call(&["CLIENT", "TRACKING", "ON"])?;
        let mut sessions = Vec::new();
        for _ in 0..SESSIONS {
            let mut client = server.client()?;
            client.call(&["HELLO", "3"])?;
            let Reply::Int(id) = client.call(&["CLIENT", "ID"])? else {
                return Err(io::Error::other("CLIENT ID tells a number"));
            };
            sessions.push(Session {
                client,
                id,
                owes: None,
                queues: false,
                heard: Vec::new(),
                has_waited: false,
            });
        }
        Ok(Side { control, sessions })
    }

    /// Sessions that have not said all, by their numbers.
    fn waiting(&self) -> BTreeSet<usize> {
        (0..SESSIONS).filter(|session| self.sessions[*session].owes.is_some()).collect()
    }

    /// Takes a step and returns what each session has said since. `until`: who is to wait then.
    fn take(&mut self, step: &Step, until: Option<&BTreeSet<usize>>) -> io::Result<Vec<Vec<Reply>>> {
        let mut told = vec![Vec::new(); SESSIONS];
        match step {
            Step::Send(number, words) => {
                self.sessions[*number].send(words)?;
                self.settle(*number, &mut told[*number])?;
            }
            Step::Unblock(number, how) => {
                let id = self.sessions[*number].id.to_string();
                told[*number].push(self.control.call(&["CLIENT", "UNBLOCK", &id, how])?);
            }
        }
        let start = Instant::now();
        loop {
            let blocked = self.blocked()?;
            for (number, told) in told.iter_mut().enumerate() {
                let session = &mut self.sessions[number];
                if session.owes.is_some() && !blocked.contains(&number) {
                    session.hear(told)?;
                }
            }
            if until.is_none_or(|until| self.waiting() == *until) || start.elapsed() > PATIENCE {
                break;
            }
        }
        // What the others were told meanwhile.
        for (session, told) in self.sessions.iter_mut().zip(&mut told) {
            if session.owes.is_none() && !session.queues {
                session.send(&[])?;
                session.hear(told)?;
            }
        }
        Ok(told)
    }

    /// Waits until a session that has just sent a command has said all, or waits.
    fn settle(&mut self, number: usize, told: &mut Vec<Reply>) -> io::Result<()> {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            let session = &mut self.sessions[number];
            if session.client.has_more(Duration::from_millis(2))? {
                if session.hear_one(told)? {
                    return Ok(());
                }
                continue;
            }
            if self.blocked()?.contains(&number) {
                self.sessions[number].has_waited = true;
                return Ok(());
            }
        }
        Err(io::Error::other(format!("session {number} neither replies nor waits")))
    }

    /// Sessions that wait, as the server tells.
    fn blocked(&mut self) -> io::Result<BTreeSet<usize>> {
        let list = self.control.call(&["CLIENT", "LIST"])?;
        let list = String::from_utf8_lossy(list.text().unwrap_or_default()).into_owned();
        let of_line = |line: &str| {
            let field =
                |name: &str| line.split(' ').find_map(|field| field.strip_prefix(name).map(str::to_owned));
            let id = field("id=")?.parse().ok()?;
            let is_blocked = field("flags=")?.contains('b');
            self.sessions.iter().position(|session| session.id == id).filter(|_| is_blocked)
        };
        Ok(list.lines().filter_map(of_line).collect())
    }
}

/// Whether it tells of what happened to a key.
fn is_event(reply: &Reply) -> bool {
    let Reply::Push(parts) = reply else { return false };
    parts.iter().filter_map(Reply::text).any(|part| part.starts_with(b"__keyevent@"))
}

impl Session {
    /// Sends a command, if there is one, and has its replies end with that to a PING, unless the PING would be queued.
    fn send(&mut self, words: &[Vec<u8>]) -> io::Result<()> {
        const ENDING: [&[u8]; 2] = [b"EXEC", b"DISCARD"];
        let mut bytes = Vec::new();
        let name = words.first().map(Vec::as_slice).unwrap_or_default();
        if !words.is_empty() {
            resp::encode(words, &mut bytes);
        }
        self.queues = name == b"MULTI" || self.queues && !ENDING.contains(&name);
        if self.queues {
            self.owes = Some(Owed::Reply);
        } else {
            resp::encode(&[&b"PING"[..], b"(all)"], &mut bytes);
            self.owes = Some(Owed::Echo(b"(all)".to_vec()));
        }
        self.has_waited = false;
        self.client.send(&bytes)
    }

    /// Reads all that it has to say, and tells it.
    fn hear(&mut self, told: &mut Vec<Reply>) -> io::Result<()> {
        while !self.hear_one(told)? {}
        Ok(())
    }

    /// Reads the next thing that it has to say. If that is the last one all is told, and this says so.
    fn hear_one(&mut self, told: &mut Vec<Reply>) -> io::Result<bool> {
        let reply = self.client.read()?;
        let is_last = match &self.owes {
            Some(Owed::Echo(echo)) => reply == Reply::Bulk(echo.clone()),
            _ => !matches!(reply, Reply::Push(_)),
        };
        if !is_last || self.owes == Some(Owed::Reply) {
            self.heard.push(reply);
        }
        if is_last {
            self.owes = None;
            if self.has_waited {
                // The events of what it was given: here they come ahead of its reply, there behind it.
                self.heard.sort_by_key(is_event);
            }
            told.append(&mut self.heard);
        }
        Ok(is_last)
    }
}
