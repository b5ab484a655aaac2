//! GEORADIUS and GEORADIUSBYMEMBER, the older names of GEOSEARCH by a radius, and those that only read.

use super::arguments::{ANY, COUNT, Order, UNIT};
use super::position;
use super::search::{Family, Request, circle, place_of};
use super::shape::Shape;
use crate::command::spec::{ArgKind, ArgSpec, BeginSearch, FindKeys};
use crate::command::{Arg, Args, Argv, Command, Read, Reply, Write, is_token};
use crate::commands::zset::{store, zset_of};
use crate::error::Result;
use crate::keyspace::{Db, Key};
use crate::value::ZSetRef;

/// The word of a unit.
struct UnitWord<'a>(&'a [u8]);

impl<'a> Arg<'a> for UnitWord<'a> {
    const SPEC: ArgSpec = UNIT;

    fn parse(args: &mut Args<'a>) -> Result<Self> {
        args.required().map(Self)
    }

    fn encode(&self, out: &mut Argv) {
        out.push(self.0.to_vec());
    }
}

/// All words behind the unit; in the argument tree, how many members at most.
struct Words<'a> {
    words: &'a [&'a [u8]],
    /// Behind STORE and STOREDIST.
    keys: Vec<Key<'a>>,
}

impl<'a> Words<'a> {
    fn read(args: &mut Args<'a>, may_store: bool) -> Self {
        let words = args.take_rest();
        let stores = |word: &[u8]| is_token(word, "STORE") || is_token(word, "STOREDIST");
        let pairs = words.windows(2).filter(|pair| may_store && stores(pair[0]));
        let keys = pairs.map(|pair| args.key(pair[1])).collect();
        Self { words, keys }
    }

    fn encode_all(&self, out: &mut Argv) {
        out.extend(self.words.iter().map(|word| word.to_vec()));
    }
}

/// Declares the type of all words behind the unit, where ANY of COUNT has this first version.
macro_rules! words_type {
    ($(#[$doc:meta])* $name:ident, $any_since:literal) => {
        $(#[$doc])*
        struct $name<'a>(Words<'a>);

        impl<'a> Arg<'a> for $name<'a> {
            const SPEC: ArgSpec = ArgSpec {
                kind: ArgKind::Block,
                optional: true,
                args: &[COUNT, ArgSpec { since: $any_since, ..ANY }],
                ..ArgSpec::PLAIN
            };

            fn parse(args: &mut Args<'a>) -> Result<Self> {
                Ok(Self(Words::read(args, true)))
            }

            fn encode(&self, out: &mut Argv) {
                self.0.encode_all(out);
            }

            fn each_key(&self, visit: &mut dyn FnMut(&Key<'a>)) {
                self.0.keys.iter().for_each(visit);
            }
        }
    };
}

words_type! {
    /// Of GEORADIUS.
    WordsOfPlace, "6.2.0"
}

words_type! {
    /// Of GEORADIUSBYMEMBER.
    WordsOfMember, ""
}

/// Where what is found goes; in the argument tree only.
struct Store;

impl<'a> Arg<'a> for Store {
    const SPEC: ArgSpec = {
        const fn key(name: &'static str, token: &'static str, key_spec: usize) -> ArgSpec {
            ArgSpec {
                name,
                display: Some("key"),
                kind: ArgKind::Key,
                token: Some(token),
                key_spec: Some(key_spec),
                ..ArgSpec::PLAIN
            }
        }
        ArgSpec {
            kind: ArgKind::OneOf,
            optional: true,
            args: &[key("storekey", "STORE", 1), key("storedistkey", "STOREDIST", 2)],
            ..ArgSpec::PLAIN
        }
    };

    fn parse(_: &mut Args<'a>) -> Result<Self> {
        Ok(Self)
    }

    fn encode(&self, _: &mut Argv) {}
}

/// What is searched from.
#[derive(Clone, Copy)]
enum Origin<'a> {
    Place(&'a [u8], &'a [u8]),
    Member(&'a [u8]),
}

/// A command's words.
struct Call<'a> {
    name: &'a [u8],
    origin: Origin<'a>,
    radius: &'a [u8],
    unit: &'a [u8],
    words: &'a [&'a [u8]],
    may_store: bool,
}

impl<'a> Call<'a> {
    /// # Errors
    /// What the server comes upon first.
    fn request(&self, zset: Option<ZSetRef<'_>>) -> Result<Request<'a>> {
        let centre = match (self.origin, zset) {
            (Origin::Place(longitude, latitude), _) => Some(position(longitude, latitude)?),
            (Origin::Member(member), Some(zset)) => Some(place_of(zset, member)?),
            // Without the key nobody looks at what is near.
            (Origin::Member(_), None) => None,
        };
        let shape = match centre {
            Some(centre) => {
                let (form, unit) = circle(self.radius, self.unit)?;
                Some(Shape { form, unit, centre })
            }
            None => None,
        };
        let family = Family::Radius { may_store: self.may_store };
        Request::read((self.name, self.words), family, zset, shape)
    }

    fn read(&self, db: &Db<'_>, key: &Key<'_>, reply: &mut Reply) -> Result<()> {
        let zset = zset_of(db, key)?;
        self.request(zset)?.reply(zset, reply)
    }

    fn write(&self, db: &mut Db<'_>, key: &Key<'_>, reply: &mut Reply) -> Result<()> {
        let zset = zset_of(db, key)?;
        let request = self.request(zset)?;
        let Some(destination) = request.destination.key else { return request.reply(zset, reply) };
        let new = request.collect(db, zset)?;
        let destination = db.key(destination);
        reply.count(store(db, &destination, new, "georadiusstore")?);
        Ok(())
    }
}

/// Declares one of the four commands.
macro_rules! radius_command {
    (
        $(#[$attribute:meta])*
        $name:ident, [$($origin:ident),*], $origin_type:expr, $words:ident, $may_store:literal, $trait:ident, $db:ty, $run:ident,
        { $($before:tt)* }, { $($behind:tt)* }, [$($none:ident: $value:expr),*]
    ) => {
        $(#[$attribute])*
        pub struct $name<'a> {
            #[key(RO, ACCESS)]
            key: Key<'a>,
            $($before)*
            #[arg(kind = Double)]
            radius: &'a [u8],
            unit: UnitWord<'a>,
            #[arg(token = "WITHCOORD")]
            withcoord: bool,
            #[arg(token = "WITHDIST")]
            withdist: bool,
            #[arg(token = "WITHHASH")]
            withhash: bool,
            count_block: $words<'a>,
            order: Order,
            $($behind)*
            #[arg(hidden)]
            name: &'a [u8],
        }

        impl<'a> $name<'a> {
            fn parse_args(args: &mut Args<'a>) -> Result<Self> {
                let (name, key) = (args.spelled(), Key::parse(args)?);
                $(let $origin = args.required()?;)*
                let (radius, unit) = (args.required()?, UnitWord::parse(args)?);
                let count_block = $words(Words::read(args, $may_store));
                let (withcoord, withdist, withhash) = (false, false, false);
                Ok(Self {
                    key, $($origin,)* radius, unit, withcoord, withdist, withhash, count_block, order: Order,
                    $($none: $value,)* name,
                })
            }

            fn call(&self) -> Call<'a> {
                Call {
                    name: self.name,
                    origin: $origin_type($(self.$origin),*),
                    radius: self.radius,
                    unit: self.unit.0,
                    words: self.count_block.0.words,
                    may_store: $may_store,
                }
            }
        }

        impl $trait for $name<'_> {
            fn execute(&self, db: $db, reply: &mut Reply) -> Result<()> {
                self.call().$run(db, &self.key, reply)
            }
        }
    };
}

radius_command! {
    /// Returns or stores the members of a sorted set of positions that are within a distance of a place.
    ///
    /// It is GEOSEARCH by a radius, or with STORE or STOREDIST GEOSEARCHSTORE, which returns how many there are.
    #[derive(Command)]
    #[command(
        name = "GEORADIUS", group = Geo, since = "3.2.0", complexity = "O(N+log(M)) where N is the number of elements inside the bounding box of the circular area delimited by center and radius and M is the number of items inside the index.", arity = -6,
        flags(WRITE, DENYOOM, MOVABLEKEYS),
        history(("6.2.0", "Added the `ANY` option for `COUNT`."), ("7.0.0", "Added support for uppercase unit names.")),
        extra_key(OW, UPDATE, VARIABLE_FLAGS, begin = BeginSearch::Keyword("STORE", 6), find = FindKeys::Range { last: 0, step: 1, limit: 0 }),
        extra_key(OW, UPDATE, VARIABLE_FLAGS, begin = BeginSearch::Keyword("STOREDIST", 6), find = FindKeys::Range { last: 0, step: 1, limit: 0 }),
        custom_parse, reply = "int | array(bulk | array(bulk | int | array(double)))",
    )]
    GeoRadius, [longitude, latitude], Origin::Place, WordsOfPlace, true, Write, &mut Db<'_>, write,
    {
        #[arg(kind = Double)]
        longitude: &'a [u8],
        #[arg(kind = Double)]
        latitude: &'a [u8],
    },
    { store: Store, },
    [store: Store]
}

radius_command! {
    /// Returns the members of a sorted set of positions that are within a distance of a place.
    ///
    /// It is GEOSEARCH by a radius.
    #[derive(Command)]
    #[command(
        name = "GEORADIUS_RO", group = Geo, since = "3.2.10", complexity = "O(N+log(M)) where N is the number of elements inside the bounding box of the circular area delimited by center and radius and M is the number of items inside the index.", arity = -6,
        flags(READONLY),
        history(("6.2.0", "Added the `ANY` option for `COUNT`."), ("7.0.0", "Added support for uppercase unit names.")),
        custom_parse, reply = "array(bulk | array(bulk | int | array(double)))",
    )]
    GeoRadiusRo, [longitude, latitude], Origin::Place, WordsOfPlace, false, Read, &Db<'_>, read,
    {
        #[arg(kind = Double)]
        longitude: &'a [u8],
        #[arg(kind = Double)]
        latitude: &'a [u8],
    },
    {},
    []
}

radius_command! {
    /// Returns or stores the members of a sorted set of positions that are within a distance of one of them.
    ///
    /// It is GEOSEARCH from a member by a radius, or with STORE or STOREDIST GEOSEARCHSTORE, which returns how many there are.
    #[derive(Command)]
    #[command(
        name = "GEORADIUSBYMEMBER", group = Geo, since = "3.2.0", complexity = "O(N+log(M)) where N is the number of elements inside the bounding box of the circular area delimited by center and radius and M is the number of items inside the index.", arity = -5,
        flags(WRITE, DENYOOM, MOVABLEKEYS),
        history(("6.2.0", "Added the `ANY` option for `COUNT`."), ("7.0.0", "Added support for uppercase unit names.")),
        extra_key(OW, UPDATE, VARIABLE_FLAGS, begin = BeginSearch::Keyword("STORE", 5), find = FindKeys::Range { last: 0, step: 1, limit: 0 }),
        extra_key(OW, UPDATE, VARIABLE_FLAGS, begin = BeginSearch::Keyword("STOREDIST", 5), find = FindKeys::Range { last: 0, step: 1, limit: 0 }),
        custom_parse, reply = "int | array(bulk | array(bulk | int | array(double)))",
    )]
    GeoRadiusByMember, [member], Origin::Member, WordsOfMember, true, Write, &mut Db<'_>, write,
    {
        member: &'a [u8],
    },
    { store: Store, },
    [store: Store]
}

radius_command! {
    /// Returns the members of a sorted set of positions that are within a distance of one of them.
    ///
    /// It is GEOSEARCH from a member by a radius.
    #[derive(Command)]
    #[command(
        name = "GEORADIUSBYMEMBER_RO", group = Geo, since = "3.2.10", complexity = "O(N+log(M)) where N is the number of elements inside the bounding box of the circular area delimited by center and radius and M is the number of items inside the index.", arity = -5,
        flags(READONLY),
        history(("6.2.0", "Added the `ANY` option for `COUNT`."), ("7.0.0", "Added support for uppercase unit names.")),
        custom_parse, reply = "array(bulk | array(bulk | int | array(double)))",
    )]
    GeoRadiusByMemberRo, [member], Origin::Member, WordsOfMember, false, Read, &Db<'_>, read,
    {
        member: &'a [u8],
    },
    {},
    []
}
