//! Options: current values, CONFIG GET and SET, `valkey.conf`, command-line arguments and CONFIG REWRITE.
//!
//! What the options do is the engine's business; it reads those it needs often through [`Config::hot`].

mod args;
mod check;
mod error;
mod events;
mod file;
mod hot;
mod limits;
mod memory;
mod open;
mod policies;
mod rewrite;
mod schedule;
mod spec;
mod table;
mod value;
mod values;

use std::borrow::Cow;
use std::path::PathBuf;

use hashbrown::HashSet;

use crate::sync::Mutex;

use crate::error::until_zero;
use crate::os::Guard;
use crate::pattern::glob_matches;

pub(crate) use args::args_to_text;
pub(crate) use error::ConfigError;
pub(crate) use events::KeyspaceEvents;
pub(crate) use hot::Hot;
#[cfg(feature = "listener")]
pub(crate) use limits::BufferLimit;
pub(crate) use limits::{BufferClass, BufferLimits, PushLimit};
pub(crate) use policies::{EvictionPolicy, MAXMEMORY_POLICIES, POLICIES, Rule, Scope};
pub(crate) use spec::{Applies, Kind, Mutability, OptionSpec};
pub(crate) use table::{OPTIONS, make_tables};
pub(crate) use value::{Value, format_percentile};
use values::{DEFAULTS, Values};

/// The version of Valkey whose behaviour the engine has.
pub(crate) const VALKEY_VERSION: &str = "9.1.2";

/// Current values of all options. Shared by reference: setting takes `&self`.
#[derive(Debug)]
pub struct Config {
    values: Mutex<Values>,
    hot: Hot,
    /// The file that they were read from, if any; CONFIG REWRITE writes there.
    file: Option<PathBuf>,
    /// Arguments of `user` lines: name and rules.
    users: Mutex<Vec<Vec<Vec<u8>>>>,
    /// Arguments of `rename-command` lines: the old name and the new one.
    renames: Mutex<Vec<(Vec<u8>, Vec<u8>)>>,
}

impl Default for Config {
    fn default() -> Self {
        let mut values = Values::default();
        if let (Some(dir), Ok(current)) = (table::find(b"dir"), std::env::current_dir()) {
            values.set(dir, Value::Text(current.into_os_string().into_encoded_bytes()));
        }
        Self {
            values: Mutex::new(values),
            hot: DEFAULTS.hot.clone(),
            file: None,
            users: Mutex::default(),
            renames: Mutex::default(),
        }
    }
}

/// The default of one option, made from its text as any other value is.
fn default_value(spec: &OptionSpec) -> Value {
    match spec.kind {
        Kind::BufferLimits => Value::BufferLimits(BufferLimits::default()),
        Kind::Words { .. } | Kind::ReplicaOf if spec.default.is_empty() => Value::Words(Vec::new()),
        // Checks are of what users give; the empty string is the default of some that refuse it.
        Kind::Text(_) => Value::Text(spec.default.as_bytes().to_vec()),
        _ => {
            let args = split_words(spec, spec.default.as_bytes());
            value::parse(spec, &args, &Value::Bool(false)).expect("the table's defaults are valid")
        }
    }
}

/// Arguments of an option given as one string, the way CONFIG SET takes them.
fn split_words<'a>(spec: &OptionSpec, text: &'a [u8]) -> Vec<Cow<'a, [u8]>> {
    if spec.kind.takes_many() && !text.is_empty() {
        text.split(|byte| *byte == b' ').map(Cow::Borrowed).collect()
    } else {
        vec![Cow::Borrowed(text)]
    }
}

impl Config {
    /// Locks the values.
    pub(crate) fn freeze<'a>(&'a self, held: &mut Vec<Box<dyn Guard + 'a>>) {
        held.push(Box::new(self.values.lock()));
    }

    /// The options read at every command, without a lock.
    pub(crate) fn hot(&self) -> &Hot {
        &self.hot
    }

    /// The value of one option by any of its names, for readers that need it seldom. Takes a lock, clones.
    pub(crate) fn value(&self, name: &str) -> Option<Value> {
        let index = table::find(name.as_bytes())?;
        Some(self.values.lock()[index].clone())
    }

    /// The text of one option, as CONFIG GET prints it.
    pub(crate) fn text(&self, name: &str) -> Option<Vec<u8>> {
        let index = table::find(name.as_bytes())?;
        Some(self.values.lock()[index].to_text(&OPTIONS[index].kind))
    }

    /// What may wait to be sent to a client of a class, as the option says it.
    #[cfg(feature = "listener")]
    pub(crate) fn buffer_limit(&self, class: BufferClass) -> BufferLimit {
        match self.value("client-output-buffer-limit") {
            Some(Value::BufferLimits(limits)) => limits.of(class),
            other => unreachable!("the option has limits, not {other:?}"),
        }
    }

    /// Bytes that all clients together may take; 0 is no limit.
    #[cfg(feature = "listener")]
    pub(crate) fn client_memory_limit(&self) -> u64 {
        match self.value("maxmemory-clients") {
            Some(Value::Memory(bytes)) => bytes,
            Some(Value::Percent(percent)) => self.hot().maxmemory() / 100 * u64::from(percent),
            _ => 0,
        }
    }

    /// The option `io-threads`.
    #[cfg(feature = "listener")]
    pub(crate) fn io_threads(&self) -> usize {
        match self.value("io-threads") {
            Some(Value::Int(threads)) => usize::try_from(threads).unwrap_or(1).max(1),
            _ => 1,
        }
    }

    /// What may wait of messages for a client of a class; a client that monitors is a normal one.
    pub(crate) fn push_limit(&self, class: BufferClass) -> PushLimit {
        match self.value("client-output-buffer-limit") {
            Some(Value::BufferLimits(limits)) => limits.push_limit(class),
            other => unreachable!("the option has limits, not {other:?}"),
        }
    }

    /// The users of the configuration file: names and rules.
    pub(crate) fn users(&self) -> Vec<Vec<Vec<u8>>> {
        self.users.lock().clone()
    }

    /// The commands that the configuration file gives other names, or an empty one; in its order.
    pub(crate) fn renames(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        self.renames.lock().clone()
    }

    /// The file of the users, if they are kept in one.
    pub(crate) fn acl_file(&self) -> Option<PathBuf> {
        let path = self.text("aclfile").filter(|path| !path.is_empty())?;
        let dir = self.text("dir").unwrap_or_default();
        let dir = PathBuf::from(String::from_utf8_lossy(&dir).into_owned());
        Some(dir.join(&*String::from_utf8_lossy(&path)))
    }

    /// Whether new users may use every channel.
    pub(crate) fn allows_all_channels(&self) -> bool {
        self.text("acl-pubsub-default").is_some_and(|default| default == b"allchannels")
    }

    /// Whether somebody chose a value of the option, be it the default.
    pub(crate) fn is_set(&self, name: &str) -> bool {
        let row = table::find(name.as_bytes());
        self.values.lock().own().iter().any(|(own, _)| Some(*own) == row)
    }

    /// Names and values for CONFIG GET. A name without pattern characters is answered in the caller's spelling; patterns
    /// match names and former names in any case, in the table's order; nothing is answered twice.
    pub(crate) fn get(&self, patterns: &[&[u8]]) -> Vec<(Vec<u8>, Vec<u8>)> {
        let values = self.values.lock();
        let mut seen = HashSet::new();
        let mut found = Vec::new();
        let mut add = |name: &[u8], index: usize| {
            if seen.insert(name.to_ascii_lowercase()) {
                let text = values[index].to_text(&OPTIONS[index].kind);
                found.push((name.to_vec(), text));
            }
        };
        for pattern in patterns {
            if !pattern.iter().any(|byte| b"*?[".contains(byte)) {
                if let Some(index) = table::find(pattern) {
                    add(pattern, index);
                }
                continue;
            }
            // Whoever lists options gets the server's: tools compare such lists. Ours are told by name.
            for (index, spec) in
                OPTIONS.iter().enumerate().filter(|(_, spec)| !table::OURS.contains(&spec.name))
            {
                for name in [Some(spec.name), spec.alias].into_iter().flatten() {
                    if glob_matches(until_zero(pattern), name.as_bytes(), true) {
                        add(name.as_bytes(), index);
                    }
                }
            }
        }
        found
    }

    /// Sets all of `pairs` (names and texts) or none, for a client of this machine.
    ///
    /// # Errors
    /// The first pair at fault, in the server's words. Names and rights are checked before any value.
    #[cfg(test)]
    pub(crate) fn set(&self, pairs: &[(&[u8], &[u8])]) -> Result<(), ConfigError> {
        self.set_for(true, pairs).map(drop)
    }

    /// The same for a client of this machine or of another. Returns what [`Config::restore`] takes.
    pub(crate) fn set_for(&self, is_local: bool, pairs: &[(&[u8], &[u8])]) -> Result<Before, ConfigError> {
        let mut values = self.values.lock();
        let targets = Self::check_targets(&values, is_local, pairs)?;
        let mut changed = values.clone();
        for ((name, text), index) in pairs.iter().zip(targets) {
            let spec = &OPTIONS[index];
            let args = split_words(spec, text);
            let value = value::parse(spec, &args, &changed[index]).and_then(|value| accept(spec, value));
            changed.set(index, value.map_err(|reason| ConfigError::argument(name, reason))?);
        }
        let before = std::mem::replace(&mut *values, changed);
        self.publish(&values);
        Ok(Before(before))
    }

    /// Takes back what was set since, all of it.
    pub(crate) fn restore(&self, Before(before): Before) {
        let mut values = self.values.lock();
        let set = values.own().iter().map(|(row, _)| *row);
        set.for_each(|row| self.hot.publish(OPTIONS[row].name, &before[row]));
        *values = before;
    }

    fn check_targets(
        values: &Values,
        is_local: bool,
        pairs: &[(&[u8], &[u8])],
    ) -> Result<Vec<usize>, ConfigError> {
        let mut targets = Vec::with_capacity(pairs.len());
        for (place, (name, _)) in pairs.iter().enumerate() {
            let index = table::find(name).ok_or_else(|| ConfigError::unknown(name))?;
            let refusal = match OPTIONS[index].mutability {
                Mutability::Immutable => Some("can't set immutable config"),
                Mutability::Protected if !protected_allowed(values, is_local) => {
                    Some("can't set protected config")
                }
                _ if pairs[..place].iter().any(|(earlier, _)| earlier.eq_ignore_ascii_case(name)) => {
                    Some("duplicate parameter")
                }
                _ => None,
            };
            if let Some(reason) = refusal {
                return Err(ConfigError::argument(name, reason.to_owned()));
            }
            targets.push(index);
        }
        Ok(targets)
    }

    fn publish(&self, values: &Values) {
        for (index, value) in values.own() {
            self.hot.publish(OPTIONS[*index].name, value);
        }
    }
}

/// The values before some were set.
#[must_use]
pub(crate) struct Before(Values);

/// Whether `enable-protected-configs` lets a client's CONFIG SET change protected options.
fn protected_allowed(values: &Values, is_local: bool) -> bool {
    let index = table::find(b"enable-protected-configs").expect("the option is in the table");
    match (&values[index], &OPTIONS[index].kind) {
        (Value::Choice(choice), Kind::Choice(words)) => match words[*choice] {
            "yes" => true,
            "local" => is_local,
            _ => false,
        },
        _ => unreachable!("a value has the kind of its option"),
    }
}

/// Brings a valid value into the range that the engine works with, and refuses what it cannot do.
fn accept(spec: &OptionSpec, value: Value) -> Result<Value, String> {
    if spec.applies == Applies::Refused && value != default_value(spec) {
        return Err(match spec.name {
            "rdma-bind" | "rdma-port" => "No RDMA building support.".to_owned(),
            _ => "not supported by an embedded engine".to_owned(),
        });
    }
    Ok(match (spec.name, value) {
        ("hz", Value::Int(hz)) => Value::Int(hz.clamp(1, 500)),
        ("repl-backlog-size", Value::Memory(bytes)) => Value::Memory(bytes.max(16 << 10)),
        // The server goes there; a process that we are a part of may go elsewhere.
        ("dir", Value::Text(path)) => Value::Text(check::full_path(&path)?),
        (_, value) => value,
    })
}

#[cfg(test)]
#[path = "config/tests.rs"]
mod tests;
