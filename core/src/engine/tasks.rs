//! Sessions of tasks: what the rest of the engine waits for with a thread, awaited. No runtime is asked for: a task is woken by whoever has
//! something for it, and by the background thread when its time is over.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::session::Session;
use crate::clients::Wake;
use crate::command::Outcome;
use crate::error::Result;
use crate::sync::Arc;

impl Wake for Waker {
    fn wake(&self) {
        self.wake_by_ref();
    }
}

impl Session {
    /// As [`Session::execute`], for tasks: a command that has to wait keeps no thread waiting. Nothing is done before the first poll.
    ///
    /// Dropped before its reply has come it is given up, as by [`Session::abandon`]: what a command has popped for it is put back. The end of a command's
    /// time is noticed within some 10 ms. Whatever waker the session had is replaced.
    ///
    /// ```
    /// # let engine = keystead::Engine::builder().open()?;
    /// # let mut session = engine.session(keystead::Form::Resp);
    /// # let mut other = engine.session(keystead::Form::Resp);
    /// let task = async move { session.execute_async(&[b"BLPOP", b"jobs", b"0"]).await.to_vec() };
    /// # let other = std::thread::spawn(move || other.execute(&[b"RPUSH", b"jobs", b"one"]).len());
    /// # assert_eq!(futures_executor::block_on(task), b"*2\r\n$4\r\njobs\r\n$3\r\none\r\n");
    /// # other.join().unwrap();
    /// # Ok::<(), keystead::Error>(())
    /// ```
    pub fn execute_async<'s, 'w>(&'s mut self, argv: &'w [&'w [u8]]) -> Execution<'s, 'w> {
        Execution { session: Some(self), argv: Some(argv) }
    }

    /// As [`Session::next_push`] without a time, for tasks: the oldest message, once there is one. Dropped before, it has taken none.
    ///
    /// # Errors
    /// There were more messages than the session may have waiting: those before this call were dropped. More come after it.
    pub fn next_push_async(&mut self) -> NextPush<'_> {
        NextPush { session: self }
    }
}

/// Has a task woken when something has come for a session. What comes before the caller looks again is seen then.
fn wake_with(session: &Session, context: &Context<'_>) {
    session.set_waker(Some(Arc::new(context.waker().clone())));
}

/// The reply of a command, to be awaited. See [`Session::execute_async`].
#[must_use = "nothing is done unless it is awaited"]
pub struct Execution<'s, 'w> {
    /// Until the reply has come.
    session: Option<&'s mut Session>,
    /// The command, until it was begun.
    argv: Option<&'w [&'w [u8]]>,
}

impl<'s> Future for Execution<'s, '_> {
    type Output = &'s [u8];

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<&'s [u8]> {
        let Some(session) = self.session.take() else { panic!("polled after the reply has come") };
        let has_replied = self.argv.take().is_some_and(|argv| session.begin(argv) == Outcome::Replied);
        if has_replied {
            return Poll::Ready(session.replies());
        }
        wake_with(session, context);
        if session.try_take() {
            session.set_waker(None);
            return Poll::Ready(session.replies());
        }
        session.set_alarm();
        self.session = Some(session);
        Poll::Pending
    }
}

impl Drop for Execution<'_, '_> {
    fn drop(&mut self) {
        if let Some(session) = &mut self.session {
            session.set_waker(None);
            session.abandon();
        }
    }
}

/// A message pushed to a session, to be awaited. See [`Session::next_push_async`].
#[must_use = "nothing is taken unless it is awaited"]
pub struct NextPush<'s> {
    session: &'s mut Session,
}

impl Future for NextPush<'_> {
    type Output = Result<Arc<[u8]>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        wake_with(self.session, context);
        self.session.next_push(Some(Duration::ZERO)).transpose().map_or(Poll::Pending, Poll::Ready)
    }
}

impl Drop for NextPush<'_> {
    fn drop(&mut self) {
        self.session.set_waker(None);
    }
}

#[cfg(test)]
mod tests;
