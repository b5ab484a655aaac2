//! stub
use crate::keyspace::{Db, Key};
#[derive(Clone, Debug, Default)]
pub(crate) struct Hash {}
#[derive(Clone, Copy, Debug)]
pub enum HashRef<'a> { Packed(&'a [u8]), Table(&'a Hash) }
impl Hash { pub(crate) fn bytes(&self) -> usize { 0 } pub(crate) fn len(&self) -> usize { 0 } }
impl HashRef<'_> { pub fn next_deadline(&self) -> Option<u64> { None } }
pub(crate) fn expire_fields(_db: &mut Db<'_>, _key: &Key<'_>) -> usize { 0 }
