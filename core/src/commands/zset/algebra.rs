//! ZUNION, ZINTER and ZDIFF, the three that store what they find, and ZINTERCARD.

use std::ops::ControlFlow;

use hashbrown::HashTable;

use super::input::Input;
use super::{reply_head, reply_member, store};
use crate::alloc;
use crate::command::spec::{ArgKind, ArgSpec, FindKeys};
use crate::command::{Arg, Args, Argv, Command, Read, Reply, Write, is_token};
use crate::error::{Error, Result};
use crate::keyspace::{Db, HashSeed, Key};
use crate::num;
use crate::value::listpack::Element;
use crate::value::zset::members::Builder;

#[derive(Arg, Clone, Copy, PartialEq, Eq)]
enum Aggregate {
    #[arg(token = "SUM")]
    Sum,
    #[arg(token = "MIN")]
    Min,
    #[arg(token = "MAX")]
    Max,
}

impl Aggregate {
    /// Two scores of a member as one. Infinities that cancel each other out are 0.
    fn of(self, one: f64, other: f64) -> f64 {
        match self {
            Aggregate::Sum => number_or_zero(one + other),
            Aggregate::Min if other < one => other,
            Aggregate::Max if other > one => other,
            Aggregate::Min | Aggregate::Max => one,
        }
    }
}

fn number_or_zero(score: f64) -> f64 {
    if score.is_nan() { 0.0 } else { score }
}

/// Factors of scores, one for each key; or none.
struct Weights<'a>(Vec<&'a [u8]>);

impl<'a> Arg<'a> for Weights<'a> {
    const SPEC: ArgSpec = ArgSpec {
        kind: ArgKind::Integer,
        token: Some("WEIGHTS"),
        optional: true,
        multiple: true,
        ..ArgSpec::PLAIN
    };

    fn parse(_: &mut Args<'a>) -> Result<Self> {
        Ok(Self(Vec::new()))
    }

    fn encode(&self, out: &mut Argv) {
        if !self.0.is_empty() {
            out.push(b"WEIGHTS".to_vec());
            out.extend(self.0.iter().map(|weight| weight.to_vec()));
        }
    }
}

/// What is done with the keys.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Operation {
    Union,
    Inter,
    Diff,
    /// The number of members of the intersection.
    InterCard,
}

/// Which options a command takes.
#[derive(Clone, Copy)]
struct Family {
    operation: Operation,
    replies: bool,
}

/// The number of keys, the keys, and the options behind them. Wrong options are told only once all keys are found to hold what they should.
struct Call<'a> {
    numkeys: i64,
    key: Vec<Key<'a>>,
    options: Result<Options<'a>>,
}

#[derive(Default)]
struct Options<'a> {
    weights: Vec<&'a [u8]>,
    /// As numbers.
    factors: Vec<f64>,
    aggregate: Option<Aggregate>,
    withscores: bool,
    limit: Option<i64>,
}

impl<'a> Call<'a> {
    fn parse(args: &mut Args<'a>, family: Family) -> Result<Self> {
        let numkeys = i64::parse(args)?;
        if numkeys < 1 {
            return Err(Error::command(format_args!(
                "at least 1 input key is needed for '{}' command",
                args.command()
            )));
        }
        let count = usize::try_from(numkeys).unwrap_or(usize::MAX);
        if count > args.remaining() {
            return Err(Error::syntax());
        }
        let mut key = alloc::with_room_for(count)?;
        for _ in 0..count {
            key.push(Key::parse(args)?);
        }
        Ok(Self { numkeys, options: Options::parse(args, family, count), key })
    }
}

impl<'a> Options<'a> {
    fn parse(args: &mut Args<'a>, family: Family, keys: usize) -> Result<Self> {
        let mut options = Self::default();
        let has_scores = matches!(family.operation, Operation::Union | Operation::Inter);
        while let Some(word) = args.next() {
            if has_scores && is_token(word, "WEIGHTS") && args.remaining() >= keys {
                options.weights = args.take(keys).to_vec();
                let weight = |text: &&[u8]| num::parse_f64(text);
                let factors = options.weights.iter().map(weight).collect::<Option<_>>();
                options.factors = factors.ok_or_else(|| Error::command("weight value is not a float"))?;
            } else if has_scores && is_token(word, "AGGREGATE") && args.remaining() > 0 {
                options.aggregate = Some(Aggregate::parse(args)?);
            } else if family.replies && is_token(word, "WITHSCORES") {
                options.withscores = true;
            } else if family.operation == Operation::InterCard
                && is_token(word, "LIMIT")
                && let Some(limit) = args.next()
            {
                let limit = num::parse_i64(limit).filter(|limit| *limit >= 0);
                options.limit = Some(limit.ok_or_else(|| Error::command("LIMIT can't be negative"))?);
            } else {
                return Err(Error::syntax());
            }
        }
        Ok(options)
    }
}

/// A member: bytes of a value, or the digits of an integer.
#[derive(Clone, Copy)]
enum Name<'d> {
    Bytes(&'d [u8]),
    Digits([u8; 20], u8),
}

impl<'d> Name<'d> {
    fn of(element: Element<'d>) -> Self {
        let Element::Bytes(bytes) = element else {
            return element.with(|text| {
                let mut digits = [0; 20];
                digits[..text.len()].copy_from_slice(text);
                Self::Digits(digits, text.len() as u8)
            });
        };
        Self::Bytes(bytes)
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Digits(digits, len) => &digits[..usize::from(*len)],
        }
    }
}

/// The members found, each once, with their scores.
#[derive(Default)]
struct Found<'d> {
    members: Vec<(Name<'d>, f64)>,
    /// Places in `members`, by the hash of the name, where members may be found again.
    places: HashTable<usize>,
}

impl<'d> Found<'d> {
    fn push(&mut self, name: Name<'d>, score: f64) -> Result<()> {
        self.members.try_reserve(1).map_err(|_| Error::no_memory())?;
        self.members.push((name, score));
        Ok(())
    }

    /// Adds a member, or what it counts for to its score.
    fn merge(&mut self, seed: &HashSeed, name: Name<'d>, score: f64, aggregate: Aggregate) -> Result<()> {
        let hash = seed.hash(name.bytes());
        let Self { members, places } = self;
        if let Some(place) = places.find(hash, |place| members[*place].0.bytes() == name.bytes()) {
            let own = &mut members[*place].1;
            *own = aggregate.of(*own, score);
            return Ok(());
        }
        let rehash = |place: &usize| seed.hash(members[*place].0.bytes());
        places.try_reserve(1, rehash).map_err(|_| Error::no_memory())?;
        places.insert_unique(hash, members.len(), rehash);
        self.push(name, score)
    }

    /// In the order of a sorted set.
    fn sorted(mut self) -> Vec<(Name<'d>, f64)> {
        self.members.sort_unstable_by(|(one, its), (other, others)| {
            its.partial_cmp(others).expect("scores are numbers").then_with(|| one.bytes().cmp(other.bytes()))
        });
        self.members
    }
}

impl Operation {
    /// What is found in the keys, in no order; for [`Operation::InterCard`] no more than the limit.
    ///
    /// # Errors
    /// WRONGTYPE, then what is wrong with the options, then that there is no memory.
    fn find<'d>(self, db: &'d Db<'_>, keys: &[Key<'_>], options: &Result<Options<'_>>) -> Result<Found<'d>> {
        let inputs = keys.iter().map(|key| Input::of(db, key)).collect::<Result<Vec<_>>>()?;
        let options = options.as_ref().map_err(Clone::clone)?;
        let weight = |place: usize| options.factors.get(place).copied().unwrap_or(1.0);
        let mut inputs: Vec<_> =
            inputs.into_iter().enumerate().map(|(place, input)| (input, weight(place))).collect();
        if self != Operation::Diff {
            // Sums of doubles depend on their order: it is that of the server.
            inputs.sort_by_key(|(input, _)| input.len());
        }
        let aggregate = options.aggregate.unwrap_or(Aggregate::Sum);
        let mut found = Found::default();
        match self {
            Operation::Union => {
                for (input, weight) in &inputs {
                    each(input, |member, score| {
                        let score = number_or_zero(weight * score);
                        found.merge(&db.keyspace().seed, Name::of(member), score, aggregate)
                    })?;
                }
            }
            Operation::Inter | Operation::InterCard => {
                let ((first, weight), others) = inputs.split_first().expect("there is a key");
                let limit = options.limit.filter(|limit| *limit > 0).unwrap_or(i64::MAX) as usize;
                let mut failed = Ok(());
                first.walk(|member, score| {
                    let name = Name::of(member);
                    let others =
                        others.iter().map(|(other, weight)| Some(weight * other.score(name.bytes())?));
                    let start = Some(number_or_zero(weight * score));
                    let all = others.fold(start, |all, score| Some(aggregate.of(all?, score?)));
                    if let Some(score) = all {
                        failed = found.push(name, score);
                    }
                    let is_over = failed.is_err() || found.members.len() >= limit;
                    if is_over { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
                });
                failed?;
            }
            Operation::Diff => {
                let ((first, _), others) = inputs.split_first().expect("there is a key");
                each(first, |member, score| {
                    let name = Name::of(member);
                    let is_elsewhere = others.iter().any(|(other, _)| other.score(name.bytes()).is_some());
                    if is_elsewhere { Ok(()) } else { found.push(name, score) }
                })?;
            }
        }
        Ok(found)
    }
}

/// Calls `visit` with each member and its score, up to its first error.
fn each<'d>(input: &Input<'d>, mut visit: impl FnMut(Element<'d>, f64) -> Result<()>) -> Result<()> {
    let mut visited = Ok(());
    input.walk(|member, score| {
        visited = visit(member, score);
        if visited.is_err() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    visited
}

/// Finds and replies.
fn reply_found(
    operation: Operation,
    db: &Db<'_>,
    (keys, options): (&[Key<'_>], &Result<Options<'_>>),
    reply: &mut Reply,
) -> Result<()> {
    let members = operation.find(db, keys, options)?.sorted();
    let withscores = options.as_ref().is_ok_and(|options| options.withscores);
    reply_head(reply, members.len(), withscores);
    for (name, score) in &members {
        reply_member(reply, Element::Bytes(name.bytes()), *score, withscores);
        if reply.is_full() {
            break;
        }
    }
    Ok(())
}

/// Finds and stores.
fn store_found(
    operation: Operation,
    db: &mut Db<'_>,
    destination: &Key<'_>,
    (keys, options): (&[Key<'_>], &Result<Options<'_>>),
    event: &'static str,
) -> Result<usize> {
    let keyspace = db.keyspace();
    let mut new = Builder::new(keyspace.config.hot());
    let members = operation.find(db, keys, options)?.sorted();
    // One that leaves its listpack while it is made would lose the sign of a zero.
    new.expect(members.len(), members.iter().map(|(name, _)| name.bytes().len()).max().unwrap_or(0));
    for (name, score) in &members {
        new.append(&keyspace.shared.pool, &keyspace.seed, name.bytes(), *score)?;
    }
    drop(members);
    store(db, destination, new, event)
}

/// Declares ZUNION or ZINTER.
macro_rules! replying_command {
    ($(#[$attribute:meta])* $name:ident, $operation:expr) => {
        $(#[$attribute])*
        pub struct $name<'a> {
            #[key(RO, ACCESS, find = FindKeys::KeyNum { at: 0, first: 1, step: 1 })]
            numkeys: i64,
            #[arg(key_spec = 0)]
            key: Vec<Key<'a>>,
            weight: Weights<'a>,
            #[arg(token = "AGGREGATE")]
            aggregate: Option<Aggregate>,
            #[arg(token = "WITHSCORES")]
            withscores: bool,
            #[arg(hidden)]
            options: Result<Options<'a>>,
        }

        impl<'a> $name<'a> {
            fn parse_args(args: &mut Args<'a>) -> Result<Self> {
                let Call { numkeys, key, options } =
                    Call::parse(args, Family { operation: $operation, replies: true })?;
                let read = options.as_ref().ok();
                Ok(Self {
                    numkeys,
                    key,
                    weight: Weights(read.map(|options| options.weights.clone()).unwrap_or_default()),
                    aggregate: read.and_then(|options| options.aggregate),
                    withscores: read.is_some_and(|options| options.withscores),
                    options,
                })
            }
        }

        impl Read for $name<'_> {
            fn execute(&self, db: &Db<'_>, reply: &mut Reply) -> Result<()> {
                reply_found($operation, db, (&self.key, &self.options), reply)
            }
        }
    };
}

replying_command! {
    /// Returns the members of several sorted sets or sets taken together.
    ///
    /// The score of a member is the sum of its scores; WEIGHTS multiplies those of each key, AGGREGATE takes the lowest or the highest instead.
    /// WITHSCORES adds scores.
    #[derive(Command)]
    #[command(
        name = "ZUNION", group = SortedSet, since = "6.2.0", complexity = "O(N)+O(M*log(M)) with N being the sum of the sizes of the input sorted sets, and M being the number of elements in the resulting sorted set.", arity = -3,
        flags(READONLY, MOVABLEKEYS),
        custom_parse, reply = "array(bulk | double | array(bulk | double))",
    )]
    ZUnion, Operation::Union
}

replying_command! {
    /// Returns the members that several sorted sets or sets have in common.
    ///
    /// Scores are as those of ZUNION.
    #[derive(Command)]
    #[command(
        name = "ZINTER", group = SortedSet, since = "6.2.0", complexity = "O(N*K)+O(M*log(M)) worst case with N being the smallest input sorted set, K being the number of input sorted sets and M being the number of elements in the resulting sorted set.", arity = -3,
        flags(READONLY, MOVABLEKEYS),
        custom_parse, reply = "array(bulk | double | array(bulk | double))",
    )]
    ZInter, Operation::Inter
}

/// Declares ZUNIONSTORE or ZINTERSTORE.
macro_rules! storing_command {
    ($(#[$attribute:meta])* $name:ident, $operation:expr, $event:literal) => {
        $(#[$attribute])*
        pub struct $name<'a> {
            #[key(OW, UPDATE)]
            #[arg(key_spec = 0)]
            destination: Key<'a>,
            #[key(RO, ACCESS, find = FindKeys::KeyNum { at: 0, first: 1, step: 1 })]
            numkeys: i64,
            #[arg(key_spec = 1)]
            key: Vec<Key<'a>>,
            weight: Weights<'a>,
            #[arg(token = "AGGREGATE")]
            aggregate: Option<Aggregate>,
            #[arg(hidden)]
            options: Result<Options<'a>>,
        }

        impl<'a> $name<'a> {
            fn parse_args(args: &mut Args<'a>) -> Result<Self> {
                let destination = Key::parse(args)?;
                let Call { numkeys, key, options } =
                    Call::parse(args, Family { operation: $operation, replies: false })?;
                let read = options.as_ref().ok();
                Ok(Self {
                    destination,
                    numkeys,
                    key,
                    weight: Weights(read.map(|options| options.weights.clone()).unwrap_or_default()),
                    aggregate: read.and_then(|options| options.aggregate),
                    options,
                })
            }
        }

        impl Write for $name<'_> {
            fn execute(&self, db: &mut Db<'_>, reply: &mut Reply) -> Result<()> {
                let call = (&self.key[..], &self.options);
                reply.count(store_found($operation, db, &self.destination, call, $event)?);
                Ok(())
            }
        }
    };
}

storing_command! {
    /// Stores the members of several sorted sets or sets taken together, over whatever is there.
    ///
    /// Returns how many there are; where there is none the key is removed. Scores are as those of ZUNION.
    #[derive(Command)]
    #[command(
        name = "ZUNIONSTORE", group = SortedSet, since = "2.0.0", complexity = "O(N)+O(M log(M)) with N being the sum of the sizes of the input sorted sets, and M being the number of elements in the resulting sorted set.", arity = -4,
        flags(WRITE, DENYOOM, MOVABLEKEYS),
        custom_parse, reply = "int",
    )]
    ZUnionStore, Operation::Union, "zunionstore"
}

storing_command! {
    /// Stores the members that several sorted sets or sets have in common, over whatever is there.
    ///
    /// Returns how many there are; where there is none the key is removed. Scores are as those of ZUNION.
    #[derive(Command)]
    #[command(
        name = "ZINTERSTORE", group = SortedSet, since = "2.0.0", complexity = "O(N*K)+O(M*log(M)) worst case with N being the smallest input sorted set, K being the number of input sorted sets and M being the number of elements in the resulting sorted set.", arity = -4,
        flags(WRITE, DENYOOM, MOVABLEKEYS),
        custom_parse, reply = "int",
    )]
    ZInterStore, Operation::Inter, "zinterstore"
}

/// Returns the members of a sorted set or set that are in none of the others.
///
/// Their scores are those of the first. WITHSCORES adds them.
#[derive(Command)]
#[command(
    name = "ZDIFF", group = SortedSet, since = "6.2.0", complexity = "O(L + (N-K)log(N)) worst case where L is the total number of elements in all the sets, N is the size of the first set, and K is the size of the result set.", arity = -3,
    flags(READONLY, MOVABLEKEYS),
    custom_parse, reply = "array(bulk | double | array(bulk | double))",
)]
pub struct ZDiff<'a> {
    #[key(RO, ACCESS, find = FindKeys::KeyNum { at: 0, first: 1, step: 1 })]
    numkeys: i64,
    #[arg(key_spec = 0)]
    key: Vec<Key<'a>>,
    #[arg(token = "WITHSCORES")]
    withscores: bool,
    #[arg(hidden)]
    options: Result<Options<'a>>,
}

impl<'a> ZDiff<'a> {
    fn parse_args(args: &mut Args<'a>) -> Result<Self> {
        let Call { numkeys, key, options } =
            Call::parse(args, Family { operation: Operation::Diff, replies: true })?;
        let withscores = options.as_ref().is_ok_and(|options| options.withscores);
        Ok(Self { numkeys, key, withscores, options })
    }
}

impl Read for ZDiff<'_> {
    fn execute(&self, db: &Db<'_>, reply: &mut Reply) -> Result<()> {
        reply_found(Operation::Diff, db, (&self.key, &self.options), reply)
    }
}

/// Stores the members of a sorted set or set that are in none of the others, over whatever is there.
///
/// Returns how many there are; where there is none the key is removed.
#[derive(Command)]
#[command(
    name = "ZDIFFSTORE", group = SortedSet, since = "6.2.0", complexity = "O(L + (N-K)log(N)) worst case where L is the total number of elements in all the sets, N is the size of the first set, and K is the size of the result set.", arity = -4,
    flags(WRITE, DENYOOM, MOVABLEKEYS),
    custom_parse, reply = "int",
)]
pub struct ZDiffStore<'a> {
    #[key(OW, UPDATE)]
    #[arg(key_spec = 0)]
    destination: Key<'a>,
    #[key(RO, ACCESS, find = FindKeys::KeyNum { at: 0, first: 1, step: 1 })]
    numkeys: i64,
    #[arg(key_spec = 1)]
    key: Vec<Key<'a>>,
    #[arg(hidden)]
    options: Result<Options<'a>>,
}

impl<'a> ZDiffStore<'a> {
    fn parse_args(args: &mut Args<'a>) -> Result<Self> {
        let destination = Key::parse(args)?;
        let Call { numkeys, key, options } =
            Call::parse(args, Family { operation: Operation::Diff, replies: false })?;
        Ok(Self { destination, numkeys, key, options })
    }
}

impl Write for ZDiffStore<'_> {
    fn execute(&self, db: &mut Db<'_>, reply: &mut Reply) -> Result<()> {
        let call = (&self.key[..], &self.options);
        reply.count(store_found(Operation::Diff, db, &self.destination, call, "zdiffstore")?);
        Ok(())
    }
}

/// Returns how many members several sorted sets or sets have in common.
///
/// Returns their number. With LIMIT it stops counting there; 0 is no limit.
#[derive(Command)]
#[command(
    name = "ZINTERCARD", group = SortedSet, since = "7.0.0", complexity = "O(N*K) worst case with N being the smallest input sorted set, K being the number of input sorted sets.", arity = -3,
    flags(READONLY, MOVABLEKEYS),
    custom_parse, reply = "int",
)]
pub struct ZInterCard<'a> {
    #[key(RO, ACCESS, find = FindKeys::KeyNum { at: 0, first: 1, step: 1 })]
    numkeys: i64,
    #[arg(key_spec = 0)]
    key: Vec<Key<'a>>,
    #[arg(token = "LIMIT")]
    limit: Option<i64>,
    #[arg(hidden)]
    options: Result<Options<'a>>,
}

impl<'a> ZInterCard<'a> {
    fn parse_args(args: &mut Args<'a>) -> Result<Self> {
        let Call { numkeys, key, options } =
            Call::parse(args, Family { operation: Operation::InterCard, replies: false })?;
        let limit = options.as_ref().ok().and_then(|options| options.limit);
        Ok(Self { numkeys, key, limit, options })
    }
}

impl Read for ZInterCard<'_> {
    fn execute(&self, db: &Db<'_>, reply: &mut Reply) -> Result<()> {
        reply.count(Operation::InterCard.find(db, &self.key, &self.options)?.members.len());
        Ok(())
    }
}
