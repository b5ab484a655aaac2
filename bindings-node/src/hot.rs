//! Node-API as the callbacks of `calls.rs` need it: arguments, results, errors; and all the unsafe code of the binding. It stays whole:
//! the invariants below hold for all of it.
//!
//! What the callbacks do is left to `calls.rs`. What every unsafe block here relies on:
//!
//! * Node calls a callback on its isolate's own thread with a live `env`, and JavaScript of that isolate does not run before the
//!   callback returns: nothing here calls into JavaScript, and Node-API's constructors do not.
//! * The `data` of every callback is the [`Isolate`] that [`install`] made for that `env`. It is freed by a cleanup hook, which
//!   runs after the isolate's last JavaScript, and callbacks do not nest, so each has the only reference.
//! * Bytes of a Buffer are valid, and do not move, until the callback returns; they are copied or filled, never kept. Other threads can
//!   write to those of a SharedArrayBuffer meanwhile, so no reference to them is made.
//! * A [`Call`] is made from what Node passed to the callback, and nothing of it outlives the callback.
//! * A `napi_value` is used within the callback that got or made it.
//!
//! No panic crosses into Node: [`guarded`] makes an `Error` with the code `KS_ERR_INTERNAL` of it. No JavaScript value is made under
//! a shard's lock: what was found is copied to the isolate's scratch first, since making one can start the garbage collector.

use std::collections::HashSet;
use std::ffi::{CString, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::null_mut;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::ThreadId;

use keystead::{Error, ErrorKind, Versions};
use napi::bindgen_prelude::{Env, FnArgs, FromNapiValue, Function, Object};
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};
use napi::{JsValue, Status, sys};
use smallvec::SmallVec;

use crate::calls;
use crate::handles::{self, Store};
use crate::outcome::{Failure, MISUSED, Outcome, out_of_memory, usage};
use crate::scratch::{Scratch, transcode};

/// What one isolate keeps between calls: handles it looked up, and memory to use again.
#[derive(Default)]
pub struct Isolate {
    /// By the handle's place in the table.
    stores: Vec<Option<(u32, Arc<Store>)>>,
    /// The handles that were opened here.
    pub owned: HashSet<u32>,
    pub scratch: Scratch,
    /// How other threads wake it.
    pub bell: Option<Arc<Bell>>,
}

impl Drop for Isolate {
    /// A worker can end at any moment without closing anything.
    fn drop(&mut self) {
        self.stores.clear();
        self.owned.iter().for_each(|handle| handles::abandon(*handle));
    }
}

impl Isolate {
    /// What the handle stands for, and the memory to work in.
    #[inline]
    pub fn store(&mut self, handle: u32) -> Outcome<(&Store, &mut Scratch)> {
        let place = handles::place(handle);
        let is_known = matches!(self.stores.get(place), Some(Some((known, store))) if *known == handle && !store.is_closed());
        if !is_known {
            self.look_up(handle)?;
        }
        match &self.stores[place] {
            Some((_, store)) => Ok((store, &mut self.scratch)),
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

    /// How other threads wake it.
    ///
    /// # Errors
    /// Nothing was given that they could call.
    pub fn bell(&self) -> Outcome<Arc<Bell>> {
        self.bell.clone().ok_or_else(|| usage("ERR the isolate has nothing to be woken by"))
    }

    /// Drops what is kept for a handle that was closed.
    pub fn forget(&mut self, handle: u32) {
        self.owned.remove(&handle);
        if let Some(slot) = self.stores.get_mut(handles::place(handle))
            && slot.as_ref().is_some_and(|(_, store)| store.is_closed())
        {
            *slot = None;
        }
    }
}

/// Bytes that any runtime has strings and Buffers for.
const LONG: usize = 1 << 28;

const TOO_LONG: &str = "ERR the value is longer than a string of this runtime can be (buffer.constants.MAX_STRING_LENGTH): read its bytes";

/// Turns a status of Node-API into a result.
#[inline]
fn ok(status: sys::napi_status) -> Outcome<()> {
    if status == sys::Status::napi_ok { Ok(()) } else { Err(Failure::Pending) }
}

/// A callback under way, with up to `N` of its arguments; those not given are `undefined`.
pub struct Call<'i, const N: usize> {
    pub env: JsEnv,
    /// How many arguments were given.
    pub count: usize,
    pub values: [sys::napi_value; N],
    pub isolate: &'i mut Isolate,
    info: sys::napi_callback_info,
}

/// The isolate of the callback under way.
#[derive(Clone, Copy)]
pub struct JsEnv(sys::napi_env);

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
        Ok(Self { env: JsEnv(env), count, values, isolate, info })
    }

    /// The arguments, however many there are.
    pub fn all(&self) -> Outcome<SmallVec<[sys::napi_value; 32]>> {
        if self.count <= N {
            return Ok(SmallVec::from_slice(&self.values[..self.count]));
        }
        let mut count = self.count;
        let mut values = SmallVec::from_elem(null_mut(), count);
        // SAFETY: `values` has room for `count`, which is how many arguments there are.
        ok(unsafe {
            sys::napi_get_cb_info(
                self.env.0,
                self.info,
                &mut count,
                values.as_mut_ptr(),
                null_mut(),
                null_mut(),
            )
        })?;
        Ok(values)
    }

    /// Reads the key, which is the second argument, to the scratch, and returns the handle, which is the first.
    #[inline]
    pub fn handle_and_key(&mut self) -> Outcome<u32> {
        let handle = self.env.u32(self.values[0])?;
        let Scratch { units, key, .. } = &mut self.isolate.scratch;
        key.clear();
        self.env.bytes(self.values[1], units, key)?;
        Ok(handle)
    }
}

/// Bytes of a Buffer or an ArrayBuffer, until the callback returns.
pub struct Target {
    data: *mut u8,
    length: usize,
}

impl Target {
    /// Bytes from an offset on.
    #[inline]
    pub fn room(&self, offset: usize) -> Outcome<usize> {
        self.length.checked_sub(offset).ok_or_else(|| usage("ERR the offset is beyond the buffer"))
    }

    /// Copies bytes to an offset, if there is room for all of them.
    #[inline]
    pub fn put(&self, offset: usize, bytes: &[u8]) {
        if self.length.checked_sub(offset).is_some_and(|room| bytes.len() <= room) {
            // SAFETY: that many bytes follow the offset, and none of them are the engine's or the scratch's.
            unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.data.add(offset), bytes.len()) };
        }
    }
}

/// Wakes an isolate from any thread: a function of its JavaScript is called there. It does not keep the isolate alive, but from when the isolate's own
/// thread has rung to when the function was called: the loop of events could end in between.
pub struct Bell {
    function: Ringing,
    env: usize,
    thread: ThreadId,
    /// How often the own thread has rung and not rested yet.
    held: AtomicUsize,
}

type Ringing = ThreadsafeFunction<FnArgs<(f64, bool)>, (), FnArgs<(f64, bool)>, Status, false, true>;

impl Bell {
    /// Has the function called with a number, and with whether that keeps the isolate alive until it [rests](Self::rest).
    pub fn ring(&self, id: u64) {
        let is_own = std::thread::current().id() == self.thread;
        if is_own {
            self.hold();
        }
        // An isolate that has ended wants no waking.
        let _ = self.function.call((id as f64, is_own).into(), ThreadsafeFunctionCallMode::NonBlocking);
    }

    /// Keeps the isolate alive until it [rests](Self::rest). The caller is its own thread.
    pub fn hold(&self) {
        if std::thread::current().id() == self.thread && self.held.fetch_add(1, Ordering::Relaxed) == 0 {
            self.keep_alive(true);
        }
    }

    /// Ends what one ring of the own thread, or a [hold](Self::hold), began.
    pub fn rest(&self) {
        if std::thread::current().id() == self.thread && self.held.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.keep_alive(false);
        }
    }

    /// The caller is the isolate's own thread.
    fn keep_alive(&self, keep: bool) {
        let (env, function) = (self.env as sys::napi_env, self.function.raw());
        self.function.handle.with_read_aborted(|has_ended| {
            if !has_ended {
                // SAFETY: the function has not ended, so its env has not; both are of this thread, which is where they may be asked for this.
                unsafe {
                    if keep {
                        sys::napi_ref_threadsafe_function(env, function);
                    } else {
                        sys::napi_unref_threadsafe_function(env, function);
                    }
                }
            }
        });
    }
}

/// The numbers of a Uint32Array, until the callback returns.
pub struct Numbers {
    data: *mut u32,
    length: usize,
}

impl Numbers {
    #[inline]
    pub fn get(&self, at: usize) -> u32 {
        assert!(at < self.length, "an index beyond the table");
        // SAFETY: the array has `length` numbers.
        unsafe { self.data.add(at).read_unaligned() }
    }

    #[inline]
    pub fn set(&self, at: usize, number: u32) {
        assert!(at < self.length, "an index beyond the table");
        // SAFETY: the array has `length` numbers.
        unsafe { self.data.add(at).write_unaligned(number) }
    }

    pub fn len(&self) -> usize {
        self.length
    }
}

impl JsEnv {
    #[inline]
    pub fn u32(self, value: sys::napi_value) -> Outcome<u32> {
        let mut number = 0;
        // SAFETY: both are of the callback under way.
        match ok(unsafe { sys::napi_get_value_uint32(self.0, value, &mut number) }) {
            Ok(()) => Ok(number),
            Err(_) => Err(usage("ERR a handle, an offset or a flag must be a number")),
        }
    }

    #[inline]
    pub fn f64(self, value: sys::napi_value) -> Outcome<f64> {
        let mut number = 0.0;
        // SAFETY: both are of the callback under way.
        match ok(unsafe { sys::napi_get_value_double(self.0, value, &mut number) }) {
            Ok(()) => Ok(number),
            Err(_) => Err(usage("ERR a number was expected")),
        }
    }

    pub fn is_number(self, value: sys::napi_value) -> bool {
        let mut kind = 0;
        // SAFETY: both are of the callback under way.
        unsafe { sys::napi_typeof(self.0, value, &mut kind) };
        kind == sys::ValueType::napi_number
    }

    /// Appends a string as UTF-8, or the bytes of a Buffer or Uint8Array.
    #[inline]
    pub fn bytes(self, value: sys::napi_value, units: &mut Vec<u16>, out: &mut Vec<u8>) -> Outcome<()> {
        match self.units(value, units)? {
            Some(length) => transcode(&units[..length], out),
            None => self.buffer_bytes(value, out),
        }
    }

    /// Reads the UTF-16 units of a string into `units` and returns how many there are; `None` if it is no string.
    #[inline]
    pub fn units(self, value: sys::napi_value, units: &mut Vec<u16>) -> Outcome<Option<usize>> {
        let (mut length, room) = (0, units.len());
        // SAFETY: `units` is initialised, and as long as said.
        let status =
            unsafe { sys::napi_get_value_string_utf16(self.0, value, units.as_mut_ptr(), room, &mut length) };
        // A full buffer, with its closing zero, may mean that the string goes on.
        if status == sys::Status::napi_ok && length + 1 < room {
            return Ok(Some(length));
        }
        if status == sys::Status::napi_string_expected {
            return Ok(None);
        }
        ok(status)?;
        self.long_units(value, units).map(Some)
    }

    #[cold]
    fn long_units(self, value: sys::napi_value, units: &mut Vec<u16>) -> Outcome<usize> {
        let mut length = 0;
        // SAFETY: without a buffer only the length is told.
        ok(unsafe { sys::napi_get_value_string_utf16(self.0, value, null_mut(), 0, &mut length) })?;
        let room = (length + 2).max(units.len());
        units.try_reserve(room - units.len()).map_err(out_of_memory)?;
        units.resize(room, 0);
        // SAFETY: `units` is initialised, and as long as said.
        ok(unsafe {
            sys::napi_get_value_string_utf16(self.0, value, units.as_mut_ptr(), room, &mut length)
        })?;
        Ok(length)
    }

    pub fn buffer_bytes(self, value: sys::napi_value, out: &mut Vec<u8>) -> Outcome<()> {
        let Target { data, length } = self.buffer(value)?;
        out.try_reserve(length).map_err(out_of_memory)?;
        if length > 0 {
            // SAFETY: `data` is `length` bytes of a live Buffer, and `out` has room for them behind its own.
            unsafe {
                std::ptr::copy_nonoverlapping(data, out.as_mut_ptr().add(out.len()), length);
                out.set_len(out.len() + length);
            }
        }
        Ok(())
    }

    /// Kind, address and length of a typed array.
    #[inline]
    fn typed_array(self, value: sys::napi_value) -> Option<(sys::napi_typedarray_type, *mut c_void, usize)> {
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
        (status == sys::Status::napi_ok).then_some((kind, data, length))
    }

    /// Address and length of a Buffer or Uint8Array.
    fn buffer(self, value: sys::napi_value) -> Outcome<Target> {
        use sys::TypedarrayType::{uint8_array, uint8_clamped_array};
        match self.typed_array(value) {
            Some((kind, data, length)) if kind == uint8_array || kind == uint8_clamped_array => {
                Ok(Target { data: data.cast(), length })
            }
            _ => Err(usage(MISUSED)),
        }
    }

    /// Address and length of an ArrayBuffer.
    #[inline]
    pub fn array_buffer(self, value: sys::napi_value) -> Outcome<Target> {
        let (mut length, mut data) = (0, null_mut());
        // SAFETY: the pointers are to locals; what is no ArrayBuffer is refused.
        match ok(unsafe { sys::napi_get_arraybuffer_info(self.0, value, &mut data, &mut length) }) {
            Ok(()) => Ok(Target { data: data.cast(), length }),
            Err(_) => Err(usage("ERR an ArrayBuffer was expected")),
        }
    }

    /// The numbers of a Uint32Array.
    pub fn numbers(self, value: sys::napi_value) -> Outcome<Numbers> {
        match self.typed_array(value) {
            Some((sys::TypedarrayType::uint32_array, data, length)) => {
                Ok(Numbers { data: data.cast(), length })
            }
            _ => Err(usage("ERR a Uint32Array was expected")),
        }
    }

    /// An ArrayBuffer over the counters of versions, which live as long as it.
    pub fn counters(self, versions: Versions) -> Outcome {
        /// Drops the versions that an ArrayBuffer held.
        unsafe extern "C" fn release(_: sys::napi_env, _: *mut c_void, versions: *mut c_void) {
            // SAFETY: it came from `Box::into_raw` below, and Node calls this once.
            drop(unsafe { Box::from_raw(versions.cast::<Versions>()) });
        }
        let (slots, length) = (versions.slots().as_ptr(), size_of_val(versions.slots()));
        let (kept, mut value) = (Box::into_raw(Box::new(versions)), null_mut());
        // SAFETY: the counters do not move and live as long as `kept`; that others change them meanwhile is what they are for, and
        // JavaScript only reads them.
        let status = unsafe {
            sys::napi_create_external_arraybuffer(
                self.0,
                slots.cast_mut().cast(),
                length,
                Some(release),
                kept.cast(),
                &mut value,
            )
        };
        if status != sys::Status::napi_ok {
            // SAFETY: Node took nothing.
            drop(unsafe { Box::from_raw(kept) });
            return Err(usage("ERR this runtime lets no memory be shared: open the cache without `near`"));
        }
        Ok(value)
    }

    /// What wakes this isolate by a function.
    pub fn bell(self, function: sys::napi_value) -> Outcome<Bell> {
        // SAFETY: both are of the callback under way; what is no function is refused below.
        let function = unsafe { Function::<'_, FnArgs<(f64, bool)>, ()>::from_napi_value(self.0, function) };
        let function = function
            .and_then(|function| function.build_threadsafe_function().weak::<true>().build())
            .map_err(|_| usage("ERR a function was expected"))?;
        let thread = std::thread::current().id();
        Ok(Bell { function, env: self.0 as usize, thread, held: AtomicUsize::new(0) })
    }

    /// The elements of an array.
    pub fn elements(self, array: sys::napi_value) -> Outcome<Vec<sys::napi_value>> {
        let mut count = 0;
        // SAFETY: the pointer is to a local; what is no array is refused.
        if unsafe { sys::napi_get_array_length(self.0, array, &mut count) } != sys::Status::napi_ok {
            return Err(usage("ERR an array was expected"));
        }
        let element = |at| {
            let mut value = null_mut();
            // SAFETY: the pointer is to a local.
            ok(unsafe { sys::napi_get_element(self.0, array, at, &mut value) })?;
            Ok(value)
        };
        (0..count).map(element).collect()
    }

    /// An array of so many values.
    pub fn array(self, values: impl ExactSizeIterator<Item = Outcome>) -> Outcome {
        let mut array = null_mut();
        // SAFETY: the pointer is to a local.
        ok(unsafe { sys::napi_create_array_with_length(self.0, values.len(), &mut array) })?;
        for (at, value) in values.enumerate() {
            // SAFETY: array and value are of this env.
            ok(unsafe { sys::napi_set_element(self.0, array, at as u32, value?) })?;
        }
        Ok(array)
    }

    /// What a callback returns that has nothing to tell; no value can be made of it.
    #[inline]
    pub fn undefined(self) -> Outcome {
        Ok(null_mut())
    }

    pub fn null(self) -> Outcome {
        let mut value = null_mut();
        // SAFETY: the pointer is to a local.
        ok(unsafe { sys::napi_get_null(self.0, &mut value) })?;
        Ok(value)
    }

    #[inline]
    pub fn boolean(self, of: bool) -> Outcome {
        let mut value = null_mut();
        // SAFETY: the pointer is to a local.
        ok(unsafe { sys::napi_get_boolean(self.0, of, &mut value) })?;
        Ok(value)
    }

    #[inline]
    pub fn number(self, of: f64) -> Outcome {
        let mut value = null_mut();
        // SAFETY: the pointer is to a local.
        ok(unsafe { sys::napi_create_double(self.0, of, &mut value) })?;
        Ok(value)
    }

    /// An integer: a number, or a BigInt if a number can't hold it and `exact` asks for that.
    #[inline]
    pub fn integer(self, of: i64, exact: bool) -> Outcome {
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
    pub fn string(self, bytes: &[u8], is_ascii: bool) -> Outcome {
        let (mut value, length) = (null_mut(), bytes.len() as isize);
        // SAFETY: pointer and length are those of `bytes`, which is copied.
        let made = ok(unsafe {
            if is_ascii {
                sys::napi_create_string_latin1(self.0, bytes.as_ptr().cast(), length, &mut value)
            } else {
                sys::napi_create_string_utf8(self.0, bytes.as_ptr().cast(), length, &mut value)
            }
        });
        if made.is_err() && bytes.len() > LONG {
            return Err(usage(TOO_LONG));
        }
        made.map(|()| value)
    }

    pub fn new_buffer(self, bytes: &[u8]) -> Outcome {
        let (mut data, mut value) = (null_mut(), null_mut());
        // SAFETY: pointer and length are those of `bytes`, which is copied.
        let made = ok(unsafe {
            sys::napi_create_buffer_copy(self.0, bytes.len(), bytes.as_ptr().cast(), &mut data, &mut value)
        });
        if made.is_err() && bytes.len() > LONG {
            return Err(usage("ERR the value is longer than a Buffer of this runtime can be"));
        }
        made.map(|()| value)
    }

    /// Makes an `Error` with a code, not thrown; a `TypeError` for what a caller did wrong.
    pub fn error(self, kind: &str, text: &[u8]) -> Outcome {
        let (code, text, mut value) =
            (self.string(kind.as_bytes(), true)?, self.string(text, false)?, null_mut());
        // SAFETY: both are strings of this env.
        ok(unsafe {
            if kind == ErrorKind::Usage.constant() {
                sys::napi_create_type_error(self.0, code, text, &mut value)
            } else {
                sys::napi_create_error(self.0, code, text, &mut value)
            }
        })?;
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
}

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

/// Declares the callbacks: the name that JavaScript sees, and the function of `calls.rs` that is called.
macro_rules! callbacks {
    ($( $name:ident )*) => {
        mod entries {
            use super::{Call, calls, guarded, sys};
            $(
                pub unsafe extern "C" fn $name(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
                    guarded(env, || {
                        // SAFETY: Node passes both to the callback.
                        let mut call = unsafe { Call::read(env, info)? };
                        calls::$name(&mut call)
                    })
                }
            )*
        }

        /// Names in Rust's manner, and callbacks.
        const CALLBACKS: &[(&str, unsafe extern "C" fn(sys::napi_env, sys::napi_callback_info) -> sys::napi_value)] =
            &[$( (stringify!($name), entries::$name) ),*];
    };
}

callbacks! {
    get_string get_into set_raw get_value get_versioned versions versions_id pending_tag pending_text pending_into set_value set_values remove has incr incr_exact hget hset expire ttl
    size get_many execute execute_list execute_many packed count clear page begin_load load_within land_value end_load wait_target
    wait_left wake_after end_wait landed_value take_reply wake_on_reply reply_left take_push on_wake hold rest
    wire_open wire_write wire_look wire_state wire_left own forget noop panic_for_tests
}

/// `get_string` as `getString`.
fn camel_case(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |mut all, word| {
        let (initial, rest) = word.split_at(1);
        all.push_str(&initial.to_uppercase());
        all.push_str(rest);
        all
    })
}

/// Adds every callback to the module's exports.
///
/// # Errors
/// Node refuses.
pub fn install(env: &Env, exports: &Object<'_>) -> napi::Result<()> {
    let (env, exports) = (env.raw(), exports.raw());
    let isolate = Box::into_raw(Box::<Isolate>::default());
    // SAFETY: `isolate` lives until the hook, which runs once, after which no callback does.
    napi::check_status!(unsafe { sys::napi_add_env_cleanup_hook(env, Some(free), isolate.cast()) })?;
    for (name, callback) in CALLBACKS {
        let name = CString::new(camel_case(name)).expect("an identifier has no zeros");
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
