//! Loads of missing keys, for `Cache.wrap`: the calls behind `lib/loads.cjs`.
//!
//! Who loads and who waits is the engine's affair (`keystead::cache`). JavaScript knows its loads and waits by numbers; they stand in the store of
//! their handle, so that closing it, or the end of its worker, ends them.

use std::collections::HashMap;
use std::sync::Arc;

use keystead::cache::{Caller, Landing, this_thread};
use keystead::{Begun, Load, Wait};
use napi::sys;
use parking_lot::Mutex;

use crate::calls::{encode, ttl_and_condition, value_of};
use crate::hot::{Call, JsEnv};
use crate::outcome::Outcome;
use crate::scratch::Scratch;
use crate::waits::next_wait;

/// The loads and waits of one handle.
#[derive(Default)]
pub struct Loads {
    loads: Mutex<HashMap<u64, Load>>,
    waits: Mutex<HashMap<u64, Wait>>,
}

impl Loads {
    /// Ends all of them.
    pub fn clear(&self) {
        let (loads, waits) =
            (std::mem::take(&mut *self.loads.lock()), std::mem::take(&mut *self.waits.lock()));
        // Outside of the locks: ending a load wakes others.
        drop((loads, waits));
    }
}

/// A number of a load or a wait.
fn number(env: JsEnv, value: sys::napi_value) -> Outcome<u64> {
    Ok(env.f64(value)? as u64)
}

/// `beginLoad(handle, key, within)`: the number of a load that is the caller's, or of a wait, then negative. `within` has the numbers of the loads that the
/// caller belongs to.
pub fn begin_load(call: &mut Call<'_, 3>) -> Outcome {
    let handle = call.handle_and_key()?;
    let env = call.env;
    let within = env.elements(call.values[2])?;
    let within = within.into_iter().map(|value| number(env, value)).collect::<Outcome<Vec<_>>>()?;
    let (store, scratch) = call.isolate.store(handle)?;
    let caller = Caller { within: &within, thread: this_thread(), ..Caller::default() };
    let id = match store.database().begin_load(&scratch.key, &caller) {
        Begun::Lead(load) => {
            let id = load.id();
            store.loads.loads.lock().insert(id, load);
            id as f64
        }
        Begun::Wait(wait) => {
            let id = next_wait();
            store.loads.waits.lock().insert(id, wait);
            -(id as f64)
        }
    };
    env.number(id)
}

/// `loadWithin(handle, load)`: the numbers of the loads that its loader belongs to.
pub fn load_within(call: &mut Call<'_, 2>) -> Outcome {
    let handle = call.env.u32(call.values[0])?;
    let id = number(call.env, call.values[1])?;
    let within = match call.isolate.store(handle)?.0.loads.loads.lock().get(&id) {
        Some(load) => load.within().to_vec(),
        None => Vec::new(),
    };
    call.env.array(within.iter().map(|id| call.env.number(*id as f64)))
}

/// `landValue(handle, load, value, ttlMs, tag)`: stores what was loaded, unless the key was changed since, and ends the load. Returns the value as
/// `getValue` does.
pub fn land_value(call: &mut Call<'_, 5>) -> Outcome {
    let handle = call.env.u32(call.values[0])?;
    let id = number(call.env, call.values[1])?;
    let (ttl, _) = ttl_and_condition(call.env, &call.values[3..], 1)?;
    let tag = call.env.u32(call.values[4])?;
    let Scratch { units, value, .. } = &mut call.isolate.scratch;
    value.clear();
    encode(call.env, call.values[2], tag, units, value)?;
    // A handle that was closed meanwhile has no loads, and stores nothing.
    if let Ok((store, scratch)) = call.isolate.store(handle) {
        let mut loads = store.loads.loads.lock();
        if let Some(load) = loads.get(&id) {
            load.store(&scratch.value, ttl)?;
        }
        let load = loads.remove(&id);
        drop(loads);
        if let Some(load) = load {
            load.land(Landing::Value(scratch.value.as_slice().into()));
        }
    }
    let Scratch { value, found, .. } = &mut call.isolate.scratch;
    std::mem::swap(value, found);
    let is_ascii = found.is_ascii();
    value_of(call.env, &mut call.isolate.scratch, is_ascii)
}

/// `endLoad(handle, load, how)`: ends a load, if it has not ended: 0 without a result, 1 with nothing to store, 2 with an error.
pub fn end_load(call: &mut Call<'_, 3>) -> Outcome {
    let handle = call.env.u32(call.values[0])?;
    let id = number(call.env, call.values[1])?;
    let landing = match call.env.u32(call.values[2])? {
        1 => Landing::Nothing,
        2 => Landing::Failed(Arc::new(())),
        _ => Landing::Again,
    };
    let load = call.isolate.store(handle).ok().and_then(|(store, _)| store.loads.loads.lock().remove(&id));
    if let Some(load) = load {
        load.land(landing);
    }
    call.env.undefined()
}

/// `waitTarget(handle, wait)`: the number of the load that it is for, 0 if that has ended.
pub fn wait_target(call: &mut Call<'_, 2>) -> Outcome {
    let target = on_wait(call, Wait::target)?.flatten().unwrap_or(0);
    call.env.number(target as f64)
}

/// `waitLeft(handle, wait)`: milliseconds to wait at most.
pub fn wait_left(call: &mut Call<'_, 2>) -> Outcome {
    let left = on_wait(call, Wait::left)?.unwrap_or_default();
    call.env.number(left.as_secs_f64() * 1000.0)
}

/// `wakeAfter(handle, wait)`: has what `onWake` was given called once the load has ended.
pub fn wake_after(call: &mut Call<'_, 2>) -> Outcome {
    let id = number(call.env, call.values[1])?;
    let bell = call.isolate.bell()?;
    on_wait(call, |wait| wait.on_landing(move || bell.ring(id)))?;
    call.env.undefined()
}

/// `endWait(handle, wait)`: ends a wait; how the load ended: 0 if it has not, or one has to look again, 1 with nothing, 2 with an error, 3 with a value,
/// which `landedValue` tells.
pub fn end_wait(call: &mut Call<'_, 2>) -> Outcome {
    let handle = call.env.u32(call.values[0])?;
    let id = number(call.env, call.values[1])?;
    let (store, scratch) = call.isolate.store(handle)?;
    let wait = store.loads.waits.lock().remove(&id);
    let how = match wait.as_ref().and_then(Wait::landing) {
        Some(Landing::Value(value)) => {
            scratch.found.clear();
            scratch.found.extend_from_slice(&value);
            3
        }
        Some(Landing::Failed(_)) => 2,
        Some(Landing::Nothing) => 1,
        Some(Landing::Again) | None => 0,
    };
    call.env.integer(how, false)
}

/// `landedValue()`: the value that `endWait` told of, as `getValue` does.
pub fn landed_value(call: &mut Call<'_, 1>) -> Outcome {
    let is_ascii = call.isolate.scratch.found.is_ascii();
    value_of(call.env, &mut call.isolate.scratch, is_ascii)
}

fn on_wait<R>(call: &mut Call<'_, 2>, work: impl FnOnce(&Wait) -> R) -> Outcome<Option<R>> {
    let handle = call.env.u32(call.values[0])?;
    let id = number(call.env, call.values[1])?;
    let (store, _) = call.isolate.store(handle)?;
    Ok(store.loads.waits.lock().get(&id).map(work))
}
