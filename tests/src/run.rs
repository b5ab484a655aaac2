//! Runs a script on two servers side by side and reports the first difference readably.
//!
//! Servers come from `server.rs`, equality from `compare.rs`.

use crate::compare;
use crate::quote;
use crate::resp::{Client, Reply};
use crate::script::{Action, Call, Mode, Script, Step, TARGET};
use crate::server::Server;
use std::collections::HashMap;
use std::io;
use std::time::{Duration, Instant};

/// How long `%await` repeats its command.
const AWAIT: Duration = Duration::from_secs(5);
/// How many exchanges before a difference the report shows.
const SHOWN: usize = 4;
/// What stands for the port of a side's target.
const NAME_OF_TARGET: &[u8] = b"{target}";
/// How many differences a report shows in full.
const DIFFERENCES: usize = 8;

/// The two connections behind one `@N`.
struct Link {
    oracle: Client,
    subject: Client,
}

/// The number of a connection on either server.
struct Ids {
    oracle: String,
    subject: String,
}

/// A script being run.
struct Run<'a> {
    oracle: &'a Server,
    subject: &'a Server,
    protocol: u8,
    /// Real servers that the two may have to do with, one for each.
    targets: Option<(Server, Server)>,
    links: HashMap<usize, Link>,
    ids: HashMap<usize, Ids>,
    transcript: Vec<String>,
}

/// Runs the script and returns its transcript: each command with the oracle's reply.
///
/// # Errors
/// All differences (the first few in full), each with the exchanges before the first; a broken connection ends the run.
pub fn run(script: &Script, protocol: u8, oracle: &Server, subject: &Server) -> Result<Vec<String>, String> {
    let mut run = Run {
        oracle,
        subject,
        protocol,
        targets: None,
        links: HashMap::new(),
        ids: HashMap::new(),
        transcript: Vec::new(),
    };
    let is_target = |word: &Vec<u8>| **word == *NAME_OF_TARGET;
    let mut calls = script.steps.iter().filter_map(Step::call);
    if calls.any(|call| call.client == TARGET || call.words.iter().any(is_target)) {
        run.find_targets().map_err(|error| error.to_string())?;
    }
    let mut found = Vec::new();
    for step in &script.steps {
        match run.step(step) {
            Ok(()) => {}
            Err(Trouble::Difference(message)) => found.push(run.report(step, &message, found.is_empty())),
            Err(Trouble::Broken(message)) => {
                found.push(run.report(step, &message, true));
                break;
            }
        }
    }
    let shown = if std::env::var_os("KEYSTEAD_ALL").is_some() { usize::MAX } else { DIFFERENCES };
    let more = found.len().saturating_sub(shown);
    match found.len() {
        0 => Ok(run.transcript),
        _ if more == 0 => Err(found.concat()),
        _ => Err(format!("{}... and {more} more (KEYSTEAD_ALL=1 shows them)\n", found[..shown].concat())),
    }
}

/// What can go wrong with a step.
enum Trouble {
    /// The replies differ; the script goes on, since later lines may tell more.
    Difference(String),
    /// A connection failed: nothing after it means anything.
    Broken(String),
}

impl From<String> for Trouble {
    fn from(message: String) -> Self {
        Trouble::Broken(message)
    }
}

impl Run<'_> {
    fn report(&self, step: &Step, message: &str, with_context: bool) -> String {
        let from = self.transcript.len() - if with_context { SHOWN.min(self.transcript.len()) } else { 0 };
        let before: String = self.transcript[from..].iter().map(|line| format!("  | {line}\n")).collect();
        format!("line {}, RESP{}:\n{before}{message}\n\n", step.line, self.protocol)
    }

    /// Starts the targets, and gives their ports the name that scripts call them by.
    fn find_targets(&mut self) -> io::Result<()> {
        let (of_oracle, of_subject) = (self.oracle.another()?, self.oracle.another()?);
        let port = |server: &Server| server.address().port().to_string();
        self.ids.insert(TARGET, Ids { oracle: port(&of_oracle), subject: port(&of_subject) });
        self.targets = Some((of_oracle, of_subject));
        Ok(())
    }

    fn step(&mut self, step: &Step) -> Result<(), Trouble> {
        match &step.action {
            Action::Sleep(time) => {
                std::thread::sleep(Duration::from_millis(*time));
                Ok(())
            }
            Action::Command(call) => self.command(call),
            Action::Times(count, call) => (1..=*count).try_for_each(|i| self.command(&numbered(call, i))),
            Action::Await(call) => self.wait(call),
            Action::Raw(client, bytes) => {
                let link = self.link(*client)?;
                both(link.oracle.send(bytes), link.subject.send(bytes))?;
                self.next(*client, quote::quote(bytes))
            }
            Action::Send(client, bytes) => {
                let link = self.link(*client)?;
                both(link.oracle.send(bytes), link.subject.send(bytes))?;
                self.transcript.push(quote::quote(bytes));
                Ok(())
            }
            Action::Read(client) => self.next(*client, "%read".into()),
            Action::Monitored(client) => self.monitored(*client),
            Action::Id(client) => self.remember_id(*client),
            Action::Closed(client) => {
                let link = self.link(*client)?;
                let (oracle, subject) = (link.oracle.is_closed(), link.subject.is_closed());
                self.links.remove(client);
                match (oracle, subject) {
                    (true, true) => Ok(()),
                    _ => Err(Trouble::Difference(format!(
                        "closed: oracle {oracle}, subject {subject}; both must be"
                    ))),
                }
            }
        }
    }

    fn command(&mut self, call: &Call) -> Result<(), Trouble> {
        let shown = quote::line(&call.words);
        let (words, others) =
            (self.named(&call.words, |ids| &ids.oracle), self.named(&call.words, |ids| &ids.subject));
        let link = self.link(call.client)?;
        let (oracle, subject) = match call.modes.contains(&Mode::Scan) {
            true => both(scan(&mut link.oracle, &words), scan(&mut link.subject, &others)),
            false => both(link.oracle.call(&words), link.subject.call(&others)),
        }
        .map_err(|error| format!("{shown}\n{error}"))?;
        self.judge(&shown, call, &oracle, &subject)
    }

    fn judge(&mut self, shown: &str, call: &Call, oracle: &Reply, subject: &Reply) -> Result<(), Trouble> {
        if let Some(difference) = compare::difference(&call.modes, oracle, subject) {
            return Err(Trouble::Difference(format!("{shown}\n{difference}")));
        }
        let normal = compare::normal(&call.modes, oracle).to_string();
        if let Some(expected) =
            call.expected.as_ref().filter(|expected| !written(&normal, expected, &call.modes))
        {
            return Err(Trouble::Difference(format!("{shown}\nwritten  {expected}\nboth     {normal}")));
        }
        self.transcript.push(format!("{shown} -> {oracle}"));
        Ok(())
    }

    fn wait(&mut self, call: &Call) -> Result<(), Trouble> {
        let expected = call.expected.as_ref().ok_or_else(|| "%await needs a `=>` line".to_owned())?;
        let (words, others) =
            (self.named(&call.words, |ids| &ids.oracle), self.named(&call.words, |ids| &ids.subject));
        let link = self.link(call.client)?;
        for (name, client, words) in
            [("subject", &mut link.subject, &others), ("oracle", &mut link.oracle, &words)]
        {
            let start = Instant::now();
            loop {
                let reply = client.call(words).map_err(|error| format!("{name}: {error}"))?;
                if compare::normal(&call.modes, &reply).to_string() == *expected {
                    break;
                }
                if start.elapsed() > AWAIT {
                    return Err(Trouble::Difference(format!(
                        "{}\nawaited  {expected}\n{name}  {reply}",
                        quote::line(&call.words)
                    )));
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        Ok(())
    }

    fn next(&mut self, client: usize, shown: String) -> Result<(), Trouble> {
        let link = self.link(client)?;
        let (oracle, subject) =
            both(link.oracle.read(), link.subject.read()).map_err(|e| format!("{shown}\n{e}"))?;
        if oracle != subject {
            return Err(Trouble::Difference(format!("{shown}\noracle   {oracle}\nsubject  {subject}")));
        }
        self.transcript.push(format!("{shown} -> {oracle}"));
        Ok(())
    }

    fn monitored(&mut self, client: usize) -> Result<(), Trouble> {
        let link = self.link(client)?;
        let (oracle, subject) =
            both(link.oracle.read(), link.subject.read()).map_err(|e| format!("%monitored\n{e}"))?;
        let (oracle, subject) = (without_time(&oracle.to_string()), without_time(&subject.to_string()));
        match oracle {
            Some(line) if Some(&line) == subject.as_ref() => {
                self.transcript.push(line);
                Ok(())
            }
            _ => Err(Trouble::Difference(format!("%monitored\noracle   {oracle:?}\nsubject  {subject:?}"))),
        }
    }

    fn remember_id(&mut self, client: usize) -> Result<(), Trouble> {
        let link = self.link(client)?;
        let (oracle, subject) =
            both(link.oracle.call(&["CLIENT", "ID"]), link.subject.call(&["CLIENT", "ID"]))?;
        let number = |reply: &Reply| reply.to_string().trim_start_matches(':').to_owned();
        self.ids.insert(client, Ids { oracle: number(&oracle), subject: number(&subject) });
        Ok(())
    }

    /// Words with the numbers of connections in the place of `{id2}`, and the port of the target in that of `{target}`.
    fn named(&self, words: &[Vec<u8>], side: impl Fn(&Ids) -> &String) -> Vec<Vec<u8>> {
        let mut words = words.to_vec();
        for (client, ids) in &self.ids {
            let name = format!("{{id{client}}}");
            let name = if *client == TARGET { NAME_OF_TARGET } else { name.as_bytes() };
            for word in words.iter_mut().filter(|word| **word == *name) {
                *word = side(ids).clone().into_bytes();
            }
        }
        words
    }

    fn link(&mut self, client: usize) -> Result<&mut Link, String> {
        if !self.links.contains_key(&client) {
            let connect = |server: &Server| -> io::Result<Client> {
                let mut client = server.client()?;
                if self.protocol == 3 {
                    client.call(&["HELLO", "3"])?;
                }
                Ok(client)
            };
            let (oracle, subject) = match &self.targets {
                Some((oracle, subject)) if client == TARGET => (oracle, subject),
                _ => (self.oracle, self.subject),
            };
            let (oracle, subject) = both(connect(oracle), connect(subject))?;
            self.links.insert(client, Link { oracle, subject });
        }
        Ok(self.links.get_mut(&client).expect("just inserted"))
    }
}

/// A line of MONITOR without what differs between servers: its time, and where the client is.
fn without_time(line: &str) -> Option<String> {
    let (time, rest) = line.strip_prefix('+')?.split_once(" [")?;
    let (seconds, micros) = time.split_once('.')?;
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let (place, words) = rest.split_once("] ")?;
    let (db, _address) = place.split_once(' ')?;
    (is_number(seconds) && micros.len() == 6 && is_number(micros)).then(|| format!("[{db}] {words}"))
}

/// The written reply may stand for RESP2 and RESP3 (`A | B`); whole numbers obey `[within]`.
fn written(reply: &str, expected: &str, modes: &[Mode]) -> bool {
    let near = |a: &str, b: &str| {
        let number = |text: &str| text.strip_prefix(':').and_then(|n| n.parse::<i64>().ok());
        modes.iter().any(|mode| match (mode, number(a), number(b)) {
            (Mode::Within(limit), Some(a), Some(b)) => a.abs_diff(b) <= limit.unsigned_abs(),
            _ => false,
        })
    };
    expected.split(" | ").any(|one| {
        let inner = |text: &str| text.trim_start_matches('[').trim_end_matches(']').to_owned();
        let (one, all) = (one.trim(), inner(reply));
        one == reply || near(reply, one) || {
            let wanted = inner(one);
            let (a, b): (Vec<_>, Vec<_>) = (all.split(' ').collect(), wanted.split(' ').collect());
            reply.starts_with('[')
                && a.len() == b.len()
                && a.iter().zip(&b).all(|(a, b)| a == b || near(a, b))
        }
    })
}

fn numbered(call: &Call, i: u32) -> Call {
    let number = |word: &Vec<u8>| String::from_utf8_lossy(word).replace("{i}", &i.to_string()).into_bytes();
    Call { words: call.words.iter().map(number).collect(), ..call.clone() }
}

/// Iterates SCAN or one of its relatives from the cursor in the command until it comes back as 0; all the elements, once each.
fn scan(client: &mut Client, words: &[Vec<u8>]) -> io::Result<Reply> {
    let at = if words[0].eq_ignore_ascii_case(b"SCAN") { 1 } else { 2 };
    let step = if is_field_value_scan(words) { 2 } else { 1 };
    let (mut words, mut all) = (words.to_vec(), Vec::new());
    loop {
        let reply = client.call(&words)?;
        let (Some(cursor), Some(found)) = (
            reply.items().and_then(|items| items.first()).and_then(Reply::text),
            reply.items().and_then(|items| items.get(1)).and_then(Reply::items),
        ) else {
            return Ok(reply);
        };
        all.extend(found.chunks(step).map(|element| Reply::Array(element.to_vec())));
        if cursor == b"0" {
            all.sort();
            all.dedup();
            return Ok(Reply::Array(all));
        }
        words[at] = cursor.to_vec();
    }
}

fn is_field_value_scan(words: &[Vec<u8>]) -> bool {
    let has = |token: &[u8]| words.iter().any(|word| word.eq_ignore_ascii_case(token));
    words[0].eq_ignore_ascii_case(b"HSCAN") && !has(b"NOVALUES")
        || words[0].eq_ignore_ascii_case(b"ZSCAN") && !has(b"NOSCORES")
}

fn both<T>(oracle: io::Result<T>, subject: io::Result<T>) -> Result<(T, T), String> {
    match (oracle, subject) {
        (Ok(oracle), Ok(subject)) => Ok((oracle, subject)),
        (oracle, subject) => {
            let shown = |side: io::Result<T>| side.err().map_or("fine".into(), |error| error.to_string());
            Err(format!("connection: oracle {}, subject {}", shown(oracle), shown(subject)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_replies_allow_both_protocols_and_tolerance() {
        assert!(written("[:1 :2]", "[:1 :2]", &[]));
        assert!(written("null", "nil | null", &[]));
        assert!(written(":98", ":100", &[Mode::Within(5)]));
        assert!(written("[:98 :-2]", "[:100 :-2]", &[Mode::Within(5)]));
        assert!(!written(":90", ":100", &[Mode::Within(5)]));
        assert!(!written("[:1]", "[:2]", &[]));
    }
}
