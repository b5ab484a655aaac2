//! Numbers as Valkey reads and writes them: integers, doubles and the 80-bit long doubles of `INCRBYFLOAT`.
//!
//! Which of the forms a command takes, and the error it answers with, is the command's business.

mod double;
mod grisu;
mod integer;
mod long_double;
mod strtod;

pub(crate) use double::{parse_f64, parse_f64_bound, write_f64, write_f64_17, write_f64_shortest};
pub(crate) use integer::{MOST_SHORT, atoi, parse_i64, parse_u64, short_decimal};
pub(crate) use long_double::LongDouble;
