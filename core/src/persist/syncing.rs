//! Sending what is written of a long file to the disk bit by bit, beside the writing: so that not all of it waits for the end.

use std::fs::File;
use std::io;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle};

/// Bytes after which what was written is sent to the disk.
const AT_ONCE: u64 = 32 << 20;

/// See the module's text.
pub(super) struct Syncing {
    /// Asks the thread for a sync, and the thread; nothing where nobody wants it, or the system has no thread to give.
    thread: Option<(SyncSender<()>, JoinHandle<io::Result<()>>)>,
    left: u64,
}

impl Syncing {
    /// Of this file, if the options want it.
    pub(super) fn begin(file: &File, is_wanted: bool) -> Self {
        let begin = || {
            let (file, (ask, asked)) = (file.try_clone()?, sync_channel(1));
            let sync = move || asked.into_iter().try_for_each(|()| file.sync_data());
            io::Result::Ok((ask, Builder::new().name("keystead-sync".into()).spawn(sync)?))
        };
        Self { thread: is_wanted.then(begin).and_then(Result::ok), left: AT_ONCE }
    }

    /// So many bytes were written.
    pub(super) fn wrote(&mut self, bytes: usize) {
        self.left = self.left.saturating_sub(bytes as u64);
        if let (0, Some((ask, _))) = (self.left, &self.thread) {
            // One that is asked for serves for this as well; one that has failed is told at the end.
            let _ = ask.try_send(());
            self.left = AT_ONCE;
        }
    }

    /// All is written. Whoever wants to know that all is on the disk syncs the file once more.
    ///
    /// # Errors
    /// A sync has failed: the system tells of that once.
    pub(super) fn end(mut self) -> io::Result<()> {
        let Some((ask, thread)) = self.thread.take() else { return Ok(()) };
        drop(ask);
        thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread that syncs has panicked")))
    }
}
