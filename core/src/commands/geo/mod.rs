//! Commands on positions: sorted sets whose scores are geohashes.
//!
//! How positions become scores is in [`hash`], what areas are and which cells they cover in [`shape`].

pub(crate) mod add;
mod arguments;
pub(crate) mod get;
pub(crate) mod hash;
pub(crate) mod radius;
pub(crate) mod search;
pub(crate) mod shape;

use crate::command::Arg;
use crate::error::{Error, Result};
use crate::num;
use hash::{LATITUDE, LONGITUDE, Position};

/// A unit of lengths.
#[derive(Arg, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    #[arg(token = "M")]
    M,
    #[arg(token = "KM")]
    Km,
    #[arg(token = "FT")]
    Ft,
    #[arg(token = "MI")]
    Mi,
}

impl Unit {
    fn of(word: &[u8]) -> Result<Self> {
        const NAMES: [(&[u8], Unit); 4] =
            [(b"m", Unit::M), (b"km", Unit::Km), (b"ft", Unit::Ft), (b"mi", Unit::Mi)];
        let found = NAMES.iter().find(|(name, _)| crate::error::until_zero(word).eq_ignore_ascii_case(name));
        let unknown = || Error::command("unsupported unit provided. please use M, KM, FT, MI");
        found.map(|(_, unit)| *unit).ok_or_else(unknown)
    }

    fn metres(self) -> f64 {
        match self {
            Unit::M => 1.0,
            Unit::Km => 1000.0,
            Unit::Ft => 0.3048,
            Unit::Mi => 1609.34,
        }
    }
}

/// A position from its two words.
fn position(longitude: &[u8], latitude: &[u8]) -> Result<Position> {
    let number = |text: &[u8]| num::parse_f64(text).ok_or_else(Error::not_a_float);
    let position = Position { longitude: number(longitude)?, latitude: number(latitude)? };
    let is_within = LONGITUDE.contains(position.longitude) && LATITUDE.contains(position.latitude);
    if is_within {
        return Ok(position);
    }
    let Position { longitude, latitude } = position;
    Err(Error::command(format_args!("invalid longitude,latitude pair {longitude:.6},{latitude:.6}")))
}

/// A distance with four digits behind the point.
fn distance_text(distance: f64) -> String {
    const DIGITS: f64 = 10_000.0;
    let scaled = (distance * DIGITS).round_ties_even() as u64;
    format!("{}.{:04}", scaled / 10_000, scaled % 10_000)
}

#[cfg(test)]
mod tests;
