//! Commands that wait for the end of a CLIENT PAUSE: their sessions begin them anew then.
//!
//! Who pauses, and until when, is kept by [`crate::clients`].

use std::sync::atomic::Ordering;

use super::reply::Reply;
use super::run::Context;
use super::spec::{Flags, Spec};
use crate::clients::Ending;
use crate::error::Result;
use crate::local::Local;

/// Whether a command may change something, here or for those who hear of it.
pub(super) fn may_change(spec: &Spec) -> bool {
    // What the server knows of them by a flag that COMMAND INFO does not tell.
    const OTHERS: [&str; 6] = ["eval", "evalsha", "fcall", "pfcount", "publish", "spublish"];
    spec.flags.contains(Flags::WRITE) || OTHERS.contains(&spec.name)
}

impl Context<'_, '_> {
    /// Has the session wait with a command for the end of the pause that is on, if that is about it. Says whether it does.
    ///
    /// # Errors
    /// The system has no memory.
    #[cold]
    #[inline(never)]
    pub(super) fn wait_for_pause(
        &mut self,
        (spec, id): (&Spec, usize),
        argv: &[&[u8]],
        reply: &Reply,
    ) -> Result<bool> {
        let Some(paused) = self.engine.paused() else { return Ok(false) };
        // The server takes who monitors for a replica, which no pause is about.
        if self.session.info.is_monitor.load(Ordering::Relaxed) {
            return Ok(false);
        }
        let transaction = self.session.transaction.as_ref().filter(|_| spec.name == "exec");
        let may_change = may_change(spec) || transaction.is_some_and(|transaction| transaction.may_change);
        if !paused.all && !may_change {
            return Ok(false);
        }
        self.session.began(id);
        self.postpone(argv, paused.until_ms, reply)?;
        // Who has ended the pause since has not seen that this waits.
        if self.engine.paused().is_none() {
            self.engine.end_pause();
        }
        Ok(true)
    }

    /// Ends the pause, once nothing is locked.
    pub(crate) fn end_pause(&mut self) {
        match &mut self.transaction {
            None => self.engine.end_pause(),
            Some(locked) => {
                let engine = self.engine.clone();
                locked.db.after_unlock(Box::new(move || engine.end_pause()));
            }
        }
    }
}

impl Local {
    /// Ends the pause, and has those go on who wait for its end.
    pub(crate) fn end_pause(&self) {
        self.unpause();
        for wait in self.clients.all().iter().filter_map(|client| client.blocking()) {
            if wait.is_postponed() && wait.leave(&self.keyspace, None) {
                wait.end(Ending::TimedOut);
            }
        }
    }
}
