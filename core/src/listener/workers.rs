//! The threads that serve connections: each is an event loop of its own, and `io-threads` says how many there are.
//!
//! A connection stays with its worker until it ends. Commands run on the worker's thread. What is served there is `connection.rs`'s affair.
//!
//! **Relief.** A worker whose script runs for longer than `busy-reply-threshold` hands its event loop on to another thread ([`relieve`]), which serves the
//! others: they get BUSY, and SCRIPT KILL is heard. When the script has ended its thread sends the reply, and is done. Short scripts pay nothing
//! for that.
//!
//! **Fork.** A child has none of the threads. It never touches a runtime of its parent, whose locks may be held by threads that are not there: what is dropped there is forgotten.

use std::cell::Cell;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::block_in_place;

use crate::{network, os};

thread_local! {
    /// This thread runs a worker's event loop, or has.
    static IS_WORKER: Cell<bool> = const { Cell::new(false) };
}

/// The workers of a listener. Those that are too many by now serve what they have, until that has ended.
pub(super) struct Workers(Vec<Arc<Worker>>);

/// One of them. It ends with the last who has it: its listener, or a connection.
pub(super) struct Worker {
    runtime: Option<Runtime>,
    /// The process that its threads are in.
    generation: u64,
    /// Connections that it serves.
    open: AtomicUsize,
}

/// A connection's place at its worker.
pub(super) struct Place(Arc<Worker>);

impl Workers {
    /// So many.
    pub(super) fn new(count: usize) -> io::Result<Self> {
        network::relieve_by(relieve);
        let mut workers = Self(Vec::new());
        workers.resize(count)?;
        Ok(workers)
    }

    /// Has so many serve what comes from now on. With an error there are as many as the system has threads for.
    pub(super) fn resize(&mut self, count: usize) -> io::Result<()> {
        self.0.truncate(count);
        while self.0.len() < count {
            self.0.push(Arc::new(Worker::new()?));
        }
        Ok(())
    }

    /// A place at the one that serves fewest.
    pub(super) fn place(&self) -> Place {
        let load = |worker: &&Arc<Worker>| worker.open.load(Ordering::Relaxed);
        let worker = self.0.iter().min_by_key(load).expect("there is one at least");
        worker.open.fetch_add(1, Ordering::Relaxed);
        Place(worker.clone())
    }
}

impl Worker {
    fn new() -> io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("keystead-io")
            .on_thread_start(|| IS_WORKER.set(true))
            .enable_io()
            .build()?;
        Ok(Self { runtime: Some(runtime), generation: os::generation(), open: AtomicUsize::new(0) })
    }
}

impl Place {
    /// Serves a connection there. It keeps its place until it ends.
    pub(super) fn serve<T: Future<Output = ()> + Send + 'static>(
        self,
        connection: impl FnOnce() -> T + Send + 'static,
    ) {
        let worker = self.0.clone();
        let runtime = worker.runtime.as_ref().expect("it ends with the last who has it");
        runtime.spawn(async move {
            // Dropped last.
            let _place = self;
            connection().await;
        });
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let Some(runtime) = self.runtime.take() else { return };
        if self.generation == os::generation() {
            // Perhaps by its own thread, which can't wait for itself.
            runtime.shutdown_background();
        } else {
            std::mem::forget(runtime);
        }
    }
}

/// If this thread runs a worker's event loop, hands that on to another thread, and returns when that has it.
fn relieve() {
    if !IS_WORKER.get() {
        return;
    }
    let Ok(handle) = Handle::try_current() else { return };
    let (taken, is_taken) = sync_channel(1);
    block_in_place(move || {
        // A task of the loop runs where the loop does.
        handle.spawn(async move { taken.send(()) });
        let _ = is_taken.recv();
    });
}
