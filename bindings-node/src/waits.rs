//! Waiting for what comes from elsewhere: the reply of a command that had to wait (`lib/replies.cjs`), messages (`lib/subscriber.cjs`), and the call that
//! wakes this isolate (`lib/wakes.cjs`).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use keystead::{Item, Wake};

use crate::calls::{BUFFERS, one_reply, reply};
use crate::hot::{Bell, Call};
use crate::outcome::Outcome;

/// `takeReply(handle, style)`: the reply of the command that had to wait, as `execute` returns it; `undefined`, and packed that there is none, while
/// it has not come.
pub fn take_reply(call: &mut Call<'_, 2>) -> Outcome {
    let (env, style) = (call.env, call.env.u32(call.values[1])?);
    let (store, scratch) = call.isolate.store(call.env.u32(call.values[0])?)?;
    store.take_reply(|tape, outcome| one_reply(env, &mut scratch.packed, tape, outcome, style))
}

/// `takePush(handle)`: the oldest message pushed to the session, as an array of Buffers and numbers; null if there is none. An error is thrown where some
/// were dropped, since too many waited.
pub fn take_push(call: &mut Call<'_, 1>) -> Outcome {
    let env = call.env;
    let (store, _) = call.isolate.store(call.env.u32(call.values[0])?)?;
    let message = store.take_push(|tape| match Item::read(tape) {
        Some((item, _)) => reply(env, &item, BUFFERS),
        None => env.null(),
    })?;
    message.unwrap_or_else(|| env.null())
}

/// `wakeOnReply(handle)`: has what `onWake` was given called when the reply of the command that had to wait comes, or a message, with the number that is
/// returned.
pub fn wake_on_reply(call: &mut Call<'_, 1>) -> Outcome {
    let bell = call.isolate.bell()?;
    let (store, _) = call.isolate.store(call.env.u32(call.values[0])?)?;
    let id = next_wait();
    store.wake_by(Arc::new(Waker { bell, id }));
    call.env.number(id as f64)
}

/// `replyLeft(handle)`: after how many milliseconds to look for the reply though nothing has come; -1: never.
pub fn reply_left(call: &mut Call<'_, 1>) -> Outcome {
    let (store, _) = call.isolate.store(call.env.u32(call.values[0])?)?;
    let left = store.time_left().map_or(-1.0, |left| left.as_secs_f64() * 1000.0);
    call.env.number(left)
}

/// `onWake(callback)`: what is called in this isolate with the number of a wait that is over, and whether `rest` is to be called then.
pub fn on_wake(call: &mut Call<'_, 1>) -> Outcome {
    call.isolate.bell = Some(Arc::new(call.env.bell(call.values[0])?));
    call.env.undefined()
}

/// `hold()`: keeps the isolate alive until `rest`.
pub fn hold(call: &mut Call<'_, 1>) -> Outcome {
    call.isolate.bell()?.hold();
    call.env.undefined()
}

/// `rest()`: a call of what `onWake` was given no longer keeps the isolate alive.
pub fn rest(call: &mut Call<'_, 1>) -> Outcome {
    call.isolate.bell()?.rest();
    call.env.undefined()
}

/// A number for what JavaScript waits for.
pub fn next_wait() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Wakes an isolate that waits for a reply.
pub struct Waker {
    pub bell: Arc<Bell>,
    pub id: u64,
}

impl Wake for Waker {
    fn wake(&self) {
        self.bell.ring(self.id);
    }
}
