//! The functions that are called often, as plain Node-API callbacks, and all the unsafe code of the binding.
//!
//! They take an integer handle first; opening handles is `lib.rs`'s, what users see is `lib/`'s. What every unsafe block relies on:
//!
//! * Node calls a callback on its isolate's own thread with a live `env`, and JavaScript of that isolate does not run before the
//!   callback returns: nothing here calls into JavaScript, and Node-API's constructors do not.
//! * The `data` of every callback is the [`Isolate`] that [`install`] made for that `env`. It is freed by a cleanup hook, which
//!   runs after the isolate's last JavaScript, and callbacks do not nest, so each has the only reference.
//! * Bytes of a Buffer are valid, and do not move, until the callback returns; they are copied or filled, never kept. Other threads can
//!   write to those of a SharedArrayBuffer meanwhile, so no reference to them is made.
//! * A `napi_value` is used within the callback that got or made it.
//!
//! No panic crosses into Node: [`guarded`] makes an `Error` with the code `KS_ERR_INTERNAL` of it. No JavaScript value is made under
//! a shard's lock: what was found is copied to the isolate's scratch first, since making one can start the garbage collector.

use std::collections::HashSet;
use std::ffi::{CStr, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::null_mut;
use std::sync::Arc;
use std::time::Duration;

use keystead::cache::codec::{self, Stored, tag};
use keystead::command::tape::Item;
use keystead::{Condition, Error, ErrorKind, Ttl};
use napi::bindgen_prelude::{Env, Object};
use napi::{JsValue, sys};
use smallvec::SmallVec;

use crate::handles::{self, Store};
use crate::outcome::{Failure, MISUSED, Outcome, usage, whole};
use crate::scratch::{Scratch, UNITS, many, transcode};

/// What one isolate keeps between calls: handles it looked up, and memory to use again.
struct Isolate {
    /// By the handle's place in the table.
    stores: Vec<Option<(u32, Arc<Store>)>>,
    /// The handles that were opened here.
    owned: HashSet<u32>,
    scratch: Scratch,
}

impl Drop for Isolate {
    /// A worker can end at any moment without closing anything.
    fn drop(&mut self) {
        self.stores.clear();
        self.owned.iter().for_each(|handle| handles::abandon(*handle));
    }
}

/// Turns a status of Node-API into a result.
#[inline]
fn ok(status: sys::napi_status) -> Outcome<()> {
    if status == sys::Status::napi_ok { Ok(()) } else { Err(Failure::Pending) }
}

/// The arguments of a callback; those not given are `undefined`.
struct Call<'i, const N: usize> {
    env: JsEnv,
    count: usize,
    values: [sys::napi_value; N],
    isolate: &'i mut Isolate,
}

#[derive(Clone, Copy)]
struct JsEnv(sys::napi_env);

impl<'i, const N: usize> Call<'i, N> {
    /// # Safety
    /// `env` and `info` are those of a callback that [`install`] made, and this is the callback's only `Call`.
    #[inline]
    unsafe fn read(env: sys::napi_env, info: sys::napi_callback_info) -> Outcome<Self> {
        let mut values = [null_mut(); N];
        let (mut count, mut data) = (N, null_mut());
        // SAFETY: the pointers are to locals, `values` has room for `count`; the rest is this function's contract.
        let isolate = unsafe {
            ok(sys::napi_get_cb_info(env, info, &mut count, values.as_mut_ptr(), null_mut(), &mut data))?;
            &mut *data.cast::<Isolate>()
        };
        Ok(Self { env: JsEnv(env), count, values, isolate })
    }

    /// The arguments, however many there are.
    ///
    /// # Safety
    /// `info` is that of the callback under way.
    unsafe fn all(&self, info: sys::napi_callback_info) -> Outcome<SmallVec<[sys::napi_value; 16]>> {
        let mut count = self.count;
        let mut values = SmallVec::from_elem(null_mut(), count);
        // SAFETY: `values` has room for `count`, which is how many arguments there are.
        ok(unsafe {
            sys::napi_get_cb_info(self.env.0, info, &mut count, values.as_mut_ptr(), null_mut(), null_mut())
        })?;
        Ok(values)
    }
}

impl Isolate {
    /// What the handle stands for.
    #[inline]
    fn store(&mut self, handle: u32) -> Outcome<&Store> {
        let place = handles::place(handle);
        let is_known = matches!(self.stores.get(place), Some(Some((known, store))) if *known == handle && !store.is_closed());
        if !is_known {
            self.look_up(handle)?;
        }
        match &self.stores[place] {
            Some((_, store)) => Ok(store),
            None => Err(handles::closed().into()),
        }
    }

    #[cold]
    fn look_up(&mut self, handle: u32) -> Outcome<()> {
        let place = handles::place(handle);
        let found = handles::find(handle);
        if let Some(slot) = self.stores.get_mut(place) {
            *slot = None;
        }
        let store = found.ok_or_else(handles::closed)?;
        if self.stores.len() <= place {
            self.stores.resize_with(place + 1, || None);
        }
        self.stores[place] = Some((handle, store));
        Ok(())
    }
}

impl JsEnv {
    #[inline]
    fn u32(self, value: sys::napi_value) -> Outcome<u32> {
        let mut number = 0;
        // SAFETY: both are of the callback under way.
        match ok(unsafe { sys::napi_get_value_uint32(self.0, value, &mut number) }) {
            Ok(()) => Ok(number),
            Err(_) => Err(usage("ERR a handle, an offset or a flag must be a number")),
        }
    }

    #[inline]
    fn f64(self, value: sys::napi_value) -> Outcome<f64> {
        let mut number = 0.0;
        // SAFETY: both are of the callback under way.
        match ok(unsafe { sys::napi_get_value_double(self.0, value, &mut number) }) {
            Ok(()) => Ok(number),
            Err(_) => Err(usage("ERR a number was expected")),
        }
    }

    fn is_number(self, value: sys::napi_value) -> bool {
        let mut kind = 0;
        // SAFETY: both are of the callback under way.
        unsafe { sys::napi_typeof(self.0, value, &mut kind) };
        kind == sys::ValueType::napi_number
    }

    /// Appends a string as UTF-8, or the bytes of a Buffer or Uint8Array.
    #[inline]
    fn bytes(self, value: sys::napi_value, units: &mut Vec<u16>, out: &mut Vec<u8>) -> Outcome<()> {
        match self.units(value, units)? {
            Some(length) => transcode(&units[..length], out),
            None => self.buffer_bytes(value, out),
        }
    }

    /// Reads the UTF-16 units of a string into `units` and returns how many there are; `None` if it is no string.
    #[inline]
    fn units(self, value: sys::napi_value, units: &mut Vec<u16>) -> Outcome<Option<usize>> {
        let mut length = 0;
        // SAFETY: `units` is initialised, and as long as said.
        let status = unsafe {
            sys::napi_get_value_string_utf16(self.0, value, units.as_mut_ptr(), units.len(), &mut length)
        };
        if status == sys::Status::napi_string_expected {
            return Ok(None);
        }
        ok(status)?;
        // A full buffer, with its closing zero, may mean that the string goes on.
        if length + 1 < units.len() {
            return Ok(Some(length));
        }
        // SAFETY: without a buffer only the length is told.
        ok(unsafe { sys::napi_get_value_string_utf16(self.0, value, null_mut(), 0, &mut length) })?;
        units.resize(length + 2, 0);
        // SAFETY: as above.
        ok(unsafe {
            sys::napi_get_value_string_utf16(self.0, value, units.as_mut_ptr(), units.len(), &mut length)
        })?;
        Ok(Some(length))
    }

    fn buffer_bytes(self, value: sys::napi_value, out: &mut Vec<u8>) -> Outcome<()> {
        let (data, length) = self.buffer(value)?;
        out.reserve(length);
        if length > 0 {
            // SAFETY: `data` is `length` bytes of a live Buffer, and `out` has room for them behind its own.
            unsafe {
                std::ptr::copy_nonoverlapping(data, out.as_mut_ptr().add(out.len()), length);
                out.set_len(out.len() + length);
            }
        }
        Ok(())
    }

    /// Address and length of a Buffer or Uint8Array.
    fn buffer(self, value: sys::napi_value) -> Outcome<(*mut u8, usize)> {
        let (mut kind, mut length, mut data) = (0, 0, null_mut());
        // SAFETY: the pointers are to locals; what is no typed array is refused.
        let status = unsafe {
            sys::napi_get_typedarray_info(
                self.0,
                value,
                &mut kind,
                &mut length,
                &mut data,
                null_mut(),
                null_mut(),
            )
        };
        let is_bytes =
            kind == sys::TypedarrayType::uint8_array || kind == sys::TypedarrayType::uint8_clamped_array;
        if status != sys::Status::napi_ok || !is_bytes {
            return Err(usage(MISUSED));
        }
        Ok((data.cast(), length))
    }

    #[inline]
    fn undefined(self) -> Outcome {
        let mut value = null_mut();
        // SAFETY: the pointer is to a local.
        ok(unsafe { sys::napi_get_undefined(self.0, &mut value) })?;
        Ok(value)
    }

    fn null(self) -> Outcome {
        let mut value = null_mut();
        // SAFETY: the pointer is to a local.
        ok(unsafe { sys::napi_get_null(self.0, &mut value) })?;
        Ok(value)
    }

    #[inline]
    fn boolean(self, of: bool) -> Outcome {
        let mut value = null_mut();
        // SAFETY: the pointer is to a local.
        ok(unsafe { sys::napi_get_boolean(self.0, of, &mut value) })?;
        Ok(value)
    }

    #[inline]
    fn number(self, of: f64) -> Outcome {
        let mut value = null_mut();
        // SAFETY: the pointer is to a local.
        ok(unsafe { sys::napi_create_double(self.0, of, &mut value) })?;
        Ok(value)
    }

    /// An integer: a number, or a BigInt if a number can't hold it and `exact` asks for that.
    #[inline]
    fn integer(self, of: i64, exact: bool) -> Outcome {
        const SAFE: u64 = (1 << 53) - 1;
        let mut value = null_mut();
        // SAFETY: the pointer is to a local.
        ok(unsafe {
            if let Ok(small) = i32::try_from(of) {
                sys::napi_create_int32(self.0, small, &mut value)
            } else if exact && of.unsigned_abs() > SAFE {
                sys::napi_create_bigint_int64(self.0, of, &mut value)
            } else {
                sys::napi_create_int64(self.0, of, &mut value)
            }
        })?;
        Ok(value)
    }

    /// A string; what is not UTF-8 in it becomes U+FFFD.
    #[inline]
    fn string(self, bytes: &[u8], is_ascii: bool) -> Outcome {
        let (mut value, length) = (null_mut(), bytes.len() as isize);
        // SAFETY: pointer and length are those of `bytes`, which is copied.
        ok(unsafe {
            if is_ascii {
                sys::napi_create_string_latin1(self.0, bytes.as_ptr().cast(), length, &mut value)
            } else {
                sys::napi_create_string_utf8(self.0, bytes.as_ptr().cast(), length, &mut value)
            }
        })?;
        Ok(value)
    }

    fn new_buffer(self, bytes: &[u8]) -> Outcome {
        let (mut data, mut value) = (null_mut(), null_mut());
        // SAFETY: pointer and length are those of `bytes`, which is copied.
        ok(unsafe {
            sys::napi_create_buffer_copy(self.0, bytes.len(), bytes.as_ptr().cast(), &mut data, &mut value)
        })?;
        Ok(value)
    }

    /// Makes an `Error` with a code, not thrown.
    fn error(self, kind: &str, text: &[u8]) -> Outcome {
        let (code, text, mut value) =
            (self.string(kind.as_bytes(), true)?, self.string(text, false)?, null_mut());
        // SAFETY: both are strings of this env.
        ok(unsafe { sys::napi_create_error(self.0, code, text, &mut value) })?;
        Ok(value)
    }

    /// Throws what went wrong.
    #[cold]
    fn throw(self, failure: Failure) {
        let mut pending = false;
        // SAFETY: the pointer is to a local.
        unsafe { sys::napi_is_exception_pending(self.0, &mut pending) };
        if pending {
            return;
        }
        let error = match failure {
            Failure::Engine(error) => self.error(error.kind().constant(), error.as_bytes()),
            Failure::Pending => self.error(ErrorKind::Internal.constant(), b"ERR Node refused a value"),
        };
        if let Ok(error) = error {
            // SAFETY: an error object of this env.
            unsafe { sys::napi_throw(self.0, error) };
        }
    }

    /// A reply as a value; errors are made, not thrown.
    fn reply(self, item: &Item<'_>, style: u32) -> Outcome {
        match item {
            Item::Null | Item::NullArray => self.null(),
            Item::Simple(bytes) | Item::Bulk(bytes) | Item::BigNumber(bytes) => self.text(bytes, style),
            Item::Verbatim(bytes) => self.text(bytes.get(4..).unwrap_or_default(), style),
            Item::Integer(number) if style & STRING_NUMBERS != 0 => {
                self.string(itoa::Buffer::new().format(*number).as_bytes(), true)
            }
            Item::Integer(number) => self.integer(*number, false),
            Item::Double(number) => self.number(*number),
            Item::Boolean(value) => self.boolean(*value),
            Item::Error { kind, text } => {
                let kind =
                    ErrorKind::ALL.get(usize::from(*kind).wrapping_sub(1)).unwrap_or(&ErrorKind::Command);
                self.error(kind.constant(), text)
            }
            Item::Array(items) | Item::Map(items) | Item::Set(items) | Item::Push(items) => {
                let mut array = null_mut();
                // SAFETY: the pointer is to a local; every item is a value of this env.
                ok(unsafe { sys::napi_create_array_with_length(self.0, items.len(), &mut array) })?;
                for (at, item) in items.iter().enumerate() {
                    let value = self.reply(item, style)?;
                    // SAFETY: as above.
                    ok(unsafe { sys::napi_set_element(self.0, array, at as u32, value) })?;
                }
                Ok(array)
            }
        }
    }

    fn text(self, bytes: &[u8], style: u32) -> Outcome {
        if style & BUFFERS == 0 { self.string(bytes, bytes.is_ascii()) } else { self.new_buffer(bytes) }
    }
}

/// Strings of replies become Buffers.
const BUFFERS: u32 = 1;
/// Integers of replies become strings.
const STRING_NUMBERS: u32 = 2;

/// Runs a callback's body; an error or a panic becomes a JavaScript exception.
#[inline]
fn guarded(env: sys::napi_env, body: impl FnOnce() -> Outcome) -> sys::napi_value {
    let failure = match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(value)) => return value,
        Ok(Err(failure)) => failure,
        Err(panic) => {
            let text =
                panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
            let text = format!("ERR internal error: {}", text.unwrap_or("a panic"));
            Failure::Engine(Error::new(ErrorKind::Internal, text))
        }
    };
    JsEnv(env).throw(failure);
    null_mut()
}

/// Declares callbacks: how many arguments each takes, and what it does with the call; and the list of all of them.
macro_rules! callbacks {
    ($( $(#[$doc:meta])* $name:literal $function:ident($call:ident: $count:literal $(, $info:ident)?) $body:block )*) => {
        $(
            $(#[$doc])*
            unsafe extern "C" fn $function(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
                guarded(env, || {
                    // SAFETY: Node passes both to the callback.
                    #[allow(unused_mut, reason = "not every body changes its call")]
                    let mut $call = unsafe { Call::<$count>::read(env, info)? };
                    $( let $info = info; )?
                    $body
                })
            }
        )*

        const CALLBACKS: &[(&CStr, unsafe extern "C" fn(sys::napi_env, sys::napi_callback_info) -> sys::napi_value)] =
            &[$( ($name, $function) ),*];
    };
}

/// Reads the handle and the key, which go to the store and the scratch.
macro_rules! store_and_key {
    ($call:ident) => {{
        let handle = $call.env.u32($call.values[0])?;
        let scratch = &mut $call.isolate.scratch;
        scratch.key.clear();
        $call.env.bytes($call.values[1], &mut scratch.units, &mut scratch.key)?;
        handle
    }};
}

callbacks! {
    /// `getString(handle, key)`: a string or undefined.
    c"getString" get_string(call: 2) {
        let handle = store_and_key!(call);
        let is_ascii = with_scratch(call.isolate, handle, look_up)?;
        let scratch = &mut call.isolate.scratch;
        let value = match is_ascii {
            None => call.env.undefined(),
            Some(is_ascii) => call.env.string(&scratch.found, is_ascii),
        };
        if scratch.is_large() {
            scratch.tidy();
        }
        value
    }

    /// `getInto(handle, key, buffer, offset)`: copies what fits entirely; the length, or -1.
    c"getInto" get_into(call: 4) {
        let handle = store_and_key!(call);
        let (data, length) = call.env.buffer(call.values[2])?;
        let offset = call.env.u32(call.values[3])? as usize;
        let room = length.checked_sub(offset).ok_or_else(|| usage("ERR the offset is beyond the buffer"))?;
        let key = std::mem::take(&mut call.isolate.scratch.key);
        let found = call.isolate.store(handle).and_then(|store| {
            Ok(store.database().get_with(&key, |found| {
                found.map(|found| {
                    if found.text.len() <= room {
                        // SAFETY: `room` bytes of the buffer follow its offset, and none of them are the engine's.
                        unsafe { std::ptr::copy_nonoverlapping(found.text.as_ptr(), data.add(offset), found.text.len()) };
                    }
                    found.text.len()
                })
            })?)
        });
        call.isolate.scratch.key = key;
        call.env.number(found?.map_or(-1.0, |length| length as f64))
    }

    /// `setRaw(handle, key, value, ttlMs, condition)`: whether it was set.
    c"setRaw" set_raw(call: 5) {
        let handle = store_and_key!(call);
        let (ttl, condition) = ttl_and_condition(call.env, &call.values[3..], call.count - 3.min(call.count))?;
        let Isolate { scratch, .. } = call.isolate;
        scratch.value.clear();
        call.env.bytes(call.values[2], &mut scratch.units, &mut scratch.value)?;
        let set = with_scratch(call.isolate, handle, |store, scratch| {
            Ok(store.database().set(&scratch.key, &scratch.value, ttl, condition)?)
        });
        call.env.boolean(set?)
    }

    /// `getValue(handle, key)`: a string or a number; undefined if there is none; null if `pending*` have to be asked.
    c"getValue" get_value(call: 2) {
        let handle = store_and_key!(call);
        match with_scratch(call.isolate, handle, look_up)? {
            None => call.env.undefined(),
            Some(is_ascii) => value_of(call.env, &mut call.isolate.scratch, is_ascii),
        }
    }

    /// `pendingTag()`: the tag of what `getValue` found.
    c"pendingTag" pending_tag(call: 1) {
        call.env.integer(call.isolate.scratch.tag.into(), false)
    }

    /// `pendingText()`: its payload as a string.
    c"pendingText" pending_text(call: 1) {
        let found = &call.isolate.scratch.found;
        call.env.string(found, found.is_ascii())
    }

    /// `pendingInto(buffer, offset)`: copies its payload if it fits; the length.
    c"pendingInto" pending_into(call: 2) {
        let found = &call.isolate.scratch.found;
        let (data, length) = call.env.buffer(call.values[0])?;
        let offset = call.env.u32(call.values[1])? as usize;
        if length.checked_sub(offset).is_some_and(|room| found.len() <= room) {
            // SAFETY: that many bytes of the buffer follow its offset, and none of them are the scratch's.
            unsafe { std::ptr::copy_nonoverlapping(found.as_ptr(), data.add(offset), found.len()) };
        }
        call.env.number(found.len() as f64)
    }

    /// `setValue(handle, key, value, tag, ttlMs, condition)`: as `setRaw`, with the type kept; tag 0 means that the value's type says it.
    c"setValue" set_value(call: 6) {
        let handle = store_and_key!(call);
        let (ttl, condition) = ttl_and_condition(call.env, &call.values[4..], call.count - 4.min(call.count))?;
        let tag = if call.count > 3 { call.env.u32(call.values[3])? } else { 0 };
        let Scratch { units, value, .. } = &mut call.isolate.scratch;
        value.clear();
        encode(call.env, call.values[2], tag, units, value)?;
        let set = with_scratch(call.isolate, handle, |store, scratch| {
            Ok(store.database().set(&scratch.key, &scratch.value, ttl, condition)?)
        });
        call.env.boolean(set?)
    }

    /// `setValues(handle, ttlMs, [key, tag, value, ...])`: all of them or none.
    c"setValues" set_values(call: 3) {
        let handle = call.env.u32(call.values[0])?;
        let (ttl, _) = ttl_and_condition(call.env, &call.values[1..], 1)?;
        let words = elements(call.env, call.values[2])?;
        let mut pairs = Vec::with_capacity(words.len() / 3);
        for triple in words.chunks_exact(3) {
            let (mut key, mut value) = (Vec::new(), Vec::new());
            let units = &mut call.isolate.scratch.units;
            call.env.bytes(triple[0], units, &mut key)?;
            encode(call.env, triple[2], call.env.u32(triple[1])?, units, &mut value)?;
            pairs.push((key, value));
        }
        call.isolate.store(handle)?.database().set_many(&pairs, ttl)?;
        call.env.undefined()
    }

    /// `remove(handle, key)`: whether it existed.
    c"remove" remove(call: 2) {
        let handle = store_and_key!(call);
        let removed = with_scratch(call.isolate, handle, |store, scratch| Ok(store.database().delete(&scratch.key)));
        call.env.boolean(removed?)
    }

    /// `has(handle, key)`.
    c"has" has(call: 2) {
        let handle = store_and_key!(call);
        let has = with_scratch(call.isolate, handle, |store, scratch| Ok(store.database().contains(&scratch.key)));
        call.env.boolean(has?)
    }

    /// `incr(handle, key, by, exact)`: the sum; with `exact` a BigInt where a number can't hold it.
    c"incr" incr(call: 4) {
        let handle = store_and_key!(call);
        let by = if call.count > 2 { whole(call.env.f64(call.values[2])?)? } else { 1 };
        let sum = with_scratch(call.isolate, handle, |store, scratch| Ok(store.database().incr(&scratch.key, by)?));
        call.env.integer(sum?, call.count > 3)
    }

    /// `hget(handle, key, field)`: a string or null.
    c"hget" hget(call: 3) {
        let handle = store_and_key!(call);
        let Scratch { units, value, .. } = &mut call.isolate.scratch;
        value.clear();
        call.env.bytes(call.values[2], units, value)?;
        let is_found = with_scratch(call.isolate, handle, |store, scratch| {
            let Scratch { key, value, found: out, .. } = scratch;
            Ok(store.database().hget_with(key, value, |found| {
                found.map(|bytes| {
                    out.clear();
                    out.extend_from_slice(bytes);
                }).is_some()
            })?)
        });
        if !is_found? {
            return call.env.null();
        }
        let found = &call.isolate.scratch.found;
        call.env.string(found, found.is_ascii())
    }

    /// `expire(handle, key, ttlMs)`: whether it exists; without a time to live the deadline is removed.
    c"expire" expire(call: 3) {
        let handle = store_and_key!(call);
        let (ttl, _) = ttl_and_condition(call.env, &call.values[2..], call.count - 2.min(call.count))?;
        let exists = with_scratch(call.isolate, handle, |store, scratch| {
            let (database, key) = (store.database(), &scratch.key);
            Ok(match ttl {
                Ttl::After(time) => database.expire(key, time)?,
                Ttl::None | Ttl::Keep => {
                    database.persist(key)?;
                    database.contains(key)
                }
            })
        });
        call.env.boolean(exists?)
    }

    /// `ttl(handle, key)`: milliseconds, null without a deadline, undefined if there is no such key.
    c"ttl" ttl(call: 2) {
        let handle = store_and_key!(call);
        match with_scratch(call.isolate, handle, |store, scratch| Ok(store.database().ttl(&scratch.key)))? {
            None => call.env.undefined(),
            Some(None) => call.env.null(),
            Some(Some(time)) => call.env.number(time.as_secs_f64() * 1000.0),
        }
    }

    /// `size(handle)`: number of keys.
    c"size" size(call: 1) {
        let handle = call.env.u32(call.values[0])?;
        let size = call.isolate.store(handle)?.database().len();
        call.env.number(size as f64)
    }

    /// `getMany(handle, joined, table, typed)`: the strings of keys, joined as the keys are. `table` is a Uint32Array of twice as many
    /// numbers as keys: it comes with the keys' lengths in UTF-16 units and goes with the values' lengths and then their kinds.
    c"getMany" get_many(call: 4) {
        let handle = call.env.u32(call.values[0])?;
        let (table, count) = table(call.env, call.values[2])?;
        let is_typed = call.count > 3;
        let Some(length) = call.env.units(call.values[1], &mut call.isolate.scratch.units)? else {
            return Err(usage(MISUSED));
        };
        // SAFETY: the first half of the table, read before anything else is done.
        let lengths: SmallVec<[u32; 128]> = (0..count).map(|at| unsafe { table.add(at).read_unaligned() }).collect();
        let mut scratch = std::mem::take(&mut call.isolate.scratch);
        let joined = call.isolate.store(handle).and_then(|store| many(store, &lengths, length, is_typed, &mut scratch));
        let result = joined.and_then(|answers| {
            for (at, (length, kind)) in answers.iter().enumerate() {
                // SAFETY: the table has twice `count` numbers.
                unsafe {
                    table.add(at).write_unaligned(*length);
                    table.add(count + at).write_unaligned(*kind as u32);
                }
            }
            call.env.string(&scratch.found, scratch.found.is_ascii())
        });
        scratch.tidy();
        call.isolate.scratch = scratch;
        result
    }

    /// `execute(handle, style, ...words)`: the reply; an error is returned, not thrown.
    c"execute" execute(call: 16, info) {
        let handle = call.env.u32(call.values[0])?;
        let style = call.env.u32(call.values[1])?;
        if call.count <= 16 {
            let (values, count) = (call.values, call.count);
            run(call.env, call.isolate, handle, style, &values[2.min(count)..count])
        } else {
            // SAFETY: it is this callback's.
            let values = unsafe { call.all(info)? };
            run(call.env, call.isolate, handle, style, &values[2..])
        }
    }

    /// `executeList(handle, style, words)`: as `execute`, for more words than a call can have.
    c"executeList" execute_list(call: 3) {
        let handle = call.env.u32(call.values[0])?;
        let style = call.env.u32(call.values[1])?;
        let values = elements(call.env, call.values[2])?;
        run(call.env, call.isolate, handle, style, &values)
    }

    /// `own(handle)`: the handle ends with the isolate, unless it is closed before.
    c"own" own(call: 1) {
        let handle = call.env.u32(call.values[0])?;
        call.isolate.owned.insert(handle);
        call.env.undefined()
    }

    /// `forget(handle)`: drops what the isolate keeps for a handle that was closed.
    c"forget" forget(call: 1) {
        let handle = call.env.u32(call.values[0])?;
        call.isolate.owned.remove(&handle);
        if let Some(slot) = call.isolate.stores.get_mut(handles::place(handle))
            && slot.as_ref().is_some_and(|(_, store)| store.is_closed())
        {
            *slot = None;
        }
        call.env.undefined()
    }

    /// `noop()`: what a call costs.
    c"noop" noop(call: 1) {
        call.env.undefined()
    }

    /// `panic()`: lets tests see what becomes of one.
    c"panic" panic_for_tests(call: 1) {
        panic!("asked for with {} arguments", call.count)
    }
}

/// Calls `work` with the store of a handle and the isolate's scratch.
#[inline]
fn with_scratch<R>(
    isolate: &mut Isolate,
    handle: u32,
    work: impl FnOnce(&Store, &mut Scratch) -> Outcome<R>,
) -> Outcome<R> {
    isolate.store(handle)?;
    let Isolate { stores, scratch, .. } = isolate;
    let Some(Some((_, store))) = stores.get(handles::place(handle)) else {
        return Err(handles::closed().into());
    };
    work(store, scratch)
}

/// Copies the string of the scratch's key to it; whether that is ASCII, `None` if there is none.
#[inline]
fn look_up(store: &Store, scratch: &mut Scratch) -> Outcome<Option<bool>> {
    let Scratch { key, found: out, .. } = scratch;
    Ok(store.database().get_with(key, |found| {
        found.map(|found| {
            out.clear();
            out.extend_from_slice(&found.text);
            found.is_ascii
        })
    })?)
}

/// The value that the scratch holds, or null if its payload is for JavaScript to read.
#[inline]
fn value_of(env: JsEnv, scratch: &mut Scratch, is_ascii: bool) -> Outcome {
    // ASCII that does not begin as an integer does is text.
    if is_ascii && scratch.found.first().is_none_or(|first| !first.is_ascii_digit() && *first != b'-') {
        return env.string(&scratch.found, true);
    }
    let (tag, skip) = match codec::read(&scratch.found) {
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
fn encode(
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
fn ttl_and_condition(env: JsEnv, values: &[sys::napi_value], given: usize) -> Outcome<(Ttl, Condition)> {
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

fn elements(env: JsEnv, array: sys::napi_value) -> Outcome<Vec<sys::napi_value>> {
    let mut count = 0;
    // SAFETY: the pointers are to locals; what is no array is refused.
    unsafe {
        if sys::napi_get_array_length(env.0, array, &mut count) != sys::Status::napi_ok {
            return Err(usage("ERR an array was expected"));
        }
        let element = |at| {
            let mut value = null_mut();
            ok(sys::napi_get_element(env.0, array, at, &mut value))?;
            Ok(value)
        };
        (0..count).map(element).collect()
    }
}

/// Address of a Uint32Array and half its length.
fn table(env: JsEnv, value: sys::napi_value) -> Outcome<(*mut u32, usize)> {
    let (mut kind, mut length, mut data) = (0, 0, null_mut());
    // SAFETY: the pointers are to locals; what is no typed array is refused.
    let status = unsafe {
        sys::napi_get_typedarray_info(env.0, value, &mut kind, &mut length, &mut data, null_mut(), null_mut())
    };
    if status != sys::Status::napi_ok || kind != sys::TypedarrayType::uint32_array {
        return Err(usage("ERR a Uint32Array was expected"));
    }
    Ok((data.cast(), length / 2))
}

/// Executes words that are strings or Buffers.
fn run(env: JsEnv, isolate: &mut Isolate, handle: u32, style: u32, values: &[sys::napi_value]) -> Outcome {
    let scratch = &mut isolate.scratch;
    scratch.key.clear();
    scratch.ends.clear();
    for value in values {
        env.bytes(*value, &mut scratch.units, &mut scratch.key)?;
        scratch.ends.push(scratch.key.len());
    }
    let reply = with_scratch(isolate, handle, |store, scratch| {
        let starts = std::iter::once(0).chain(scratch.ends.iter().copied());
        let argv: SmallVec<[&[u8]; 16]> =
            starts.zip(&scratch.ends).map(|(from, to)| &scratch.key[from..*to]).collect();
        store.execute(&argv, |tape| {
            let (item, _) = Item::read(tape).expect("the engine writes whole items");
            env.reply(&item, style)
        })
    });
    if isolate.scratch.is_large() {
        isolate.scratch.tidy();
    }
    reply
}

/// Adds every callback to the module's exports.
///
/// # Errors
/// Node refuses.
pub fn install(env: &Env, exports: &Object<'_>) -> napi::Result<()> {
    let (env, exports) = (env.raw(), exports.raw());
    let scratch = Scratch { units: vec![0; UNITS], ..Scratch::default() };
    let isolate = Box::into_raw(Box::new(Isolate { stores: Vec::new(), owned: HashSet::new(), scratch }));
    // SAFETY: `isolate` lives until the hook, which runs once, after which no callback does.
    napi::check_status!(unsafe { sys::napi_add_env_cleanup_hook(env, Some(free), isolate.cast()) })?;
    for (name, callback) in CALLBACKS {
        let mut function = null_mut();
        // SAFETY: the name ends with a zero; `env` and `exports` are those of the call under way.
        napi::check_status!(unsafe {
            sys::napi_create_function(
                env,
                name.as_ptr(),
                name.count_bytes() as isize,
                Some(*callback),
                isolate.cast(),
                &mut function,
            )
        })?;
        // SAFETY: as above.
        napi::check_status!(unsafe { sys::napi_set_named_property(env, exports, name.as_ptr(), function) })?;
    }
    Ok(())
}

/// Frees what belongs to an isolate that ends; engines with names belong to the process.
unsafe extern "C" fn free(isolate: *mut c_void) {
    // SAFETY: it came from `Box::into_raw`, and the hook runs once.
    let isolate = unsafe { Box::from_raw(isolate.cast::<Isolate>()) };
    // Nobody is left to tell of a panic, and none may pass into Node.
    let _ = catch_unwind(AssertUnwindSafe(|| drop(isolate)));
}
