//! Calls: over the link among those of other threads, or over a plain connection.

use std::io;

use super::address::OnDown;
use super::flight::Lost;
use super::plain::Plain;
use super::{Inner, RETRIES, Side, breaker, cacheable, codec};
use crate::backend::{self, BreakerState};
use crate::clock::Clock;
use crate::command::spec::Flags;
use crate::command::{Form, Reply};
use crate::commands::table::Found;
use crate::error::{Error, ErrorKind};
use crate::resp::Value;

/// A command on its way to the remote.
pub(super) struct Request<'r> {
    pub(super) db: usize,
    pub(super) argv: &'r [&'r [u8]],
    pub(super) found: Option<&'r Found>,
    pub(super) resp3: bool,
    /// It belongs to what is kept on its client's connection, and goes over no other.
    pub(super) is_bound: bool,
}

impl Inner {
    /// Executes a command over the link, among those of other threads. False: it was not sent.
    pub(super) fn call_on_link(&self, side: &Side, request: &Request<'_>, reply: &mut Reply) -> bool {
        let (Some(near), Some(link), Some(found)) = (&side.near, &side.link, request.found) else {
            return false;
        };
        let spec = found.spec;
        let is_short = !spec.flags.contains(Flags::BLOCKING) && !spec.whole_keyspace && spec.keys.len() == 1;
        if request.db != near.db || !is_short || !cacheable::row(found).is_same_in_resp2 {
            return false;
        }
        let Some(slot) = link.call(request.argv) else { return false };
        match backend::wait(|| link.wait(&slot, self.options.timeout)) {
            Ok(value) => {
                if codec::failure(&value).is_some_and(|told| told.starts_with(b"READONLY")) {
                    side.leave();
                }
                codec::write(&value, reply);
                true
            }
            Err(Lost::Link) if may_repeat(request) => false,
            Err(lost) => {
                side.breaker.failed();
                self.answer_down(request.found, request.argv, &lost.error(&self.address.endpoint), reply);
                true
            }
        }
    }

    /// Executes a command over a plain connection: `own` if there is one, which then stays the caller's, or if it is to be kept. False: there was no reply, so an error was written.
    pub(super) fn execute_plain(
        &self,
        side: &Side,
        request: &Request<'_>,
        own: &mut Option<Plain>,
        keeps: bool,
        reply: &mut Reply,
    ) -> bool {
        let is_blocking = request.found.is_some_and(|found| found.spec.flags.contains(Flags::BLOCKING));
        let most = (!is_blocking).then_some(self.options.timeout);
        let timer = Clock::system().timer();
        let mut attempt = 0;
        loop {
            let may_retry = attempt < RETRIES && !request.is_bound && timer.elapsed() < self.options.timeout;
            let failed = match self.connection(side, request, own) {
                Err(error) => Err((
                    Error::io(format_args!("the remote {}", self.address.endpoint), &error),
                    may_retry && side.breaker.state() == BreakerState::Closed,
                )),
                Ok(Err(told)) => {
                    reply.error(&codec::error(&told));
                    Ok(())
                }
                Ok(Ok(mut plain)) => {
                    let mut is_demoted = false;
                    let executed = plain.execute(request.argv, most, |frame| {
                        is_demoted = is_of_replica(frame);
                        write_frame(frame, request.resp3, reply)
                    });
                    if is_demoted {
                        side.leave();
                        plain.is_broken = true;
                    }
                    let outcome = match executed {
                        Ok(is_able) => {
                            if is_able {
                                side.breaker.succeeded()
                            } else {
                                side.breaker.failed()
                            }
                            Ok(())
                        }
                        Err(lost) => {
                            side.breaker.failed();
                            Err((
                                lost.error(&self.address.endpoint),
                                may_retry && lost == Lost::Link && may_repeat(request),
                            ))
                        }
                    };
                    if keeps && !plain.is_broken {
                        *own = Some(plain);
                    } else {
                        side.pool.give_back(plain);
                    }
                    outcome
                }
            };
            match failed {
                Ok(()) => return true,
                Err((_, true)) => {
                    std::thread::sleep(
                        breaker::before_retry(attempt)
                            .min(self.options.timeout.saturating_sub(timer.elapsed())),
                    );
                    attempt += 1;
                }
                Err((error, false)) => {
                    self.answer_down(request.found, request.argv, &error, reply);
                    return false;
                }
            }
        }
    }

    /// Executes commands that go together over a plain connection, and returns which were refused, in their order. As [`Inner::execute_plain`], but nothing is tried again: where the replies
    /// end, errors stand in their place.
    pub(super) fn execute_together(
        &self,
        side: &Side,
        request: &Request<'_>,
        commands: &[&[&[u8]]],
        own: &mut Option<Plain>,
        reply: &mut Reply,
    ) -> (Vec<bool>, bool) {
        let mut refused = Vec::with_capacity(commands.len());
        let error = match self.connection(side, request, own) {
            Err(error) => Some(Error::io(format_args!("the remote {}", self.address.endpoint), &error)),
            Ok(Err(told)) => Some(codec::error(&told)),
            Ok(Ok(mut plain)) => {
                let executed = plain.execute_all(commands, self.options.timeout, |frame| {
                    refused.push(frame.first() == Some(&b'-'));
                    write_frame(frame, request.resp3, reply);
                });
                let error = executed.err().map(|lost| lost.error(&self.address.endpoint));
                if error.is_none() {
                    side.breaker.succeeded();
                    *own = Some(plain);
                } else {
                    side.breaker.failed();
                }
                error
            }
        };
        if let Some(error) = &error {
            (refused.len()..commands.len()).for_each(|_| reply.error(error));
            refused.resize(commands.len(), true);
        }
        (refused, error.is_none())
    }

    /// A connection for a request, in its database; inside is what the remote refuses that with.
    fn connection(
        &self,
        side: &Side,
        request: &Request<'_>,
        own: &mut Option<Plain>,
    ) -> io::Result<Result<Plain, Vec<u8>>> {
        let mut plain = match own.take() {
            Some(plain) => plain,
            None if request.is_bound => return Err(io::ErrorKind::NotConnected.into()),
            None => side.pool.take(request.resp3)?,
        };
        match plain.select(request.db, self.options.timeout) {
            Ok(Ok(())) => Ok(Ok(plain)),
            Ok(Err(told)) => {
                side.pool.give_back(plain);
                Ok(Err(told))
            }
            Err(_) => Err(io::ErrorKind::ConnectionReset.into()),
        }
    }

    /// Replies that the remote can't be reached, or what the options put in the place of that.
    pub(super) fn answer_down(
        &self,
        found: Option<&Found>,
        argv: &[&[u8]],
        error: &Error,
        reply: &mut Reply,
    ) {
        let is_read = found.is_some_and(|found| found.spec.flags.contains(Flags::READONLY));
        match (self.options.on_down, found) {
            (OnDown::Miss, Some(found)) if is_read => answer_nothing(found, argv, reply),
            _ => reply.error(error),
        }
    }
}

/// Whether a command can be sent again though it may have been executed: a read, or a write that says what there is afterwards and replies nothing else.
fn may_repeat(request: &Request<'_>) -> bool {
    let Some(found) = request.found else { return false };
    let is_absolute = match found.spec.name {
        "mset" | "setex" | "psetex" => true,
        "set" => {
            let depends = |word: &&&[u8]| {
                [&b"NX"[..], b"XX", b"GET", b"IFEQ"].iter().any(|token| word.eq_ignore_ascii_case(token))
            };
            request.argv.iter().skip(3).filter(depends).count() == 0
        }
        _ => false,
    };
    is_absolute || found.spec.flags.contains(Flags::READONLY)
}

/// Writes the bytes of a reply in a protocol to a reply of a session of that protocol. False if it says that the remote can't serve now.
fn write_frame(frame: &[u8], resp3: bool, reply: &mut Reply) -> bool {
    match reply.form() {
        // HELLO replies in the protocol that it chooses.
        Form::Resp => reply.verbatim_replies(frame),
        Form::Tape => match Value::read(frame) {
            Ok(value) => {
                let before = reply.resp3();
                // HELLO replies so before anybody knows that the protocol is another.
                reply.set_resp3(resp3 || before || frame.starts_with(b"%"));
                codec::write(&value, reply);
                reply.set_resp3(before);
            }
            Err(error) => {
                reply.error(&Error::new(ErrorKind::Protocol, format!("ERR the remote replied {error}")))
            }
        },
    }
    ![&b"-LOADING"[..], b"-CLUSTERDOWN", b"-MASTERDOWN"].iter().any(|told| frame.starts_with(told))
}

/// Whether a reply is that of a server that is a replica by now (R11, R12).
fn is_of_replica(frame: &[u8]) -> bool {
    frame.starts_with(b"-READONLY")
}

/// Replies as if there were no such key.
fn answer_nothing(found: &Found, argv: &[&[u8]], reply: &mut Reply) {
    let shape = found.spec.reply;
    match () {
        () if found.spec.name == "mget" => {
            reply.array(argv.len() - 1);
            (1..argv.len()).for_each(|_| reply.null());
        }
        () if shape.contains("null") && !shape.starts_with("array") => reply.null(),
        () if shape.starts_with("int") => reply.integer(0),
        () if shape.starts_with("map") => reply.map(0),
        () if shape.starts_with("set") => reply.set(0),
        () if shape.starts_with("array") => reply.array(0),
        () => reply.null(),
    }
}
