//! The program `keystead`, as the wheel installs it: the command line of the crate.

use std::ffi::OsString;

use pyo3::prelude::*;

use crate::exit::{detach, enter};

/// Runs the command line to its end and returns the exit status. The first of the arguments is the program's name.
///
/// Signals are not looked for: whoever calls has given SIGINT its default back.
#[pyfunction]
pub fn main(py: Python<'_>, arguments: Vec<OsString>) -> PyResult<u8> {
    let _inside = enter(py)?;
    Ok(detach(py, || keystead::main_with(arguments)))
}
