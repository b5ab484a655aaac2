//! Geohashes: positions as numbers, and the cells that they name.
//!
//! A geohash halves the range of longitudes and that of latitudes in turn; each halving is a bit, the first the highest (Gustavo Niemeyer, 2008). With
//! [`STEPS`] halvings of each, 52 bits, it is a whole number that a double holds: the score of a position. All positions of a cell of fewer halvings have
//! scores in a row, since they begin with the same bits.

/// A range of degrees.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Degrees {
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Degrees {
    pub(super) fn contains(self, degrees: f64) -> bool {
        degrees >= self.min && degrees <= self.max
    }

    /// How far into the range some degrees are, in cells of so many halvings.
    fn cell(self, degrees: f64, steps: u32) -> u32 {
        let part = (degrees - self.min) / (self.max - self.min);
        (part * (1_u64 << steps) as f64) as u32
    }

    /// The degrees that a cell begins with.
    fn degrees(self, cell: u32, steps: u32) -> f64 {
        self.min + (f64::from(cell) / (1_u64 << steps) as f64) * (self.max - self.min)
    }
}

pub(super) const LONGITUDE: Degrees = Degrees { min: -180.0, max: 180.0 };
/// What the square map of Mercator holds.
pub(super) const LATITUDE: Degrees = Degrees { min: -85.05112878, max: 85.05112878 };
/// The latitudes of geohashes elsewhere.
const ALL_LATITUDES: Degrees = Degrees { min: -90.0, max: 90.0 };

/// Halvings of each range in a score.
pub(super) const STEPS: u32 = 26;

/// A place on earth.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Position {
    pub(crate) longitude: f64,
    pub(crate) latitude: f64,
}

/// A cell of so many halvings: which one of each range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cell {
    longitude: u32,
    latitude: u32,
    steps: u32,
}

impl Cell {
    pub(super) fn of(position: Position, steps: u32) -> Self {
        Self::within(position, steps, LATITUDE)
    }

    fn within(position: Position, steps: u32, latitudes: Degrees) -> Self {
        Self {
            longitude: LONGITUDE.cell(position.longitude, steps),
            latitude: latitudes.cell(position.latitude, steps),
            steps,
        }
    }

    /// The cell of a score.
    fn of_score(score: f64) -> Self {
        let bits = whole(score);
        Self { latitude: every_other(bits), longitude: every_other(bits >> 1), steps: STEPS }
    }

    /// The bits of both, longitude first.
    fn bits(self) -> u64 {
        spread(self.latitude) | spread(self.longitude) << 1
    }

    /// The scores in it: from the first to before the second.
    pub(super) fn scores(self) -> (f64, f64) {
        let shift = 2 * (STEPS - self.steps);
        ((self.bits() << shift) as f64, ((self.bits() + 1) << shift) as f64)
    }

    /// Longitudes and latitudes that it covers.
    pub(super) fn area(self) -> (Degrees, Degrees) {
        let range = |all: Degrees, cell: u32| Degrees {
            min: all.degrees(cell, self.steps),
            // Scores of other origin can name the last cell of all.
            max: all.degrees(cell.wrapping_add(1), self.steps),
        };
        (range(LONGITUDE, self.longitude), range(LATITUDE, self.latitude))
    }

    /// The cell so many cells further to the east and to the north, around the earth.
    pub(super) fn neighbour(self, east: i32, north: i32) -> Self {
        let mask = (1_u32 << self.steps) - 1;
        let step = |cell: u32, by: i32| if by == 0 { cell } else { cell.wrapping_add_signed(by) & mask };
        Self { longitude: step(self.longitude, east), latitude: step(self.latitude, north), ..self }
    }
}

/// A score as a whole number. Those of other origin are whatever x86-64 makes of them, as for the server.
fn whole(score: f64) -> u64 {
    const HALF: f64 = (1_u64 << 63) as f64;
    if score < -HALF {
        1 << 63
    } else if score < HALF {
        score as i64 as u64
    } else if score < 2.0 * HALF {
        score as u64
    } else {
        0
    }
}

/// The same with a sign.
pub(super) fn whole_signed(score: f64) -> i64 {
    const HALF: f64 = (1_u64 << 63) as f64;
    if (-HALF..HALF).contains(&score) { score as i64 } else { i64::MIN }
}

/// The score of a position.
pub(super) fn score(position: Position) -> f64 {
    Cell::of(position, STEPS).bits() as f64
}

/// The middle of the cell that a score names.
pub(super) fn of_score(score: f64) -> Position {
    let (longitude, latitude) = Cell::of_score(score).area();
    let middle = |range: Degrees, all: Degrees| f64::midpoint(range.min, range.max).clamp(all.min, all.max);
    Position { longitude: middle(longitude, LONGITUDE), latitude: middle(latitude, LATITUDE) }
}

/// The text that a geohash has elsewhere: eleven digits, the last of which has no bits left.
pub(super) fn text(score: f64) -> [u8; 11] {
    const DIGITS: &[u8; 32] = b"0123456789bcdefghjkmnpqrstuvwxyz";
    let bits = Cell::within(of_score(score), STEPS, ALL_LATITUDES).bits();
    std::array::from_fn(|at| {
        let shift = 52_usize.checked_sub((at + 1) * 5);
        DIGITS[shift.map_or(0, |shift| (bits >> shift & 31) as usize)]
    })
}

/// The bits of a number with a zero before each.
fn spread(number: u32) -> u64 {
    let mut bits = u64::from(number);
    for (shift, mask) in [
        (16, 0x0000_ffff_0000_ffff),
        (8, 0x00ff_00ff_00ff_00ff),
        (4, 0x0f0f_0f0f_0f0f_0f0f),
        (2, 0x3333_3333_3333_3333),
        (1, 0x5555_5555_5555_5555),
    ] {
        bits = (bits | bits << shift) & mask;
    }
    bits
}

/// Every other bit, from the lowest on.
fn every_other(number: u64) -> u32 {
    let mut bits = number & 0x5555_5555_5555_5555;
    for (shift, mask) in [
        (1, 0x3333_3333_3333_3333),
        (2, 0x0f0f_0f0f_0f0f_0f0f),
        (4, 0x00ff_00ff_00ff_00ff),
        (8, 0x0000_ffff_0000_ffff),
        (16, 0x0000_0000_ffff_ffff),
    ] {
        bits = (bits | bits >> shift) & mask;
    }
    bits as u32
}
