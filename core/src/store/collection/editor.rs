//! A collection as the storage of its table, while that is changed.

use std::marker::PhantomData;
use std::sync::atomic::AtomicU64;

use super::{Collection, Elements, HOMES, Held, OF_A_PAGE, SMALL, SMALL_HEAD};
use crate::store::key::HashSeed;
use crate::store::memory::chunks::PAGE_WORDS;
use crate::store::memory::{OutOfMemory, Ref};
use crate::store::table::{BUCKET, Bucket, Lines, Storage};

/// A collection whose table is changed.
pub(super) struct Editor<'e, E> {
    pub(super) collection: &'e mut Collection,
    pub(super) seed: &'e HashSeed,
    pub(super) elements: PhantomData<E>,
}

impl<E> Lines for Editor<'_, E> {
    fn home(&self, index: u32) -> Option<Bucket<'_>> {
        self.collection.view().home_of(index)
    }

    fn overflow(&self, link: Ref) -> Option<Bucket<'_>> {
        Some(Bucket(self.collection.view().words(link).eight(0)))
    }
}

impl<E: Elements> Storage for Editor<'_, E> {
    fn add_home(&mut self, index: u32) -> Result<(), OutOfMemory> {
        let collection = &mut *self.collection;
        if !collection.view().is_paged() {
            if collection.root.len() + BUCKET / 8 <= SMALL {
                let at = SMALL_HEAD + index as usize * 8;
                collection.root.splice(at..at, (0..BUCKET / 8).map(|_| AtomicU64::new(0)));
                collection.set_half(HOMES, false, index as usize + 1);
                return Ok(());
            }
            collection.move_to_pages()?;
        }
        let page = (index / OF_A_PAGE) as usize;
        if index.is_multiple_of(OF_A_PAGE) {
            return collection.add_bucket_page(page);
        }
        collection.view().bucket_pages().own(&collection.pool, page).map(|_| ())
    }

    fn drop_home(&mut self, index: u32) {
        let collection = &mut *self.collection;
        if !collection.view().is_paged() {
            let at = SMALL_HEAD + index as usize * 8;
            collection.root.drain(at..at + BUCKET / 8);
            collection.set_half(HOMES, false, index as usize);
        } else if index.is_multiple_of(OF_A_PAGE) {
            collection.drop_bucket_page((index / OF_A_PAGE) as usize);
        }
    }

    fn add_overflow(&mut self) -> Result<Ref, OutOfMemory> {
        let link = self.collection.alloc(BUCKET / 8)?;
        self.overflow(link).expect("it was just made").clear();
        Ok(link)
    }

    fn drop_overflow(&mut self, link: Ref) {
        self.collection.free(link, BUCKET / 8);
    }

    fn hash(&self, entry: Ref) -> u64 {
        match self.collection.view().held::<E>(entry) {
            Held::Number(number) => E::hash_of_number(self.seed, number),
            Held::Whole(text) => self.seed.hash(text),
            Held::Bytes(element) => self.seed.hash(E::key(element)),
        }
    }

    fn own(&mut self, home: u32) -> Result<(), OutOfMemory> {
        let (view, pool) = (self.collection.view(), &self.collection.pool);
        if !view.is_paged() {
            return Ok(());
        }
        view.bucket_pages().own(pool, (home / OF_A_PAGE) as usize)?;
        let mut link = view.home_of(home).and_then(Bucket::link);
        while let Some(next) = link {
            view.block_pages().own(pool, (next.get() as usize - 1) / PAGE_WORDS)?;
            link = Bucket(view.words(next).eight(0)).link();
        }
        Ok(())
    }
}
