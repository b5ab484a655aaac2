//! Values of options: parsing from arguments, and the texts of CONFIG GET.
//!
//! Which kind an option has, its bounds and words, is in the table; lines of the file are `rewrite.rs`'s.

use std::borrow::Cow;

use super::{
    events::KeyspaceEvents,
    limits::BufferLimits,
    memory::parse_memory,
    spec::{Kind, OptionSpec},
};
use crate::error::until_zero;
use crate::num;

/// The current value of an option.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    /// Of a `yes`/`no` option.
    Bool(bool),
    /// Of an integer option; permissions too.
    Int(i64),
    /// A number of bytes.
    Memory(u64),
    /// Percent of `maxmemory`.
    Percent(u8),
    /// Index of the word chosen.
    Choice(usize),
    /// Bit `n` stands for word `n` of the option's list.
    Flags(u32),
    /// A string.
    Text(Vec<u8>),
    /// Several strings.
    Words(Vec<Vec<u8>>),
    /// Seconds and changes.
    Save(Vec<(i64, i64)>),
    /// Output buffer limits.
    BufferLimits(BufferLimits),
    /// Scores for the kernel's out-of-memory killer.
    OomScores([i64; 3]),
    /// Classes of events.
    KeyspaceEvents(KeyspaceEvents),
    /// Percentiles.
    Percentiles(Vec<f64>),
}

/// The value of `spec` made from `args`, `current` being the value so far (some kinds replace only a part).
///
/// # Errors
/// The server's words for what is wrong.
pub(super) fn parse(spec: &OptionSpec, args: &[Cow<'_, [u8]>], current: &Value) -> Result<Value, String> {
    let shortened: Vec<Cow<'_, [u8]>>;
    let args = if takes_zero_bytes(spec) {
        args
    } else {
        shortened = args.iter().map(|arg| Cow::Borrowed(until_zero(arg))).collect();
        &shortened[..]
    };
    let first = || args.first().map(AsRef::as_ref).unwrap_or_default();
    Ok(match spec.kind {
        Kind::Bool => Value::Bool(parse_bool(first())?),
        Kind::Int { min, max } => Value::Int(parse_int(first(), min, max)?),
        Kind::Octal => Value::Int(parse_octal(first())?),
        Kind::Memory { min, max } => Value::Memory(parse_bounded_memory(first(), min, max)?),
        Kind::MemoryOrPercent => parse_memory_or_percent(first())?,
        Kind::Choice(words) => Value::Choice(find_word(first(), words)?),
        Kind::ShutdownFlags(words) => Value::Flags(parse_flags(args, words)?),
        Kind::Text(check) => {
            check(first())?;
            Value::Text(first().to_vec())
        }
        Kind::Words { max } if args.len() > max => {
            return Err("Too many bind addresses specified.".to_owned());
        }
        Kind::Words { .. } => {
            let words: Vec<Vec<u8>> = args.iter().map(|word| word.to_vec()).collect();
            Value::Words(if words == [b""] { Vec::new() } else { words })
        }
        Kind::Save => Value::Save(parse_save(args)?),
        Kind::BufferLimits => match current {
            Value::BufferLimits(limits) => Value::BufferLimits(limits.changed(args)?),
            _ => unreachable!("a value has the kind of its option"),
        },
        Kind::OomScores => Value::OomScores(parse_scores(args)?),
        Kind::KeyspaceEvents => Value::KeyspaceEvents(KeyspaceEvents::parse(first())?),
        Kind::Percentiles => Value::Percentiles(parse_percentiles(args)?),
        Kind::ReplicaOf => Value::Words(parse_primary(args)?),
    })
}

/// Whether a zero byte does not end a value, as it ends a C string: it is a part of a password, and an error in a number.
fn takes_zero_bytes(spec: &OptionSpec) -> bool {
    const BYTES: &[&str] = &["requirepass", "primaryauth", "availability-zone", "proc-title-template"];
    match spec.kind {
        Kind::Int { .. } | Kind::OomScores | Kind::Percentiles | Kind::MemoryOrPercent => true,
        Kind::Text(_) => BYTES.contains(&spec.name),
        _ => false,
    }
}

fn parse_bool(text: &[u8]) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_slice() {
        b"yes" => Ok(true),
        b"no" => Ok(false),
        _ => Err("argument must be 'yes' or 'no'".to_owned()),
    }
}

fn parse_int(text: &[u8], min: i64, max: i64) -> Result<i64, String> {
    let value = num::parse_i64(text).ok_or("argument couldn't be parsed into an integer")?;
    if (min..=max).contains(&value) { Ok(value) } else { Err(out_of_range(min, max)) }
}

fn out_of_range(min: impl ToString, max: impl ToString) -> String {
    format!("argument must be between {} and {} inclusive", min.to_string(), max.to_string())
}

fn parse_octal(text: &[u8]) -> Result<i64, String> {
    let value = std::str::from_utf8(text)
        .ok()
        .and_then(|text| i64::from_str_radix(text, 8).ok())
        .ok_or("argument couldn't be parsed as an octal number")?;
    if (0..=0o777).contains(&value) { Ok(value) } else { Err(out_of_range("0", "777")) }
}

fn parse_bounded_memory(text: &[u8], min: u64, max: u64) -> Result<u64, String> {
    let value = parse_memory(text).ok_or("argument must be a memory value")?;
    if (min..=max).contains(&value) { Ok(value) } else { Err(out_of_range(min, max)) }
}

fn parse_memory_or_percent(text: &[u8]) -> Result<Value, String> {
    const ERROR: &str = "argument must be a memory or percent value";
    let Some(percent) = text.strip_suffix(b"%").and_then(num::parse_i64) else {
        return Ok(Value::Memory(parse_memory(until_zero(text)).ok_or(ERROR)?));
    };
    match percent {
        0 => Ok(Value::Memory(0)),
        percent @ 1..=100 => Ok(Value::Percent(percent as u8)),
        101.. => Err("percentage argument must be less or equal to 100".to_owned()),
        _ => Err(ERROR.to_owned()),
    }
}

fn find_word(text: &[u8], words: &[&str]) -> Result<usize, String> {
    words
        .iter()
        .position(|word| text.eq_ignore_ascii_case(word.as_bytes()))
        .ok_or_else(|| format!("argument(s) must be one of the following: {}", words.join(", ")))
}

fn parse_flags(args: &[Cow<'_, [u8]>], words: &[&str]) -> Result<u32, String> {
    if args.is_empty() {
        find_word(b"", words)?;
    }
    let mut flags = 0;
    for arg in args {
        // The first word is the name of no flag.
        flags |= match find_word(arg, words)? {
            0 => 0,
            index => 1 << index,
        };
    }
    let set = |word: &str| {
        words.iter().position(|known| *known == word).is_some_and(|index| flags & 1 << index != 0)
    };
    if set("save") && set("nosave") {
        return Err("shutdown options SAVE and NOSAVE can't be used simultaneously".to_owned());
    }
    Ok(flags)
}

fn parse_save(args: &[Cow<'_, [u8]>]) -> Result<Vec<(i64, i64)>, String> {
    const ERROR: &str = "Invalid save parameters";
    if args.iter().all(|arg| arg.is_empty()) && args.len() <= 1 {
        return Ok(Vec::new());
    }
    let (pairs, rest) = args.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(ERROR.to_owned());
    }
    let parsed = pairs.iter().map(|[seconds, changes]| {
        let seconds = num::parse_i64(seconds).filter(|seconds| *seconds >= 1)?;
        let changes = num::parse_i64(changes).filter(|changes| *changes >= 0)?;
        Some((seconds, changes))
    });
    parsed.collect::<Option<_>>().ok_or_else(|| ERROR.to_owned())
}

fn parse_scores(args: &[Cow<'_, [u8]>]) -> Result<[i64; 3], String> {
    let [a, b, c] = args else { return Err("wrong number of arguments".to_owned()) };
    let score = |text: &[u8]| {
        num::parse_i64(text)
            .filter(|score| (-2000..=2000).contains(score))
            .ok_or("Invalid oom-score-adj-values, elements must be between -2000 and 2000.")
    };
    Ok([score(a)?, score(b)?, score(c)?])
}

fn parse_percentiles(args: &[Cow<'_, [u8]>]) -> Result<Vec<f64>, String> {
    if let [empty] = args
        && empty.is_empty()
    {
        return Ok(Vec::new());
    }
    args.iter()
        .map(|arg| {
            let percentile =
                num::parse_f64(arg).ok_or("Invalid latency-tracking-info-percentiles parameters")?;
            if (0.0..=100.0).contains(&percentile) {
                Ok(percentile)
            } else {
                Err("latency-tracking-info-percentiles parameters should sit between [0.0,100.0]".to_owned())
            }
        })
        .collect()
}

fn parse_primary(args: &[Cow<'_, [u8]>]) -> Result<Vec<Vec<u8>>, String> {
    let [host, port] = args else { return Err("wrong number of arguments".to_owned()) };
    if host.eq_ignore_ascii_case(b"no") && port.eq_ignore_ascii_case(b"one") {
        return Ok(Vec::new());
    }
    if num::parse_i64(port).is_none_or(|port| !(0..=65535).contains(&port)) {
        return Err("Invalid primary port".to_owned());
    }
    Ok(vec![host.to_vec(), port.to_vec()])
}

/// A percentile as CONFIG GET and INFO print it: six digits behind the point at most.
pub(crate) fn format_percentile(percentile: f64) -> String {
    let text = format!("{percentile:.6}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

impl Value {
    /// The text of CONFIG GET.
    pub(super) fn to_text(&self, kind: &Kind) -> Vec<u8> {
        match (self, kind) {
            (Self::Text(text), _) => text.clone(),
            (Self::Words(words), _) => words.join(&b' '),
            (Self::Int(value), Kind::Octal) => format!("{value:o}").into_bytes(),
            (Self::Choice(index), Kind::Choice(words)) => words[*index].as_bytes().to_vec(),
            (Self::Flags(flags), Kind::ShutdownFlags(words)) => format_flags(*flags, words).into_bytes(),
            _ => self.to_plain_text().into_bytes(),
        }
    }

    fn to_plain_text(&self) -> String {
        match self {
            Self::Bool(value) => if *value { "yes" } else { "no" }.to_owned(),
            Self::Int(value) => value.to_string(),
            Self::Memory(bytes) => bytes.to_string(),
            Self::Percent(percent) => format!("{percent}%"),
            Self::Save(points) => {
                join(points.iter().map(|(seconds, changes)| format!("{seconds} {changes}")))
            }
            Self::BufferLimits(limits) => limits.to_string(),
            Self::OomScores(scores) => join(scores.iter().map(i64::to_string)),
            Self::KeyspaceEvents(events) => events.to_string(),
            Self::Percentiles(percentiles) => join(percentiles.iter().map(|value| format_percentile(*value))),
            Self::Choice(_) | Self::Flags(_) | Self::Text(_) | Self::Words(_) => {
                unreachable!("these texts depend on the option's words")
            }
        }
    }
}

fn join(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(" ")
}

fn format_flags(flags: u32, words: &[&str]) -> String {
    if flags == 0 {
        return words[0].to_owned();
    }
    let set = words.iter().enumerate().filter(|(index, _)| flags & 1 << index != 0);
    join(set.map(|(_, word)| (*word).to_owned()))
}
