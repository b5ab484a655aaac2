//! GEOADD.

use super::hash::score;
use super::position;
use crate::alloc;
use crate::command::{Arg, Args, Argv, Command, Reply, Write};
use crate::commands::zset::add::{Condition, Rules};
use crate::error::{Error, Result};
use crate::keyspace::{Db, Key};
use crate::num;

/// A member and where it is.
#[derive(Arg)]
struct Place<'a> {
    #[arg(kind = Double)]
    longitude: &'a [u8],
    #[arg(kind = Double)]
    latitude: &'a [u8],
    member: &'a [u8],
}

/// Adds members with their positions to a sorted set, which is created if need be, or moves them.
///
/// Returns how many are new, with CH also those that have moved. NX only adds, XX only moves.
#[derive(Command)]
#[command(
    name = "GEOADD", group = Geo, since = "3.2.0", complexity = "O(log(N)) for each item added, where N is the number of elements in the sorted set.", arity = -5,
    flags(WRITE, DENYOOM),
    history(("6.2.0", "Added the `CH`, `NX` and `XX` options.")),
    custom_parse, reply = "int",
)]
pub struct GeoAdd<'a> {
    #[key(RW, UPDATE)]
    key: Key<'a>,
    #[arg(oneof, since = "6.2.0")]
    condition: Option<Condition>,
    #[arg(token = "CH", since = "6.2.0")]
    change: bool,
    data: Vec<Place<'a>>,
    #[arg(hidden)]
    scores: Vec<f64>,
}

impl<'a> GeoAdd<'a> {
    fn parse_args(args: &mut Args<'a>) -> Result<Self> {
        let key = Key::parse(args)?;
        let (mut nx, mut xx, mut change) = (false, false, false);
        loop {
            let mut flags = [("NX", &mut nx), ("XX", &mut xx), ("CH", &mut change)].into_iter();
            let Some((_, flag)) = flags.find(|(token, _)| args.skip_token(token)) else { break };
            *flag = true;
        }
        if !args.remaining().is_multiple_of(3) || (nx && xx) {
            return Err(Error::syntax());
        }
        let mut data = alloc::with_room_for(args.remaining() / 3)?;
        let mut scores = alloc::with_room_for(args.remaining() / 3)?;
        while args.remaining() > 0 {
            let place = Place::parse(args)?;
            scores.push(score(position(place.longitude, place.latitude)?));
            data.push(place);
        }
        let condition = if nx { Some(Condition::Nx) } else { xx.then_some(Condition::Xx) };
        Ok(Self { key, condition, change, data, scores })
    }

    /// What it comes to, for the log.
    fn effect(&self) -> Argv {
        let mut argv = vec![b"ZADD".to_vec(), self.key.bytes().to_vec()];
        self.condition.encode(&mut argv);
        if self.change {
            argv.push(b"CH".to_vec());
        }
        for (place, score) in self.data.iter().zip(&self.scores) {
            let mut text = Vec::new();
            num::write_f64(&mut text, *score);
            argv.extend([text, place.member.to_vec()]);
        }
        argv
    }
}

impl Write for GeoAdd<'_> {
    fn execute(&self, db: &mut Db<'_>, reply: &mut Reply) -> Result<()> {
        if self.data.is_empty() {
            return Err(Error::syntax());
        }
        let pairs = || self.data.iter().map(|place| place.member).zip(self.scores.iter().copied());
        let done = Rules::of(self.condition).apply(db, &self.key, pairs)?;
        reply.count(done.added + if self.change { done.changed } else { 0 });
        if done.added + done.changed > 0 {
            db.propagate(|| self.effect());
        }
        Ok(())
    }
}
