//! Connections without a socket, for clients that speak RESP themselves: behind `lib/connection.cjs`.

use std::sync::Arc;

use keystead::Wire;

use crate::hot::Call;
use crate::outcome::Outcome;
use crate::waits::{Waker, next_wait};

/// A command waits for its reply.
const BLOCKED: u32 = 1;
/// Messages may come.
const HEARS: u32 = 2;
/// Nothing more comes.
const ENDED: u32 = 4;

/// `wireOpen(handle)`: has the handle be a connection; the number with which what was given to `onWake` is called when something has come.
pub fn wire_open(call: &mut Call<'_, 1>) -> Outcome {
    let bell = call.isolate.bell()?;
    let (store, _) = call.isolate.store(call.env.u32(call.values[0])?)?;
    let id = next_wait();
    store.open_wire(Arc::new(Waker { bell, id }));
    call.env.number(id as f64)
}

/// `wireWrite(handle, chunk)`: takes a string or bytes that the client sends; what comes back, as a Buffer, or `undefined` if nothing does yet.
pub fn wire_write(call: &mut Call<'_, 2>) -> Outcome {
    let handle = call.env.u32(call.values[0])?;
    let units = &mut call.isolate.scratch.units;
    call.isolate.scratch.value.clear();
    call.env.bytes(call.values[1], units, &mut call.isolate.scratch.value)?;
    let env = call.env;
    let (store, scratch) = call.isolate.store(handle)?;
    let came = store.with_wire(|wire| {
        wire.receive(&scratch.value)?;
        taken(env, wire)
    });
    scratch.tidy();
    came
}

/// `wireLook(handle)`: what has come, as `wireWrite` returns it.
pub fn wire_look(call: &mut Call<'_, 1>) -> Outcome {
    let env = call.env;
    let (store, _) = call.isolate.store(env.u32(call.values[0])?)?;
    store.with_wire(|wire| {
        wire.look();
        taken(env, wire)
    })
}

fn taken(env: crate::hot::JsEnv, wire: &mut Wire) -> Outcome {
    if wire.output().is_empty() {
        return env.undefined();
    }
    let bytes = env.new_buffer(wire.output())?;
    wire.clear_output();
    Ok(bytes)
}

/// `wireState(handle)`: bits that say what the connection is about.
pub fn wire_state(call: &mut Call<'_, 1>) -> Outcome {
    let (store, _) = call.isolate.store(call.env.u32(call.values[0])?)?;
    let state = store.with_wire(|wire| {
        let bit = |is_set: bool, bit: u32| if is_set { bit } else { 0 };
        Ok(bit(wire.is_blocked(), BLOCKED) | bit(wire.hears(), HEARS) | bit(wire.has_ended(), ENDED))
    })?;
    call.env.integer(state.into(), false)
}

/// `wireLeft(handle)`: after how many milliseconds to look though nothing has come; -1: never.
pub fn wire_left(call: &mut Call<'_, 1>) -> Outcome {
    let (store, _) = call.isolate.store(call.env.u32(call.values[0])?)?;
    let left = store.with_wire(|wire| Ok(wire.time_left()))?;
    call.env.number(left.map_or(-1.0, |left| left.as_secs_f64() * 1000.0))
}
