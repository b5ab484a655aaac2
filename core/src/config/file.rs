//! Reading `valkey.conf`: lines, quotes, comments, includes and directives that are no options.
//!
//! Splitting a line into arguments is `resp/inline.rs`'s, the values are `value.rs`'s.

use std::{
    borrow::Cow,
    fs,
    path::{Path, PathBuf},
};

use super::{Config, OPTIONS, Value, accept, error::LoadError, table, value};
use crate::{
    error::reason,
    pattern::glob_matches,
    resp::{UnbalancedQuotes, split_line},
};

/// Deeper nesting of includes is taken for a cycle.
const MAX_DEPTH: usize = 16;

/// Options that the server once had: it skips them, and so do we.
pub(super) const FORMER: [&str; 8] = [
    "list-max-ziplist-entries",
    "list-max-ziplist-value",
    "lua-replicate-commands",
    "dynamic-hz",
    "io-threads-do-reads",
    "events-per-io-thread",
    "lua-enable-insecure-api",
    "lua-enable-deprecated-api",
];

/// What a file says besides options, for the engine to carry out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Directives {
    /// Arguments of `user`: name and rules.
    pub(crate) users: Vec<Vec<Vec<u8>>>,
    /// Arguments of `rename-command`: old and new name, the latter empty where the command is to go.
    pub(crate) renames: Vec<(Vec<u8>, Vec<u8>)>,
    /// Arguments of `loadmodule`: path and arguments.
    pub(crate) modules: Vec<Vec<Vec<u8>>>,
}

impl Config {
    /// Sets options from the text of a configuration file (with command-line arguments appended, see
    /// [`super::args_to_text`]).
    ///
    /// # Errors
    /// The first line that is wrong, here or in an included file; options of earlier lines stay set.
    pub(crate) fn parse_file(&self, text: &[u8]) -> Result<Directives, LoadError> {
        let mut loader = Loader { config: self, directives: Directives::default(), save_seen: false };
        let result = loader.parse(text, 0);
        self.publish(&self.values.lock());
        result.map(|()| loader.directives)
    }

    /// Sets one option. What is wrong with its value, or nothing where there is no such option.
    pub(super) fn parse_option(&self, name: &[u8], value: &[u8]) -> Result<(), Option<String>> {
        let index = table::find(name).ok_or(None)?;
        let mut loader = Loader { config: self, directives: Directives::default(), save_seen: false };
        loader.set(index, &[value.to_vec()]).map_err(Some)?;
        self.publish(&self.values.lock());
        Ok(())
    }
}

fn read(path: &Path) -> Result<Vec<u8>, LoadError> {
    fs::read(path)
        .map_err(|error| LoadError::Unreadable { path: path.display().to_string(), reason: reason(&error) })
}

struct Loader<'a> {
    config: &'a Config,
    directives: Directives,
    /// The first `save` replaces the defaults, later ones add to it.
    save_seen: bool,
}

/// Why one line stops the loading.
enum LineError {
    Reason(String),
    Included(LoadError),
}

impl From<&str> for LineError {
    fn from(reason: &str) -> Self {
        Self::Reason(reason.to_owned())
    }
}

impl From<String> for LineError {
    fn from(reason: String) -> Self {
        Self::Reason(reason)
    }
}

impl Loader<'_> {
    fn parse(&mut self, text: &[u8], depth: usize) -> Result<(), LoadError> {
        for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
            // The server's lines are C strings.
            let line = line.split(|byte| *byte == 0).next().unwrap_or_default().trim_ascii();
            if line.is_empty() || line[0] == b'#' {
                continue;
            }
            self.parse_line(line, depth).map_err(|error| match error {
                LineError::Included(error) => error,
                LineError::Reason(reason) => LoadError::Line {
                    number: index + 1,
                    text: String::from_utf8_lossy(line).into_owned(),
                    reason,
                },
            })?;
        }
        Ok(())
    }

    fn parse_line(&mut self, line: &[u8], depth: usize) -> Result<(), LineError> {
        let words = split_line(line).map_err(|UnbalancedQuotes| "Unbalanced quotes in configuration line")?;
        let Some((name, args)) = words.split_first() else { return Ok(()) };
        if let Some(index) = table::find(name) {
            return Ok(self.set(index, args)?);
        }
        match (name.to_ascii_lowercase().as_slice(), args) {
            (b"include", [pattern]) => self.include(pattern, depth),
            (b"user", [_, ..]) => {
                self.directives.users.push(args.to_vec());
                Ok(())
            }
            (b"rename-command", [from, to]) => {
                self.directives.renames.push((from.clone(), to.clone()));
                Ok(())
            }
            (b"loadmodule", [_, ..]) => {
                self.directives.modules.push(args.to_vec());
                Ok(())
            }
            (b"sentinel", _) => Err("sentinel directive while not in sentinel mode".into()),
            (name, [_]) if FORMER.iter().any(|former| name == former.as_bytes()) => Ok(()),
            _ => Err("Bad directive or wrong number of arguments".into()),
        }
    }

    fn set(&mut self, index: usize, args: &[Vec<u8>]) -> Result<(), String> {
        let spec = &OPTIONS[index];
        let args: Vec<Cow<'_, [u8]>> = match args {
            // One argument may hold several words, as in CONFIG SET.
            [one] => super::split_words(spec, one),
            _ if spec.kind.takes_many() => args.iter().map(|arg| Cow::Borrowed(arg.as_slice())).collect(),
            _ => return Err("wrong number of arguments".to_owned()),
        };
        let mut values = self.config.values.lock();
        let mut value = value::parse(spec, &args, &values[index]).and_then(|value| accept(spec, value))?;
        if let Value::Save(points) = &mut value {
            if let (true, Value::Save(earlier), false) = (self.save_seen, &values[index], points.is_empty()) {
                points.splice(0..0, earlier.iter().copied());
            }
            self.save_seen = true;
        }
        values.set(index, value);
        Ok(())
    }

    fn include(&mut self, pattern: &[u8], depth: usize) -> Result<(), LineError> {
        if depth == MAX_DEPTH {
            return Err("include directives are nested too deeply".into());
        }
        for path in expand(pattern) {
            let text = read(&path).map_err(LineError::Included)?;
            self.parse(&text, depth + 1).map_err(LineError::Included)?;
        }
        Ok(())
    }
}

/// Paths that a pattern stands for, sorted; a pattern may stand in the last part of the path only.
fn expand(pattern: &[u8]) -> Vec<PathBuf> {
    let text = PathBuf::from(String::from_utf8_lossy(pattern).into_owned());
    if !pattern.iter().any(|byte| b"*?[".contains(byte)) {
        return vec![text];
    }
    let (Some(name), Some(parent)) = (text.file_name(), text.parent()) else { return Vec::new() };
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    let Ok(entries) = fs::read_dir(parent) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries
        .filter_map(Result::ok)
        .filter(|entry| glob_matches(name.as_encoded_bytes(), entry.file_name().as_encoded_bytes(), false))
        .map(|entry| entry.path())
        .collect();
    paths.sort();
    paths
}
