//! The encodings of values.
//! Where their bytes are kept is left to the keyspace.
pub(crate) mod listpack;
