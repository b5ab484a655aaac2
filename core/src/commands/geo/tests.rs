//! Tests of geohashes: what is encoded is decoded, cells and their neighbours, distances.

use proptest::prelude::*;

use super::hash::{Cell, STEPS, of_score, score, text};
use super::shape::distance;
use super::{Position, distance_text};

fn place(longitude: f64, latitude: f64) -> Position {
    Position { longitude, latitude }
}

#[test]
fn scores_and_texts_are_those_of_the_server() {
    let palermo = place(13.361389, 38.115556);
    assert_eq!(score(palermo), 3479099956230698.0);
    assert_eq!(&text(score(palermo)), b"sqc8b49rny0");
    assert_eq!(score(place(180.0, 85.05112878)), 13510798882111488.0);
    assert_eq!(score(place(-180.0, -85.05112878)), 0.0);
}

#[test]
fn distances_are_rounded_to_four_digits() {
    for (value, text) in [
        (0.0, "0.0000"),
        (190442.42984775784, "190442.4298"),
        (0.00004, "0.0000"),
        (0.00016, "0.0002"),
        (12.3, "12.3000"),
    ] {
        assert_eq!(distance_text(value), text);
    }
}

proptest! {
    #[test]
    fn a_decoded_place_is_near(longitude in -180.0..180.0_f64, latitude in -85.0..85.0_f64) {
        let before = place(longitude, latitude);
        let after = of_score(score(before));
        prop_assert!(distance(before, after) < 1.0);
        prop_assert_eq!(score(after), score(before));
    }

    #[test]
    fn a_cell_holds_the_scores_of_its_places(longitude in -180.0..180.0_f64, latitude in -85.0..85.0_f64, steps in 1..=STEPS) {
        let position = place(longitude, latitude);
        let cell = Cell::of(position, steps);
        let (first, end) = cell.scores();
        prop_assert!(first <= score(position) && score(position) < end);
        let (longitudes, latitudes) = cell.area();
        prop_assert!(longitudes.min <= longitude && longitude <= longitudes.max);
        prop_assert!(latitudes.min <= latitude && latitude <= latitudes.max);
        prop_assert_eq!(cell.neighbour(1, -1).neighbour(-1, 1), cell);
        if steps > 1 {
            prop_assert!(cell.neighbour(1, 0) != cell && cell.neighbour(0, 1) != cell.neighbour(1, 0));
        }
    }
}
