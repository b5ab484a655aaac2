//! Request traces: zstd streams of 12-byte little-endian records, a 64-bit key and a 32-bit size, in the order of the requests.
//!
//! What is asked of them is the others' business. Sizes are not used: capacities are numbers of keys.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

const RECORD: usize = 12;
/// Streams may look back as far as 2^27 bytes.
const WINDOW_LOG: u32 = 27;

/// A trace with its keys numbered in the order they first appear.
pub struct Trace {
    /// The file's name without its endings.
    pub name: String,
    /// The number of the key of each request.
    pub requests: Vec<u32>,
    /// How many keys there are.
    pub unique: usize,
}

/// The traces of a folder, by name.
pub fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries: Vec<PathBuf> =
        folder.read_dir()?.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<_>>()?;
    let mut files: Vec<PathBuf> =
        entries.into_iter().filter(|path| path.extension().is_some_and(|ending| ending == "zst")).collect();
    files.sort();
    Ok(files)
}

impl Trace {
    /// Reads a whole trace.
    pub fn read(path: &Path) -> io::Result<Trace> {
        let mut decoder = zstd::Decoder::new(File::open(path)?)?;
        decoder.window_log_max(WINDOW_LOG)?;
        let mut bytes = Vec::new();
        decoder.read_to_end(&mut bytes)?;
        if bytes.len() % RECORD != 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the last record is cut off"));
        }
        let mut numbers: HashMap<[u8; 8], u32> = HashMap::new();
        let mut requests = Vec::with_capacity(bytes.len() / RECORD);
        for record in bytes.chunks_exact(RECORD) {
            let key: [u8; 8] = record[..8].try_into().expect("a key has eight bytes");
            let next = numbers.len() as u32;
            requests.push(*numbers.entry(key).or_insert(next));
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let name = name.split('.').next().unwrap_or_default().to_owned();
        Ok(Trace { name, requests, unique: numbers.len() })
    }

    /// How many keys a share of them is, in per cent; at least one.
    pub fn capacity(&self, share: f64) -> usize {
        ((self.unique as f64 * share / 100.0) as usize).max(1)
    }
}
