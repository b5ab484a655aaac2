//! The keyspace: where entries live and how they are found.
//! What an entry means is left to the values; who may touch it when, to the shard's lock.
pub(crate) mod arena;
pub(crate) mod table;
