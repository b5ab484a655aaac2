//! Runs random sequences on both servers, compares replies and final states, and shrinks what differs to a short script.
//!
//! Sequences come from `random.rs`; the report is in the compat format, so that it can become a script as it is.

use crate::compare;
use crate::quote;
use crate::random::{self, Command, EXPIRY_WAIT_MS, Step};
use crate::resp::{self, Client, Reply};
use crate::rng::Rng;
use crate::script::Mode;
use crate::scripted;
use crate::server::{Pair, Server};
use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, Instant};
use std::{fs, io};

/// Commands in a sequence, between two FLUSHALLs.
const SEQUENCE: usize = 400;
/// How long shrinking may take: a subject that hangs makes each attempt last.
const SHRINKING: Duration = Duration::from_secs(60);
/// Databases whose final state is compared: those of the grammar.
const DATABASES: usize = 3;

/// How a hunt went.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Commands sent to each server.
    pub commands: usize,
    /// The first difference, shrunk.
    pub finding: Option<String>,
}

/// A hunt's two servers, and what is planted on the subject's side to check that the hunt finds differences.
struct Hunt {
    oracle: Server,
    subject: Server,
    planted: Vec<Vec<u8>>,
}

/// What a sequence runs under.
#[derive(Clone, Copy)]
struct Setting {
    protocol: u8,
    listpack_entries: u32,
    listpack_value: u32,
    intset_entries: u32,
    list_size: i32,
    stream_entries: u32,
}

/// Sends about that many random commands to both servers; stops at the first difference.
///
/// `planted`, if not empty, is a command run on the subject alone after each reset.
///
/// # Errors
/// Servers that do not start.
pub fn hunt(pair: &Pair, seed: u64, commands: usize, planted: Vec<Vec<u8>>) -> io::Result<Outcome> {
    let hunt = Hunt { oracle: Server::start(&pair.oracle)?, subject: Server::start(&pair.subject)?, planted };
    let mut rng = Rng::new(seed);
    let mut outcome = Outcome::default();
    while outcome.commands < commands {
        let listpack_entries = [512, 4, 0][rng.below(3)];
        let setting = Setting {
            protocol: 2 + rng.below(2) as u8,
            listpack_entries,
            listpack_value: [64, 16][rng.below(2)],
            // With fewer integers than members of a listpack the encoding of a union would depend on the order of a table.
            intset_entries: if listpack_entries == 512 { 512 } else { [512, 5][rng.below(2)] },
            list_size: [-2, 2, 3, 5, -1][rng.below(5)],
            stream_entries: [100, 3, 2][rng.below(3)],
        };
        let steps = random::sequence(&mut rng, SEQUENCE.min(commands));
        outcome.commands += steps.iter().map(|step| step.commands().count()).sum::<usize>();
        if let Err(difference) = hunt.judge(setting, &steps) {
            outcome.finding = Some(hunt.report(seed, setting, steps, &difference));
            break;
        }
    }
    Ok(outcome)
}

/// A difference: where, and which.
struct Difference {
    /// Index of the step, or the number of steps for the final state.
    step: usize,
    text: String,
}

impl Hunt {
    /// Runs the steps from an empty keyspace.
    fn judge(&self, setting: Setting, steps: &[Step]) -> Result<(), Difference> {
        let broken = |error: io::Error| Difference { step: steps.len(), text: error.to_string() };
        let mut sides = [
            Side::start(&self.oracle, setting, &[]).map_err(broken)?,
            Side::start(&self.subject, setting, &self.planted).map_err(broken)?,
        ];
        let [oracle, subject] = sides.each_mut().map(|side| side.run(steps));
        for (index, step) in steps.iter().enumerate() {
            for (at, command) in step.commands().enumerate() {
                let side =
                    |side: &Transcript| match side.replies.get(index).and_then(|replies| replies.get(at)) {
                        Some(reply) => reply.clone(),
                        None => Reply::Simple(format!("(no reply: {})", side.error()).into_bytes()),
                    };
                let (a, b) = (side(&oracle), side(&subject));
                if let Some(text) = compare::difference(&command.modes, &a, &b) {
                    return Err(Difference {
                        step: index,
                        text: format!("{}\n{text}", quote::line(&command.words)),
                    });
                }
            }
        }
        let last = |text| Err(Difference { step: steps.len(), text });
        if let Some(text) = final_difference(&oracle, &subject) {
            return last(text);
        }
        let [oracle, subject] = exchange(&mut sides).map_err(broken)?;
        if let Some(text) = final_difference(&oracle, &subject) {
            return last(format!("{text}\nbehind RESTORE of what the other one dumped"));
        }
        let folders = [self.oracle.folder(), self.subject.folder()];
        let [oracle, subject] = exchange_files(&mut sides, folders).map_err(broken)?;
        let found = final_difference(&oracle, &subject);
        found.map_or(Ok(()), |text| last(format!("{text}\nbehind loading what the other one saved")))
    }

    /// Shrinks by bisection: ever smaller runs of steps are taken out as long as a difference remains.
    fn shrink(
        &self,
        setting: Setting,
        mut steps: Vec<Step>,
        mut last: Difference,
    ) -> (Vec<Step>, Difference) {
        steps.truncate(last.step + 1);
        let start = Instant::now();
        let mut size = steps.len().div_ceil(2);
        while size > 0 && start.elapsed() < SHRINKING {
            let mut at = 0;
            let mut removed = false;
            while at < steps.len() && start.elapsed() < SHRINKING {
                let mut fewer = steps.clone();
                fewer.drain(at..(at + size).min(steps.len()));
                match self.judge(setting, &fewer) {
                    Err(difference) => {
                        (steps, last, removed) = (fewer, difference, true);
                    }
                    Ok(()) => at += size,
                }
            }
            if size == 1 && !removed {
                break;
            }
            size = (size / 2).max(1);
        }
        self.thin(setting, steps, last)
    }

    /// Takes single commands out of the transactions that are left.
    fn thin(&self, setting: Setting, mut steps: Vec<Step>, mut last: Difference) -> (Vec<Step>, Difference) {
        for index in 0..steps.len() {
            let mut at = 0;
            while let Step::Transaction(commands) = &steps[index] {
                if at >= commands.len() {
                    break;
                }
                let mut fewer = steps.clone();
                if let Step::Transaction(commands) = &mut fewer[index] {
                    commands.remove(at);
                }
                match self.judge(setting, &fewer) {
                    Err(difference) => (steps, last) = (fewer, difference),
                    Ok(()) => at += 1,
                }
            }
        }
        (steps, last)
    }

    fn report(&self, seed: u64, setting: Setting, steps: Vec<Step>, first: &Difference) -> String {
        let first = Difference { step: first.step, text: first.text.clone() };
        let answers = self.subject.client().and_then(|mut client| client.call(&["PING"])).is_ok();
        let (steps, difference) = if answers {
            self.shrink(setting, steps, first)
        } else {
            let text = format!("{}\nthe subject no longer answers: nothing was shrunk", first.text);
            (steps, Difference { step: first.step, text })
        };
        let mut script =
            format!("# Found by the property test with seed {seed}.\n%resp {}\n", setting.protocol);
        for words in setting.commands() {
            script += &format!("{}\n", quote::line(&words));
        }
        for step in &steps {
            for (at, command) in step.commands().enumerate() {
                if at == 1 && matches!(step, Step::Expire(_)) {
                    script += &format!("%sleep {EXPIRY_WAIT_MS}\n");
                }
                let client =
                    if command.client == 1 { String::new() } else { format!("@{} ", command.client) };
                script += &format!("{client}{}{}\n", shown(&command.modes), quote::line(&command.words));
            }
        }
        format!("seed {seed}\n{}\nMinimal script:\n{script}", difference.text)
    }
}

fn shown(modes: &[Mode]) -> String {
    let name = |mode: &Mode| match mode {
        Mode::Within(limit) => format!("[within {limit}] "),
        other => format!("[{}] ", format!("{other:?}").to_lowercase()),
    };
    modes.iter().map(name).collect()
}

impl Setting {
    fn commands(self) -> [Vec<Vec<u8>>; 1] {
        let (entries, value) = (self.listpack_entries, self.listpack_value);
        let line = format!(
            "CONFIG SET hash-max-listpack-entries {entries} hash-max-listpack-value {value} set-max-listpack-entries {entries} \
             set-max-listpack-value {value} set-max-intset-entries {} zset-max-listpack-entries {entries} \
             zset-max-listpack-value {value} list-max-listpack-size {} \
             stream-node-max-entries {} hz 500",
            self.intset_entries, self.list_size, self.stream_entries
        );
        [line.split(' ').map(|word| word.as_bytes().to_vec()).collect()]
    }
}

/// One server's connections during a sequence.
struct Side {
    clients: HashMap<usize, Client>,
}

/// What a server says of a key: what was asked, how it is compared, and the reply.
type Told = (String, Vec<Mode>, Reply);

/// All that one server said.
#[derive(Default)]
struct Transcript {
    replies: Vec<Vec<Reply>>,
    state: Vec<Told>,
    error: Option<io::Error>,
}

impl Transcript {
    fn error(&self) -> String {
        self.error.as_ref().map_or_else(|| "none".to_owned(), ToString::to_string)
    }
}

impl Side {
    fn start(server: &Server, setting: Setting, planted: &[Vec<u8>]) -> io::Result<Self> {
        let mut clients = HashMap::new();
        for number in [1, 2] {
            let mut client = server.client()?;
            client.call(&["HELLO", &setting.protocol.to_string()])?;
            clients.insert(number, client);
        }
        let first = clients.get_mut(&1).expect("just inserted");
        prepare(first, &[b"FLUSHALL".to_vec()])?;
        prepare(first, &scripted::load())?;
        for words in setting.commands() {
            prepare(first, &words)?;
        }
        if !planted.is_empty() {
            prepare(first, planted)?;
        }
        Ok(Side { clients })
    }

    fn run(&mut self, steps: &[Step]) -> Transcript {
        let mut transcript = Transcript::default();
        if let Err(error) = self.replies(steps, &mut transcript.replies) {
            transcript.error = Some(error);
        } else if let Err(error) = self.state(&mut transcript.state) {
            transcript.error = Some(error);
        }
        transcript
    }

    /// Sends everything up to a wait or a change of connection at once, then reads the replies.
    fn replies(&mut self, steps: &[Step], replies: &mut Vec<Vec<Reply>>) -> io::Result<()> {
        let mut batch: Vec<(usize, &Command)> = Vec::new();
        for (index, step) in steps.iter().enumerate() {
            for (at, command) in step.commands().enumerate() {
                if batch.last().is_some_and(|(_, last)| last.client != command.client) {
                    self.flush(&mut batch, replies)?;
                }
                if at == 1 && matches!(step, Step::Expire(_)) {
                    self.flush(&mut batch, replies)?;
                    std::thread::sleep(Duration::from_millis(EXPIRY_WAIT_MS));
                }
                batch.push((index, command));
            }
        }
        self.flush(&mut batch, replies)
    }

    fn flush(&mut self, batch: &mut Vec<(usize, &Command)>, replies: &mut Vec<Vec<Reply>>) -> io::Result<()> {
        let Some((_, first)) = batch.first() else { return Ok(()) };
        let client = self.clients.get_mut(&first.client).expect("the grammar knows two clients");
        let mut bytes = Vec::new();
        batch.iter().for_each(|(_, command)| resp::encode(&command.words, &mut bytes));
        client.send(&bytes)?;
        for (index, _) in batch.drain(..) {
            let reply = client.read()?;
            replies.resize_with(replies.len().max(index + 1), Vec::new);
            replies[index].push(reply);
        }
        Ok(())
    }

    /// All keys of all databases with type, encoding, deadline and value.
    fn state(&mut self, state: &mut Vec<Told>) -> io::Result<()> {
        self.each_key(|client, database, key| {
            let kind = client.call(&[b"TYPE".as_slice(), key])?;
            let (read, modes): (&[&[u8]], _) = match kind.text() {
                Some(b"hash") => (&[b"HGETALL", key], vec![Mode::Pairs]),
                Some(b"list") => (&[b"LRANGE", key, b"0", b"-1"], Vec::new()),
                Some(b"set") => (&[b"SMEMBERS", key], vec![Mode::Unordered]),
                Some(b"stream") => (&[b"XINFO", b"STREAM", key, b"FULL", b"COUNT", b"0"], vec![Mode::Times]),
                Some(b"zset") => (&[b"ZRANGE", key, b"0", b"-1", b"WITHSCORES"], Vec::new()),
                _ => (&[b"GET", key], Vec::new()),
            };
            let encoding = client.call(&[b"OBJECT".as_slice(), b"ENCODING", key])?;
            let deadline = client.call(&[b"PEXPIRETIME".as_slice(), key])?;
            let value = client.call(read)?;
            let digest = client.call(&[b"DEBUG".as_slice(), b"DIGEST-VALUE", key])?;
            let name = |what: &str| format!("database {database}, key {}: {what}", quote::quote(key));
            state.push((name("TYPE"), Vec::new(), kind));
            state.push((name("OBJECT ENCODING"), Vec::new(), encoding));
            state.push((name("PEXPIRETIME"), vec![Mode::Within(2000)], deadline));
            state.push((name("value"), modes, value));
            state.push((name("DEBUG DIGEST-VALUE"), Vec::new(), digest));
            Ok(())
        })
    }

    /// Visits all keys of all databases, in the order of their names.
    fn each_key(
        &mut self,
        mut visit: impl FnMut(&mut Client, usize, &[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        let client = self.clients.get_mut(&2).expect("the grammar knows two clients");
        for database in 0..DATABASES {
            client.call(&["SELECT", &database.to_string()])?;
            let keys = compare::normal(&[Mode::Unordered], &client.call(&["KEYS", "*"])?);
            for key in keys.items().unwrap_or_default().iter().filter_map(Reply::text) {
                visit(client, database, key)?;
            }
        }
        Ok(())
    }

    /// All keys as DUMP has them.
    fn dumps(&mut self) -> io::Result<Vec<Dumped>> {
        let mut dumps = Vec::new();
        self.each_key(|client, database, key| {
            let payload = client.call(&[b"DUMP".as_slice(), key])?;
            let deadline = client.call(&[b"PEXPIRETIME".as_slice(), key])?;
            dumps.extend(payload.text().map(|payload| Dumped {
                database,
                key: key.to_vec(),
                payload: payload.to_vec(),
                deadline: if let Reply::Int(deadline @ 1..) = deadline { deadline } else { 0 },
            }));
            Ok(())
        })?;
        Ok(dumps)
    }

    fn second(&mut self) -> &mut Client {
        self.clients.get_mut(&2).expect("the grammar knows two clients")
    }

    /// Restores keys over those that are there.
    fn restore(&mut self, dumps: &[Dumped]) -> io::Result<()> {
        let client = self.second();
        for Dumped { database, key, payload, deadline } in dumps {
            client.call(&["SELECT", &database.to_string()])?;
            let deadline = deadline.to_string();
            let words: [&[u8]; 6] = [b"RESTORE", key, deadline.as_bytes(), payload, b"REPLACE", b"ABSTTL"];
            prepare(client, &words.map(<[u8]>::to_vec))?;
        }
        Ok(())
    }
}

/// A key as DUMP has it. A deadline of 0 is none.
struct Dumped {
    database: usize,
    key: Vec<u8>,
    payload: Vec<u8>,
    deadline: i64,
}

/// Has each side restore what the other one dumps, and returns their states then. Which nodes a stream has depends on what was deleted before, of which
/// only the server's dumps tell.
fn exchange(sides: &mut [Side; 2]) -> io::Result<[Transcript; 2]> {
    let [oracle, subject] = sides;
    let (of_oracle, of_subject) = (oracle.dumps()?, subject.dumps()?);
    oracle.restore(&of_subject)?;
    subject.restore(&of_oracle)?;
    states_behind_exchange(sides)
}

/// Has each side load the snapshot that the other one saves, and returns their states then.
fn exchange_files(sides: &mut [Side; 2], folders: [&Path; 2]) -> io::Result<[Transcript; 2]> {
    for side in sides.iter_mut() {
        prepare(side.second(), &[b"SAVE".to_vec()])?;
    }
    let [one, other] = folders.map(|folder| folder.join("dump.rdb"));
    let between = other.with_file_name("other.rdb");
    fs::rename(&one, &between)?;
    fs::rename(&other, &one)?;
    fs::rename(&between, &other)?;
    for side in sides.iter_mut() {
        prepare(side.second(), &["DEBUG", "RELOAD", "NOSAVE"].map(|word| word.as_bytes().to_vec()))?;
    }
    states_behind_exchange(sides)
}

fn states_behind_exchange(sides: &mut [Side; 2]) -> io::Result<[Transcript; 2]> {
    let mut transcripts = <[Transcript; 2]>::default();
    for (side, transcript) in sides.iter_mut().zip(&mut transcripts) {
        side.state(&mut transcript.state)?;
        for (_, modes, _) in transcript.state.iter_mut().filter(|(_, modes, _)| *modes == [Mode::Times]) {
            let nodes = ["radix-tree-keys", "radix-tree-nodes"];
            modes.insert(0, Mode::Without(nodes.map(|name| name.as_bytes().to_vec()).to_vec()));
        }
    }
    Ok(transcripts)
}

/// A command that must succeed, or sequences would not begin alike.
fn prepare(client: &mut Client, words: &[Vec<u8>]) -> io::Result<()> {
    match client.call(words)? {
        Reply::Error(message) => {
            let message = String::from_utf8_lossy(&message).into_owned();
            Err(io::Error::other(format!("preparing with {}: {message}", quote::line(words))))
        }
        _ => Ok(()),
    }
}

fn final_difference(oracle: &Transcript, subject: &Transcript) -> Option<String> {
    if oracle.error.is_some() || subject.error.is_some() {
        return Some(format!("connection: oracle {}, subject {}", oracle.error(), subject.error()));
    }
    let differs = |(a, b): &(&Told, &Told)| a.0 != b.0 || compare::difference(&a.1, &a.2, &b.2).is_some();
    let shown =
        |side: Option<&Told>| side.map_or("nothing more".into(), |(name, _, r)| format!("{name} {r}"));
    let both = oracle.state.iter().zip(&subject.state);
    let at = both.clone().position(|pair| differs(&pair));
    let at = at.or((oracle.state.len() != subject.state.len()).then(|| both.count()))?;
    Some(format!(
        "final state\noracle   {}\nsubject  {}",
        shown(oracle.state.get(at)),
        shown(subject.state.get(at))
    ))
}
