//! The cache face's part of the engine: what every language's `Cache` shares.
//!
//! Loaders, decorators and codecs themselves live in the languages.

pub mod codec;
