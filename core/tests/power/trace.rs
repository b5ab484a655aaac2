//! What the recorder (`recorder.c`) has written down of a process: changes of files, syncs, and the notes that the process made in between.

use std::path::PathBuf;

/// A thing that was done. Files have numbers, since names come and go.
#[derive(Debug)]
pub enum Event {
    /// A file was there already when it was opened first.
    Found {
        file: u64,
        path: PathBuf,
    },
    Created {
        file: u64,
        path: PathBuf,
    },
    Written {
        file: u64,
        at: usize,
        bytes: Vec<u8>,
    },
    /// A sector of mapped memory has changed.
    Mapped {
        file: u64,
        at: usize,
        bytes: Vec<u8>,
    },
    Resized {
        file: u64,
        len: usize,
    },
    /// A sync of a file has begun, which has a token.
    Syncing {
        token: u64,
        file: u64,
    },
    /// The same for a folder's entries.
    FolderSyncing {
        token: u64,
        path: PathBuf,
    },
    Synced {
        token: u64,
    },
    Renamed {
        from: PathBuf,
        to: PathBuf,
    },
    Removed {
        path: PathBuf,
    },
    FolderMade {
        path: PathBuf,
    },
    Noted(String),
}

/// An event with its time.
#[derive(Debug)]
pub struct Timed {
    pub ns: u64,
    pub event: Event,
}

/// Reads a record.
pub fn parse(mut bytes: &[u8]) -> Vec<Timed> {
    let mut events = Vec::new();
    while !bytes.is_empty() {
        let kind = bytes[0];
        let number = |at: usize| u64::from_le_bytes(*bytes[1 + 8 * at..].first_chunk().unwrap());
        let (ns, a, b) = (number(0), number(1), number(2));
        let len = u32::from_le_bytes(*bytes[25..].first_chunk().unwrap()) as usize;
        let content = &bytes[29..29 + len];
        bytes = &bytes[29 + len..];
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let path = || PathBuf::from(text(content));
        let event = match kind {
            1 => Event::Created { file: a, path: path() },
            2 => Event::Written { file: a, at: b as usize, bytes: content.to_vec() },
            3 => Event::Resized { file: a, len: b as usize },
            4 => Event::Syncing { token: a, file: b },
            5 => Event::Synced { token: a },
            6 => {
                let (from, to) = content.split_at(a as usize);
                Event::Renamed { from: text(from).into(), to: text(to).into() }
            }
            7 => Event::Removed { path: path() },
            8 => Event::FolderMade { path: path() },
            9 => Event::FolderSyncing { token: a, path: path() },
            10 => Event::Mapped { file: a, at: b as usize, bytes: content.to_vec() },
            11 => Event::Noted(text(content)),
            12 => Event::Found { file: a, path: path() },
            _ => panic!("the record has a {kind} where a kind should be"),
        };
        events.push(Timed { ns, event });
    }
    events
}
