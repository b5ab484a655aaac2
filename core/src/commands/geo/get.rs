//! GEODIST, GEOHASH and GEOPOS.

use super::hash::{of_score, text};
use super::shape::distance;
use super::{Unit, distance_text};
use crate::command::spec::ArgSpec;
use crate::command::{Arg, Args, Argv, Command, Read, Reply};
use crate::commands::zset::zset_of;
use crate::error::{Error, Result};
use crate::keyspace::{Db, Key};

/// A unit with an error text of its own.
struct UnitWord(Unit);

impl<'a> Arg<'a> for UnitWord {
    const SPEC: ArgSpec = <Unit as Arg<'a>>::SPEC;

    fn parse(args: &mut Args<'a>) -> Result<Self> {
        Unit::of(args.required()?).map(Self)
    }

    fn encode(&self, out: &mut Argv) {
        self.0.encode(out);
    }
}

/// Returns the distance of two members of a sorted set of positions.
///
/// Returns null where one of them is missing. In metres, or in the unit that is given.
#[derive(Command)]
#[command(
    name = "GEODIST", group = Geo, since = "3.2.0", complexity = "O(1)", arity = -4,
    flags(READONLY),
    custom_parse, reply = "bulk | null",
)]
pub struct GeoDist<'a> {
    #[key(RO, ACCESS)]
    key: Key<'a>,
    member1: &'a [u8],
    member2: &'a [u8],
    unit: Option<UnitWord>,
}

impl<'a> GeoDist<'a> {
    fn parse_args(args: &mut Args<'a>) -> Result<Self> {
        let (key, member1, member2) = (Key::parse(args)?, args.required()?, args.required()?);
        if args.remaining() > 1 {
            return Err(Error::syntax());
        }
        Ok(Self { key, member1, member2, unit: Option::parse(args)? })
    }
}

impl Read for GeoDist<'_> {
    fn execute(&self, db: &Db<'_>, reply: &mut Reply) -> Result<()> {
        let zset = zset_of(db, &self.key)?;
        let place = |member: &[u8]| zset.and_then(|zset| zset.score(member)).map(of_score);
        match place(self.member1).zip(place(self.member2)) {
            Some((one, other)) => {
                let unit = self.unit.as_ref().map_or(Unit::M, |unit| unit.0);
                reply.bulk(distance_text(distance(one, other) / unit.metres()).as_bytes());
            }
            None => reply.null(),
        }
        Ok(())
    }
}

/// Members, or none.
struct Members<'a>(Vec<&'a [u8]>);

impl<'a> Arg<'a> for Members<'a> {
    const SPEC: ArgSpec = ArgSpec { optional: true, multiple: true, ..ArgSpec::PLAIN };

    fn parse(args: &mut Args<'a>) -> Result<Self> {
        Ok(Self(args.take_rest().to_vec()))
    }

    fn encode(&self, out: &mut Argv) {
        out.extend(self.0.iter().map(|member| member.to_vec()));
    }
}

/// Returns the positions of members of a sorted set as geohashes of 11 digits.
///
/// Returns null for each that is no member.
#[derive(Command)]
#[command(
    name = "GEOHASH", group = Geo, since = "3.2.0", complexity = "O(1) for each member requested.", arity = -2,
    flags(READONLY),
    reply = "array(bulk | null)",
)]
pub struct GeoHash<'a> {
    #[key(RO, ACCESS)]
    key: Key<'a>,
    member: Members<'a>,
}

impl Read for GeoHash<'_> {
    fn execute(&self, db: &Db<'_>, reply: &mut Reply) -> Result<()> {
        let zset = zset_of(db, &self.key)?;
        reply.array(self.member.0.len());
        for member in &self.member.0 {
            let score = zset.and_then(|zset| zset.score(member));
            reply.bulk_or_null(score.map(text).as_ref().map(<[u8; 11]>::as_slice));
        }
        Ok(())
    }
}

/// Returns the longitudes and latitudes of members of a sorted set of positions.
///
/// Returns null for each that is no member.
#[derive(Command)]
#[command(
    name = "GEOPOS", group = Geo, since = "3.2.0", complexity = "O(1) for each member requested.", arity = -2,
    flags(READONLY),
    reply = "array(array(double) | nullarray)",
)]
pub struct GeoPos<'a> {
    #[key(RO, ACCESS)]
    key: Key<'a>,
    member: Members<'a>,
}

impl Read for GeoPos<'_> {
    fn execute(&self, db: &Db<'_>, reply: &mut Reply) -> Result<()> {
        let zset = zset_of(db, &self.key)?;
        reply.array(self.member.0.len());
        for member in &self.member.0 {
            match zset.and_then(|zset| zset.score(member)).map(of_score) {
                Some(place) => {
                    reply.array(2);
                    reply.long_double(place.longitude);
                    reply.long_double(place.latitude);
                }
                None => reply.null_array(),
            }
        }
        Ok(())
    }
}
