//! Scripts: EVAL and its kin, and SCRIPT. How they run is [`crate::script`]'s.

pub(crate) mod eval;
pub(crate) mod fcall;
pub(crate) mod function;
pub(crate) mod script;
#[cfg(test)]
mod tests;
