//! What fuzz targets run: structures that no program sees, each beside a model of its own. A fuzzer's bytes become one of these, which runs itself.
//!
//! The targets are in `fuzz/`, the models beside what they try.

pub use crate::store::collection::tree::model::Input as Tree;
pub use crate::value::hyperloglog::model::Input as HyperLogLog;
pub use crate::value::intset::model::Input as Intset;
pub use crate::value::listpack::model::Input as Listpack;
