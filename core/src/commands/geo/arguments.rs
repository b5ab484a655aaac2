//! The arguments of GEOSEARCH and its relatives as the argument tree shows them. What the words mean is read in [`super::search`].

use super::Unit;
use crate::command::spec::{ArgKind, ArgSpec};
use crate::command::{Arg, Args, Argv};
use crate::error::Result;

const fn double(name: &'static str) -> ArgSpec {
    ArgSpec { name, kind: ArgKind::Double, ..ArgSpec::PLAIN }
}

const LONGITUDE_LATITUDE: &[ArgSpec] = &[double("longitude"), double("latitude")];
pub(super) const UNIT: ArgSpec = ArgSpec { name: "unit", ..<Unit as Arg<'static>>::SPEC };

/// All words behind the keys; in the argument tree, what is searched from.
pub(super) struct From<'a>(pub(super) &'a [&'a [u8]]);

impl<'a> Arg<'a> for From<'a> {
    const SPEC: ArgSpec = ArgSpec {
        kind: ArgKind::OneOf,
        optional: true,
        args: &[
            ArgSpec { name: "member", token: Some("FROMMEMBER"), ..ArgSpec::PLAIN },
            ArgSpec {
                name: "fromlonlat",
                kind: ArgKind::Block,
                token: Some("FROMLONLAT"),
                args: LONGITUDE_LATITUDE,
                ..ArgSpec::PLAIN
            },
        ],
        ..ArgSpec::PLAIN
    };

    fn parse(args: &mut Args<'a>) -> Result<Self> {
        Ok(Self(args.take_rest()))
    }

    fn encode(&self, out: &mut Argv) {
        out.extend(self.0.iter().map(|word| word.to_vec()));
    }
}

/// Declares an argument that is in the argument tree only: its words are those of another.
macro_rules! shown_argument {
    ($(#[$doc:meta])* $name:ident, $spec:expr) => {
        $(#[$doc])*
        pub(super) struct $name;

        impl<'a> Arg<'a> for $name {
            const SPEC: ArgSpec = $spec;

            fn parse(_: &mut Args<'a>) -> Result<Self> {
                Ok(Self)
            }

            fn encode(&self, _: &mut Argv) {}
        }
    };
}

shown_argument! {
    /// What area is searched.
    By, ArgSpec {
        kind: ArgKind::OneOf,
        args: &[
            ArgSpec {
                name: "circle",
                kind: ArgKind::Block,
                args: &[ArgSpec { token: Some("BYRADIUS"), ..double("radius") }, UNIT],
                ..ArgSpec::PLAIN
            },
            ArgSpec {
                name: "box",
                kind: ArgKind::Block,
                args: &[ArgSpec { token: Some("BYBOX"), ..double("width") }, double("height"), UNIT],
                ..ArgSpec::PLAIN
            },
            ArgSpec {
                name: "polygon",
                kind: ArgKind::Block,
                since: "9.0.0",
                args: &[
                    ArgSpec { name: "num-vertices", kind: ArgKind::Integer, token: Some("BYPOLYGON"), ..ArgSpec::PLAIN },
                    ArgSpec { name: "vertices", kind: ArgKind::Block, multiple: true, args: LONGITUDE_LATITUDE, ..ArgSpec::PLAIN },
                ],
                ..ArgSpec::PLAIN
            },
        ],
        ..ArgSpec::PLAIN
    }
}

const fn token(name: &'static str, token: &'static str) -> ArgSpec {
    ArgSpec { name, kind: ArgKind::PureToken, token: Some(token), ..ArgSpec::PLAIN }
}

shown_argument! {
    /// From the nearest on, or from the farthest.
    Order, ArgSpec {
        kind: ArgKind::OneOf,
        optional: true,
        args: &[token("asc", "ASC"), token("desc", "DESC")],
        ..ArgSpec::PLAIN
    }
}

pub(super) const COUNT: ArgSpec =
    ArgSpec { name: "count", kind: ArgKind::Integer, token: Some("COUNT"), ..ArgSpec::PLAIN };
pub(super) const ANY: ArgSpec = ArgSpec { optional: true, ..token("any", "ANY") };

shown_argument! {
    /// How many at most.
    CountBlock, ArgSpec { kind: ArgKind::Block, optional: true, args: &[COUNT, ANY], ..ArgSpec::PLAIN }
}
