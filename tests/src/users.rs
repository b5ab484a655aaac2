//! Users with random rights on both servers: what is said of them, what they would be allowed, and what happens to what they do.
//!
//! The rules are drawn so that they meet: few keys, channels and databases, and any command and category that both servers have.

use crate::compare;
use crate::quote;
use crate::resp::{Client, Reply};
use crate::rng::Rng;
use crate::scripted;
use crate::server::{Pair, Server};
use std::io;

/// Calls that are tried without being made, after each change of the rules.
const TRIES: usize = 5;
/// Calls that the user makes after each change.
const CALLS: usize = 4;

/// Words that calls are made of beside their names.
const WORDS: &[&str] = &[
    "a",
    "b",
    "k",
    "ka",
    "0",
    "1",
    "2",
    "3",
    "5",
    "x",
    "*",
    "a*",
    "DB",
    "REPLACE",
    "STORE",
    "GET",
    "BY",
    "LIMIT",
    "STREAMS",
    "WITHSCORES",
    "#",
    "KEYS",
];

/// Calls of the user, of which nothing but the data depends.
const TEMPLATES: &[&str] = &[
    "GET k",
    "SET k v",
    "SET a v GET",
    "DEL k",
    "INCR n",
    "HSET h f v",
    "HGET h f",
    "MGET a b k",
    "MSET a 1 b 2",
    "COPY a b REPLACE",
    "COPY a b DB 2 REPLACE",
    "RENAME a b",
    "LPUSH l x",
    "LPOP l",
    "LRANGE l 0 -1",
    "SADD s m",
    "SREM s m",
    "ZADD z 1 m",
    "SORT s ALPHA",
    "SORT s BY w* ALPHA",
    "SORT l ALPHA GET # STORE b",
    "EXISTS a b",
    "EXPIRE k 1000",
    "PUBLISH a m",
    "SUBSCRIBE a",
    "PSUBSCRIBE a*",
    "UNSUBSCRIBE a",
    "PUNSUBSCRIBE a*",
    "SPUBLISH b m",
    "SELECT 0",
    "SELECT 1",
    "SELECT 2",
    "SWAPDB 1 2",
    "MOVE k 2",
    "DBSIZE",
    "FLUSHDB",
    "FLUSHALL",
    "MULTI",
    "EXEC",
    "DISCARD",
    "WATCH k",
    "UNWATCH",
    "PING",
    "ECHO x",
    "ACL WHOAMI",
    "CONFIG GET hz",
    "CLIENT GETNAME",
    "OBJECT ENCODING k",
    "XADD a 1-1 f v",
    "XLEN a",
    "TYPE a",
    "AUTH u x",
    "AUTH default x",
    "AUTH nobody x",
    "RESET",
];

/// Changes the rules so many times; stops at the first difference and tells of it.
///
/// # Errors
/// Servers that do not start or answer.
pub fn hunt(pair: &Pair, seed: u64, changes: usize) -> io::Result<Option<String>> {
    let servers = [Server::start(&pair.oracle)?, Server::start(&pair.subject)?];
    let [mut oracle, mut subject] = [servers[0].client()?, servers[1].client()?];
    let names = Names::common(&mut oracle, &mut subject)?;
    for admin in [&mut oracle, &mut subject] {
        admin.call(&scripted::load())?;
    }
    let mut users = [servers[0].client()?, servers[1].client()?];
    let mut rng = Rng::new(seed);
    let mut sent = Vec::new();
    for _ in 0..changes {
        let mut change: Vec<String> = ["ACL", "SETUSER", "u"].map(str::to_owned).to_vec();
        if rng.one_in(10) {
            change.extend(["reset", "on", "nopass"].map(str::to_owned));
        }
        change.extend((0..=rng.below(4)).map(|_| names.rule(&mut rng)));
        let mut calls = vec![change, words("ACL GETUSER u"), words("ACL LIST")];
        calls.extend((0..TRIES).map(|_| names.call(&mut rng)));
        if rng.one_in(3) {
            calls.push(vec!["SELECT".to_owned(), rng.below(4).to_string()]);
        }
        let own = (0..CALLS).map(|_| words(rng.pick(TEMPLATES)));
        let calls = calls.into_iter().map(|call| (true, call)).chain(own.map(|call| (false, call)));
        for (is_admin, call) in calls.collect::<Vec<_>>() {
            let mut bytes: Vec<Vec<u8>> = call.iter().map(|word| word.clone().into_bytes()).collect();
            if !is_admin && rng.one_in(4) {
                bytes = scripted::wrap(&mut rng, &bytes, true);
            }
            let who = if is_admin { "" } else { "@2 " };
            sent.push(format!("{who}{}", quote::line(&bytes)));
            let [one, other] = &mut users;
            let [one, other] = if is_admin { [&mut oracle, &mut subject] } else { [one, other] };
            let (expected, told) = (one.call(&bytes), other.call(&bytes));
            if let (Err(_), Err(_)) = (&expected, &told) {
                // Cut off, as one who hears what it may no longer hear.
                users = [servers[0].client()?, servers[1].client()?];
                sent.push("# (with a new connection)".to_owned());
                continue;
            }
            if let Some(text) = compare::difference(&[], &expected?, &told?) {
                let last = sent[sent.len().saturating_sub(40)..].join("\n");
                return Ok(Some(format!("seed {seed}\n{text}\nAfter:\n{last}")));
            }
        }
    }
    Ok(None)
}

fn words(line: &str) -> Vec<String> {
    line.split(' ').map(str::to_owned).collect()
}

/// The commands that both servers have, with their arity, and the categories.
struct Names {
    commands: Vec<(String, i64)>,
    categories: Vec<String>,
}

impl Names {
    fn common(oracle: &mut Client, subject: &mut Client) -> io::Result<Self> {
        let texts = |reply: Reply| -> Vec<String> {
            let texts = reply.items().unwrap_or_default().iter().filter_map(Reply::text);
            texts.map(|text| String::from_utf8_lossy(text).into_owned()).collect()
        };
        let theirs = texts(oracle.call(&["COMMAND", "LIST"])?);
        let mut both: Vec<String> = texts(subject.call(&["COMMAND", "LIST"])?);
        both.retain(|name| theirs.contains(name));
        both.sort();
        let mut commands = Vec::new();
        for name in both {
            let info = oracle.call(&["COMMAND", "INFO", &name])?;
            let facts = info.items().and_then(|entries| entries.first()?.items());
            if let Some([_, Reply::Int(arity), ..]) = facts {
                commands.push((name, *arity));
            }
        }
        Ok(Self { commands, categories: texts(oracle.call(&["ACL", "CAT"])?) })
    }

    fn command(&self, rng: &mut Rng) -> &(String, i64) {
        &self.commands[rng.below(self.commands.len())]
    }

    /// A rule of the main selector, of the user itself, or a selector.
    fn rule(&self, rng: &mut Rng) -> String {
        match rng.below(12) {
            0 => rng
                .pick(&[
                    "on",
                    "nopass",
                    "resetpass",
                    ">x",
                    ">y",
                    "<x",
                    "!x",
                    "clearselectors",
                    "bogus",
                    "off",
                ])
                .to_owned(),
            1 | 2 => {
                let rules: Vec<String> = (0..rng.below(4)).map(|_| self.selector_rule(rng)).collect();
                format!("({})", rules.join(" "))
            }
            _ => self.selector_rule(rng),
        }
    }

    fn selector_rule(&self, rng: &mut Rng) -> String {
        let sign = rng.pick(&["+", "-"]);
        match rng.below(13) {
            0..=2 => format!("{sign}{}", self.command(rng).0),
            3 | 4 => format!("{sign}@{}", self.categories[rng.below(self.categories.len())]),
            5 => format!("+{}|{}", self.command(rng).0, rng.pick(&["a", "0", "x", ""])),
            6 => format!("{}{}", rng.pick(&["~", "%R~", "%W~", "%RW~", "%"]), pattern(rng)),
            7 => format!("&{}", pattern(rng)),
            8 => rng
                .pick(&[
                    "allkeys",
                    "resetkeys",
                    "allchannels",
                    "resetchannels",
                    "allcommands",
                    "nocommands",
                    "alldbs",
                    "resetdbs",
                ])
                .to_owned(),
            9 => format!("db={},{}", rng.below(4), rng.below(4)),
            _ => rng
                .pick(&["+@all", "~*", "&*", "%R~*", "%W~*", "+@read", "+@write", "-@dangerous", "alldbs"])
                .to_owned(),
        }
    }

    /// A call that is tried.
    fn call(&self, rng: &mut Rng) -> Vec<String> {
        let (name, arity) = self.command(rng);
        let mut call = words("ACL DRYRUN u");
        let own = name.split('|').count();
        call.extend(name.split('|').map(str::to_owned));
        let least = (arity.unsigned_abs() as usize).saturating_sub(own);
        let more = if *arity < 0 { rng.below(5) } else { 0 };
        call.extend((0..least + more).map(|_| rng.pick(WORDS).to_owned()));
        call
    }
}

fn pattern(rng: &mut Rng) -> String {
    (0..rng.below(3)).map(|_| rng.pick(&["a", "b", "k", "*", "?", "[ab]", "\\"])).collect()
}
