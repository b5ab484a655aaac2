//! Commands whose work is outside of the engine: a thread of its own does it, while the session waits as one does that waits for keys.
//!
//! So no face's thread is held up, nor an interpreter's lock or an event loop, and nobody who shares it. What is done is the command's affair.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::block::{of_session, owned, sink};
use super::reply::Form;
use super::run::Context;
use super::{Argv, Reply};
use crate::clients::{Blocking, ClientInfo, Ending, Late};
use crate::error::{Error, ErrorKind, Result};
use crate::keyspace::Keyspace;
use crate::keyspace::locks::Locks;
use crate::os;
use crate::sync::{Arc, AtomicBool, Ordering};

/// A command that another thread executes. Nobody ends the wait for it, but that its session may go: what it has begun it brings to its end.
struct Errand {
    /// Tells it from all other waits.
    number: u64,
    info: Arc<ClientInfo>,
    form: Form,
    resp3: bool,
    /// [`os::generation`] of the process that the thread is in.
    generation: u64,
    /// A forked child has given it up.
    is_lost: AtomicBool,
}

impl Context<'_, '_> {
    /// Has a thread execute `work`, and the session wait for what that replies. Nothing is locked when `work` runs. It may run longer
    /// than its session lives. `argv`: the command, for the logs.
    ///
    /// # Errors
    /// The system has no memory, or no thread; `work` was dropped.
    pub(crate) fn wait_for_thread(
        &mut self,
        argv: &Argv,
        reply: &Reply,
        work: impl FnOnce(&mut Reply) -> Result<()> + Send + 'static,
    ) -> Result<()> {
        let words: Vec<&[u8]> = argv.iter().map(Vec::as_slice).collect();
        let words = owned(&words)?;
        let errand = Arc::new(Errand {
            number: self.engine.keyspace.arrivals.number(),
            info: self.session.info.clone(),
            form: reply.form(),
            resp3: reply.resp3(),
            generation: os::generation(),
            is_lost: AtomicBool::new(false),
        });
        let own = errand.clone();
        let run = move || {
            let mut late = own.sink();
            let result = catch_unwind(AssertUnwindSafe(|| work(&mut late)));
            let panicked =
                |_| Err(Error::new(ErrorKind::Internal, "ERR internal error: the command panicked"));
            own.deliver(result.unwrap_or_else(panicked).err(), late);
        };
        std::thread::Builder::new().name("keystead-errand".into()).spawn(run)?;
        self.session.block(of_session(errand, words));
        Ok(())
    }
}

impl Errand {
    fn sink(&self) -> Reply {
        sink(self.form, self.resp3)
    }

    fn deliver(&self, error: Option<Error>, mut reply: Reply) {
        if let Some(error) = &error {
            reply.clear();
            reply.error(error);
        }
        let late = Late { bytes: reply.as_bytes().to_vec(), error, ..Late::default() };
        // Who is gone wants none.
        drop(self.info.outbox.deliver(self.number, late));
    }
}

impl Blocking for Errand {
    fn leave(&self, _: &Keyspace, _: Option<&mut Locks<'_>>) -> bool {
        !self.is_here() && !self.is_lost.swap(true, Ordering::Relaxed)
    }

    fn end(&self, how: Ending) {
        if how != Ending::Gone {
            let error = Error::new(ErrorKind::Io, "ERR the thread of the command stayed behind in a fork");
            self.deliver(Some(error), self.sink());
        }
    }

    fn refuse(&self, _: &Keyspace) {
        drop(self.info.outbox.refuse(self.number));
    }

    fn awaits_keys(&self) -> bool {
        false
    }

    fn number(&self) -> u64 {
        self.number
    }

    fn deadline_ms(&self) -> Option<u64> {
        None
    }

    fn is_here(&self) -> bool {
        self.generation == os::generation()
    }
}
