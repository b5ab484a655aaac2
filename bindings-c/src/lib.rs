//! C bindings of Keystead: the functions that `include/keystead.h` declares.
//!
//! The header is printed from [`abi`] and [`numbers`] by cbindgen (`cargo xtask gen`) and checked in. Behaviour lives in the engine.

pub mod abi;
mod bell;
pub mod numbers;
