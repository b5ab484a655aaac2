//! Every function of the C interface, and all the unsafe code it needs. It stays whole: what is promised here holds for all of it, and the header is
//! printed from it in this order.
//!
//! What callers must keep to, and what every `unsafe` block below relies on:
//!
//! * A handle comes from this library, is used by no thread once it was closed, and is closed once. A session is used by one thread
//!   at a time; an engine by any number.
//! * A pointer with a length points to that many readable bytes (a buffer: writable ones) for the time of the call. With length 0 it
//!   may be null. Arrays have as many members as their count says.
//! * Where a function gives something back through a pointer, the pointer is valid for writing.
//! * Options have as many bytes as their `size` says.
//!
//! A null pointer where none is allowed is an error (`KS_ERR_USAGE`), whichever it is, before anything is done.
//!
//! No function unwinds into C: [`guarded`] turns a panic into `KS_ERR_INTERNAL`.

#![allow(non_camel_case_types, reason = "the names are C's")]
#![allow(
    clippy::missing_safety_doc,
    reason = "the same for all functions: it stands at the head, and in the header's"
)]

use std::cell::RefCell;
use std::ffi::{CString, c_char, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use keystead::{
    Condition, Config, Databases, Engine, Error, ErrorKind, Form, Item, Listener, Numbered, Outcome, Session,
    SetOptions, Ttl,
};

use crate::bell::{Bell, look};
use crate::numbers::{ks_reply_type, ks_status};

/// An engine. Opaque.
pub struct ks_engine {
    databases: Databases,
}

/// A session. Opaque.
pub struct ks_session {
    session: Session,
    /// What its user polls, once that was asked for.
    bell: Option<Bell>,
}

/// What lets clients of other processes talk to an engine. Opaque.
pub struct ks_listener {
    listener: Listener,
}

/// How to open an engine. Set `size` to sizeof(struct ks_options), and what you don't need to zero.
///
/// Later versions add members at the end. A library takes the smaller structs of older headers, and larger ones of newer headers as long as what it does
/// not know is zero.
#[repr(C)]
pub struct ks_options {
    /// sizeof(struct ks_options) of the header that the program was compiled with.
    pub size: usize,
    /// Everyone in the process who opens the same name gets the same engine; NULL for a private one. "valkey://host:6379/0" is the URL of a server: see docs/remote.md.
    pub name: *const c_char,
    /// Options as in valkey.conf, one a line, such as "maxmemory 100mb"; NULL for the defaults.
    pub config: *const c_char,
    /// The folder that the engine is kept in, which is made if it is not there, but for the folder it is in: what is in it is loaded, and every write goes to
    /// a log there. A killed process loses nothing that a call has returned for, a power failure no more than the option "appendfsync" allows. Everyone in
    /// the process who opens the same path gets the same engine; other processes are refused. NULL for none, as with a name.
    pub path: *const c_char,
}

/// A reply, in hiredis's manner. Free the whole tree with ks_free_reply on its root.
#[repr(C)]
pub struct ks_reply {
    /// What it is.
    pub type_: ks_reply_type,
    /// The number of an integer, a boolean or an error.
    pub integer: i64,
    /// The number of a double.
    pub dval: f64,
    /// Bytes in `str`, the zero behind them not counted.
    pub len: usize,
    /// The bytes, with a zero behind them; NULL for types without.
    pub str: *mut c_char,
    /// The format of a verbatim string.
    pub vtype: [c_char; 4],
    /// Number of elements.
    pub elements: usize,
    /// The elements; NULL for types without.
    pub element: *mut *mut ks_reply,
}

thread_local! {
    static LAST_ERROR: RefCell<CString> = RefCell::default();
}

fn remember(error: &Error) -> ks_status {
    let text: Vec<u8> = error.as_bytes().iter().copied().filter(|byte| *byte != 0).collect();
    LAST_ERROR.with(|last| *last.borrow_mut() = CString::new(text).expect("zeros were taken out"));
    error.kind().into()
}

/// Runs the body of a call: an error or a panic becomes a status.
fn guarded(body: impl FnOnce() -> Result<ks_status, Error>) -> ks_status {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(status)) => status,
        Ok(Err(error)) => remember(&error),
        Err(_) => remember(&Error::new(ErrorKind::Internal, "ERR a bug in Keystead: the call panicked")),
    }
}

fn usage(text: &'static str) -> Error {
    Error::new(ErrorKind::Usage, text)
}

fn null(what: &str) -> Error {
    Error::new(ErrorKind::Usage, format!("ERR {what} is a null pointer"))
}

/// An empty vector with room for so many items.
fn with_room_for<T>(items: usize) -> Result<Vec<T>, Error> {
    let mut all = Vec::new();
    all.try_reserve_exact(items).map_err(|_| Error::no_memory())?;
    Ok(all)
}

/// # Safety
/// `bytes` points to `len` readable bytes, or is null.
#[inline]
unsafe fn slice<'a>(what: &str, bytes: *const c_void, len: usize) -> Result<&'a [u8], Error> {
    if len == 0 {
        return Ok(&[]);
    }
    if bytes.is_null() {
        return Err(null(what));
    }
    // SAFETY: the caller's promise.
    Ok(unsafe { std::slice::from_raw_parts(bytes.cast(), len) })
}

/// # Safety
/// `bytes` points to `len` writable bytes that nobody else touches, or is null.
#[inline]
unsafe fn buffer_of<'a>(bytes: *mut c_void, len: usize) -> Result<&'a mut [u8], Error> {
    if len == 0 {
        return Ok(&mut []);
    }
    if bytes.is_null() {
        return Err(null("the buffer"));
    }
    // SAFETY: the caller's promise.
    Ok(unsafe { std::slice::from_raw_parts_mut(bytes.cast(), len) })
}

/// Where something is given back, which is `start` until it is.
///
/// # Safety
/// `place` is valid for writing and nobody else touches it during the call, or is null.
#[inline]
unsafe fn out<'a, T>(what: &str, place: *mut T, start: T) -> Result<&'a mut T, Error> {
    if place.is_null() {
        return Err(null(what));
    }
    // SAFETY: the caller's promise; it is written before it is referred to.
    unsafe {
        place.write(start);
        Ok(&mut *place)
    }
}

/// # Safety
/// `text` is null or a string that ends with a zero.
unsafe fn text<'a>(text: *const c_char) -> Option<&'a [u8]> {
    // SAFETY: the caller's promise.
    (!text.is_null()).then(|| unsafe { std::ffi::CStr::from_ptr(text) }.to_bytes())
}

/// # Safety
/// `engine` is an open handle, or null.
#[inline]
unsafe fn database<'a>(engine: *const ks_engine, db: u32) -> Result<Numbered<'a>, Error> {
    // SAFETY: the caller's promise.
    unsafe { engine.as_ref() }.ok_or_else(|| null("the engine"))?.databases.get(db as usize)
}

/// # Safety
/// `handle` came from a box and is closed once, or is null.
unsafe fn close<T>(handle: *mut T) {
    if !handle.is_null() {
        // SAFETY: the caller's promise.
        let handle = unsafe { Box::from_raw(handle) };
        guarded(move || {
            drop(handle);
            Ok(ks_status::KS_OK)
        });
    }
}

/// Text of this thread's last failure, valid until its next one. Never NULL.
#[unsafe(no_mangle)]
pub extern "C" fn ks_last_error() -> *const c_char {
    LAST_ERROR.with(|last| last.borrow().as_ptr())
}

/// The library's version, such as "0.1.0".
#[unsafe(no_mangle)]
pub extern "C" fn ks_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

/// Makes a status and a text, which may be NULL for none, this thread's last failure, and returns the status: for what is written in C, as ks_vcommand is.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ks_set_last_error(status: ks_status, text: *const c_char) -> ks_status {
    // SAFETY: null, or a string.
    let text = unsafe { self::text(text) }.unwrap_or_default();
    LAST_ERROR.with(|last| *last.borrow_mut() = CString::new(text).expect("a C string has no zeros"));
    status
}

/// The members of options that their size says are there; none for null.
///
/// # Safety
/// `options` is null, or has as many bytes as its `size` says.
unsafe fn read_options(options: *const ks_options) -> Result<ks_options, Error> {
    /// More than any version will have.
    const MOST: usize = 4096;
    let none = std::ptr::null();
    let mut known = ks_options { size: size_of::<ks_options>(), name: none, config: none, path: none };
    if options.is_null() {
        return Ok(known);
    }
    // SAFETY: whatever its size, the member is there.
    let size = unsafe { (&raw const (*options).size).read() };
    if !(size_of::<usize>()..=MOST).contains(&size) {
        return Err(usage("ERR ks_options.size is not set"));
    }
    // SAFETY: so many bytes are there, and `known` has room for them; any bytes are valid members.
    let beyond = unsafe {
        let bytes = options.cast::<u8>();
        let shared = size.min(size_of::<ks_options>());
        std::ptr::copy_nonoverlapping(bytes, (&raw mut known).cast::<u8>(), shared);
        std::slice::from_raw_parts(bytes.add(shared), size - shared)
    };
    // A member of which only a part is there has no value.
    let holds = |offset: usize| offset + size_of::<*const c_char>() <= size;
    if !holds(std::mem::offset_of!(ks_options, name)) {
        known.name = std::ptr::null();
    }
    if !holds(std::mem::offset_of!(ks_options, config)) {
        known.config = std::ptr::null();
    }
    if !holds(std::mem::offset_of!(ks_options, path)) {
        known.path = std::ptr::null();
    }
    if beyond.iter().any(|byte| *byte != 0) {
        return Err(usage("ERR an option is set that this version of the library does not know"));
    }
    Ok(known)
}

/// Opens an engine. `options` may be NULL for a private engine with default options. On an error `*engine` is NULL.
///
/// Returns KS_OK, KS_ERR_USAGE for a wrong size or option, a name or path that is not UTF-8, or both of them, among them, or KS_ERR_IO where another process
/// has the path, which ks_last_error() names, or what is there is damaged or can't be read or written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ks_open(options: *const ks_options, engine: *mut *mut ks_engine) -> ks_status {
    guarded(|| {
        // SAFETY: the caller's pointers are as the head of this file says.
        let (opened, options) =
            unsafe { (out("engine", engine, std::ptr::null_mut())?, read_options(options)?) };
        let mut builder = Engine::builder();
        // SAFETY: the members are null or strings.
        let (name, config, path) = unsafe { (text(options.name), text(options.config), text(options.path)) };
        if let Some(name) = name {
            // Replacing what is not would give two names one engine.
            let name = std::str::from_utf8(name).map_err(|_| usage("ERR the engine's name is not UTF-8"))?;
            builder = builder.name(name);
        }
        if let Some(path) = path {
            builder = builder.path(as_path(path));
        }
        if let Some(config) = config {
            builder = builder.config(Config::from_text(config)?);
        }
        let engine = builder.open()?;
        *opened = Box::into_raw(Box::new(ks_engine { databases: Databases::of(&engine) }));
        Ok(ks_status::KS_OK)
    })
}

fn as_path(bytes: &[u8]) -> &Path {
    Path::new::<std::ffi::OsStr>(std::os::unix::ffi::OsStrExt::from_bytes(bytes))
}

/// Writes all databases, as they are now, to one file of Valkey's format (RDB), or of Keystead's own if its name ends in `.ks`, which takes the place of what was there, whole or not at all. Other threads go
/// on meanwhile. O(data).
///
/// Returns KS_OK, KS_ERR_IO if the file can't be written: what was there is there; or KS_ERR_USAGE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ks_snapshot(engine: *const ks_engine, path: *const c_char) -> ks_status {
    // SAFETY: the handle is open, the path a string; or they are null.
    guarded(|| unsafe { with_file(engine, path, Engine::snapshot) })
}

/// Has all databases hold what a file of Valkey's format (RDB) or of Keystead's own holds, and nothing else. Nobody sees a part of it: other threads wait, and have writes refused
/// until the log of a path is written anew. O(data).
///
/// Returns KS_OK, KS_ERR_IO if the file is damaged or can't be read, and nothing has changed, or if the log can't be written; KS_ERR_OOM; or KS_ERR_USAGE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ks_restore(engine: *const ks_engine, path: *const c_char) -> ks_status {
    // SAFETY: the handle is open, the path a string; or they are null.
    guarded(|| unsafe { with_file(engine, path, Engine::restore) })
}

/// # Safety
/// `engine` is an open handle, `path` a string that ends with a zero; or they are null.
unsafe fn with_file<'a>(
    engine: *const ks_engine,
    path: *const c_char,
    run: impl FnOnce(&'a Engine, &'a Path) -> Result<(), Error>,
) -> Result<ks_status, Error> {
    // SAFETY: the caller's promise.
    let (engine, path) = unsafe { (engine.as_ref(), text(path)) };
    let engine = engine.ok_or_else(|| null("the engine"))?.databases.engine();
    run(engine, as_path(path.ok_or_else(|| null("the path"))?))?;
    Ok(ks_status::KS_OK)
}

/// Gives what whoever opened an engine should know of what was on disk, through `*notes`: an array of strings, to be freed with ks_free_reply, without
/// elements where there is nothing to say. They tell what was imported, taken from the end of the log that a killed process left, or cut off.
///
/// Returns KS_OK, KS_ERR_USAGE, or KS_ERR_OOM.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ks_opening_notes(engine: *const ks_engine, notes: *mut *mut ks_reply) -> ks_status {
    guarded(|| {
        // SAFETY: the caller's pointer is valid for writing, the handle open; or they are null.
        let (given, engine) = unsafe { (out("notes", notes, std::ptr::null_mut())?, engine.as_ref()) };
        let notes = engine.ok_or_else(|| null("the engine"))?.databases.engine().opening_notes();
        *given = reply_of(&Item::Array(notes.iter().map(|note| Item::Bulk(note.as_bytes())).collect()))?;
        Ok(ks_status::KS_OK)
    })
}

/// Closes a handle. The engine ends with its last handle and session, and so does the log of a path: what was acknowledged is on disk then, and other
/// processes may open it. NULL is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ks_close(engine: *mut ks_engine) {
    // SAFETY: the handle came from this library and is closed once, or is null.
    unsafe { close(engine) };
}

/// Lets Valkey's clients talk to an engine, in RESP2 and RESP3, until the listener is closed: at "host:port", "[IPv6 address]:port", "unix:/path", or,
/// encrypted with what the `tls-` options name, "tls:host:port". With port 0 the system chooses the port, which ks_listener_places tells. Threads of the
/// library serve them. The engine stays open as long. On an error `*listener` is NULL.
///
/// Returns KS_OK, KS_ERR_IO if the place can't be listened at, or KS_ERR_USAGE if the address names none or is not UTF-8.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ks_listen(
    engine: *const ks_engine,
    address: *const c_char,
    listener: *mut *mut ks_listener,
) -> ks_status {
    guarded(|| {
        // SAFETY: the caller's pointers are as the head of this file says.
        let (given, engine, address) =
            unsafe { (out("listener", listener, std::ptr::null_mut())?, engine.as_ref(), text(address)) };
        let engine = engine.ok_or_else(|| null("the engine"))?.databases.engine();
        let address = std::str::from_utf8(address.ok_or_else(|| null("the address"))?);
        let address = address.map_err(|_| usage("ERR the address is not UTF-8"))?;
        *given = Box::into_raw(Box::new(ks_listener { listener: engine.listen(address)? }));
        Ok(ks_status::KS_OK)
    })
}

/// Gives where a listener listens through `*places`: an array of strings, to be freed with ks_free_reply.
///
/// Returns KS_OK, KS_ERR_USAGE, or KS_ERR_OOM.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ks_listener_places(
    listener: *const ks_listener,
    places: *mut *mut ks_reply,
) -> ks_status {
    guarded(|| {
        // SAFETY: the caller's pointer is valid for writing, the handle open; or they are null.
        let (given, listener) = unsafe { (out("places", places, std::ptr::null_mut())?, listener.as_ref()) };
        let places = listener.ok_or_else(|| null("the listener"))?.listener.places();
        *given = reply_of(&Item::Array(places.iter().map(|place| Item::Bulk(place.as_bytes())).collect()))?;
        Ok(ks_status::KS_OK)
    })
}

/// Ends a listener: nobody else is let in. Connections that are open go on. NULL is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ks_listener_close(listener: *mut ks_listener) {
    // SAFETY: the handle came from this library and is closed once, or is null.
    unsafe { close(listener) };
}

/// Opens a session. On an error `*session` is NULL.
///
/// Returns KS_OK or KS_ERR_USAGE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ks_session_open(
    engine: *const ks_engine,
    session: *mut *mut ks_session,
) -> ks_status {
    guarded(|| {
        // SAFETY: the caller's pointer is valid for writing, the handle open; or they are null.
        let (opened, engine) = unsafe { (out("session", session, std::ptr::null_mut())?, engine.as_ref()) };
        let engine = engine.ok_or_else(|| null("the engine"))?;
        let session = engine.databases.engine().session(Form::Tape);
        *opened = Box::into_raw(Box::new(ks_session { session, bell: None }));
        Ok(ks_status::KS_OK)
    })
}

/// Closes a session. NULL is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ks_session_close(session: *mut ks_session) {
    // SAFETY: the handle came from this library and is closed once, or is null.
    unsafe { close(session) };
}

/// Executes a command given as `count` words and as many lengths. `lengths` may be NULL if all words end with a zero.
///
/// Returns the reply (errors of the command are replies of type KS_REPLY_ERROR), to be freed with ks_free_reply; NULL if the call itself
/// was wrong, or there was no memory for the reply of a command that was executed, as ks_last_error() tells.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ks_command_argv(
    session: *mut ks_session,
    count: usize,
    words: *const *const c_char,
    lengths: *const usize,
) -> *mut ks_reply {
    let mut reply = std::ptr::null_mut();
    guarded(|| {
        // SAFETY: null, or open and used by this thread alone; the arrays and words are as long as they say.
        let (session, argv) = unsafe { (self::session(session)?, words_of(count, words, lengths)?) };
        reply = reply_in(session.session.execute(&argv))?;
        Ok(ks_status::KS_OK)
    });
    reply
}

/// Begins a command, given as to ks_command_argv, and waits for nothing. A session that waits for a reply takes no other command: to that
/// KS_REPLY_ERROR is the reply.
///
/// Returns KS_OK, with the reply in `*reply`, to be freed with ks_free_reply; KS_MISSING where the command has to wait, and `*reply` is NULL: ks_take
/// gives the reply later; or KS_ERR_USAGE or KS_ERR_OOM.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ks_begin_argv(
    session: *mut ks_session,
    count: usize,
    words: *const *const c_char,
    lengths: *const usize,
    reply: *mut *mut ks_reply,
) -> ks_status {
    guarded(|| {
        // SAFETY: null, or open and used by this thread alone; the arrays and words are as long as they say; the place is valid for writing, or null.
        let (reply, session, argv) = unsafe {
            (
                out("reply", reply, std::ptr::null_mut())?,
                self::session(session)?,
                words_of(count, words, lengths)?,
            )
        };
        if session.session.begin(&argv) == Outcome::Blocked {
            session.session.set_alarm();
            return Ok(ks_status::KS_MISSING);
        }
        *reply = reply_in(session.session.replies())?;
        Ok(ks_status::KS_OK)
    })
}

/// Takes the reply of a command that had to wait, and waits for it that long at most, in milliseconds; for ever, if negative. Gives it through `*reply`, to
/// be freed with ks_free_reply.
///
/// Returns KS_OK; KS_MISSING if it has not come, and `*reply` is NULL; KS_ERR_USAGE, also where the session waits for no reply; or KS_ERR_OOM.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ks_take(
    session: *mut ks_session,
    timeout_ms: i64,
    reply: *mut *mut ks_reply,
) -> ks_status {
    guarded(|| {
        // SAFETY: null, or open and used by this thread alone; the place is valid for writing, or null.
        let (reply, session) =
            unsafe { (out("reply", reply, std::ptr::null_mut())?, self::session(session)?) };
        if !session.session.is_blocked() {
            return Err(usage("ERR the session waits for no reply"));
        }
        // Where another command was refused meanwhile, that reply was given already.
        session.session.clear_replies();
        if look(&mut session.session, &mut session.bell, timeout_ms, |session, time| {
            Ok(session.wait(time).then_some(()))
        })?
        .is_none()
        {
            session.session.set_alarm();
            return Ok(ks_status::KS_MISSING);
        }
        *reply = reply_in(session.session.replies())?;
        Ok(ks_status::KS_OK)
    })
}

/// Gives up the command that a session waits with, if there is one: no reply comes any more. What was popped for it is put back where it was.
///
/// Returns KS_OK or KS_ERR_USAGE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ks_cancel(session: *mut ks_session) -> ks_status {
    guarded(|| {
        // SAFETY: null, or open and used by this thread alone.
        unsafe { self::session(session)? }.session.abandon();
        Ok(ks_status::KS_OK)
    })
}

/// A descriptor for poll, select or epoll, which can be read from when ks_take or ks_next may have something, and until one of them has said KS_MISSING. The
/// end of a command's time is told within some 10 ms. It is the session's: neither read from it nor close it. The same at each call.
///
/// Returns -1 on an error, as ks_last_error() tells.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ks_descriptor(session: *mut ks_session) -> c_int {
    let mut descriptor = -1;
    guarded(|| {
        // SAFETY: null, or open and used by this thread alone.
        let session = unsafe { self::session(session)? };
        let bell = match &mut session.bell {
            Some(bell) => bell,
            none => {
                let (bell, clapper) = Bell::new()?;
                // What has come before rings now.
                keystead::Wake::wake(&clapper);
                session.session.set_waker(Some(Arc::new(clapper)));
                none.insert(bell)
            }
        };
        descriptor = bell.descriptor();
        Ok(ks_status::KS_OK)
    });
    descriptor
}

/// Takes the oldest message that was pushed to a session, as MONITOR's lines are, and waits for one that long at most, in milliseconds; for ever, if
/// negative. Gives it through `*reply`, to be freed with ks_free_reply.
///
/// Returns KS_OK; KS_MISSING if none has come, and `*reply` is NULL; KS_ERR_USAGE, also where messages were dropped, since too many waited to be
/// read: more come after that.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ks_next(
    session: *mut ks_session,
    timeout_ms: i64,
    reply: *mut *mut ks_reply,
) -> ks_status {
    guarded(|| {
        // SAFETY: null, or open and used by this thread alone; the place is valid for writing, or null.
        let (reply, session) =
            unsafe { (out("reply", reply, std::ptr::null_mut())?, self::session(session)?) };
        match look(&mut session.session, &mut session.bell, timeout_ms, Session::next_push)? {
            None => Ok(ks_status::KS_MISSING),
            Some(message) => {
                *reply = reply_in(&message)?;
                Ok(ks_status::KS_OK)
            }
        }
    })
}

/// # Safety
/// `session` is open and used by this thread alone, or null.
unsafe fn session<'a>(session: *mut ks_session) -> Result<&'a mut ks_session, Error> {
    // SAFETY: the caller's promise.
    unsafe { session.as_mut() }.ok_or_else(|| null("the session"))
}

/// The words of a command.
///
/// # Safety
/// `words` has `count` members, and so has `lengths`, or that is null and all words end with a zero; the words are as long as they say.
unsafe fn words_of<'a>(
    count: usize,
    words: *const *const c_char,
    lengths: *const usize,
) -> Result<Vec<&'a [u8]>, Error> {
    if count == 0 {
        return Err(usage("ERR a command needs at least one word"));
    }
    if words.is_null() {
        return Err(null("words"));
    }
    let mut argv: Vec<&[u8]> = with_room_for(count)?;
    for index in 0..count {
        // SAFETY: the caller's promise.
        argv.push(unsafe {
            let word = *words.add(index);
            if lengths.is_null() {
                text(word).ok_or_else(|| null("a word"))?
            } else {
                slice("a word", word.cast(), *lengths.add(index))?
            }
        });
    }
    Ok(argv)
}

/// The reply on a tape.
fn reply_in(tape: &[u8]) -> Result<*mut ks_reply, Error> {
    let (item, _) = Item::read(tape).ok_or_else(Error::no_memory)?;
    reply_of(&item)
}

/// A reply as a tree that the caller frees.
fn reply_of(item: &Item<'_>) -> Result<*mut ks_reply, Error> {
    let reply = Box::into_raw(Box::new(ks_reply {
        type_: ks_reply_type::KS_REPLY_NIL,
        integer: 0,
        dval: 0.0,
        len: 0,
        str: std::ptr::null_mut(),
        vtype: [0; 4],
        elements: 0,
        element: std::ptr::null_mut(),
    }));
    // SAFETY: it was made above, and nobody else knows it yet.
    match unsafe { &mut *reply }.fill(item) {
        Ok(()) => Ok(reply),
        Err(error) => {
            // SAFETY: as above; what it has was made by `fill`.
            unsafe { ks_free_reply(reply) };
            Err(error)
        }
    }
}

impl ks_reply {
    /// Makes an empty reply that of an item. One that fails can be freed.
    fn fill(&mut self, item: &Item<'_>) -> Result<(), Error> {
        use ks_reply_type as kind;
        match item {
            Item::Null | Item::NullArray => {}
            Item::Simple(bytes) => self.set_text(kind::KS_REPLY_STATUS, bytes)?,
            Item::Bulk(bytes) => self.set_text(kind::KS_REPLY_STRING, bytes)?,
            Item::BigNumber(bytes) => self.set_text(kind::KS_REPLY_BIGNUM, bytes)?,
            Item::Verbatim(bytes) => {
                let (format, text) = bytes.split_at(4.min(bytes.len()));
                self.set_text(kind::KS_REPLY_VERB, text)?;
                for (place, byte) in self.vtype.iter_mut().zip(&format[..3.min(format.len())]) {
                    *place = *byte as c_char;
                }
            }
            Item::Error { kind: number, text } => {
                self.set_text(kind::KS_REPLY_ERROR, text)?;
                self.integer = i64::from(*number);
            }
            Item::Integer(value) => (self.type_, self.integer) = (kind::KS_REPLY_INTEGER, *value),
            Item::Boolean(value) => (self.type_, self.integer) = (kind::KS_REPLY_BOOL, i64::from(*value)),
            Item::Double(value) => (self.type_, self.dval) = (kind::KS_REPLY_DOUBLE, *value),
            Item::Array(items) => self.set_elements(kind::KS_REPLY_ARRAY, items)?,
            Item::Map(items) => self.set_elements(kind::KS_REPLY_MAP, items)?,
            Item::Set(items) => self.set_elements(kind::KS_REPLY_SET, items)?,
            Item::Push(items) => self.set_elements(kind::KS_REPLY_PUSH, items)?,
        }
        Ok(())
    }

    fn set_text(&mut self, kind: ks_reply_type, bytes: &[u8]) -> Result<(), Error> {
        let mut copy = with_room_for(bytes.len() + 1)?;
        copy.extend_from_slice(bytes);
        copy.push(0);
        self.type_ = kind;
        self.len = bytes.len();
        self.str = Box::into_raw(copy.into_boxed_slice()).cast();
        Ok(())
    }

    fn set_elements(&mut self, kind: ks_reply_type, items: &[Item<'_>]) -> Result<(), Error> {
        let mut elements: Vec<*mut ks_reply> = with_room_for(items.len())?;
        elements.resize(items.len(), std::ptr::null_mut());
        self.type_ = kind;
        self.elements = elements.len();
        self.element = Box::into_raw(elements.into_boxed_slice()).cast();
        for (index, item) in items.iter().enumerate() {
            let element = reply_of(item)?;
            // SAFETY: the array has a place for each item.
            unsafe { self.element.add(index).write(element) };
        }
        Ok(())
    }
}

/// Frees a reply with everything in it: the root of its tree, once. NULL is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ks_free_reply(reply: *mut ks_reply) {
    if reply.is_null() {
        return;
    }
    // SAFETY: the reply and its parts were made by `reply_of` with exactly these lengths; the elements belong to it alone.
    unsafe {
        let reply = Box::from_raw(reply);
        if !reply.str.is_null() {
            drop(Box::from_raw(std::ptr::slice_from_raw_parts_mut(reply.str.cast::<u8>(), reply.len + 1)));
        }
        if !reply.element.is_null() {
            let elements = Box::from_raw(std::ptr::slice_from_raw_parts_mut(reply.element, reply.elements));
            elements.iter().for_each(|element| ks_free_reply(*element));
        }
    }
}

/// Copies the string of a key into `buffer`, as much as `capacity` lets, and gives its whole length through `length`. What the buffer
/// holds behind the string, and all of it if there is no such key, may change. O(length).
///
/// Returns KS_OK, KS_MISSING (length is 0 then), KS_ERR_WRONGTYPE, or KS_ERR_USAGE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ks_get(
    engine: *const ks_engine,
    db: u32,
    key: *const c_void,
    key_length: usize,
    buffer: *mut c_void,
    capacity: usize,
    length: *mut usize,
) -> ks_status {
    guarded(|| {
        // SAFETY: the handle is open, the length writable, the key readable, the buffer writable and touched by nobody else during the call.
        let (length, database, key, buffer) = unsafe {
            (
                out("length", length, 0)?,
                database(engine, db)?,
                slice("the key", key, key_length)?,
                buffer_of(buffer, capacity)?,
            )
        };
        let found = database.get_into(key, buffer)?;
        *length = found.unwrap_or(0);
        Ok(if found.is_some() { ks_status::KS_OK } else { ks_status::KS_MISSING })
    })
}

/// Reads the strings of `count` keys, whose lengths are in `key_lengths`, into `buffer`, one directly behind the other, and gives the length of each
/// through `lengths`, which has room for `count`, SIZE_MAX
/// for a key that is missing or holds another type, and their sum through `total`. A string that does not fit into what is left
/// of `capacity` is not copied, nor is any behind it: with `total` above `capacity`, call again with more. Each key is read on its own, not all
/// of them at one moment. Their memory is fetched ahead, so this is faster than as many calls of ks_get. O(keys + lengths).
///
/// Returns KS_OK or KS_ERR_USAGE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ks_mget(
    engine: *const ks_engine,
    db: u32,
    count: usize,
    keys: *const *const c_void,
    key_lengths: *const usize,
    buffer: *mut c_void,
    capacity: usize,
    lengths: *mut usize,
    total: *mut usize,
) -> ks_status {
    /// Keys that are handed to the engine at a time.
    const BATCH: usize = 64;
    guarded(|| {
        // SAFETY: the handle is open, the sum writable, the buffer writable and touched by nobody else during the call.
        let (total, database, _) =
            unsafe { (out("total", total, 0)?, database(engine, db)?, buffer_of(buffer, capacity)?) };
        let arrays = [
            ("keys", keys.is_null()),
            ("key_lengths", key_lengths.is_null()),
            ("lengths", lengths.is_null()),
        ];
        if count > 0
            && let Some((what, _)) = arrays.iter().find(|(_, is_null)| *is_null)
        {
            return Err(null(what));
        }
        let (mut sum, mut batch): (usize, [&[u8]; BATCH]) = (0, [&[]; BATCH]);
        for start in (0..count).step_by(BATCH) {
            let in_batch = BATCH.min(count - start);
            for (at, key) in batch[..in_batch].iter_mut().enumerate() {
                // SAFETY: both arrays have `count` members, and the keys are as long as they say.
                *key = unsafe { slice("a key", *keys.add(start + at), *key_lengths.add(start + at))? };
            }
            database.get_many_with(&batch[..in_batch], |at, found| {
                let text = found.as_ref().map(|found| &*found.text);
                // SAFETY: `lengths` has `count` members; the buffer has room for `capacity` bytes, of which `sum` are taken, and no engine
                // memory overlaps it.
                unsafe {
                    lengths.add(start + at).write(text.map_or(usize::MAX, <[u8]>::len));
                    let Some(text) = text else { return };
                    if sum.checked_add(text.len()).is_some_and(|end| end <= capacity) {
                        std::ptr::copy_nonoverlapping(
                            text.as_ptr(),
                            buffer.cast::<u8>().add(sum),
                            text.len(),
                        );
                    }
                    sum = sum.saturating_add(text.len());
                }
            })?;
        }
        *total = sum;
        Ok(ks_status::KS_OK)
    })
}

/// Copies a field of a hash into `buffer`, as much as `capacity` lets, and gives its whole length through `length`. O(length), and
/// O(fields) while the hash is small.
///
/// Returns KS_OK, KS_MISSING (length is 0 then), KS_ERR_WRONGTYPE, or KS_ERR_USAGE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ks_hget(
    engine: *const ks_engine,
    db: u32,
    key: *const c_void,
    key_length: usize,
    field: *const c_void,
    field_length: usize,
    buffer: *mut c_void,
    capacity: usize,
    length: *mut usize,
) -> ks_status {
    guarded(|| {
        // SAFETY: the handle is open, the length writable, key and field are readable, the buffer is writable and touched by nobody else during the
        // call.
        let (length, database, key, field, buffer) = unsafe {
            (
                out("length", length, 0)?,
                database(engine, db)?,
                slice("the key", key, key_length)?,
                slice("the field", field, field_length)?,
                buffer_of(buffer, capacity)?,
            )
        };
        let found = database.hget_with(key, field, |found| {
            let text = found?;
            let fits = text.len().min(buffer.len());
            buffer[..fits].copy_from_slice(&text[..fits]);
            Some(text.len())
        })?;
        *length = found.unwrap_or(0);
        Ok(if found.is_some() { ks_status::KS_OK } else { ks_status::KS_MISSING })
    })
}

/// ks_set: only if the key does not exist.
pub const KS_SET_NX: u32 = 1;
/// ks_set: only if the key exists.
pub const KS_SET_XX: u32 = 2;
/// ks_set: the deadline of the previous value stays.
pub const KS_SET_KEEPTTL: u32 = 4;

/// Sets the string of a key. `ttl_ms` is its time to live in milliseconds, 0 for none; `flags` are KS_SET_*. O(length).
///
/// Returns KS_OK, KS_NOT_SET if NX or XX did not hold, KS_ERR_OOM, or KS_ERR_USAGE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ks_set(
    engine: *const ks_engine,
    db: u32,
    key: *const c_void,
    key_length: usize,
    value: *const c_void,
    value_length: usize,
    ttl_ms: u64,
    flags: u32,
) -> ks_status {
    guarded(|| {
        if flags & !(KS_SET_NX | KS_SET_XX | KS_SET_KEEPTTL) != 0 {
            return Err(usage("ERR flags that are no KS_SET_*"));
        }
        let condition = match flags & (KS_SET_NX | KS_SET_XX) {
            0 => Condition::Always,
            KS_SET_NX => Condition::IfAbsent,
            KS_SET_XX => Condition::IfPresent,
            _ => return Err(usage("ERR KS_SET_NX and KS_SET_XX exclude each other")),
        };
        let ttl = match (flags & KS_SET_KEEPTTL != 0, ttl_ms) {
            (false, 0) => Ttl::None,
            (false, ttl_ms) => Ttl::After(Duration::from_millis(ttl_ms)),
            (true, 0) => Ttl::Keep,
            (true, _) => return Err(usage("ERR KS_SET_KEEPTTL and a time to live exclude each other")),
        };
        // SAFETY: the handle is open, key and value are readable.
        let (database, key, value) = unsafe {
            (
                database(engine, db)?,
                slice("the key", key, key_length)?,
                slice("the value", value, value_length)?,
            )
        };
        let set = database.set_with(key, value, SetOptions::new().ttl(ttl).condition(condition))?;
        Ok(if set { ks_status::KS_OK } else { ks_status::KS_NOT_SET })
    })
}

/// Deletes a key of any type. O(1).
///
/// Returns KS_OK or KS_MISSING.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ks_del(
    engine: *const ks_engine,
    db: u32,
    key: *const c_void,
    key_length: usize,
) -> ks_status {
    guarded(|| {
        // SAFETY: the handle is open, the key readable.
        let (database, key) = unsafe { (database(engine, db)?, slice("the key", key, key_length)?) };
        Ok(if database.delete(key)? { ks_status::KS_OK } else { ks_status::KS_MISSING })
    })
}

/// Tells whether a key of any type exists. O(1).
///
/// Returns KS_OK or KS_MISSING.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ks_exists(
    engine: *const ks_engine,
    db: u32,
    key: *const c_void,
    key_length: usize,
) -> ks_status {
    guarded(|| {
        // SAFETY: the handle is open, the key readable.
        let (database, key) = unsafe { (database(engine, db)?, slice("the key", key, key_length)?) };
        Ok(if database.contains(key)? { ks_status::KS_OK } else { ks_status::KS_MISSING })
    })
}

/// Adds `by` to the integer of a key, a missing one counting as 0, and gives the sum through `sum`. O(1).
///
/// Returns KS_OK, KS_ERR_COMMAND (no integer, or overflow), KS_ERR_WRONGTYPE, KS_ERR_OOM, or KS_ERR_USAGE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ks_incr(
    engine: *const ks_engine,
    db: u32,
    key: *const c_void,
    key_length: usize,
    by: i64,
    sum: *mut i64,
) -> ks_status {
    guarded(|| {
        // SAFETY: the handle is open, the key readable.
        let (sum, database, key) =
            unsafe { (out("sum", sum, 0)?, database(engine, db)?, slice("the key", key, key_length)?) };
        *sum = database.incr(key, by)?;
        Ok(ks_status::KS_OK)
    })
}

/// Gives a key a new time to live in milliseconds, which must not be 0. O(1).
///
/// Returns KS_OK, KS_MISSING, or KS_ERR_USAGE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ks_expire(
    engine: *const ks_engine,
    db: u32,
    key: *const c_void,
    key_length: usize,
    ttl_ms: u64,
) -> ks_status {
    guarded(|| {
        // SAFETY: the handle is open, the key readable.
        let (database, key) = unsafe { (database(engine, db)?, slice("the key", key, key_length)?) };
        let exists = database.expire(key, Duration::from_millis(ttl_ms))?;
        Ok(if exists { ks_status::KS_OK } else { ks_status::KS_MISSING })
    })
}

/// Gives a key's time to live in milliseconds through `ttl_ms`, -1 if it does not expire. O(1).
///
/// Returns KS_OK or KS_MISSING.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ks_ttl(
    engine: *const ks_engine,
    db: u32,
    key: *const c_void,
    key_length: usize,
    ttl_ms: *mut i64,
) -> ks_status {
    guarded(|| {
        // SAFETY: the handle is open, the key readable.
        let (ttl_ms, database, key) =
            unsafe { (out("ttl_ms", ttl_ms, 0)?, database(engine, db)?, slice("the key", key, key_length)?) };
        let Some(ttl) = database.ttl(key)? else { return Ok(ks_status::KS_MISSING) };
        *ttl_ms = ttl.map_or(-1, |ttl| ttl.as_millis() as i64);
        Ok(ks_status::KS_OK)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_a_status() {
        assert_eq!(guarded(|| panic!("asked for by a test")), ks_status::KS_ERR_INTERNAL);
    }
}
