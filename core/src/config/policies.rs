//! The eviction policies, one row each: what may be evicted and by which rule. Whatever differs between policies is read from here.

/// The keys that a policy may evict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    All,
    /// Those with a deadline.
    Volatile,
}

/// What decides which key goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// None goes.
    Never,
    /// The one used longest ago.
    Lru,
    /// The one used least often.
    Lfu,
    Random,
    /// The one that expires next.
    Ttl,
    /// See [`crate::evict::adaptive`].
    Adaptive,
}

/// A value of `maxmemory-policy`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EvictionPolicy {
    pub(crate) name: &'static str,
    pub(crate) scope: Scope,
    pub(crate) rule: Rule,
}

impl EvictionPolicy {
    /// The keys of which records are kept, rather than drawn when one has to go.
    pub(crate) fn files(&self) -> Option<Scope> {
        match (self.scope, self.rule) {
            (_, Rule::Never) | (Scope::All, Rule::Lfu | Rule::Random | Rule::Ttl) => None,
            (scope, _) => Some(scope),
        }
    }

    /// The policy of this name.
    #[cfg(test)]
    pub(crate) fn named(name: &str) -> Option<&'static Self> {
        POLICIES.iter().find(|policy| policy.name == name)
    }
}

const fn policy(name: &'static str, scope: Scope, rule: Rule) -> EvictionPolicy {
    EvictionPolicy { name, scope, rule }
}

/// The server's first, in its order; the engine reads the index of the one chosen.
pub(crate) const POLICIES: [EvictionPolicy; 10] = [
    policy("volatile-lru", Scope::Volatile, Rule::Lru),
    policy("volatile-lfu", Scope::Volatile, Rule::Lfu),
    policy("volatile-random", Scope::Volatile, Rule::Random),
    policy("volatile-ttl", Scope::Volatile, Rule::Ttl),
    policy("allkeys-lru", Scope::All, Rule::Lru),
    policy("allkeys-lfu", Scope::All, Rule::Lfu),
    policy("allkeys-random", Scope::All, Rule::Random),
    policy("noeviction", Scope::All, Rule::Never),
    policy("allkeys-adaptive", Scope::All, Rule::Adaptive),
    policy("volatile-adaptive", Scope::Volatile, Rule::Adaptive),
];

const NAMES: [&str; POLICIES.len()] = {
    let mut names = [""; POLICIES.len()];
    let mut index = 0;
    while index < names.len() {
        names[index] = POLICIES[index].name;
        index += 1;
    }
    names
};

/// What `maxmemory-policy` may be.
pub(crate) const MAXMEMORY_POLICIES: &[&str] = &NAMES;
