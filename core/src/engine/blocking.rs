//! Sessions whose commands have to wait, and sessions that something is pushed to: what a face does until a reply or a message has come.
//!
//! What commands wait for is theirs to say ([`crate::command::block`]); here somebody waits with them, or does not.

use std::time::Duration;

use super::session::Session;
use crate::clients::{Awaited, Ending, Trait, Wake};
use crate::command::{Outcome, block, run};
use crate::commands::table;
use crate::error::{Error, ErrorKind, Result};
use crate::keyspace::read::BATCH;
use crate::keyspace::waiting::Undo;
use crate::sync::{Arc, Ordering};

impl Session {
    /// Begins one command, and forgets the replies before it. Where it has [`Outcome::Replied`], [`Session::replies`] shows the reply; where it has
    /// [`Outcome::Blocked`], that comes with [`Session::try_take`] or [`Session::wait`], and until then no other command is executed.
    pub fn begin(&mut self, argv: &[&[u8]]) -> Outcome {
        self.reply.clear();
        self.run(argv)
    }

    /// [`Session::begin`] that appends to the replies.
    pub fn begin_pipelined(&mut self, argv: &[&[u8]]) -> Outcome {
        self.run(argv)
    }

    /// Begins commands in turn, as [`Session::execute_all`] does, until one has to wait, and returns how many it began. Their replies are appended.
    pub fn begin_all<'w, C: AsRef<[&'w [u8]]>>(&mut self, commands: &[C]) -> usize {
        if let Some(connection) = &mut self.connection {
            let commands: Vec<&[&[u8]]> = commands.iter().map(AsRef::as_ref).collect();
            connection.execute_all(&commands, &mut self.reply);
            return commands.len();
        }
        let mut begun = 0;
        for batch in commands.chunks(BATCH) {
            self.prefetch(batch);
            for argv in batch {
                begun += 1;
                if self.run(argv.as_ref()) == Outcome::Blocked {
                    return begun;
                }
            }
        }
        begun
    }

    /// Begins commands of a connection in turn, with messages before and behind their replies, and returns how many it began: until one has to wait, the connection
    /// is to end, or so many bytes are in front of [`Session::replies`]. Of so many commands at a time the keys' memory is fetched ahead.
    #[cfg(feature = "listener")]
    pub(crate) fn begin_served(&mut self, commands: &[&[&[u8]]], most: usize, ahead: usize) -> usize {
        let mut begun = 0;
        for batch in commands.chunks(BATCH.min(ahead.max(1))) {
            self.prefetch(batch);
            for argv in batch {
                // What was pushed before the command came stands before its reply.
                if self.is_pushed_to() && self.take_pushes(most) {
                    return begun;
                }
                begun += 1;
                if self.run(argv) == Outcome::Blocked {
                    return begun;
                }
                if self.is_pushed_to() {
                    self.take_pushes(most);
                }
                if self.is_quitting() || self.reply.len() >= most {
                    return begun;
                }
            }
        }
        begun
    }

    /// Whether the session waits for the reply of its last command.
    #[inline]
    pub fn is_blocked(&self) -> bool {
        self.client.state.blocked.is_some()
    }

    #[cold]
    pub(super) fn refuse_while_blocked(&mut self) -> Outcome {
        self.reply
            .error(&Error::new(ErrorKind::Usage, "ERR the session waits for the reply of its last command"));
        Outcome::Replied
    }

    /// After how long to [`Session::try_take`] though nothing has come; `None` if never, or no reply is waited for. A clock that a test moves counts.
    pub fn time_left(&self) -> Option<Duration> {
        let deadline_ms = self.deadline_ms()?;
        let now_us = self.client.engine.inner.keyspace.clock.now_us();
        Some(Duration::from_micros(deadline_ms.saturating_mul(1000).saturating_sub(now_us)))
    }

    /// When the time of a command that waits is over, unix milliseconds.
    fn deadline_ms(&self) -> Option<u64> {
        let blocked = self.client.state.blocked.as_ref().filter(|blocked| !blocked.is_coming)?;
        blocked.wait.deadline_ms()
    }

    /// Appends the reply of a command that had to wait to [`Session::replies`], if it has come, or its time is over. Says whether the session waits no
    /// longer.
    pub fn try_take(&mut self) -> bool {
        self.try_take_with_undo().is_some()
    }

    /// [`Session::try_take`] for a face that may fail to hand the reply on: where the session waits no longer, with what puts back what the reply alone has.
    pub(crate) fn try_take_with_undo(&mut self) -> Option<Option<Undo>> {
        let Some(blocked) = &self.client.state.blocked else { return Some(None) };
        let inner = &self.client.engine.inner;
        let outbox = &self.client.state.info.outbox;
        let mut late = outbox.take_late();
        let is_over =
            !blocked.wait.is_here() || blocked.is_coming || self.time_left() == Some(Duration::ZERO);
        if late.is_none() && is_over {
            // Who forked this process is served there.
            if blocked.wait.leave(&inner.keyspace, None) {
                blocked.wait.end(Ending::TimedOut);
            }
            late = outbox.take_late();
        }
        let Some(late) = late else {
            self.client.state.blocked.iter_mut().for_each(|blocked| blocked.is_coming = is_over);
            return None;
        };
        self.clear_alarm();
        if late.is_postponed {
            return self.begin_anew();
        }
        let inner = &self.client.engine.inner;
        if let Some(blocked) = self.client.state.unblock() {
            let found = &table::all()[blocked.command];
            let start = self.reply.len();
            block::finish(inner, &self.client.state, &blocked, found, &late, &mut self.reply);
            run::leave_out(&self.client.state, &mut self.reply, start);
            let now_ms = inner.keyspace.clock.coarse_ms();
            self.client.state.info.last_seen_ms.store(now_ms, Ordering::Relaxed);
        }
        Some(late.undo)
    }

    /// Begins a command that was postponed; it may have to wait again.
    #[cold]
    fn begin_anew(&mut self) -> Option<Option<Undo>> {
        let words = self.client.state.unblock().map(|blocked| blocked.words).unwrap_or_default();
        let argv: Vec<&[u8]> = words.iter().map(|word| &**word).collect();
        self.client.state.is_begun_anew();
        (self.run(&argv) == Outcome::Replied).then_some(None)
    }

    /// Parks this thread until the reply of a command that had to wait has come, for so long at most, if a time is given, and appends it to
    /// [`Session::replies`]. Says whether the session waits no longer.
    pub fn wait(&mut self, time: Option<Duration>) -> bool {
        let clock = self.client.engine.inner.keyspace.clock.clone();
        let timer = clock.timer();
        loop {
            if self.try_take() {
                return true;
            }
            let left = time.map(|time| time.saturating_sub(timer.elapsed()));
            if left == Some(Duration::ZERO) {
                return false;
            }
            // Whoever moves a clock by hand wakes those whose time is over.
            let until = if clock.is_manual() { None } else { self.time_left() };
            let until = left.into_iter().chain(until).min();
            self.client.state.info.outbox.park(Awaited::Late, until);
        }
    }

    /// Gives up waiting for the reply of a command: there will be none, and nothing was or will be done. False: too late, the reply has come, or is
    /// about to. See [`Session::abandon`].
    pub fn cancel(&mut self) -> bool {
        let Some(blocked) = &self.client.state.blocked else { return false };
        let inner = &self.client.engine.inner;
        let is_cancelled = blocked.wait.leave(&inner.keyspace, None);
        if is_cancelled {
            blocked.wait.end(Ending::Gone);
            self.forget_blocked();
        }
        is_cancelled
    }

    /// Takes back a command that waits for keys, so that it may be begun at another time: it leaves its queues, and is counted as if it had not been begun.
    /// False, and all is as before: its reply has come, or is about to, or it waits for something else.
    pub fn postpone(&mut self) -> bool {
        let blocked = self.client.state.blocked.as_ref();
        blocked.is_some_and(|blocked| blocked.wait.awaits_keys()) && self.cancel()
    }

    /// Gives up waiting for the reply of a command, whether or not it has come: there will be none. What the command has taken out of the data for
    /// nobody else to see, as BLPOP does, is put back where it was, and served to whoever waits for it next. Dropping a session does the same.
    pub fn abandon(&mut self) {
        let Some(wait) = self.client.state.blocked.as_ref().map(|blocked| blocked.wait.clone()) else {
            return;
        };
        if !self.cancel() {
            self.forget_blocked();
            wait.refuse(&self.client.engine.inner.keyspace);
        }
    }

    fn forget_blocked(&mut self) {
        self.clear_alarm();
        if let Some(blocked) = self.client.state.unblock()
            && !blocked.wait.awaits_keys()
        {
            block::abandoned(&self.client.engine.inner, &self.client.state, &blocked);
        }
    }

    /// Has `waker` called from now on whenever something has come for the session: the reply of a command that had to wait, or a message. With
    /// `None` nothing is called any more.
    pub fn set_waker(&self, waker: Option<Arc<dyn Wake>>) {
        self.client.state.info.outbox.set_waker(waker);
    }

    /// Has the waker called as well when the time is over of the command that the session waits with, within some 10 ms: for who has no clock. To be asked
    /// for anew with each command.
    pub fn set_alarm(&mut self) {
        let at = self.deadline_ms();
        if at == self.alarm {
            return;
        }
        self.clear_alarm();
        if let Some(at) = at {
            let local = &self.client.engine.inner;
            local.alarms.set(at, &self.client.state.info, &local.keyspace.task);
            self.alarm = Some(at);
        }
    }

    fn clear_alarm(&mut self) {
        if let Some(at) = self.alarm.take() {
            self.client.engine.inner.alarms.clear(at, &self.client.state.info);
        }
    }

    /// Has commands fail that would have messages pushed to the session, for a face that has no place for them, or no longer.
    #[doc(hidden)]
    pub fn refuse_pushes(&mut self, refuse: bool) {
        self.client.state.refuses_pushes = refuse;
    }

    /// Whether messages may come, or wait: the session monitors, is subscribed to something, or has just been.
    #[inline]
    pub fn is_pushed_to(&self) -> bool {
        let info = &self.client.state.info;
        let hears = Trait::TRACKING.with(Trait::HEARS_FOR_OTHERS);
        let may_come =
            info.is_monitor.load(Ordering::Relaxed) || info.subscribed.is_any() || info.traits.has(hears);
        // What ends the subscriptions of others is in their replies.
        // A connection has to be listening before anybody has it told.
        let may_be_asked = info.traits.has(Trait::KNOWS_ITS_NUMBER)
            && info.has_connection()
            && info.resp3.load(Ordering::Relaxed);
        may_come || may_be_asked || info.reads_tape && info.outbox.len() > 0
    }

    /// Whether the last command has answered by messages, and is replied `OK` on the tape beside them; asked once. For a face whose users read both alike.
    #[doc(hidden)]
    pub fn take_answered_by_messages(&mut self) -> bool {
        std::mem::take(&mut self.client.state.has_sent_messages)
    }

    /// Takes the oldest message, in the session's form, and waits for one that long at most; for ever, if no time is given.
    ///
    /// # Errors
    /// There were more than the session may have waiting: those before this call were dropped. More come after it.
    pub fn next_push(&mut self, time: Option<Duration>) -> Result<Option<Arc<[u8]>>> {
        let timer = self.client.engine.inner.keyspace.clock.timer();
        loop {
            let outbox = &self.client.state.info.outbox;
            let lost =
                |_| Error::new(ErrorKind::Usage, "ERR messages were dropped: too many waited to be read");
            if let Some(message) = outbox.take_push().map_err(lost)? {
                return Ok(Some(message));
            }
            let left = time.map(|time| time.saturating_sub(timer.elapsed()));
            if left == Some(Duration::ZERO) {
                return Ok(None);
            }
            outbox.park(Awaited::Push, left);
        }
    }

    /// Whether it is subscribed to something, or monitors.
    #[cfg(feature = "listener")]
    pub(crate) fn hears(&self) -> bool {
        let info = &self.client.state.info;
        info.subscribed.is_any() || info.is_monitor.load(Ordering::Relaxed)
    }

    /// Appends all messages to the replies.
    ///
    /// # Errors
    /// Some were dropped, since too many waited.
    #[cfg(feature = "listener")]
    pub(crate) fn take_all_pushes(&mut self) -> Result<()> {
        while let Some(message) = self.next_push(Some(Duration::ZERO))? {
            self.reply.append(&message);
        }
        Ok(())
    }

    /// Appends messages to the replies until these are so many bytes. Says whether more may be there: who pushes may be faster than who sends.
    #[cfg(feature = "listener")]
    pub(crate) fn take_pushes(&mut self, most: usize) -> bool {
        while self.reply.len() < most {
            match self.client.state.info.outbox.take_push() {
                Ok(Some(message)) => self.reply.append(&message),
                // A connection that has lost any is being ended.
                _ => return false,
            }
        }
        true
    }
}

#[cfg(test)]
pub(crate) mod tests;
