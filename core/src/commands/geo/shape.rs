//! Areas on earth: circles, boxes and polygons; what is in one, and which cells cover it.
//!
//! An area is covered by the cell of its middle and the eight around it, of as many halvings as make them no smaller than the area; those that lie beyond its
//! bounding box are left out. What is found in them is then judged one by one. Members come in the order of these cells, as the server's do.

use super::Unit;
use super::hash::{Cell, Degrees, Position, STEPS};

/// The mean radius of the earth in metres.
const EARTH: f64 = 6_372_797.560856;
/// Half the width of Mercator's map in metres.
const MERCATOR: f64 = 20_037_726.37;

/// What is searched.
#[derive(Clone, Debug)]
pub(super) enum Form {
    Circle { radius: f64 },
    Box { width: f64, height: f64 },
    Polygon(Vec<Position>),
}

/// An area on earth.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    pub(super) form: Form,
    /// The unit of its lengths, and of distances that are told.
    pub(super) unit: Unit,
    pub(super) centre: Position,
}

/// The distance of two places on a sphere (the haversine formula), in metres.
pub(super) fn distance(one: Position, other: Position) -> f64 {
    let half = ((other.longitude.to_radians_as_server() - one.longitude.to_radians_as_server()) / 2.0).sin();
    if half == 0.0 {
        return latitude_distance(one.latitude, other.latitude);
    }
    let (latitude, others) = (one.latitude.to_radians_as_server(), other.latitude.to_radians_as_server());
    let other_half = ((others - latitude) / 2.0).sin();
    let part = other_half * other_half + latitude.cos() * others.cos() * half * half;
    2.0 * EARTH * part.sqrt().asin()
}

fn latitude_distance(one: f64, other: f64) -> f64 {
    EARTH * (other.to_radians_as_server() - one.to_radians_as_server()).abs()
}

trait Radians {
    /// Rounded as the server does it.
    fn to_radians_as_server(self) -> f64;
    fn to_degrees_as_server(self) -> f64;
}

impl Radians for f64 {
    fn to_radians_as_server(self) -> f64 {
        self * (std::f64::consts::PI / 180.0)
    }

    fn to_degrees_as_server(self) -> f64 {
        self / (std::f64::consts::PI / 180.0)
    }
}

/// The middle of some places, as points on a sphere.
pub(super) fn centroid(places: &[Position]) -> Position {
    let count = places.len() as f64;
    let mean = |part: fn(f64, f64) -> f64| {
        let parts = places
            .iter()
            .map(|place| part(place.longitude.to_radians_as_server(), place.latitude.to_radians_as_server()));
        parts.sum::<f64>() / count
    };
    let x = mean(|longitude, latitude| latitude.cos() * longitude.cos());
    let y = mean(|longitude, latitude| latitude.cos() * longitude.sin());
    let z = mean(|_, latitude| latitude.sin());
    Position {
        longitude: y.atan2(x).to_degrees_as_server(),
        latitude: z.atan2((x * x + y * y).sqrt()).to_degrees_as_server(),
    }
}

impl Shape {
    /// How far from the centre a place in it is, in metres; `None` if it is not in it.
    pub(super) fn judge(&self, place: Position) -> Option<f64> {
        let metres = self.unit.metres();
        match &self.form {
            Form::Circle { radius } => {
                let distance = distance(self.centre, place);
                (distance <= radius * metres).then_some(distance)
            }
            Form::Box { width, height } => {
                let north = latitude_distance(place.latitude, self.centre.latitude);
                if north > height * metres / 2.0 {
                    return None;
                }
                let below = Position { longitude: self.centre.longitude, latitude: place.latitude };
                if distance(place, below) > width * metres / 2.0 {
                    return None;
                }
                Some(distance(self.centre, place))
            }
            Form::Polygon(corners) => contains(corners, place).then(|| distance(self.centre, place)),
        }
    }

    /// Longitudes and latitudes around it.
    fn bounds(&self) -> (Degrees, Degrees) {
        let (width, height) = match &self.form {
            Form::Circle { radius } => (*radius, *radius),
            Form::Box { width, height } => (width / 2.0, height / 2.0),
            Form::Polygon(corners) => {
                let range = |part: fn(&Position) -> f64| Degrees {
                    min: corners.iter().map(part).fold(f64::INFINITY, f64::min),
                    max: corners.iter().map(part).fold(f64::NEG_INFINITY, f64::max),
                };
                return (range(|corner| corner.longitude), range(|corner| corner.latitude));
            }
        };
        let (width, height) = (width * self.unit.metres(), height * self.unit.metres());
        let Position { longitude, latitude } = self.centre;
        let north = (height / EARTH).to_degrees_as_server();
        // The nearer to a pole, the more degrees is a width.
        let edge = if latitude < 0.0 { latitude - north } else { latitude + north };
        let east = (width / EARTH / edge.to_radians_as_server().cos()).to_degrees_as_server();
        (
            Degrees { min: longitude - east, max: longitude + east },
            Degrees { min: latitude - north, max: latitude + north },
        )
    }

    /// How far its outermost place is from its centre, at most, in metres.
    fn reach(&self) -> f64 {
        match &self.form {
            Form::Circle { radius } => radius * self.unit.metres(),
            Form::Box { width, height } => {
                ((width / 2.0) * (width / 2.0) + (height / 2.0) * (height / 2.0)).sqrt() * self.unit.metres()
            }
            Form::Polygon(_) => {
                let (longitudes, latitudes) = self.bounds();
                let corners = [longitudes.min, longitudes.max].into_iter().flat_map(|longitude| {
                    [latitudes.min, latitudes.max].map(|latitude| Position { longitude, latitude })
                });
                corners.map(|corner| distance(self.centre, corner)).fold(0.0, f64::max)
            }
        }
    }

    /// The cells that cover it, in the order in which they are searched.
    pub(super) fn cells(&self) -> Vec<Cell> {
        /// East and north of the middle.
        const AROUND: [(i32, i32); 9] =
            [(0, 0), (0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, 1), (1, -1), (-1, -1)];
        let (longitudes, latitudes) = self.bounds();
        let mut steps = steps_for(self.reach(), self.centre.latitude);
        let mut middle = Cell::of(self.centre, steps);
        let area_of = |(east, north): (i32, i32)| middle.neighbour(east, north).area();
        let is_short = area_of((0, 1)).1.max < latitudes.max
            || area_of((0, -1)).1.min > latitudes.min
            || area_of((1, 0)).0.max < longitudes.max
            || area_of((-1, 0)).0.min > longitudes.min;
        if steps > 1 && is_short {
            steps -= 1;
            middle = Cell::of(self.centre, steps);
        }
        let (around, above) = middle.area();
        let is_needed = |(east, north): (i32, i32)| {
            steps < 2
                || !(north < 0 && above.min < latitudes.min
                    || north > 0 && above.max > latitudes.max
                    || east < 0 && around.min < longitudes.min
                    || east > 0 && around.max > longitudes.max)
        };
        let mut cells: Vec<Cell> = Vec::with_capacity(AROUND.len());
        for (east, north) in AROUND.into_iter().filter(|place| is_needed(*place)) {
            let cell = middle.neighbour(east, north);
            // Around a small world neighbours are the same.
            if cells.last() != Some(&cell) {
                cells.push(cell);
            }
        }
        cells
    }
}

/// Halvings of cells that are no smaller than a reach, at a latitude.
fn steps_for(reach: f64, latitude: f64) -> u32 {
    if reach == 0.0 {
        return STEPS;
    }
    let (mut reach, mut steps) = (reach, 1);
    while reach < MERCATOR {
        reach *= 2.0;
        steps += 1;
    }
    steps -= 2;
    // Cells are narrow near the poles.
    if latitude.abs() > 66.0 {
        steps -= if latitude.abs() > 80.0 { 2 } else { 1 };
    }
    steps.clamp(1, STEPS as i32) as u32
}

/// Whether a place is in a polygon: a line from it to the east crosses its sides an odd number of times.
fn contains(corners: &[Position], place: Position) -> bool {
    let mut is_in = false;
    let mut before = corners[corners.len() - 1];
    for corner in corners {
        let crosses = (corner.latitude > place.latitude) != (before.latitude > place.latitude);
        if crosses {
            let part = (place.latitude - corner.latitude) / (before.latitude - corner.latitude);
            if place.longitude < (before.longitude - corner.longitude) * part + corner.longitude {
                is_in = !is_in;
            }
        }
        before = *corner;
    }
    is_in
}
