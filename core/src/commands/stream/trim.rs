//! XTRIM, and the options that it has in common with XADD.

use super::id;
use crate::command::{Arg, Args, Command, Reply, Write};
use crate::error::{Error, Result};
use crate::keyspace::{Db, EventClass, Key};
use crate::num;
use crate::store::memory::OutOfMemory;
use crate::value::stream::{Entries, Id, Stream, Trim};

/// What decides which entries go.
#[derive(Arg, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Strategy {
    #[arg(token = "MAXLEN")]
    MaxLen,
    #[arg(token = "MINID", since = "6.2.0")]
    MinId,
}

/// How exactly.
#[derive(Arg, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operator {
    #[arg(token = "=")]
    Equal,
    #[arg(token = "~")]
    Approximately,
}

/// How a stream is trimmed.
#[derive(Arg, Clone, Copy)]
pub(crate) struct Trimming<'a> {
    strategy: Strategy,
    #[arg(oneof)]
    operator: Option<Operator>,
    threshold: &'a [u8],
    #[arg(token = "LIMIT", since = "6.2.0")]
    count: Option<i64>,
}

/// The options of XADD and XTRIM, in any order.
pub(super) struct Options<'a> {
    pub(super) trimming: Option<Trimming<'a>>,
    pub(super) nomkstream: bool,
}

impl<'a> Options<'a> {
    /// Reads options: for XADD up to its ID, for XTRIM all that there is.
    ///
    /// # Errors
    /// What the server replies to wrong ones.
    pub(super) fn parse(args: &mut Args<'a>, is_add: bool) -> Result<Self> {
        let mut options = Self { trimming: None, nomkstream: false };
        let mut limit = None;
        while let Some(word) = args.peek() {
            let has_more = args.remaining() > 1;
            if is_add && crate::error::until_zero(word) == b"*" {
                break;
            } else if has_more && args.skip_token("MAXLEN") {
                options.set(Strategy::MaxLen, args)?;
            } else if has_more && args.skip_token("MINID") {
                options.set(Strategy::MinId, args)?;
            } else if has_more && args.skip_token("LIMIT") {
                let count = num::parse_i64(args.value()?).ok_or_else(Error::not_an_integer)?;
                if count < 0 {
                    return Err(Error::command("The LIMIT argument must be >= 0."));
                }
                limit = Some(count);
            } else if is_add && args.skip_token("NOMKSTREAM") {
                options.nomkstream = true;
            } else if is_add {
                // What is wrong with it is told before what is wrong with the options.
                id::NewId::check(word)?;
                break;
            } else {
                return Err(Error::syntax());
            }
        }
        match (&mut options.trimming, limit) {
            (None, Some(1..)) => Err(Error::command(
                "syntax error, LIMIT cannot be used without specifying a trimming strategy",
            )),
            (Some(trimming), Some(_)) if !trimming.is_rough() => {
                Err(Error::command("syntax error, LIMIT cannot be used without the special ~ option"))
            }
            (Some(trimming), limit) => {
                trimming.count = limit;
                Ok(options)
            }
            (None, _) => Ok(options),
        }
    }

    fn set(&mut self, strategy: Strategy, args: &mut Args<'a>) -> Result<()> {
        if self.trimming.is_some() {
            let text = "syntax error, MAXLEN and MINID options at the same time are not compatible";
            return Err(Error::command(text));
        }
        let operator = if args.remaining() < 2 {
            None
        } else if args.skip_token("~") {
            Some(Operator::Approximately)
        } else if args.skip_token("=") {
            Some(Operator::Equal)
        } else {
            None
        };
        let threshold = args.value()?;
        let trimming = Trimming { strategy, operator, threshold, count: None };
        trimming.how()?;
        self.trimming = Some(trimming);
        Ok(())
    }
}

impl<'a> Trimming<'a> {
    /// # Errors
    /// The threshold is none.
    pub(super) fn how(&self) -> Result<Trim> {
        match self.strategy {
            Strategy::MinId => id::exact(self.threshold, 0).map(Trim::Before),
            Strategy::MaxLen => {
                let most = num::parse_i64(self.threshold).ok_or_else(Error::not_an_integer)?;
                let most = u64::try_from(most);
                most.map(Trim::Length).map_err(|_| Error::command("The MAXLEN argument must be >= 0."))
            }
        }
    }

    /// Whole nodes only.
    pub(super) fn is_rough(&self) -> bool {
        self.operator == Some(Operator::Approximately)
    }

    /// Entries that may go; 0 is any number.
    fn limit(&self, node_entries: usize) -> u64 {
        const NODES: usize = 100;
        match self.count {
            Some(count) => count as u64,
            None if !self.is_rough() => 0,
            None if node_entries == 0 => 10_000,
            None => node_entries.saturating_mul(NODES).min(1_000_000) as u64,
        }
    }

    /// How many changes it makes at most, once so many entries more are there.
    pub(super) fn changes(&self, stream: &Entries<'_>, how: Trim, more: u64) -> usize {
        let how = match how {
            Trim::Length(most) => Trim::Length(most.saturating_sub(more)),
            other => other,
        };
        stream.as_ref().nodes_to_trim(how, self.is_rough())
    }

    /// Does it, and says how many entries have gone.
    ///
    /// # Errors
    /// Out of memory.
    pub(super) fn apply(
        &self,
        stream: &mut Stream,
        how: Trim,
        node_entries: usize,
    ) -> Result<u64, OutOfMemory> {
        stream.trim(how, self.is_rough(), self.limit(node_entries))
    }

    /// The words that do the same to a stream that ends up with so many entries, from this ID on.
    pub(super) fn words(&self, len: u64, first: Option<Id>) -> Vec<Vec<u8>> {
        let (name, exact) = match self.strategy {
            Strategy::MaxLen => (&b"MAXLEN"[..], len.to_string().into_bytes()),
            Strategy::MinId => (&b"MINID"[..], first.unwrap_or(Id::MAX).text().to_vec()),
        };
        let threshold = if self.is_rough() { exact } else { self.threshold.to_vec() };
        vec![name.to_vec(), b"=".to_vec(), threshold]
    }
}

/// Removes entries at the beginning of a stream: all but the last ones, or those before an ID.
///
/// Returns how many. With `~` they may be fewer than asked for, as far as that spares work.
#[derive(Command)]
#[command(
    name = "XTRIM", group = Stream, since = "5.0.0", complexity = "O(N), with N being the number of evicted entries. Constant times are very small however, since entries are organized in macro nodes containing multiple entries that can be released with a single deallocation.", arity = -4,
    flags(WRITE), tips("nondeterministic_output"),
    history(("6.2.0", "Added the `MINID` trimming strategy and the `LIMIT` option.")),
    custom_parse, reply = "int",
)]
pub struct XTrim<'a> {
    #[key(RW, DELETE)]
    key: Key<'a>,
    trim: Trimming<'a>,
}

impl<'a> XTrim<'a> {
    fn parse_args(args: &mut Args<'a>) -> Result<Self> {
        let key = Key::parse(args)?;
        let options = Options::parse(args, false)?;
        let missing = || Error::command("syntax error, XTRIM must be called with a trimming strategy");
        Ok(Self { key, trim: options.trimming.ok_or_else(missing)? })
    }
}

impl Write for XTrim<'_> {
    fn execute(&self, db: &mut Db<'_>, reply: &mut Reply) -> Result<()> {
        let how = self.trim.how()?;
        let done = super::edit(db, &self.key, |stream| {
            let entries = stream.node_limits().entries;
            let changes = self.trim.changes(stream, how, 0);
            let apply = |stream: &mut Stream| self.trim.apply(stream, how, entries);
            let trimmed = if changes == 0 { 0 } else { stream.alter_unheard(changes, apply).unwrap_or(0) };
            if trimmed > 0 {
                stream.heard();
            }
            let stream = stream.as_ref();
            Ok((trimmed, stream.len(), stream.first().map(|entry| entry.id)))
        })?;
        let (trimmed, len, first) = done.unwrap_or_default();
        if trimmed > 0 {
            db.notify(EventClass::Stream, "xtrim", self.key.bytes());
            if self.trim.is_rough() {
                let start = [b"XTRIM".to_vec(), self.key.bytes().to_vec()];
                db.propagate(|| start.into_iter().chain(self.trim.words(len, first)));
            }
        }
        reply.integer(trimmed as i64);
        Ok(())
    }
}
