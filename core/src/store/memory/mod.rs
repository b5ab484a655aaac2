//! The memory of an engine: one region of address space for everything that shards store, and one for each database's home buckets.
//!
//! A house with one purpose a file, from the ground up: [`region`] is address space, [`words`] is what
//! stands there as bytes, [`pool`] hands out pages, [`arena`] blocks of one shard, [`buckets`] the lines of tables, [`chunks`] the
//! pages of one large value.

pub(crate) mod arena;
pub(crate) mod buckets;
pub(crate) mod chunks;
pub(crate) mod pool;
pub(crate) mod refusal;
pub(crate) mod region;
pub(crate) mod words;

pub(crate) use arena::Arena;
pub(crate) use buckets::Buckets;
pub(crate) use pool::{Held, Pace, Pages, Pool};
pub(crate) use refusal::OutOfMemory;
pub(crate) use region::{Line, PAGE, Ref, Region};
