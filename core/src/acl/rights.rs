//! What a user may do, and the rules that say so.

use super::call::{Call, Refusal};
use super::catalog::Catalog;
use super::password::Hash;
use super::selector::Selector;
use crate::error::until_zero;

/// Why a rule changes nothing, in the server's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RuleError {
    Syntax,
    Unknown,
    FirstWordOfSubcommand,
    AfterAllKeys,
    AfterAllChannels,
    BadHash,
    NoSuchPassword,
    DatabaseOutOfRange,
}

impl RuleError {
    /// What the client is told.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Syntax => "Syntax error",
            Self::Unknown => "Unknown command or category name in ACL",
            Self::FirstWordOfSubcommand => "Allowing first-arg of a subcommand is not supported",
            Self::AfterAllKeys => {
                "Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and does not have any effect. Try \
                 'resetkeys' to start with an empty list of patterns"
            }
            Self::AfterAllChannels => {
                "Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid and does not have any effect. Try \
                 'resetchannels' to start with an empty list of channels"
            }
            Self::BadHash => {
                "The password hash must be exactly 64 characters and contain only lowercase hexadecimal characters"
            }
            Self::NoSuchPassword => "The password you are trying to remove from the user does not exist",
            Self::DatabaseOutOfRange => "The provided database ID is out of range",
        }
    }
}

/// What a user may do, and what it is known by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rights {
    is_on: bool,
    needs_no_password: bool,
    passwords: Vec<Hash>,
    main: Selector,
    further: Vec<Selector>,
}

impl Rights {
    /// Those of a new user: none.
    pub(crate) fn none(catalog: &Catalog, all_channels: bool) -> Self {
        let main = Selector::nothing(catalog, all_channels);
        Self { is_on: false, needs_no_password: false, passwords: Vec::new(), main, further: Vec::new() }
    }

    /// All of them, without a password.
    pub(crate) fn all(catalog: &Catalog) -> Self {
        let main = Selector::everything(catalog);
        Self { is_on: true, needs_no_password: true, passwords: Vec::new(), main, further: Vec::new() }
    }

    /// Whether no call is ever refused.
    pub(crate) fn are_all(&self, catalog: &Catalog) -> bool {
        self.selectors().any(|selector| selector.allows_all(catalog))
    }

    /// Whether the user may authenticate.
    pub(crate) fn is_on(&self) -> bool {
        self.is_on
    }

    /// Whether any password will do.
    pub(crate) fn needs_no_password(&self) -> bool {
        self.needs_no_password
    }

    /// Whether somebody who says this password is the user. The time that it takes depends on the number of passwords and on the length of the given one.
    pub(crate) fn admits(&self, password: &[u8]) -> bool {
        let given = Hash::of(password);
        let is_one = self.passwords.iter().fold(false, |found, own| found | (*own == given));
        self.is_on && (self.needs_no_password || is_one)
    }

    /// The hashes of the passwords, in digits.
    pub(crate) fn passwords(&self) -> impl ExactSizeIterator<Item = String> + '_ {
        self.passwords.iter().map(Hash::digits)
    }

    /// The selectors: the main one first.
    pub(crate) fn selectors(&self) -> impl Iterator<Item = &Selector> {
        std::iter::once(&self.main).chain(&self.further)
    }

    /// Changes them as a rule says.
    ///
    /// # Errors
    /// The rule is wrong; nothing has changed.
    pub(crate) fn apply(
        &mut self,
        rule: &[u8],
        catalog: &Catalog,
        all_channels: bool,
    ) -> Result<(), RuleError> {
        match (&until_zero(rule).to_ascii_lowercase()[..], rule) {
            (b"on", _) => self.is_on = true,
            (b"off", _) => self.is_on = false,
            (b"nopass", _) => {
                self.needs_no_password = true;
                self.passwords.clear();
            }
            (b"resetpass", _) => {
                self.needs_no_password = false;
                self.passwords.clear();
            }
            // What RESTORE is given is checked always.
            (b"" | b"sanitize-payload" | b"skip-sanitize-payload", _) => {}
            (b"reset", _) => *self = Self::none(catalog, all_channels),
            (b"clearselectors", _) => self.further.clear(),
            (_, [b'>', password @ ..]) => self.add_password(Hash::of(password)),
            (_, [b'#', digits @ ..]) => self.add_password(Hash::parse(digits).ok_or(RuleError::BadHash)?),
            (_, [b'<', password @ ..]) => self.remove_password(&Hash::of(password))?,
            (_, [b'!', digits @ ..]) => {
                self.remove_password(&Hash::parse(digits).ok_or(RuleError::BadHash)?)?;
            }
            (_, [b'(', rules @ .., b')']) => {
                let mut selector = Selector::nothing(catalog, all_channels);
                for rule in rules.split(|byte| *byte == b' ').filter(|rule| !rule.is_empty()) {
                    selector.apply(rule, catalog)?;
                }
                self.further.push(selector);
            }
            _ => self.main.apply(rule, catalog)?,
        }
        Ok(())
    }

    fn add_password(&mut self, password: Hash) {
        self.needs_no_password = false;
        if !self.passwords.contains(&password) {
            self.passwords.push(password);
        }
    }

    fn remove_password(&mut self, password: &Hash) -> Result<(), RuleError> {
        let at = self.passwords.iter().position(|own| own == password);
        self.passwords.remove(at.ok_or(RuleError::NoSuchPassword)?);
        Ok(())
    }

    /// Whether a call is allowed.
    ///
    /// # Errors
    /// What is not, by the selector that would have allowed most.
    pub(crate) fn check(&self, call: &Call<'_>) -> Result<(), Refusal> {
        let mut refusal = Ok(());
        for selector in self.selectors() {
            let own = selector.check(call);
            // What is allowed comes before what is not.
            refusal = refusal.max(own);
            if own.is_ok() {
                return own;
            }
        }
        refusal
    }

    /// Whether a call is allowed by what allows reading any key, too.
    pub(crate) fn allow_reading_all(&self, call: &Call<'_>) -> bool {
        self.selectors().any(|selector| selector.reads_all_keys() && selector.check(call).is_ok())
    }

    /// Whether a channel, or a pattern of channels, may be heard.
    pub(crate) fn allow_channel(&self, channel: &[u8], is_pattern: bool) -> bool {
        self.selectors().any(|selector| selector.allows_channel(channel, is_pattern))
    }

    /// Rules that make such rights out of none; as the server shows them, or, if `is_exact`, as they can be read again in any case.
    pub(crate) fn describe(&self, is_exact: bool) -> Vec<u8> {
        let mut words: Vec<Vec<u8>> = vec![if self.is_on { b"on".to_vec() } else { b"off".to_vec() }];
        if self.needs_no_password {
            words.push(b"nopass".to_vec());
        }
        words.extend(self.passwords().map(|digits| format!("#{digits}").into_bytes()));
        words.push(self.main.describe(is_exact));
        let further =
            self.further.iter().map(|selector| [b"(", &selector.describe(is_exact)[..], b")"].concat());
        words.extend(further);
        words.join(&b' ')
    }
}

/// Rules in which a selector is one word, though it came as several.
///
/// # Errors
/// The word in which a parenthesis opens that is not closed.
pub(crate) fn join_selectors(words: &[&[u8]]) -> Result<Vec<Vec<u8>>, Vec<u8>> {
    let mut rules: Vec<Vec<u8>> = Vec::new();
    let mut open: Option<(&[u8], Vec<u8>)> = None;
    for word in words {
        let (first, so_far) = match open.take() {
            Some((first, mut so_far)) => {
                so_far.push(b' ');
                so_far.extend_from_slice(word);
                (first, so_far)
            }
            None if word.starts_with(b"(") => (*word, word.to_vec()),
            None => {
                rules.push(word.to_vec());
                continue;
            }
        };
        if so_far.ends_with(b")") {
            rules.push(so_far);
        } else {
            open = Some((first, so_far));
        }
    }
    match open {
        Some((first, _)) => Err(first.to_vec()),
        None => Ok(rules),
    }
}
