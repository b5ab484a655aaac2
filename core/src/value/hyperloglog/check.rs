//! What PFSELFTEST checks, in a process that runs: registers against plain ones, and estimates against true numbers.

use super::{HEAD, REGISTERS, Rank, Sketch, Union, dense, estimate, place};
use crate::error::{Error, Result};
use crate::store::random;

/// Bytes of the greatest sparse sketch.
const MOST_SPARSE: usize = 3000;
/// Elements of the greatest set whose estimate is checked.
const ELEMENTS: u64 = 1 << 20;

/// Checks the format against plain registers, and estimates of up to a million elements. It takes some tenths of a second.
///
/// # Errors
/// Says what is wrong.
pub(crate) fn check_itself() -> Result<()> {
    for _ in 0..10 {
        check_registers()?;
    }
    check_estimates()
}

/// Random ranks, written one by one, and as a whole, are read again.
fn check_registers() -> Result<()> {
    let mut sketch = Sketch::empty(0);
    sketch.make_dense()?;
    let mut plain = vec![0; REGISTERS];
    for (index, rank) in plain.iter_mut().enumerate() {
        *rank = (random() % 64) as Rank;
        dense::set(&mut sketch.text[HEAD..], index, *rank);
    }
    let mut union = Union::new();
    union.add(&sketch.text)?;
    let differing = (0..REGISTERS).find(|index| {
        plain[*index] != dense::get(&sketch.text[HEAD..], *index)
            || plain[*index] != union.registers()[*index]
    });
    let mut packed = vec![0; dense::BYTES];
    dense::pack(&union.registers, &mut packed);
    match differing {
        Some(index) => {
            Err(Error::command(format_args!("TESTFAILED Register {index} should be {}", plain[index])))
        }
        None if packed != sketch.text[HEAD..] => {
            Err(Error::command("TESTFAILED registers are not packed as they were"))
        }
        None => Ok(()),
    }
}

/// A sparse sketch and a dense one of the same elements have the same registers, and estimates are within six times their standard error.
fn check_estimates() -> Result<()> {
    const SIX_ERRORS: f64 = 6.0 * 0.0081;
    let (mut sparse, mut dense) = (Sketch::empty(MOST_SPARSE), Sketch::empty(0));
    for element in 1..=ELEMENTS {
        let place = place(&element.to_le_bytes());
        if sparse.raise(place)? != dense.raise(place)? {
            return Err(Error::command(format_args!(
                "TESTFAILED dense/sparse disagree at element {element}"
            )));
        }
        if !element.is_power_of_two() {
            continue;
        }
        let (one, other) = (estimate(&sparse.text)?, estimate(&dense.text)?);
        // Of few elements the error is one of whole numbers.
        let most = (element as f64 * SIX_ERRORS).ceil();
        if one != other || one.abs_diff(element) as f64 > most {
            return Err(Error::command(format_args!(
                "TESTFAILED Too big error. card:{element} est:{one}, {other}"
            )));
        }
    }
    Ok(())
}
