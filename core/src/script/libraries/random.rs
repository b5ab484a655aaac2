//! `math.random`: the generator of 48 bits that C calls `lrand48`, with the state that it begins with.

use std::rc::Rc;

use mlua::{Lua, MultiValue, Table, Value};

use super::super::interpreter::Shared;
use super::{Arguments, Failure, function};
use crate::sync::{AtomicU64, Ordering};

const MULTIPLIER: u64 = 0x5_DEEC_E66D;
const INCREMENT: u64 = 0xB;
const MASK: u64 = (1 << 48) - 1;
/// What a seed is put before.
const LOW: u64 = 0x330E;

/// A number from 0 up to, and without, 1.
fn fraction(state: &AtomicU64) -> f64 {
    const MOST: u64 = 0x7fff_ffff;
    // Scripts of an engine run one after the other.
    let next = state.load(Ordering::Relaxed).wrapping_mul(MULTIPLIER).wrapping_add(INCREMENT) & MASK;
    state.store(next, Ordering::Relaxed);
    ((next >> 17) % MOST) as f64 / MOST as f64
}

pub(in crate::script) fn add(lua: &Lua, host: &Table, shared: &Rc<Shared>) -> mlua::Result<()> {
    let own = shared.clone();
    host.raw_set("random", function(lua, move |lua, args| random(&own, lua, args))?)?;
    let own = shared.clone();
    let randomseed = function(lua, move |lua, args| {
        let seed = args.number(lua, 0)? as i64 as i32;
        if let Some(engine) = own.engine() {
            engine.scripts.random.store((u64::from(seed as u32) << 16) | LOW, Ordering::Relaxed);
        }
        Ok(MultiValue::new())
    })?;
    host.raw_set("randomseed", randomseed)
}

fn random(shared: &Shared, lua: &Lua, args: &Arguments) -> Result<MultiValue, Failure> {
    let fraction = shared.engine().map_or(0.0, |engine| fraction(&engine.scripts.random));
    let bound = |at| args.number(lua, at).map(|number| f64::from(number as i64 as i32));
    let empty = |at: usize| Failure::Argument(at, "interval is empty".to_owned());
    let number = match args.len() {
        0 => fraction,
        1 => {
            let upper = bound(0)?;
            if upper < 1.0 {
                return Err(empty(1));
            }
            (fraction * upper).floor() + 1.0
        }
        2 => {
            let (lower, upper) = (bound(0)?, bound(1)?);
            if lower > upper {
                return Err(empty(2));
            }
            (fraction * (upper - lower + 1.0)).floor() + lower
        }
        _ => return Err(Failure::told("wrong number of arguments")),
    };
    Ok(MultiValue::from_iter([Value::Number(number)]))
}
