//! Arguments: the cursor over a command's words, and the types that parse from it and encode back to it.
//!
//! The parsers of whole commands are written by `derive(Command)` on top of these.

use super::Argv;
use super::spec::{ArgKind, ArgSpec, Spec};
use crate::alloc;
use crate::error::{Error, Result};
use crate::keyspace::{HashSeed, Key};
use crate::num;

/// A cursor over the arguments of one command, behind its name.
#[derive(Debug)]
pub struct Args<'a> {
    words: &'a [&'a [u8]],
    name: &'a [&'a [u8]],
    spec: &'static Spec,
    seed: HashSeed,
    databases: usize,
}

impl<'a> Args<'a> {
    /// The arguments of a command of `spec`, which stand in `words` without the command's name (or names).
    ///
    /// Keys are hashed with `seed`; numbers of databases must be below `databases`.
    pub fn new(words: &'a [&'a [u8]], spec: &'static Spec, seed: HashSeed, databases: usize) -> Self {
        Self { words, name: &[], spec, seed, databases }
    }

    /// With the words of the command's name, for error texts that quote them as the caller spelled them.
    pub fn named(self, name: &'a [&'a [u8]]) -> Self {
        Self { name, ..self }
    }

    /// The last word of the command's name as the caller spelled it; empty where nobody called.
    pub fn spelled(&self) -> &'a [u8] {
        self.name.last().copied().unwrap_or_default()
    }

    /// The next argument, consumed.
    #[allow(
        clippy::should_implement_trait,
        reason = "a cursor that is peeked and taken from, not iterated over"
    )]
    pub fn next(&mut self) -> Option<&'a [u8]> {
        let (first, rest) = self.words.split_first()?;
        self.words = rest;
        Some(first)
    }

    /// The next argument, which the arity promised.
    ///
    /// # Errors
    /// The command's arity error where it is missing all the same.
    pub fn required(&mut self) -> Result<&'a [u8]> {
        self.next().ok_or_else(|| self.arity_error())
    }

    /// The value that must follow a token.
    ///
    /// # Errors
    /// A syntax error where nothing follows.
    pub fn value(&mut self) -> Result<&'a [u8]> {
        self.next().ok_or_else(Error::syntax)
    }

    /// The next argument, not consumed.
    pub fn peek(&self) -> Option<&'a [u8]> {
        self.words.first().copied()
    }

    /// How many arguments are left.
    pub fn remaining(&self) -> usize {
        self.words.len()
    }

    /// The arguments left, not consumed.
    pub fn rest(&self) -> &'a [&'a [u8]] {
        self.words
    }

    /// The arguments left, consumed.
    pub fn take_rest(&mut self) -> &'a [&'a [u8]] {
        std::mem::take(&mut self.words)
    }

    /// The next `count` arguments, or as many as there are, consumed.
    pub fn take(&mut self, count: usize) -> &'a [&'a [u8]] {
        let (taken, rest) = self.words.split_at(count.min(self.words.len()));
        self.words = rest;
        taken
    }

    /// The arguments before the first `token`, or all that are left, consumed.
    pub(crate) fn split_before(&mut self, token: &str) -> Self {
        let end = self.words.iter().position(|word| is_token(word, token));
        let words = self.take(end.unwrap_or(self.words.len()));
        Self { words, ..*self }
    }

    /// Consumes the next argument if it is `token`, in any case of letters.
    pub fn skip_token(&mut self, token: &str) -> bool {
        let found = self.peek().is_some_and(|word| is_token(word, token));
        if found {
            self.next();
        }
        found
    }

    /// A key with its hash.
    pub fn key(&self, bytes: &'a [u8]) -> Key<'a> {
        Key::new(bytes, &self.seed)
    }

    /// The seed that keys are hashed with.
    pub fn seed(&self) -> HashSeed {
        self.seed
    }

    /// How many databases there are.
    pub(crate) fn databases(&self) -> usize {
        self.databases
    }

    /// The command's name, for error texts.
    pub fn command(&self) -> &'static str {
        self.spec.name
    }

    /// `ERR wrong number of arguments for '...' command`.
    pub fn arity_error(&self) -> Error {
        Error::arity(self.spec.name)
    }

    /// Nothing may be left.
    ///
    /// # Errors
    /// A syntax error if something is.
    pub fn finish(&self) -> Result<()> {
        if self.words.is_empty() { Ok(()) } else { Err(Error::syntax()) }
    }
}

/// Whether a word is a keyword, in any case of letters. As in the server, what stands behind a zero byte does not count.
#[inline]
pub fn is_token(word: &[u8], token: &str) -> bool {
    let (word, rest) = word.split_at(token.len().min(word.len()));
    word.eq_ignore_ascii_case(token.as_bytes()) && rest.first().is_none_or(|byte| *byte == 0)
}

/// A type that stands for one argument or a group of them.
pub trait Arg<'a>: Sized {
    /// Its place in the argument tree; the derive adds name, token and optionality.
    const SPEC: ArgSpec;

    /// Reads it, without a token before it.
    ///
    /// # Errors
    /// What the server answers to a value of the wrong kind.
    fn parse(args: &mut Args<'a>) -> Result<Self>;

    /// Whether the word begins this argument. Only arguments that begin with a token of their own can tell.
    fn begins(_word: &[u8]) -> bool {
        false
    }

    /// Appends the words it was read from, or equivalent ones.
    fn encode(&self, out: &mut Argv);

    /// Calls `visit` for each key in it.
    fn each_key(&self, _visit: &mut dyn FnMut(&Key<'a>)) {}
}

impl<'a> Arg<'a> for Key<'a> {
    const SPEC: ArgSpec = ArgSpec { kind: ArgKind::Key, ..ArgSpec::PLAIN };

    #[inline]
    fn parse(args: &mut Args<'a>) -> Result<Self> {
        let bytes = args.required()?;
        Ok(args.key(bytes))
    }

    fn encode(&self, out: &mut Argv) {
        out.push(self.bytes().to_vec());
    }

    #[inline]
    fn each_key(&self, visit: &mut dyn FnMut(&Key<'a>)) {
        visit(self);
    }
}

impl<'a> Arg<'a> for &'a [u8] {
    const SPEC: ArgSpec = ArgSpec::PLAIN;

    #[inline]
    fn parse(args: &mut Args<'a>) -> Result<Self> {
        args.required()
    }

    fn encode(&self, out: &mut Argv) {
        out.push(self.to_vec());
    }
}

impl<'a> Arg<'a> for i64 {
    const SPEC: ArgSpec = ArgSpec { kind: ArgKind::Integer, ..ArgSpec::PLAIN };

    fn parse(args: &mut Args<'a>) -> Result<Self> {
        num::parse_i64(args.required()?).ok_or_else(Error::not_an_integer)
    }

    fn encode(&self, out: &mut Argv) {
        out.push(self.to_string().into_bytes());
    }
}

/// An integer that is read as Valkey's `getPositiveLong` family reads it: bounded below, with an own error text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Positive(pub i64);

impl<'a> Arg<'a> for Positive {
    const SPEC: ArgSpec = ArgSpec { kind: ArgKind::Integer, ..ArgSpec::PLAIN };

    fn parse(args: &mut Args<'a>) -> Result<Self> {
        match num::parse_i64(args.required()?) {
            Some(value) if value >= 0 => Ok(Self(value)),
            Some(_) | None => Err(Error::command("value is out of range, must be positive")),
        }
    }

    fn encode(&self, out: &mut Argv) {
        self.0.encode(out);
    }
}

/// A count whose sign says whether draws may repeat: the sign can be changed. It is judged before what stands behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignedCount(pub i64);

impl TryFrom<i64> for SignedCount {
    type Error = Error;

    fn try_from(count: i64) -> Result<Self> {
        const LEAST: i64 = -i64::MAX;
        if count < LEAST {
            return Err(Error::command(format_args!(
                "value is out of range, value must between {LEAST} and {}",
                i64::MAX
            )));
        }
        Ok(Self(count))
    }
}

impl<'a> Arg<'a> for SignedCount {
    const SPEC: ArgSpec = <i64 as Arg<'a>>::SPEC;

    fn parse(args: &mut Args<'a>) -> Result<Self> {
        i64::parse(args)?.try_into()
    }

    fn encode(&self, out: &mut Argv) {
        self.0.encode(out);
    }
}

/// The number of a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DbIndex(pub usize);

impl<'a> Arg<'a> for DbIndex {
    const SPEC: ArgSpec = ArgSpec { kind: ArgKind::Integer, ..ArgSpec::PLAIN };

    fn parse(args: &mut Args<'a>) -> Result<Self> {
        let number = i64::parse(args)?;
        if i32::try_from(number).is_err() {
            return Err(Error::command(format_args!(
                "value is out of range, value must between {} and {}",
                i32::MIN,
                i32::MAX
            )));
        }
        usize::try_from(number)
            .ok()
            .filter(|number| *number < args.databases)
            .map(Self)
            .ok_or_else(|| Error::command("DB index is out of range"))
    }

    fn encode(&self, out: &mut Argv) {
        out.push(self.0.to_string().into_bytes());
    }
}

impl<'a, T: Arg<'a>> Arg<'a> for Vec<T> {
    const SPEC: ArgSpec = ArgSpec { multiple: true, ..T::SPEC };

    /// Reads to the end of the arguments; at least one.
    fn parse(args: &mut Args<'a>) -> Result<Self> {
        let mut all = alloc::with_room_for(args.remaining())?;
        loop {
            all.push(T::parse(args)?);
            if args.remaining() == 0 {
                return Ok(all);
            }
        }
    }

    fn encode(&self, out: &mut Argv) {
        self.iter().for_each(|one| one.encode(out));
    }

    fn each_key(&self, visit: &mut dyn FnMut(&Key<'a>)) {
        self.iter().for_each(|one| one.each_key(visit));
    }
}

impl<'a, A: Arg<'a>, B: Arg<'a>> Arg<'a> for (A, B) {
    const SPEC: ArgSpec = ArgSpec { kind: ArgKind::Block, ..ArgSpec::PLAIN };

    fn parse(args: &mut Args<'a>) -> Result<Self> {
        Ok((A::parse(args)?, B::parse(args)?))
    }

    fn encode(&self, out: &mut Argv) {
        self.0.encode(out);
        self.1.encode(out);
    }

    fn each_key(&self, visit: &mut dyn FnMut(&Key<'a>)) {
        self.0.each_key(visit);
        self.1.each_key(visit);
    }
}

impl<'a, T: Arg<'a>> Arg<'a> for Option<T> {
    const SPEC: ArgSpec = ArgSpec { optional: true, ..T::SPEC };

    /// Reads a trailing optional argument that has no token.
    fn parse(args: &mut Args<'a>) -> Result<Self> {
        if args.remaining() == 0 { Ok(None) } else { T::parse(args).map(Some) }
    }

    fn begins(word: &[u8]) -> bool {
        T::begins(word)
    }

    fn encode(&self, out: &mut Argv) {
        if let Some(value) = self {
            value.encode(out);
        }
    }

    fn each_key(&self, visit: &mut dyn FnMut(&Key<'a>)) {
        if let Some(value) = self {
            value.each_key(visit);
        }
    }
}
