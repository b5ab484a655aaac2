//! The functions that are called often: what JavaScript sees of the binding besides opening and closing. It stays whole: a list of functions of a few
//! lines each.
//!
//! They take an integer handle first and are named in `hot.rs`, which reads their arguments; what users see of them is `lib/`'s. No
//! JavaScript value is made under a shard's lock: what was found is copied to the isolate's scratch first, since making one can start
//! the garbage collector.

use std::time::Duration;

use keystead::cache::codec::{self, Stored, tag};
use keystead::{Condition, ErrorKind, Found, Item, SetOptions, Ttl};
use napi::sys;

use crate::handles::Expected;
use crate::hot::{Call, Isolate, JsEnv};
pub use crate::loads::{
    begin_load, end_load, end_wait, land_value, landed_value, load_within, wait_left, wait_target, wake_after,
};
use crate::outcome::{MISUSED, Outcome, out_of_memory, usage, whole};
use crate::packed::Packed;
use crate::scratch::{Scratch, many, split, transcode};
pub use crate::waits::{hold, on_wake, reply_left, rest, take_push, take_reply, wake_on_reply};
pub use crate::wires::{wire_left, wire_look, wire_open, wire_state, wire_write};

/// `getString(handle, key)`: a string or undefined.
#[inline]
pub fn get_string(call: &mut Call<'_, 2>) -> Outcome {
    let handle = call.handle_and_key()?;
    let env = call.env;
    match look_up(call.isolate, handle, |found| Some(env.string(&found.text, found.is_ascii)))? {
        Looked::Made(value) => value,
        Looked::Missing => env.undefined(),
        Looked::Copied(is_ascii) => {
            let scratch = &mut call.isolate.scratch;
            let value = env.string(&scratch.found, is_ascii);
            scratch.tidy();
            value
        }
    }
}

/// `getInto(handle, key, arrayBuffer, offset)`: copies what fits entirely; the length, or -1.
#[inline]
pub fn get_into(call: &mut Call<'_, 4>) -> Outcome {
    let handle = call.handle_and_key()?;
    let target = call.env.array_buffer(call.values[2])?;
    let offset = call.env.u32(call.values[3])? as usize;
    target.room(offset)?;
    let (store, scratch) = call.isolate.store(handle)?;
    let length = store.database().get_with(&scratch.key, |found| {
        found.map(|found| {
            target.put(offset, &found.text);
            found.text.len() as i64
        })
    })?;
    call.env.integer(length.unwrap_or(-1), false)
}

/// `setRaw(handle, key, value, ttlMs, condition)`: false if the condition did not let it, else undefined, which is the cheapest value.
#[inline]
pub fn set_raw(call: &mut Call<'_, 5>) -> Outcome {
    let handle = call.handle_and_key()?;
    let (ttl, condition) = ttl_and_condition(call.env, &call.values[3..], call.count.saturating_sub(3))?;
    let Scratch { units, value, .. } = &mut call.isolate.scratch;
    value.clear();
    call.env.bytes(call.values[2], units, value)?;
    let (store, scratch) = call.isolate.store(handle)?;
    let set = store.database().set_with(
        &scratch.key,
        &scratch.value,
        SetOptions::new().ttl(ttl).condition(condition),
    );
    scratch.tidy();
    if set? { call.env.undefined() } else { call.env.boolean(false) }
}

/// `getValue(handle, key)`: a string or a number; undefined if there is none; null if `pending*` have to be asked.
#[inline]
pub fn get_value(call: &mut Call<'_, 2>) -> Outcome {
    let handle = call.handle_and_key()?;
    let env = call.env;
    let make = |found: Found<'_>| {
        codec::is_plain_text(&found.text, found.is_ascii).then(|| env.string(&found.text, true))
    };
    match look_up(call.isolate, handle, make)? {
        Looked::Made(value) => value,
        Looked::Missing => env.undefined(),
        Looked::Copied(is_ascii) => value_of(env, &mut call.isolate.scratch, is_ascii),
    }
}

/// `getVersioned(handle, key, stamp)`: as `getValue`; into `stamp`, a Uint32Array of four numbers, go the slot and the count of the key's
/// version and the low and the high half of its deadline.
#[inline]
pub fn get_versioned(call: &mut Call<'_, 3>) -> Outcome {
    let handle = call.handle_and_key()?;
    let stamp = call.env.numbers(call.values[2])?;
    if stamp.len() < 4 {
        return Err(usage("ERR the stamp is too short"));
    }
    let (store, Scratch { key, found: out, .. }) = call.isolate.store(handle)?;
    let (is_ascii, version) =
        store.database().get_versioned_with(store.versions(), key, |found, version| {
            let is_ascii = found.map(|found| {
                out.clear();
                out.extend_from_slice(&found.text);
                found.is_ascii
            });
            (is_ascii, version)
        })?;
    stamp.set(0, version.slot);
    stamp.set(1, version.count);
    stamp.set(2, version.deadline as u32);
    stamp.set(3, (version.deadline >> 32) as u32);
    match is_ascii {
        None => call.env.undefined(),
        Some(is_ascii) => value_of(call.env, &mut call.isolate.scratch, is_ascii),
    }
}

/// `versions(handle)`: an ArrayBuffer over the counters of the engine's versions, to be read only.
pub fn versions(call: &mut Call<'_, 1>) -> Outcome {
    let handle = call.env.u32(call.values[0])?;
    let versions = call.isolate.store(handle)?.0.versions().clone();
    call.env.counters(versions)
}

/// `versionsId(handle)`: a number that is the same for two handles if their engine is.
pub fn versions_id(call: &mut Call<'_, 1>) -> Outcome {
    let handle = call.env.u32(call.values[0])?;
    let address = call.isolate.store(handle)?.0.versions().slots().as_ptr() as usize;
    call.env.number(address as f64)
}

/// `pendingTag()`: the tag of what `getValue` found.
pub fn pending_tag(call: &mut Call<'_, 1>) -> Outcome {
    call.env.integer(call.isolate.scratch.tag.into(), false)
}

/// `pendingText()`: its payload as a string.
pub fn pending_text(call: &mut Call<'_, 1>) -> Outcome {
    let found = &call.isolate.scratch.found;
    call.env.string(found, found.is_ascii())
}

/// `pendingInto(arrayBuffer, offset)`: copies its payload if it fits; the length.
pub fn pending_into(call: &mut Call<'_, 2>) -> Outcome {
    let target = call.env.array_buffer(call.values[0])?;
    let offset = call.env.u32(call.values[1])? as usize;
    target.room(offset)?;
    let found = &call.isolate.scratch.found;
    target.put(offset, found);
    call.env.integer(found.len() as i64, false)
}

/// `setValue(handle, key, value, ttlMs, condition, tag)`: as `setRaw`, with the type kept; tag 0 means that the value's type says it.
#[inline]
pub fn set_value(call: &mut Call<'_, 6>) -> Outcome {
    let handle = call.handle_and_key()?;
    let (ttl, condition) = ttl_and_condition(call.env, &call.values[3..], call.count.saturating_sub(3))?;
    let tag = if call.count > 5 { call.env.u32(call.values[5])? } else { 0 };
    let Scratch { units, value, .. } = &mut call.isolate.scratch;
    value.clear();
    encode(call.env, call.values[2], tag, units, value)?;
    let (store, scratch) = call.isolate.store(handle)?;
    store.database().check_fit(&[(&scratch.key, &scratch.value)])?;
    let set = store.database().set_with(
        &scratch.key,
        &scratch.value,
        SetOptions::new().ttl(ttl).condition(condition),
    );
    scratch.tidy();
    if set? { call.env.undefined() } else { call.env.boolean(false) }
}

/// `setValues(handle, ttlMs, [key, tag, value, ...])`: all of them or none.
pub fn set_values(call: &mut Call<'_, 3>) -> Outcome {
    let handle = call.env.u32(call.values[0])?;
    let (ttl, _) = ttl_and_condition(call.env, &call.values[1..], 1)?;
    let words = call.env.elements(call.values[2])?;
    let mut pairs = Vec::with_capacity(words.len() / 3);
    for triple in words.chunks_exact(3) {
        let (mut key, mut value) = (Vec::new(), Vec::new());
        let units = &mut call.isolate.scratch.units;
        call.env.bytes(triple[0], units, &mut key)?;
        encode(call.env, triple[2], call.env.u32(triple[1])?, units, &mut value)?;
        pairs.push((key, value));
    }
    let database = call.isolate.store(handle)?.0.database();
    database.check_fit(&pairs)?;
    database.set_many(&pairs, ttl)?;
    call.env.undefined()
}

/// `remove(handle, key)`: whether it existed.
#[inline]
pub fn remove(call: &mut Call<'_, 2>) -> Outcome {
    let handle = call.handle_and_key()?;
    let (store, scratch) = call.isolate.store(handle)?;
    call.env.boolean(store.database().delete(&scratch.key)?)
}

/// `has(handle, key)`.
#[inline]
pub fn has(call: &mut Call<'_, 2>) -> Outcome {
    let handle = call.handle_and_key()?;
    let (store, scratch) = call.isolate.store(handle)?;
    call.env.boolean(store.database().contains(&scratch.key)?)
}

/// `incr(handle, key, by)`: the sum, as the number that comes nearest; `by` is 1 if it is not given.
#[inline]
pub fn incr(call: &mut Call<'_, 3>) -> Outcome {
    let sum = add(call)?;
    call.env.integer(sum, false)
}

/// `incrExact(handle, key, by)`: as `incr`, but a BigInt where a number can't hold the sum.
#[inline]
pub fn incr_exact(call: &mut Call<'_, 3>) -> Outcome {
    let sum = add(call)?;
    call.env.integer(sum, true)
}

#[inline(always)]
fn add(call: &mut Call<'_, 3>) -> Outcome<i64> {
    let handle = call.handle_and_key()?;
    let by = if call.count > 2 { whole(call.env.f64(call.values[2])?)? } else { 1 };
    let (store, scratch) = call.isolate.store(handle)?;
    Ok(store.database().incr(&scratch.key, by)?)
}

/// `hget(handle, key, field)`: a string or undefined.
#[inline]
pub fn hget(call: &mut Call<'_, 3>) -> Outcome {
    let handle = call.handle_and_key()?;
    let Scratch { units, value, .. } = &mut call.isolate.scratch;
    value.clear();
    call.env.bytes(call.values[2], units, value)?;
    let (store, Scratch { key, value, found: out, .. }) = call.isolate.store(handle)?;
    let env = call.env;
    let make = |found: Option<&[u8]>| {
        Some(found.map_or(env.undefined(), |bytes| env.string(bytes, bytes.is_ascii())))
    };
    let copy = |found: Option<&[u8]>| {
        let Some(bytes) = found else { return Some(env.undefined()) };
        out.clear();
        out.extend_from_slice(bytes);
        None
    };
    match store.database().hget_with_either(key, value, make, copy)? {
        Some(value) => value,
        None => env.string(out, out.is_ascii()),
    }
}

/// `hset(handle, key, field, value)`: whether the field is new.
pub fn hset(call: &mut Call<'_, 4>) -> Outcome {
    let handle = call.handle_and_key()?;
    let Scratch { units, value, found, .. } = &mut call.isolate.scratch;
    found.clear();
    call.env.bytes(call.values[2], units, found)?;
    value.clear();
    call.env.bytes(call.values[3], units, value)?;
    let (store, Scratch { key, value, found, .. }) = call.isolate.store(handle)?;
    let is_new = store.database().hset(&*key, found, value)?;
    call.env.boolean(is_new)
}

/// `expire(handle, key, ttlMs)`: whether it exists; without a time to live the deadline is removed.
pub fn expire(call: &mut Call<'_, 3>) -> Outcome {
    let handle = call.handle_and_key()?;
    let (ttl, _) = ttl_and_condition(call.env, &call.values[2..], call.count.saturating_sub(2))?;
    let (store, Scratch { key, .. }) = call.isolate.store(handle)?;
    let exists = match ttl {
        Ttl::After(time) => store.database().expire(key, time)?,
        Ttl::None | Ttl::Keep => {
            store.database().persist(&*key)?;
            store.database().contains(key)?
        }
    };
    call.env.boolean(exists)
}

/// `ttl(handle, key)`: milliseconds, null without a deadline, undefined if there is no such key.
pub fn ttl(call: &mut Call<'_, 2>) -> Outcome {
    let handle = call.handle_and_key()?;
    let (store, scratch) = call.isolate.store(handle)?;
    match store.database().ttl(&scratch.key)? {
        None => call.env.undefined(),
        Some(None) => call.env.null(),
        Some(Some(time)) => call.env.number(time.as_millis() as f64),
    }
}

/// `size(handle)`: number of keys.
pub fn size(call: &mut Call<'_, 1>) -> Outcome {
    let handle = call.env.u32(call.values[0])?;
    let size = call.isolate.store(handle)?.0.database().len()?;
    call.env.number(size as f64)
}

/// `getMany(handle, joined, table, count, typed)`: the strings of keys, joined as the keys are; null if that is too long. `table` is a Uint32Array of at least twice
/// as many numbers as keys: it comes with the keys' lengths in UTF-16 units and goes with each value's length and kind in turn.
pub fn get_many(call: &mut Call<'_, 5>) -> Outcome {
    let handle = call.env.u32(call.values[0])?;
    let table = call.env.numbers(call.values[2])?;
    let count = call.env.u32(call.values[3])? as usize;
    if count > table.len() / 2 {
        return Err(usage("ERR the table is too short"));
    }
    let is_typed = call.count > 4;
    let Some(units) = call.env.units(call.values[1], &mut call.isolate.scratch.units)? else {
        return Err(usage(MISUSED));
    };
    let lengths: smallvec::SmallVec<[u32; 128]> = (0..count).map(|at| table.get(at)).collect();
    split(&lengths, units, &mut call.isolate.scratch)?;
    let (store, scratch) = call.isolate.store(handle)?;
    let is_ascii = many(store, is_typed, scratch, |at, length, kind| {
        table.set(2 * at, length);
        table.set(2 * at + 1, kind as u32);
    })?;
    let joined = match is_ascii {
        Some(is_ascii) => call.env.string(&scratch.found, is_ascii),
        None => call.env.null(),
    };
    scratch.tidy();
    joined
}

/// `execute(handle, style, ...words)`: the reply; an error is returned, not thrown.
pub fn execute(call: &mut Call<'_, 8>) -> Outcome {
    let handle = call.env.u32(call.values[0])?;
    let style = call.env.u32(call.values[1])?;
    if call.count <= call.values.len() {
        let (values, count) = (call.values, call.count);
        return run(call.env, call.isolate, handle, style, &values[2.min(count)..count]);
    }
    let values = call.all()?;
    run(call.env, call.isolate, handle, style, &values[2..])
}

/// `executeList(handle, style, words)`: as `execute`, for more words than a call can have.
pub fn execute_list(call: &mut Call<'_, 3>) -> Outcome {
    let handle = call.env.u32(call.values[0])?;
    let style = call.env.u32(call.values[1])?;
    let values = call.env.elements(call.values[2])?;
    run(call.env, call.isolate, handle, style, &values)
}

/// `packed(table)`: the packed replies: their text, and in the Uint32Array how many codes there are and, if it has room, the codes.
pub fn packed(call: &mut Call<'_, 1>) -> Outcome {
    let table = call.env.numbers(call.values[0])?;
    let packed = &call.isolate.scratch.packed;
    if table.len() == 0 {
        return Err(usage("ERR the table is too short"));
    }
    table.set(0, packed.codes.len() as u32);
    if packed.codes.len() < table.len() {
        packed.codes.iter().enumerate().for_each(|(at, code)| table.set(at + 1, *code));
    }
    call.env.string(&packed.text, !packed.is_wide)
}

/// `executeMany(handle, style, joined, table, count)`: executes so many commands; their replies are packed, for `packed` to fetch.
/// `joined` has their words one behind the other; the Uint32Array has for each command how many words it has, and their lengths in UTF-16
/// units.
pub fn execute_many(call: &mut Call<'_, 5>) -> Outcome {
    let handle = call.env.u32(call.values[0])?;
    let style = call.env.u32(call.values[1])?;
    let table = call.env.numbers(call.values[3])?;
    let count = call.env.u32(call.values[4])? as usize;
    if count > table.len() {
        return Err(usage("ERR the table is too short"));
    }
    let (mut at, mut ends, mut lengths, mut commands) = (0, Vec::new(), Vec::new(), Vec::<&[&[u8]]>::new());
    ends.try_reserve_exact(count).map_err(out_of_memory)?;
    commands.try_reserve_exact(count).map_err(out_of_memory)?;
    for _ in 0..count {
        let words = if at < table.len() { table.get(at) as usize } else { usize::MAX };
        if words >= table.len() - at {
            return Err(usage("ERR the table is too short"));
        }
        lengths.try_reserve(words).map_err(out_of_memory)?;
        lengths.extend((at + 1..=at + words).map(|at| table.get(at)));
        ends.push(lengths.len());
        at += words + 1;
    }
    let Some(units) = call.env.units(call.values[2], &mut call.isolate.scratch.units)? else {
        return Err(usage(MISUSED));
    };
    split(&lengths, units, &mut call.isolate.scratch)?;
    let (store, scratch) = call.isolate.store(handle)?;
    let mut packed = std::mem::take(&mut scratch.packed);
    packed.clear();
    let words = scratch.words()?;
    let starts = std::iter::once(0).chain(ends.iter().copied());
    commands.extend(starts.zip(&ends).map(|(from, to)| &words[from..*to]));
    let outcome = store.execute(&commands, expected(style), |tape, outcome| {
        packed.tape(tape, style & STRING_NUMBERS != 0)?;
        packed.outcome(outcome);
        Outcome::Ok(())
    });
    drop(words);
    scratch.packed = packed;
    outcome?;
    call.env.undefined()
}

/// `count(handle, prefix)`: how many keys begin with it.
pub fn count(call: &mut Call<'_, 2>) -> Outcome {
    let handle = call.handle_and_key()?;
    let (store, scratch) = call.isolate.store(handle)?;
    let count = store.database().count(&scratch.key)?;
    call.env.number(count as f64)
}

/// `clear(handle, prefix)`: deletes the keys that begin with it and tells how many there were.
pub fn clear(call: &mut Call<'_, 2>) -> Outcome {
    let handle = call.handle_and_key()?;
    let (store, scratch) = call.isolate.store(handle)?;
    let deleted = store.database().clear(&scratch.key)?;
    call.env.number(deleted as f64)
}

/// `page(handle, prefix, cursor)`: an array of the next cursor, 0 at the end, and of keys that begin with the prefix, as Buffers.
pub fn page(call: &mut Call<'_, 3>) -> Outcome {
    let handle = call.handle_and_key()?;
    let cursor = call.env.f64(call.values[2])? as u64;
    let (store, scratch) = call.isolate.store(handle)?;
    let (next, keys) = store.database().page(cursor, &scratch.key)?;
    let env = call.env;
    let values: Vec<Outcome> =
        std::iter::once(env.number(next as f64)).chain(keys.iter().map(|key| env.new_buffer(key))).collect();
    env.array(values.into_iter())
}

/// `own(handle)`: the handle ends with the isolate, unless it is closed before.
pub fn own(call: &mut Call<'_, 1>) -> Outcome {
    let handle = call.env.u32(call.values[0])?;
    call.isolate.owned.insert(handle);
    call.env.undefined()
}

/// `forget(handle)`: drops what the isolate keeps for a handle that was closed.
pub fn forget(call: &mut Call<'_, 1>) -> Outcome {
    let handle = call.env.u32(call.values[0])?;
    call.isolate.forget(handle);
    call.env.undefined()
}

/// `noop()`: what a call costs.
pub fn noop(call: &mut Call<'_, 1>) -> Outcome {
    call.env.undefined()
}

/// `panicForTests()`: lets tests see what becomes of one.
pub fn panic_for_tests(call: &mut Call<'_, 1>) -> Outcome {
    panic!("asked for with {} arguments", call.count)
}

/// What became of a look for a string.
enum Looked {
    Missing,
    /// A value was made of it, where no lock was held.
    Made(Outcome),
    /// It stands in the scratch; whether it is ASCII.
    Copied(bool),
}

/// Looks for the string of the scratch's key. What needs no lock `make` is asked to make a value of; what does, and what it declines, is
/// copied to the scratch.
#[inline(always)]
fn look_up(
    isolate: &mut Isolate,
    handle: u32,
    make: impl FnOnce(Found<'_>) -> Option<Outcome>,
) -> Outcome<Looked> {
    let (store, Scratch { key, found: out, .. }) = isolate.store(handle)?;
    let out = std::cell::RefCell::new(out);
    let copy = |found: Found<'_>| {
        let mut out = out.borrow_mut();
        out.clear();
        out.extend_from_slice(&found.text);
        Looked::Copied(found.is_ascii)
    };
    let free = |found: Found<'_>| make(found).map_or_else(|| copy(found), Looked::Made);
    let held = |found: Option<Found<'_>>| found.map_or(Looked::Missing, copy);
    Ok(store.database().get_with_either(key, free, held)?)
}

/// The value that the scratch holds, or null if its payload is for JavaScript to read.
#[inline]
pub fn value_of(env: JsEnv, scratch: &mut Scratch, is_ascii: bool) -> Outcome {
    if codec::is_plain_text(&scratch.found, is_ascii) {
        return env.string(&scratch.found, true);
    }
    let (tag, skip) = match codec::read(&scratch.found) {
        // The tag says that it was a BigInt.
        Stored::Integer(_) if scratch.found[0] == tag::INTEGER => (tag::INTEGER, 1),
        Stored::Integer(number) => return env.integer(number, true),
        Stored::Float(number) => return env.number(number),
        Stored::Text(text) => return env.string(text.as_bytes(), is_ascii),
        Stored::Bytes(bytes) => (tag::BYTES, scratch.found.len() - bytes.len()),
        Stored::Encoded(tag, payload) => (tag, scratch.found.len() - payload.len()),
        Stored::Unreadable => {
            return Err(usage("ERR the value begins with a tag byte, but no cache wrote it"));
        }
    };
    scratch.tag = tag;
    scratch.found.drain(..skip);
    env.null()
}

/// Appends a value as it is stored: behind `tag`, or as its type wants it.
pub fn encode(
    env: JsEnv,
    value: sys::napi_value,
    tag: u32,
    units: &mut Vec<u16>,
    out: &mut Vec<u8>,
) -> Outcome<()> {
    if tag != 0 {
        // Above a byte: the value is written bare.
        out.extend(u8::try_from(tag));
        return env.bytes(value, units, out);
    }
    if let Some(length) = env.units(value, units)? {
        transcode(&units[..length], out)?;
        let looks_like_integer =
            out.len() <= 20 && out.first().is_some_and(|first| first.is_ascii_digit() || *first == b'-');
        if looks_like_integer && std::str::from_utf8(out).ok().and_then(codec::text_tag).is_some() {
            out.insert(0, tag::TEXT);
        }
        return Ok(());
    }
    if env.is_number(value) {
        let number = env.f64(value)?;
        match whole(number) {
            Ok(whole) if whole != 0 || number.is_sign_positive() => {
                out.extend_from_slice(itoa::Buffer::new().format(whole).as_bytes());
            }
            _ => {
                out.push(tag::FLOAT);
                out.extend_from_slice(&codec::float_payload(number));
            }
        }
        return Ok(());
    }
    env.buffer_bytes(value, out)?;
    if let Some(tag) = codec::bytes_tag(out) {
        out.insert(0, tag);
    }
    Ok(())
}

/// Time to live and condition, as many of them as were given.
#[inline]
pub fn ttl_and_condition(env: JsEnv, values: &[sys::napi_value], given: usize) -> Outcome<(Ttl, Condition)> {
    if given == 0 {
        return Ok((Ttl::None, Condition::Always));
    }
    let ttl = match env.f64(values[0])? {
        0.0 => Ttl::None,
        -1.0 => Ttl::Keep,
        time if (1.0..1e19).contains(&time) => Ttl::After(Duration::from_millis(time as u64)),
        _ => return Err(usage("ERR a time to live must be at least one millisecond")),
    };
    let condition = match if given > 1 { env.u32(values[1])? } else { 0 } {
        0 => Condition::Always,
        1 => Condition::IfAbsent,
        2 => Condition::IfPresent,
        _ => return Err(usage("ERR nx and xx exclude each other")),
    };
    Ok((ttl, condition))
}

/// Executes words that are strings or Buffers.
fn run(env: JsEnv, isolate: &mut Isolate, handle: u32, style: u32, values: &[sys::napi_value]) -> Outcome {
    let Scratch { units, key, ends, .. } = &mut isolate.scratch;
    key.clear();
    ends.clear();
    for value in values {
        env.bytes(*value, units, key)?;
        ends.push(key.len());
    }
    let (store, scratch) = isolate.store(handle)?;
    let mut packed = std::mem::take(&mut scratch.packed);
    let words = scratch.words()?;
    let reply = store.execute(&[&words[..]], expected(style), |tape, outcome| {
        one_reply(env, &mut packed, tape, outcome, style)
    });
    drop(words);
    scratch.packed = packed;
    scratch.tidy();
    reply
}

/// The reply of one command as a value; `undefined` if it is packed, or has not come.
pub fn one_reply(
    env: JsEnv,
    packed: &mut Packed,
    tape: &[u8],
    outcome: keystead::Outcome,
    style: u32,
) -> Outcome {
    if outcome == keystead::Outcome::Blocked {
        packed.clear();
        packed.outcome(outcome);
        return env.undefined();
    }
    let Some((item, _)) = Item::read(tape) else { return Err(usage("ERR no reply is waited for")) };
    let is_packed = style & PACKED != 0 && matches!(item, Item::Array(_) | Item::Map(_) | Item::Set(_));
    if !is_packed || tape.len() > MOST_PACKED {
        return reply(env, &item, style);
    }
    packed.clear();
    packed.tape(tape, style & STRING_NUMBERS != 0)?;
    env.undefined()
}

/// Strings of replies become Buffers.
pub const BUFFERS: u32 = 1;
/// Arrays are packed, for `packed` to fetch; `undefined` says so.
const PACKED: u32 = 4;
/// Longer replies are made through Node-API: whoever keeps one string of a packed one keeps them all.
const MOST_PACKED: usize = 1 << 16;
/// Integers of replies become strings.
const STRING_NUMBERS: u32 = 2;
/// A command that has to wait does; its reply comes with `takeReply`. Otherwise it fails.
const WAITS: u32 = 16;
/// A command that has messages pushed may; they come with `takePush`.
const PUSHES: u32 = 32;
/// Integers that numbers can't hold become BigInts.
const EXACT: u32 = 8;

fn expected(style: u32) -> Expected {
    Expected { waits: style & WAITS != 0, pushes: style & PUSHES != 0 }
}

/// A reply as a value; errors are made, not thrown.
pub fn reply(env: JsEnv, item: &Item<'_>, style: u32) -> Outcome {
    match item {
        Item::Null | Item::NullArray => env.null(),
        Item::Simple(bytes) | Item::Bulk(bytes) | Item::BigNumber(bytes) => text(env, bytes, style),
        Item::Verbatim(bytes) => text(env, bytes.get(4..).unwrap_or_default(), style),
        Item::Integer(number) if style & STRING_NUMBERS != 0 => {
            env.string(itoa::Buffer::new().format(*number).as_bytes(), true)
        }
        Item::Integer(number) => env.integer(*number, style & EXACT != 0),
        Item::Double(number) => env.number(*number),
        Item::Boolean(value) => env.boolean(*value),
        Item::Error { kind, text } => {
            let kind = ErrorKind::ALL.get(usize::from(*kind).wrapping_sub(1)).unwrap_or(&ErrorKind::Command);
            env.error(kind.constant(), text)
        }
        Item::Array(items) | Item::Map(items) | Item::Set(items) | Item::Push(items) => {
            env.array(items.iter().map(|item| reply(env, item, style)))
        }
    }
}

fn text(env: JsEnv, bytes: &[u8], style: u32) -> Outcome {
    if style & BUFFERS == 0 { env.string(bytes, bytes.is_ascii()) } else { env.new_buffer(bytes) }
}
