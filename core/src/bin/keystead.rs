//! The program `keystead`; what it does stands in `cli.rs`, since the packages of other languages install it as well.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(keystead::main_with(std::env::args_os()))
}
