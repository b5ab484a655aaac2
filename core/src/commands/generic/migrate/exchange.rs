//! What MIGRATE says to the target, and what it makes of its replies.
//!
//! AUTH, if it was asked for, SELECT, unless the connection is known to be there, then a RESTORE for each value; all are sent before their replies are
//! read. A connection that ends before any RESTORE was answered may have been a kept one that the target had closed: then all is sent once more, on a new
//! one. After a timeout nothing is: the target may still do what it was sent.

use std::io;
use std::time::Duration;

use super::{Authentication, Cargo, Dumped, Migrate};
use crate::error::{Error, ErrorKind, Result, until_zero};
use crate::num;
use crate::targets::{self, Place, Target};

/// What is waited for if nobody says.
const DEFAULT_TIMEOUT: Duration = Duration::from_millis(1000);

/// The longest that the system lets anybody wait.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(u32::MAX as u64);

/// Values that are sent before their replies are read: of more the replies could fill the connection while the target waits for somebody to read them.
const AT_ONCE: usize = 1024;

/// The server keeps no more of a reply.
const LONGEST_QUOTE: usize = 1022;

/// What was asked for, without the keys.
pub(super) struct Request {
    /// The target, or what is wrong with its name.
    place: Result<Place, Step>,
    db: i64,
    timeout: Duration,
    replaces: bool,
    /// The words of AUTH.
    auth: Option<Vec<Vec<u8>>>,
}

/// What failed.
#[derive(Clone, Copy)]
enum Step {
    Connect,
    Write,
    Read,
}

/// Why an exchange was not brought to its end.
struct Broken {
    step: Step,
    /// Another attempt would do no good, or could do harm.
    is_final: bool,
}

impl Broken {
    fn at(step: Step) -> impl Fn(io::Error) -> Broken {
        move |error| Broken { step, is_final: targets::is_final(&error) }
    }

    fn error(&self) -> Error {
        Error::new(
            ErrorKind::Command,
            match self.step {
                Step::Connect => "IOERR error or timeout connecting to the client",
                Step::Write => "IOERR error or timeout writing to target instance",
                Step::Read => "IOERR error or timeout reading to target instance",
            },
        )
    }
}

/// What came of it so far.
#[derive(Default)]
struct Progress {
    /// The values that the target has, by their place in the cargo.
    arrived: Vec<usize>,
    /// A RESTORE was answered.
    is_answered: bool,
    /// The first error that the target replied.
    refusal: Option<Vec<u8>>,
}

impl Request {
    pub(super) fn of(command: &Migrate<'_>) -> Self {
        let timeout = u64::try_from(command.timeout).map_or(Duration::ZERO, Duration::from_millis);
        let auth = command.authentication.map(|authentication| match authentication {
            Authentication::Auth(password) => vec![b"AUTH".to_vec(), password.to_vec()],
            Authentication::Auth2(user) => {
                vec![b"AUTH".to_vec(), user.username.to_vec(), user.password.to_vec()]
            }
        });
        Self {
            place: place_of(command.host, command.port),
            db: command.destination_db,
            timeout: if timeout.is_zero() { DEFAULT_TIMEOUT } else { timeout.min(LONGEST_TIMEOUT) },
            replaces: command.replace,
            auth,
        }
    }

    /// Sends the values, and returns which have arrived, by their places, and what kept the others from it. Takes up to the timeout for each part that is sent
    /// and for each reply.
    pub(super) fn send(&self, cargo: &Cargo) -> (Vec<usize>, Option<Error>) {
        let place = match &self.place {
            Ok(place) => place,
            Err(step) => return (Vec::new(), Some(Broken { step: *step, is_final: true }.error())),
        };
        let mut may_retry = true;
        loop {
            let mut progress = Progress::default();
            let broken = self.try_send(place, cargo, &mut progress).err();
            match (broken, progress.refusal) {
                (Some(broken), _) if !progress.is_answered => {
                    if broken.is_final || !std::mem::take(&mut may_retry) {
                        return (progress.arrived, Some(broken.error()));
                    }
                }
                (_, Some(text)) => return (progress.arrived, Some(refused(&text))),
                (broken, None) => return (progress.arrived, broken.map(|broken| broken.error())),
            }
        }
    }

    fn try_send(&self, place: &Place, cargo: &Cargo, progress: &mut Progress) -> Result<(), Broken> {
        let (targets, clock) = (&cargo.local.targets, &cargo.local.keyspace.clock);
        let kept = targets.take(place, clock.now_ms());
        let connected = kept.map_or_else(|| place.connect(self.timeout), Ok);
        let mut target = connected.map_err(|error| Broken {
            // As the server sees it, which looks at a connection when it writes: only a time that is over, or a name that is none, is seen before.
            step: if error.kind() == io::ErrorKind::ConnectionRefused { Step::Write } else { Step::Connect },
            is_final: true,
        })?;
        target.set_timeout(self.timeout).map_err(Broken::at(Step::Write))?;
        self.exchange(&mut target, cargo, progress)?;
        if progress.refusal.is_some() {
            target.db = None;
        }
        let until = targets.keep(place.clone(), target, clock.now_ms());
        crate::background::hasten(cargo.local.keyspace.task.id(), until);
        Ok(())
    }

    fn exchange(&self, target: &mut Target, cargo: &Cargo, progress: &mut Progress) -> Result<(), Broken> {
        let (write, read) = (Broken::at(Step::Write), Broken::at(Step::Read));
        let mut ahead = 0;
        if let Some(auth) = &self.auth {
            let words: Vec<&[u8]> = auth.iter().map(Vec::as_slice).collect();
            target.send(&words).map_err(&write)?;
            ahead += 1;
        }
        if target.db != Some(self.db) {
            target.send(&[b"SELECT", self.db.to_string().as_bytes()]).map_err(&write)?;
            ahead += 1;
        }
        for (batch, values) in cargo.values.chunks(AT_ONCE).enumerate() {
            let mut sent = Vec::new();
            for (at, value) in values.iter().enumerate() {
                if self.restore(target, cargo, value).map_err(&write)? {
                    sent.push(batch * AT_ONCE + at);
                }
            }
            target.flush().map_err(&write)?;
            for _ in 0..std::mem::take(&mut ahead) {
                if let Err(text) = target.reply().map_err(&read)? {
                    progress.refusal.get_or_insert(text);
                }
            }
            let is_elsewhere = progress.refusal.is_some() && !progress.is_answered;
            for at in sent {
                let reply = target.reply().map_err(&read)?;
                progress.is_answered = true;
                match reply {
                    // Where AUTH or SELECT was refused, what was restored may be where nobody looks for it.
                    Ok(()) if is_elsewhere => {}
                    Ok(()) => progress.arrived.push(at),
                    Err(text) => drop(progress.refusal.get_or_insert(text)),
                }
            }
            if is_elsewhere {
                return Ok(());
            }
        }
        target.db = Some(self.db);
        Ok(())
    }

    /// Sends a value, unless it has expired by now, and says whether it did.
    fn restore(&self, target: &mut Target, cargo: &Cargo, value: &Dumped) -> io::Result<bool> {
        let now = cargo.local.keyspace.clock.now_ms();
        if value.deadline.is_some_and(|deadline| deadline <= now) {
            return Ok(false);
        }
        let ttl = value.deadline.map_or(0, |deadline| deadline - now).to_string();
        let words: [&[u8]; 5] = [b"RESTORE", &value.key, ttl.as_bytes(), &value.payload, b"REPLACE"];
        target.send(if self.replaces { &words } else { &words[..4] })?;
        Ok(true)
    }
}

/// Where the target is. The server reads ports as C does; of numbers that are no ports it finds out at various times.
fn place_of(host: &[u8], port: &[u8]) -> Result<Place, Step> {
    let host = String::from_utf8(until_zero(host).to_vec()).map_err(|_| Step::Connect)?;
    match num::atoi(port) {
        ..0 => Err(Step::Connect),
        port => u16::try_from(port).map(|port| Place { host, port }).map_err(|_| Step::Write),
    }
}

fn refused(text: &[u8]) -> Error {
    let text = until_zero(&text[..text.len().min(LONGEST_QUOTE)]);
    Error::from_bytes(ErrorKind::Command, [b"ERR Target instance replied with error: ", text].concat())
}
