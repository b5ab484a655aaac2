//! Libraries of functions: what they are called and what is in them.

use std::collections::BTreeMap;

use super::{Digest, ScriptFlags};
use crate::sync::Arc;

/// A function of a library.
#[derive(Clone, Debug)]
pub(crate) struct LibraryFunction {
    pub(crate) name: Vec<u8>,
    pub(crate) description: Option<Vec<u8>>,
    pub(crate) flags: ScriptFlags,
}

/// A library.
#[derive(Debug)]
pub(crate) struct Library {
    pub(crate) name: Vec<u8>,
    /// Its text, with the line that tells its name.
    pub(crate) code: Box<[u8]>,
    /// Where in the text the language begins.
    pub(crate) code_at: usize,
    pub(crate) digest: Digest,
    pub(crate) functions: Vec<LibraryFunction>,
}

/// The libraries of an engine. It is replaced as a whole.
#[derive(Clone, Debug, Default)]
pub(crate) struct Libraries {
    by_name: BTreeMap<Vec<u8>, Arc<Library>>,
    /// Which library has a function, and where in it: by the function's name in small letters.
    functions: BTreeMap<Vec<u8>, (Arc<Library>, usize)>,
    /// Texts that were loaded from disk and are no libraries here: they are kept as they are.
    opaque: Vec<Vec<u8>>,
}

impl Libraries {
    pub(crate) fn get(&self, name: &[u8]) -> Option<&Arc<Library>> {
        self.by_name.get(name)
    }

    /// All libraries, by name.
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = &Arc<Library>> {
        self.by_name.values()
    }

    /// How many functions there are.
    pub(crate) fn functions(&self) -> usize {
        self.functions.len()
    }

    /// The library that has a function, and where in it.
    pub(crate) fn function(&self, name: &[u8]) -> Option<&(Arc<Library>, usize)> {
        self.functions.get(&name.to_ascii_lowercase())
    }

    /// Takes a library out; says whether it was there.
    pub(crate) fn remove(&mut self, name: &[u8]) -> bool {
        let Some(library) = self.by_name.remove(name) else { return false };
        self.functions.retain(|_, (owner, _)| !Arc::ptr_eq(owner, &library));
        true
    }

    /// Puts a library in, of whose name there is none.
    ///
    /// # Errors
    /// Another library has a function of the same name, which is returned.
    pub(crate) fn insert(&mut self, library: Arc<Library>) -> Result<(), Vec<u8>> {
        let taken = library.functions.iter().find(|function| self.function(&function.name).is_some());
        if let Some(function) = taken {
            return Err(function.name.clone());
        }
        for (at, function) in library.functions.iter().enumerate() {
            self.functions.insert(function.name.to_ascii_lowercase(), (library.clone(), at));
        }
        self.by_name.insert(library.name.clone(), library);
        Ok(())
    }

    /// Their texts.
    pub(crate) fn codes(&self) -> Vec<Vec<u8>> {
        self.iter().map(|library| library.code.to_vec()).collect()
    }

    /// Keeps a text that is no library.
    pub(crate) fn keep_opaque(&mut self, code: Vec<u8>) {
        self.opaque.push(code);
    }

    /// What is kept on disk: their texts, and those that are no libraries.
    pub(crate) fn kept(&self) -> Vec<Vec<u8>> {
        let mut all = self.codes();
        all.extend(self.opaque.iter().cloned());
        all
    }

    /// Bytes that they take.
    pub(crate) fn bytes(&self) -> usize {
        /// What a library and each of its functions cost beside their texts.
        const OVERHEAD: usize = 160;
        let of = |library: &Arc<Library>| library.code.len() + OVERHEAD * (1 + library.functions.len());
        self.iter().map(of).sum()
    }
}
