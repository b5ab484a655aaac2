//! GEOSEARCH and GEOSEARCHSTORE, and what GEORADIUS has in common with them.
//!
//! What their words mean can't be said without the key: the server looks up members while it reads them, and tells first what it comes upon first. So they
//! are read when the command runs ([`Request::read`]).

use std::cmp::Ordering;
use std::ops::ControlFlow;

use super::arguments::{By, CountBlock, From, Order};
use super::hash::{Position, of_score, whole_signed};
use super::shape::{Form, Shape, centroid};
use super::{Unit, distance_text, position};
use crate::alloc;
use crate::command::{Arg, Args, Command, Read, Reply, Write, is_token};
use crate::commands::zset::{store, zset_of};
use crate::error::{Error, Result};
use crate::keyspace::{Db, Key};
use crate::num;
use crate::value::ZSetRef;
use crate::value::listpack::Element;
use crate::value::zset::bounds::{ScoreBound, ScoreRange};
use crate::value::zset::members::Builder;

/// Which command it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    Search,
    SearchStore,
    /// GEORADIUS and GEORADIUSBYMEMBER, which may store or not.
    Radius {
        may_store: bool,
    },
}

impl Family {
    fn searches(self) -> bool {
        !matches!(self, Family::Radius { .. })
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sorting {
    Nearest,
    Farthest,
}

/// Where the members go that are found.
pub(super) struct Destination<'a> {
    pub(super) key: Option<&'a [u8]>,
    /// With distances as scores.
    pub(super) is_distance: bool,
}

/// What is asked for.
pub(super) struct Request<'a> {
    shape: Option<Shape>,
    sorting: Option<Sorting>,
    count: Option<usize>,
    any: bool,
    with: With,
    pub(super) destination: Destination<'a>,
}

/// What is told of a member.
#[derive(Clone, Copy, Default)]
struct With {
    distance: bool,
    hash: bool,
    place: bool,
}

/// What is found.
pub(super) struct Found<'d> {
    member: Element<'d>,
    score: f64,
    place: Position,
    distance: f64,
}

/// A circle from a radius and its unit.
///
/// # Errors
/// No number, a negative one, or no unit.
pub(super) fn circle(radius: &[u8], unit: &[u8]) -> Result<(Form, Unit)> {
    let radius = num::parse_f64(radius).ok_or_else(|| Error::command("need numeric radius"))?;
    if radius < 0.0 {
        return Err(Error::command("radius cannot be negative"));
    }
    Ok((Form::Circle { radius }, Unit::of(unit)?))
}

/// The place of a member.
///
/// # Errors
/// It is not there.
pub(super) fn place_of(zset: ZSetRef<'_>, member: &[u8]) -> Result<Position> {
    let missing = || Error::repeating("member ", member, " does not exist");
    zset.score(member).map(of_score).ok_or_else(missing)
}

/// The words of a request while they are read.
struct Reading<'a, 'd> {
    words: &'a [&'a [u8]],
    family: Family,
    zset: Option<ZSetRef<'d>>,
    /// What is searched from was named: a member, or a place.
    from_member: bool,
    from_place: bool,
    centre: Option<Position>,
    form: Option<(Form, Unit)>,
    request: Request<'a>,
}

impl<'a> Reading<'a, '_> {
    /// The next so many words; `None`, and none is taken, if there are fewer.
    fn take<const N: usize>(&mut self) -> Option<[&'a [u8]; N]> {
        let (taken, rest) = self.words.split_first_chunk()?;
        self.words = rest;
        Some(*taken)
    }

    /// Reads a word that stands alone; says whether it was one.
    fn flag(&mut self, word: &[u8]) -> bool {
        let request = &mut self.request;
        if is_token(word, "WITHDIST") {
            request.with.distance = true;
        } else if is_token(word, "WITHHASH") {
            request.with.hash = true;
        } else if is_token(word, "WITHCOORD") {
            request.with.place = true;
        } else if is_token(word, "ANY") {
            request.any = true;
        } else if is_token(word, "ASC") {
            request.sorting = Some(Sorting::Nearest);
        } else if is_token(word, "DESC") {
            request.sorting = Some(Sorting::Farthest);
        } else if self.family == Family::SearchStore && is_token(word, "STOREDIST") {
            request.destination.is_distance = true;
        } else {
            return false;
        }
        true
    }

    /// Reads COUNT, STORE or STOREDIST; says whether it was one.
    fn valued(&mut self, word: &[u8]) -> Result<bool> {
        let is_distance = is_token(word, "STOREDIST");
        if is_token(word, "COUNT") {
            let Some([count]) = self.take() else { return Ok(false) };
            let count = num::parse_i64(count).ok_or_else(Error::not_an_integer)?;
            let count = usize::try_from(count).ok().filter(|count| *count > 0);
            self.request.count = Some(count.ok_or_else(|| Error::command("COUNT must be > 0"))?);
            return Ok(true);
        }
        if self.family == (Family::Radius { may_store: true }) && (is_distance || is_token(word, "STORE")) {
            let Some([key]) = self.take() else { return Ok(false) };
            self.request.destination = Destination { key: Some(key), is_distance };
            return Ok(true);
        }
        Ok(false)
    }

    fn has_polygon(&self) -> bool {
        matches!(self.form, Some((Form::Polygon(_), _)))
    }

    /// Reads what is searched, and from where; says whether that was it.
    fn area(&mut self, word: &[u8]) -> Result<bool> {
        let is_about_polygon = self.has_polygon();
        let has_other = self.form.is_some() && !is_about_polygon;
        if is_token(word, "FROMMEMBER") && !self.from_place && !is_about_polygon {
            let Some([member]) = self.take() else { return Ok(false) };
            self.from_member = true;
            if let Some(zset) = self.zset {
                self.centre = Some(place_of(zset, member)?);
            }
        } else if is_token(word, "FROMLONLAT") && !self.from_member && !is_about_polygon {
            let Some([longitude, latitude]) = self.take() else { return Ok(false) };
            self.from_place = true;
            self.centre = Some(position(longitude, latitude)?);
        } else if is_token(word, "BYRADIUS") && !self.is_by("box") && !is_about_polygon {
            let Some([radius, unit]) = self.take() else { return Ok(false) };
            self.form = Some(circle(radius, unit)?);
        } else if is_token(word, "BYBOX") && !self.is_by("circle") && !is_about_polygon {
            let Some([width, height, unit]) = self.take() else { return Ok(false) };
            self.form = Some(rectangle(width, height, unit)?);
        } else if is_token(word, "BYPOLYGON")
            && !has_other
            && !self.from_member
            && !self.from_place
            && self.words.len() >= 2
        {
            self.polygon()?;
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    fn is_by(&self, form: &str) -> bool {
        match &self.form {
            Some((Form::Circle { .. }, _)) => form == "circle",
            Some((Form::Box { .. }, _)) => form == "box",
            _ => false,
        }
    }

    fn polygon(&mut self) -> Result<()> {
        let [count] = self.take().expect("there are two words");
        let count = num::parse_i64(count).and_then(|count| i32::try_from(count).ok());
        let count = count.ok_or_else(|| Error::command("invalid number of vertices"))?;
        let count = usize::try_from(count).ok().filter(|count| *count >= 3 && *count <= self.words.len() / 2);
        let count =
            count.ok_or_else(|| Error::command("GEOSEARCH BYPOLYGON must have at least 3 vertices"))?;
        let mut corners = alloc::with_room_for(count)?;
        for _ in 0..count {
            let [longitude, latitude] = self.take().expect("there are so many words");
            corners.push(position(longitude, latitude)?);
        }
        self.centre = Some(centroid(&corners));
        self.form = Some((Form::Polygon(corners), Unit::M));
        Ok(())
    }

    /// What the words have come to, of a command that the caller spelled so.
    fn finish(self, name: &[u8]) -> Result<Request<'a>> {
        let With { distance, hash, place } = self.request.with;
        let stores = self.family == Family::SearchStore || self.request.destination.key.is_some();
        if stores && (distance || hash || place) {
            let what = if self.family == Family::SearchStore {
                "GEOSEARCHSTORE"
            } else {
                "STORE option in GEORADIUS"
            };
            return Err(Error::command(format_args!(
                "{what} is not compatible with WITHDIST, WITHHASH and WITHCOORD options"
            )));
        }
        let named = |before: &str| Error::repeating(before, name, "");
        if self.family.searches() {
            if !(self.from_member || self.from_place || self.has_polygon()) {
                return Err(named("exactly one of FROMMEMBER or FROMLONLAT can be specified for "));
            }
            if self.form.is_none() {
                return Err(named("exactly one of BYRADIUS, BYBOX and BYPOLYGON can be specified for "));
            }
        }
        let mut request = self.request;
        if request.any && request.count.is_none() {
            return Err(Error::command("the ANY argument requires COUNT argument"));
        }
        if request.count.is_some() && request.sorting.is_none() && !request.any {
            request.sorting = Some(Sorting::Nearest);
        }
        if let (Some((form, unit)), Some(centre)) = (self.form, self.centre) {
            request.shape = Some(Shape { form, unit, centre });
        }
        Ok(request)
    }
}

impl<'a> Request<'a> {
    /// Reads the words behind the keys, with the sorted set if there is one. GEORADIUS has its circle already.
    ///
    /// # Errors
    /// What the server comes upon first.
    pub(super) fn read(
        (name, words): (&[u8], &'a [&'a [u8]]),
        family: Family,
        zset: Option<ZSetRef<'_>>,
        circle: Option<Shape>,
    ) -> Result<Self> {
        let destination = Destination { key: None, is_distance: false };
        let with = With::default();
        let request = Self { shape: circle, sorting: None, count: None, any: false, with, destination };
        let mut reading = Reading {
            words,
            family,
            zset,
            from_member: false,
            from_place: false,
            centre: None,
            form: None,
            request,
        };
        while let Some([word]) = reading.take() {
            let is_known =
                reading.flag(word) || reading.valued(word)? || (family.searches() && reading.area(word)?);
            if !is_known {
                return Err(Error::syntax());
            }
        }
        reading.finish(name)
    }

    /// The members that are in the area, in order, as far as they are asked for.
    fn find<'d>(&self, zset: ZSetRef<'d>) -> Result<Vec<Found<'d>>> {
        let Some(shape) = &self.shape else { return Ok(Vec::new()) };
        let mut found = Vec::new();
        let enough = self.count.filter(|_| self.any).unwrap_or(usize::MAX);
        let mut failed = Ok(());
        for cell in shape.cells() {
            let (first, end) = cell.scores();
            let range = ScoreRange {
                min: ScoreBound { score: first, is_open: false },
                max: ScoreBound { score: end, is_open: true },
            };
            if found.len() >= enough || failed.is_err() {
                break;
            }
            zset.walk(zset.ranks_of_scores(&range), false, |member, score| {
                let place = of_score(score);
                if let Some(distance) = shape.judge(place) {
                    failed = found.try_reserve(1).map_err(|_| Error::no_memory());
                    if failed.is_err() {
                        return ControlFlow::Break(());
                    }
                    found.push(Found { member, score, place, distance: distance / shape.unit.metres() });
                }
                if found.len() >= enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
        }
        failed?;
        let nearest = |one: &Found<'_>, other: &Found<'_>| {
            one.distance.partial_cmp(&other.distance).unwrap_or(Ordering::Equal)
        };
        match self.sorting {
            Some(Sorting::Nearest) => found.sort_by(nearest),
            Some(Sorting::Farthest) => found.sort_by(|one, other| nearest(other, one)),
            None => {}
        }
        found.truncate(self.count.unwrap_or(usize::MAX));
        Ok(found)
    }

    /// Finds and replies.
    ///
    /// # Errors
    /// There is no memory.
    pub(super) fn reply(&self, zset: Option<ZSetRef<'_>>, reply: &mut Reply) -> Result<()> {
        let found = zset.map(|zset| self.find(zset)).transpose()?.unwrap_or_default();
        let With { distance, hash, place } = self.with;
        let parts = usize::from(distance) + usize::from(hash) + usize::from(place);
        reply.array(found.len());
        for one in &found {
            if parts > 0 {
                reply.array(1 + parts);
            }
            one.member.with(|member| reply.bulk(member));
            if distance {
                reply.bulk(distance_text(one.distance).as_bytes());
            }
            if hash {
                reply.integer(whole_signed(one.score));
            }
            if place {
                reply.array(2);
                reply.long_double(one.place.longitude);
                reply.long_double(one.place.latitude);
            }
            if reply.is_full() {
                break;
            }
        }
        Ok(())
    }

    /// Finds and makes a sorted set of it.
    ///
    /// # Errors
    /// There is no memory.
    pub(super) fn collect(&self, db: &Db<'_>, zset: Option<ZSetRef<'_>>) -> Result<Builder> {
        let keyspace = db.keyspace();
        let mut new = Builder::new(keyspace.config.hot());
        let mut found = zset.map(|zset| self.find(zset)).transpose()?.unwrap_or_default();
        let score = |one: &Found<'_>| if self.destination.is_distance { one.distance } else { one.score };
        found.sort_by(|one, other| {
            let by_score = score(one).partial_cmp(&score(other)).unwrap_or(Ordering::Equal);
            by_score.then_with(|| one.member.with(|one| other.member.with(|other| one.cmp(other))))
        });
        new.expect(found.len(), found.iter().map(|one| one.member.len()).max().unwrap_or(0));
        for one in &found {
            one.member
                .with(|member| new.append(&keyspace.shared.pool, &keyspace.seed, member, score(one)))?;
        }
        Ok(new)
    }
}

/// A box from its sides and their unit.
fn rectangle(width: &[u8], height: &[u8], unit: &[u8]) -> Result<(Form, Unit)> {
    let number = |text: &[u8], what: &str| {
        num::parse_f64(text).ok_or_else(|| Error::command(format_args!("need numeric {what}")))
    };
    let (width, height) = (number(width, "width")?, number(height, "height")?);
    if width < 0.0 || height < 0.0 {
        return Err(Error::command("height or width cannot be negative"));
    }
    Ok((Form::Box { width, height }, Unit::of(unit)?))
}

/// Returns the members of a sorted set of positions that are in an area.
///
/// The area is a circle or a box around a place or a member, or a polygon. ASC and DESC sort by distance from the middle; COUNT takes the nearest, with ANY the
/// first that are found. WITHDIST, WITHHASH and WITHCOORD add distance, score and position.
#[derive(Command)]
#[command(
    name = "GEOSEARCH", group = Geo, since = "6.2.0", complexity = "O(N+log(M)) where N is the number of elements in the grid-aligned bounding box area around the shape provided as the filter and M is the number of items inside the shape", arity = -7,
    flags(READONLY),
    history(("7.0.0", "Added support for uppercase unit names."), ("9.0.0", "Added support for the BYPOLYGON option.")),
    custom_parse, reply = "array(bulk | array(bulk | int | array(double)))",
)]
pub struct GeoSearch<'a> {
    #[key(RO, ACCESS)]
    key: Key<'a>,
    from: From<'a>,
    by: By,
    order: Order,
    count_block: CountBlock,
    #[arg(token = "WITHCOORD")]
    withcoord: bool,
    #[arg(token = "WITHDIST")]
    withdist: bool,
    #[arg(token = "WITHHASH")]
    withhash: bool,
    #[arg(hidden)]
    name: &'a [u8],
}

impl<'a> GeoSearch<'a> {
    fn parse_args(args: &mut Args<'a>) -> Result<Self> {
        let (name, key, from) = (args.spelled(), Key::parse(args)?, From::parse(args)?);
        let (withcoord, withdist, withhash) = (false, false, false);
        Ok(Self {
            key,
            from,
            by: By,
            order: Order,
            count_block: CountBlock,
            withcoord,
            withdist,
            withhash,
            name,
        })
    }
}

impl Read for GeoSearch<'_> {
    fn execute(&self, db: &Db<'_>, reply: &mut Reply) -> Result<()> {
        let zset = zset_of(db, &self.key)?;
        Request::read((self.name, self.from.0), Family::Search, zset, None)?.reply(zset, reply)
    }
}

/// Stores the members of a sorted set of positions that are in an area, over whatever is there.
///
/// Returns how many there are; where there is none the key is removed. The area is as that of GEOSEARCH. With STOREDIST their scores are distances.
#[derive(Command)]
#[command(
    name = "GEOSEARCHSTORE", group = Geo, since = "6.2.0", complexity = "O(N+log(M)) where N is the number of elements in the grid-aligned bounding box area around the shape provided as the filter and M is the number of items inside the shape", arity = -8,
    flags(WRITE, DENYOOM),
    history(("7.0.0", "Added support for uppercase unit names."), ("9.0.0", "Added support for the BYPOLYGON option.")),
    custom_parse, reply = "int",
)]
pub struct GeoSearchStore<'a> {
    #[key(OW, UPDATE)]
    #[arg(key_spec = 0)]
    destination: Key<'a>,
    #[key(RO, ACCESS)]
    #[arg(key_spec = 1)]
    source: Key<'a>,
    from: From<'a>,
    by: By,
    order: Order,
    count_block: CountBlock,
    #[arg(token = "STOREDIST")]
    storedist: bool,
    #[arg(hidden)]
    name: &'a [u8],
}

impl<'a> GeoSearchStore<'a> {
    fn parse_args(args: &mut Args<'a>) -> Result<Self> {
        let (name, destination, source) = (args.spelled(), Key::parse(args)?, Key::parse(args)?);
        let from = From::parse(args)?;
        let (by, order, count_block, storedist) = (By, Order, CountBlock, false);
        Ok(Self { destination, source, from, by, order, count_block, storedist, name })
    }
}

impl Write for GeoSearchStore<'_> {
    fn execute(&self, db: &mut Db<'_>, reply: &mut Reply) -> Result<()> {
        let zset = zset_of(db, &self.source)?;
        let request = Request::read((self.name, self.from.0), Family::SearchStore, zset, None)?;
        let new = request.collect(db, zset)?;
        reply.count(store(db, &self.destination, new, "geosearchstore")?);
        Ok(())
    }
}
