//! The timing wheels of hashes some of whose fields have deadlines: the one part of a value that does not stand in words of the region.
//!
//! Timers follow from the fields, so no file holds them and no copy shares them; a wheel is a value of this process, found by its place here, which
//! the hash's root holds.

use crate::store::wheel::Wheel;

/// A shard's wheels, by place.
#[derive(Default)]
pub(crate) struct FieldWheels {
    places: Vec<Option<Box<Wheel>>>,
    free: Vec<usize>,
    bytes: usize,
}

fn bytes_of(wheel: &Wheel) -> usize {
    size_of::<Wheel>() + wheel.bytes()
}

impl FieldWheels {
    /// Keeps a wheel, at the place that it had, if it had one, and returns the place.
    pub(crate) fn keep(&mut self, place: Option<usize>, wheel: Box<Wheel>) -> usize {
        self.bytes += bytes_of(&wheel);
        let place = place.or_else(|| self.free.pop()).unwrap_or(self.places.len());
        if place == self.places.len() {
            self.places.push(None);
        }
        let before = self.places[place].replace(wheel);
        debug_assert!(before.is_none(), "a place is one hash's");
        place
    }

    pub(crate) fn get(&self, place: usize) -> Option<&Wheel> {
        self.places.get(place)?.as_deref()
    }

    /// Takes a wheel out, to bring it back to the same place or to [give that up](Self::vacate).
    pub(crate) fn take(&mut self, place: usize) -> Option<Box<Wheel>> {
        let wheel = self.places.get_mut(place)?.take()?;
        self.bytes -= bytes_of(&wheel);
        Some(wheel)
    }

    /// Gives up a place whose wheel was taken out.
    pub(crate) fn vacate(&mut self, place: usize) {
        self.free.push(place);
    }

    /// Takes a wheel out for good.
    pub(crate) fn remove(&mut self, place: usize) -> Option<Box<Wheel>> {
        let wheel = self.take(place);
        self.vacate(place);
        wheel
    }

    /// Bytes of all wheels and of the places.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
            + self.places.capacity() * size_of::<Option<Box<Wheel>>>()
            + self.free.capacity() * size_of::<usize>()
    }
}
