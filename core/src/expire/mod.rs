//! Expiry: when keys run out of time.
//! What an expired entry frees is left to the keyspace.
pub(crate) mod wheel;
