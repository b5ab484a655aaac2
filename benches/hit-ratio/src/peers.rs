//! The other caches, each with its defaults and a capacity of so many keys.

/// A cache that is asked for a key and, on a miss, given it.
pub trait Cache {
    /// Whether the key was there.
    fn request(&mut self, key: u32) -> bool;
}

/// Makes a cache of this capacity.
type Make = fn(usize) -> Box<dyn Cache>;

/// The peers by name.
pub const PEERS: [(&str, Make); 3] = [
    ("moka", |capacity| Box::new(Moka(moka::sync::Cache::new(capacity as u64)))),
    ("quick_cache", |capacity| Box::new(Quick(quick_cache::unsync::Cache::new(capacity)))),
    ("foyer", |capacity| {
        // One shard: with eight, small capacities are divided unevenly, which is not what is compared here.
        Box::new(Foyer(foyer_memory::CacheBuilder::new(capacity).with_shards(1).build()))
    }),
];

struct Moka(moka::sync::Cache<u32, ()>);

impl Cache for Moka {
    fn request(&mut self, key: u32) -> bool {
        let hit = self.0.get(&key).is_some();
        if !hit {
            self.0.insert(key, ());
        }
        hit
    }
}

struct Quick(quick_cache::unsync::Cache<u32, ()>);

impl Cache for Quick {
    fn request(&mut self, key: u32) -> bool {
        let hit = self.0.get(&key).is_some();
        if !hit {
            self.0.insert(key, ());
        }
        hit
    }
}

struct Foyer(foyer_memory::Cache<u32, ()>);

impl Cache for Foyer {
    fn request(&mut self, key: u32) -> bool {
        let hit = self.0.get(&key).is_some();
        if !hit {
            self.0.insert(key, ());
        }
        hit
    }
}
