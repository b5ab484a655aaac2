//! A disk that has not all that was written to it: what may be there after the power went.
//!
//! What was synced is there. Of each file, any of the changes since: sector by sector of 512 bytes, any version; the length apart from what it spans, which is
//! zero where it is missing. Of each folder, any of what was created, renamed and removed since, each by itself; a rename as a whole or not at all.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use super::random::Random;
use super::trace::Event;

const SECTOR: usize = 512;

/// Numbers of files that were there before the record.
const BEFORE: u64 = 1 << 32;

enum Change {
    Bytes { at: usize, bytes: Vec<u8>, is_mapped: bool },
    Len(usize),
}

#[derive(Clone)]
enum Entry {
    Made { path: PathBuf, file: Option<u64> },
    Moved { from: PathBuf, to: PathBuf, file: u64 },
    Removed(PathBuf),
}

impl Entry {
    fn folder(&self) -> &Path {
        let (Self::Made { path, .. } | Self::Moved { to: path, .. } | Self::Removed(path)) = self;
        path.parent().expect("it is in a folder")
    }

    fn apply(&self, names: &mut Names) {
        match self {
            Self::Made { path, file } => drop(names.insert(path.clone(), *file)),
            Self::Moved { from, to, file } => {
                if names.get(from) == Some(&Some(*file)) {
                    names.remove(from);
                }
                names.insert(to.clone(), Some(*file));
            }
            Self::Removed(path) => drop(names.remove(path)),
        }
    }
}

/// Files by their numbers, and folders.
type Names = BTreeMap<PathBuf, Option<u64>>;

#[derive(Default)]
struct File {
    synced: Vec<u8>,
    /// What was done since, with the event's number.
    since: Vec<(usize, Change)>,
}

/// Which syncs a disk takes for one that was never done: a bug that is planted.
pub type Drops = fn(&str) -> bool;

/// See the module's text.
pub struct Disk {
    files: HashMap<u64, File>,
    numbers: HashMap<u64, u64>,
    names: Names,
    synced: Names,
    entries: Vec<(usize, Entry)>,
    syncs: HashMap<u64, (usize, What)>,
    drops: Drops,
}

enum What {
    File(u64),
    Folder(PathBuf),
}

/// How much is left of what was not synced, of a thousand.
#[derive(Clone, Copy, Debug)]
pub struct Left {
    pub names: u64,
    pub bytes: u64,
    pub lengths: u64,
    /// Sectors of mapped memory that are zero.
    pub zeroes: u64,
}

impl Left {
    pub const ALL: Self = Self { names: 1000, bytes: 1000, lengths: 1000, zeroes: 0 };

    pub fn any(random: &mut Random) -> Self {
        let mut some = || [0, 100, 500, 900, 1000][random.below(5) as usize];
        let (names, bytes, lengths) = (some(), some(), some());
        Self { names, bytes, lengths, zeroes: if random.below(4) == 0 { 100 } else { 0 } }
    }
}

impl Disk {
    /// What is in a folder now is on the disk.
    pub fn of(root: &Path, drops: Drops) -> Self {
        let mut disk = Self {
            files: HashMap::new(),
            numbers: HashMap::new(),
            names: Names::new(),
            synced: Names::new(),
            entries: Vec::new(),
            syncs: HashMap::new(),
            drops,
        };
        disk.find(root);
        disk.synced.clone_from(&disk.names);
        disk
    }

    fn find(&mut self, folder: &Path) {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if path.is_dir() {
                self.names.insert(path.clone(), None);
                self.find(&path);
            } else {
                let number = BEFORE + self.files.len() as u64;
                let file = File { synced: fs::read(&path).unwrap(), since: Vec::new() };
                self.files.insert(number, file);
                self.names.insert(path, Some(number));
            }
        }
    }

    fn enter(&mut self, index: usize, entry: Entry) {
        entry.apply(&mut self.names);
        self.entries.push((index, entry));
    }

    fn change(&mut self, index: usize, file: u64, change: Change) {
        let number = self.numbers.get(&file).copied().unwrap_or(file);
        self.files.entry(number).or_default().since.push((index, change));
    }

    /// What a file is called at the moment.
    fn name(&self, file: u64) -> String {
        let found = self.names.iter().find(|(_, number)| **number == Some(file));
        found.map_or(String::new(), |(path, _)| path.to_string_lossy().into_owned())
    }

    /// Does what was done.
    pub fn apply(&mut self, index: usize, event: &Event) {
        match event {
            Event::Found { file, path } => {
                let number = self.names.get(path).copied().flatten();
                self.numbers.insert(*file, number.expect("what was found was there"));
            }
            Event::Created { file, path } => {
                self.enter(index, Entry::Made { path: path.clone(), file: Some(*file) });
                self.files.insert(*file, File::default());
            }
            Event::FolderMade { path } => self.enter(index, Entry::Made { path: path.clone(), file: None }),
            Event::Written { file, at, bytes } => {
                let change = Change::Bytes { at: *at, bytes: bytes.clone(), is_mapped: false };
                self.change(index, *file, change);
            }
            Event::Mapped { file, at, bytes } => {
                let change = Change::Bytes { at: *at, bytes: bytes.clone(), is_mapped: true };
                self.change(index, *file, change);
            }
            Event::Resized { file, len } => self.change(index, *file, Change::Len(*len)),
            Event::Syncing { token, file } => {
                let number = self.numbers.get(file).copied().unwrap_or(*file);
                self.syncs.insert(*token, (index, What::File(number)));
            }
            Event::FolderSyncing { token, path } => {
                self.syncs.insert(*token, (index, What::Folder(path.clone())));
            }
            Event::Synced { token } => {
                let (begun, what) = self.syncs.remove(token).expect("it was begun");
                self.sync(begun, &what);
            }
            Event::Renamed { from, to } => {
                let file = self.names.get(from).copied().flatten().expect("files alone are renamed");
                self.enter(index, Entry::Moved { from: from.clone(), to: to.clone(), file });
            }
            Event::Removed { path } => self.enter(index, Entry::Removed(path.clone())),
            Event::Noted(_) => {}
        }
    }

    fn sync(&mut self, begun: usize, what: &What) {
        match what {
            What::File(number) => {
                if (self.drops)(&self.name(*number)) {
                    return;
                }
                let file = self.files.entry(*number).or_default();
                let rest = file.since.partition_point(|(index, _)| *index < begun);
                for (_, change) in file.since.drain(..rest) {
                    apply(&mut file.synced, &change);
                }
            }
            What::Folder(folder) => {
                if (self.drops)(&format!("{}/", folder.display())) {
                    return;
                }
                let synced = &mut self.synced;
                self.entries.retain(|(index, entry)| {
                    let is_synced = *index < begun && entry.folder() == folder;
                    if is_synced {
                        entry.apply(synced);
                    }
                    !is_synced
                });
            }
        }
    }

    /// Makes of `target` what a power loss may leave of `root` now.
    pub fn lose(&self, (root, target): (&Path, &Path), left: Left, random: &mut Random) {
        let mut names = self.synced.clone();
        for (_, entry) in &self.entries {
            if random.is_within(left.names) {
                entry.apply(&mut names);
            }
        }
        for (path, file) in &names {
            let to = target.join(path.strip_prefix(root).expect("all is below it"));
            match file {
                None if to.parent().is_some_and(Path::is_dir) => fs::create_dir(&to).unwrap(),
                Some(number) if to.parent().is_some_and(Path::is_dir) => {
                    fs::write(&to, self.files[number].left(left, random)).unwrap();
                }
                // It is in a folder that is not there.
                _ => {}
            }
        }
    }
}

impl File {
    fn left(&self, left: Left, random: &mut Random) -> Vec<u8> {
        let (mut now, mut found, mut len) = (self.synced.clone(), self.synced.clone(), self.synced.len());
        for (_, change) in &self.since {
            let before = now.len();
            apply(&mut now, change);
            if before != now.len() && random.is_within(left.lengths) {
                len = now.len();
            }
            match change {
                Change::Len(shorter) => {
                    // What was cut off may be there again if the length is.
                    if random.is_within(left.lengths) {
                        found.truncate(*shorter);
                    }
                }
                Change::Bytes { at, bytes, is_mapped } => {
                    for sector in at / SECTOR..(at + bytes.len()).div_ceil(SECTOR) {
                        let range = sector * SECTOR..now.len().min((sector + 1) * SECTOR);
                        if found.len() < range.end {
                            found.resize(range.end, 0);
                        }
                        if *is_mapped && random.is_within(left.zeroes) {
                            found[range].fill(0);
                        } else if random.is_within(left.bytes) {
                            found[range.clone()].copy_from_slice(&now[range]);
                        }
                    }
                }
            }
        }
        found.resize(len, 0);
        found
    }
}

fn apply(bytes: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Len(len) => bytes.resize(*len, 0),
        Change::Bytes { at, bytes: new, .. } => {
            let end = at + new.len();
            if bytes.len() < end {
                bytes.resize(end, 0);
            }
            bytes[*at..end].copy_from_slice(new);
        }
    }
}
