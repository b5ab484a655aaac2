//! One set of permissions: commands, keys, channels and databases. A user has a main one, and may have further ones beside it.

use std::collections::{BTreeMap, BTreeSet};

use super::call::{Access, Call, Reason, Refusal};
use super::catalog::Catalog;
use super::rights::RuleError;
use crate::error::until_zero;
use crate::num;
use crate::pattern::glob_matches;

/// What may be done; a call is allowed if one selector of a user allows all of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Selector {
    commands: Commands,
    keys: Keys,
    channels: Channels,
    databases: Databases,
}

/// Which commands, by their numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Commands {
    allowed: Box<[u64]>,
    /// The rules began with all commands, and not with none.
    began_with_all: bool,
    /// The rules since then, as they are shown.
    rules: Vec<Box<[u8]>>,
    /// Of commands that are not allowed as a whole: first arguments with which they are.
    first_words: BTreeMap<usize, Vec<Box<[u8]>>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Keys {
    are_all: bool,
    patterns: Vec<(Access, Box<[u8]>)>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Channels {
    are_all: bool,
    patterns: Vec<Box<[u8]>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Databases {
    All,
    These(BTreeSet<usize>),
}

impl Selector {
    /// One that allows nothing, but for any channel, if `all_channels`, and any database.
    pub(super) fn nothing(catalog: &Catalog, all_channels: bool) -> Self {
        let allowed = vec![0; catalog.len().div_ceil(64)].into();
        let (rules, first_words) = (Vec::new(), BTreeMap::new());
        Self {
            commands: Commands { allowed, began_with_all: false, rules, first_words },
            keys: Keys::default(),
            channels: Channels { are_all: all_channels, patterns: Vec::new() },
            databases: Databases::All,
        }
    }

    /// One that allows everything.
    pub(super) fn everything(catalog: &Catalog) -> Self {
        let mut all = Self::nothing(catalog, true);
        all.commands.set_all(catalog, true);
        all.keys.are_all = true;
        all
    }

    /// Whether no call is refused.
    pub(super) fn allows_all(&self, catalog: &Catalog) -> bool {
        self.commands.are_all(catalog)
            && self.keys.are_all
            && self.channels.are_all
            && self.databases == Databases::All
    }

    /// Changes it as a rule says.
    ///
    /// # Errors
    /// The rule is wrong; nothing has changed.
    pub(super) fn apply(&mut self, rule: &[u8], catalog: &Catalog) -> Result<(), RuleError> {
        let word = until_zero(rule).to_ascii_lowercase();
        match &word[..] {
            b"allkeys" | b"~*" => self.keys = Keys { are_all: true, patterns: Vec::new() },
            b"resetkeys" => self.keys = Keys::default(),
            b"allchannels" | b"&*" => self.channels = Channels { are_all: true, patterns: Vec::new() },
            b"resetchannels" => self.channels = Channels::default(),
            b"alldbs" => self.databases = Databases::All,
            b"resetdbs" => self.databases = Databases::These(BTreeSet::new()),
            b"allcommands" | b"+@all" => self.commands.set_all(catalog, true),
            b"nocommands" | b"-@all" => self.commands.set_all(catalog, false),
            [b'~' | b'%', ..] => self.keys.add(rule)?,
            [b'&', ..] => self.channels.add(&rule[1..])?,
            [b'd', b'b', b'=', list @ ..] => self.databases = Databases::parse(list)?,
            [b'+', b'@', name @ ..] => self.commands.set_category(catalog, name, true)?,
            [b'-', b'@', name @ ..] => self.commands.set_category(catalog, name, false)?,
            [b'+', name @ ..] => self.commands.allow(catalog, name)?,
            [b'-', name @ ..] => self.commands.forbid(catalog, name)?,
            _ => return Err(RuleError::Syntax),
        }
        Ok(())
    }

    /// Whether it allows a call.
    pub(super) fn check(&self, call: &Call<'_>) -> Result<(), Refusal> {
        let refused = |reason, at| Err(Refusal { reason, at });
        if let Databases::These(allowed) = &self.databases {
            if let Some((at, _)) = call.databases.iter().find(|(_, index)| !allowed.contains(index)) {
                return refused(Reason::Database, *at);
            }
            if call.is_about_all || call.database.is_some_and(|own| !allowed.contains(&own)) {
                return refused(Reason::Database, 0);
            }
        }
        if !call.is_free && !self.commands.allow_call(call) {
            return refused(Reason::Command, 0);
        }
        let is_closed = |(at, access): &&(usize, Access)| !self.keys.allow(call.words[*at], *access);
        if let Some((at, _)) = call.keys.iter().find(is_closed) {
            return refused(Reason::Key, *at);
        }
        match call.channels.iter().find(|at| !self.channels.allow(call.words[**at], call.are_patterns)) {
            Some(at) => refused(Reason::Channel, *at),
            None => Ok(()),
        }
    }

    /// Whether any key may be read.
    pub(super) fn reads_all_keys(&self) -> bool {
        let is_star = |(access, pattern): &(Access, Box<[u8]>)| access.reads && **pattern == *b"*";
        self.keys.are_all || self.keys.patterns.iter().any(is_star)
    }

    /// Whether a channel, or a pattern of channels, may be heard.
    pub(super) fn allows_channel(&self, channel: &[u8], is_pattern: bool) -> bool {
        self.channels.allow(channel, is_pattern)
    }

    /// The command rules, as they are shown.
    pub(crate) fn commands(&self) -> Vec<u8> {
        let mut text = if self.commands.began_with_all { b"+@all".to_vec() } else { b"-@all".to_vec() };
        for rule in &self.commands.rules {
            text.push(b' ');
            text.extend_from_slice(rule);
        }
        text
    }

    /// The key patterns, as they are shown.
    pub(crate) fn keys(&self) -> Vec<u8> {
        if self.keys.are_all {
            return b"~*".to_vec();
        }
        let shown = |(access, pattern): &(Access, Box<[u8]>)| {
            let sign: &[u8] = match (access.reads, access.writes) {
                (true, false) => b"%R~",
                (false, true) => b"%W~",
                _ => b"~",
            };
            [sign, pattern].concat()
        };
        self.keys.patterns.iter().map(shown).collect::<Vec<_>>().join(&b' ')
    }

    /// The channel patterns, as they are shown.
    pub(crate) fn channels(&self) -> Vec<u8> {
        if self.channels.are_all {
            return b"&*".to_vec();
        }
        let patterns = self.channels.patterns.iter();
        patterns.map(|pattern| [b"&", &**pattern].concat()).collect::<Vec<_>>().join(&b' ')
    }

    /// The databases, as they are shown; empty for none.
    pub(crate) fn databases(&self) -> String {
        match &self.databases {
            Databases::All => "alldbs".to_owned(),
            Databases::These(these) if these.is_empty() => String::new(),
            Databases::These(these) => {
                let numbers: Vec<String> = these.iter().map(ToString::to_string).collect();
                format!("db={}", numbers.join(","))
            }
        }
    }

    /// As [`Selector::keys`], but so that it can be read again: a lone `~*` would be all keys, and no pattern may follow.
    fn exact_keys(&self) -> Vec<u8> {
        let shown = self.keys();
        if self.keys.are_all {
            return shown;
        }
        let exact = |rule: &[u8]| if rule == b"~*" { b"%RW~*".to_vec() } else { rule.to_vec() };
        shown.split(|byte| *byte == b' ').map(exact).collect::<Vec<_>>().join(&b' ')
    }

    /// Rules that make such a one out of one that allows nothing; as the server shows them, or, if `is_exact`, as they can be read again in any case.
    pub(super) fn describe(&self, is_exact: bool) -> Vec<u8> {
        let mut words = Vec::new();
        let keys = if is_exact { self.exact_keys() } else { self.keys() };
        words.extend(Some(keys).filter(|keys| !keys.is_empty()));
        if !self.channels.are_all {
            words.push(b"resetchannels".to_vec());
        }
        words.extend(Some(self.channels()).filter(|channels| !channels.is_empty()));
        match self.databases() {
            all if self.databases == Databases::All => drop(all),
            none if none.is_empty() => words.push(b"resetdbs".to_vec()),
            these => words.push(these.into_bytes()),
        }
        words.push(self.commands());
        words.join(&b' ')
    }
}

impl Commands {
    fn has(&self, id: usize) -> bool {
        self.allowed[id / 64] >> (id % 64) & 1 != 0
    }

    fn are_all(&self, catalog: &Catalog) -> bool {
        let of_word = |at: usize| match catalog.len() - at * 64 {
            64.. => u64::MAX,
            rest => (1 << rest) - 1,
        };
        self.allowed.iter().enumerate().all(|(at, word)| *word == of_word(at))
    }

    fn allow_call(&self, call: &Call<'_>) -> bool {
        self.has(call.command)
            || self.first_words.get(&call.command).is_some_and(|allowed| {
                let given = call.words.get(1).map(|word| until_zero(word));
                given.is_some_and(|given| allowed.iter().any(|word| word.eq_ignore_ascii_case(given)))
            })
    }

    fn set_all(&mut self, catalog: &Catalog, is_allowed: bool) {
        self.began_with_all = is_allowed;
        self.rules.clear();
        (0..catalog.len()).for_each(|id| self.set_one(id, is_allowed));
    }

    fn set_one(&mut self, id: usize, is_allowed: bool) {
        let bit = 1 << (id % 64);
        let word = &mut self.allowed[id / 64];
        *word = if is_allowed { *word | bit } else { *word & !bit };
        self.first_words.remove(&id);
    }

    /// Sets a command and what it contains.
    fn set(&mut self, catalog: &Catalog, id: usize, is_allowed: bool) {
        self.set_one(id, is_allowed);
        if catalog.row(id).is_container {
            let within = |row: &super::Row| row.container == Some(id);
            let subcommands = catalog.rows().iter().enumerate().filter(|(_, row)| within(row));
            subcommands.for_each(|(sub, _)| self.set_one(sub, is_allowed));
        }
    }

    fn set_category(&mut self, catalog: &Catalog, name: &[u8], is_allowed: bool) -> Result<(), RuleError> {
        let category = catalog.category(name).ok_or(RuleError::Unknown)?;
        let within = |row: &super::Row| row.categories & category != 0;
        for (id, _) in catalog.rows().iter().enumerate().filter(|(_, row)| within(row)) {
            self.set(catalog, id, is_allowed);
        }
        self.note(is_allowed, &[b"@", name].concat());
        Ok(())
    }

    fn forbid(&mut self, catalog: &Catalog, name: &[u8]) -> Result<(), RuleError> {
        let id = catalog.find(name).ok_or(RuleError::Unknown)?;
        self.set(catalog, id, false);
        self.note(false, name);
        Ok(())
    }

    fn allow(&mut self, catalog: &Catalog, name: &[u8]) -> Result<(), RuleError> {
        if let Some(id) = catalog.find(name) {
            self.set(catalog, id, true);
            self.note(true, name);
            return Ok(());
        }
        let bar = name.iter().rposition(|byte| *byte == b'|').ok_or(RuleError::Unknown)?;
        let (command, word) = (&name[..bar], &name[bar + 1..]);
        let id = catalog.find(command).ok_or(RuleError::Unknown)?;
        let row = catalog.row(id);
        if row.container.is_some() {
            return Err(RuleError::FirstWordOfSubcommand);
        }
        if word.is_empty() {
            return Err(RuleError::Syntax);
        }
        if row.is_container {
            return Err(RuleError::Unknown);
        }
        if !self.has(id) {
            let words = self.first_words.entry(id).or_default();
            if !words.iter().any(|own| **own == *word) {
                words.push(word.into());
            }
        }
        self.note(true, name);
        Ok(())
    }

    /// Remembers a rule; those that it makes void are forgotten.
    fn note(&mut self, is_allowed: bool, name: &[u8]) {
        let is_void =
            |rule: &[u8]| rule[1..].strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest[0] == b'|');
        self.rules.retain(|rule| !is_void(rule));
        let sign: &[u8] = if is_allowed { b"+" } else { b"-" };
        self.rules.push([sign, name].concat().into());
    }
}

impl Keys {
    fn add(&mut self, rule: &[u8]) -> Result<(), RuleError> {
        if self.are_all {
            return Err(RuleError::AfterAllKeys);
        }
        let (access, pattern) = match rule {
            [b'~', pattern @ ..] => (Access { reads: true, writes: true }, pattern),
            [_, rest @ ..] => permissions(rest).ok_or(RuleError::Syntax)?,
            [] => return Err(RuleError::Syntax),
        };
        if has_space_or_zero(pattern) {
            return Err(RuleError::Syntax);
        }
        match self.patterns.iter_mut().find(|(_, own)| **own == *pattern) {
            Some((own, _)) => {
                own.reads |= access.reads;
                own.writes |= access.writes;
            }
            None => self.patterns.push((access, pattern.into())),
        }
        Ok(())
    }

    /// Whether one pattern allows all of an access; one that neither reads nor writes is allowed by any.
    fn allow(&self, key: &[u8], access: Access) -> bool {
        let suffices = |own: Access| (own.reads || !access.reads) && (own.writes || !access.writes);
        self.are_all
            || self.patterns.iter().any(|(own, pattern)| suffices(*own) && glob_matches(pattern, key, false))
    }
}

/// What stands between `%` and `~`, and the pattern behind.
fn permissions(rule: &[u8]) -> Option<(Access, &[u8])> {
    let mut access = Access { reads: false, writes: false };
    let mut rest = rule;
    loop {
        match rest {
            [b'r' | b'R', more @ ..] if !access.reads => (access.reads, rest) = (true, more),
            [b'w' | b'W', more @ ..] if !access.writes => (access.writes, rest) = (true, more),
            [b'~', pattern @ ..] => {
                rest = pattern;
                break;
            }
            [] => break,
            _ => return None,
        }
    }
    (access.reads || access.writes).then_some((access, rest))
}

impl Channels {
    fn add(&mut self, pattern: &[u8]) -> Result<(), RuleError> {
        if self.are_all {
            return Err(RuleError::AfterAllChannels);
        }
        if has_space_or_zero(pattern) {
            return Err(RuleError::Syntax);
        }
        if !self.patterns.iter().any(|own| **own == *pattern) {
            self.patterns.push(pattern.into());
        }
        Ok(())
    }

    fn allow(&self, channel: &[u8], is_pattern: bool) -> bool {
        let is_allowed = |own: &[u8]| match is_pattern {
            true => own == channel,
            false => glob_matches(own, channel, false),
        };
        self.are_all || self.patterns.iter().any(|own| is_allowed(own))
    }
}

impl Databases {
    fn parse(list: &[u8]) -> Result<Self, RuleError> {
        let mut these = BTreeSet::new();
        for number in list.split(|byte| *byte == b',') {
            let number = database(number)?;
            these.insert(number);
        }
        Ok(Self::These(these))
    }
}

/// A number as C's `strtol` reads it, if nothing stands behind it.
fn database(text: &[u8]) -> Result<usize, RuleError> {
    let text = text.trim_ascii_start();
    let digits = text.strip_prefix(b"+").unwrap_or(text);
    let digits = digits.strip_prefix(b"-").unwrap_or(digits);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(RuleError::Syntax);
    }
    let significant = digits.iter().position(|digit| *digit != b'0').map_or(&b"0"[..], |at| &digits[at..]);
    let number = num::parse_i64(significant).filter(|number| *number < i64::from(i32::MAX));
    match number {
        Some(number) if !text.starts_with(b"-") || number == 0 => Ok(number as usize),
        _ => Err(RuleError::DatabaseOutOfRange),
    }
}

/// What no pattern may contain, since it is shown between spaces.
fn has_space_or_zero(text: &[u8]) -> bool {
    text.iter().any(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c | 0))
}
