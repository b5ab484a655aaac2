//! CLIENT TRACKING, CACHING, TRACKINGINFO and GETREDIR: sessions that keep copies of keys are told when these change.

use crate::clients::{Trait, Wishes};
use crate::command::{Arg, Args, Command, Context, Reply, Session, is_token};
use crate::error::{Error, ErrorKind, Result, until_zero};
use crate::num;

/// Has the session told of changes of the keys that it has read, or of all that begin with prefixes.
///
/// Returns `OK`. Keys go by their names, whatever their database. With REDIRECT another session is told; with NOLOOP the session is told of no changes of
/// its own.
#[derive(Command)]
#[command(
    name = "CLIENT|TRACKING", group = Connection, since = "6.0.0", complexity = "O(1). Some options may introduce additional complexity.", arity = -3,
    flags(NOSCRIPT, LOADING, STALE),
    custom_parse, reply = "ok",
)]
pub struct ClientTracking<'a> {
    status: Status,
    #[arg(token = "REDIRECT")]
    client_id: Option<i64>,
    #[arg(token = "PREFIX", multiple_token)]
    prefix: Vec<&'a [u8]>,
    #[arg(token = "BCAST")]
    bcast: bool,
    #[arg(token = "OPTIN")]
    optin: bool,
    #[arg(token = "OPTOUT")]
    optout: bool,
    #[arg(token = "NOLOOP")]
    noloop: bool,
    /// What is wrong with the words behind those that are above.
    #[arg(hidden)]
    wrong: Option<Error>,
    /// What is wrong with the first.
    #[arg(hidden)]
    wrong_status: Option<Error>,
}

#[derive(Arg, Clone, Copy, PartialEq, Eq)]
enum Status {
    #[arg(token = "ON")]
    On,
    #[arg(token = "OFF")]
    Off,
}

impl<'a> ClientTracking<'a> {
    /// The server looks up whom to tell while it reads, and at the first word last.
    fn parse_args(args: &mut Args<'a>) -> Result<Self> {
        let word = args.required()?;
        let status = if is_token(word, "ON") { Status::On } else { Status::Off };
        let wrong_status = (status == Status::Off && !is_token(word, "OFF")).then(Error::syntax);
        let mut own = Self {
            status,
            client_id: None,
            prefix: Vec::new(),
            bcast: false,
            optin: false,
            optout: false,
            noloop: false,
            wrong: None,
            wrong_status,
        };
        own.wrong = own.parse_options(args.take_rest()).err();
        Ok(own)
    }

    fn parse_options(&mut self, words: &[&'a [u8]]) -> Result<()> {
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match () {
                () if is_token(word, "REDIRECT") && words.len() > 0 => {
                    let id = words.next().and_then(|id| num::parse_i64(id)).ok_or_else(Error::not_an_integer);
                    if self.client_id.is_some() {
                        return Err(Error::command("A client can only redirect to a single other client"));
                    }
                    self.client_id = Some(id?);
                }
                () if is_token(word, "BCAST") => self.bcast = true,
                () if is_token(word, "OPTIN") => self.optin = true,
                () if is_token(word, "OPTOUT") => self.optout = true,
                () if is_token(word, "NOLOOP") => self.noloop = true,
                () if is_token(word, "PREFIX") && words.len() > 0 => self.prefix.extend(words.next()),
                () => return Err(Error::syntax()),
            }
        }
        Ok(())
    }

    /// What the session is asked to become, if it may.
    fn check(&self, before: Option<&Wishes>, was_broadcast: bool) -> Result<()> {
        if !self.prefix.is_empty() && !self.bcast {
            return Err(Error::command("PREFIX option requires BCAST mode to be enabled"));
        }
        if before.is_some() && was_broadcast != self.bcast {
            return Err(Error::command(
                "You can't switch BCAST mode on/off before disabling tracking for this client, and then re-enabling it with a \
                 different mode.",
            ));
        }
        if self.bcast && (self.optin || self.optout) {
            return Err(Error::command("OPTIN and OPTOUT are not compatible with BCAST"));
        }
        if self.optin && self.optout {
            return Err(Error::command("You can't specify both OPTIN mode and OPTOUT mode"));
        }
        if before.is_some_and(|before| self.optin && before.optout || self.optout && before.optin) {
            return Err(Error::command(
                "You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and then re-enabling it with a \
                 different mode.",
            ));
        }
        self.check_prefixes(before)
    }

    fn check_prefixes(&self, before: Option<&Wishes>) -> Result<()> {
        let overlap = |one: &[u8], other: &[u8]| one.starts_with(other) || other.starts_with(one);
        let error = |one: &[u8], what: &str, other: &[u8]| {
            let text = [
                b"ERR Prefix '",
                until_zero(one),
                b"' overlaps with ",
                what.as_bytes(),
                b" prefix '",
                until_zero(other),
                b"'. Prefixes for a single client must not overlap.",
            ];
            Error::from_bytes(ErrorKind::Command, text.concat())
        };
        for (at, one) in self.prefix.iter().enumerate() {
            let mut existing = before.into_iter().flat_map(|before| &before.prefixes);
            if let Some(other) = existing.find(|other| overlap(one, other)) {
                return Err(error(one, "an existing", other));
            }
            if let Some(other) = self.prefix[at + 1..].iter().find(|other| overlap(one, other)) {
                return Err(error(one, "another provided", other));
            }
        }
        Ok(())
    }
}

impl Session for ClientTracking<'_> {
    fn execute(&self, context: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        let target = match self.client_id {
            None => None,
            Some(id) => {
                let client = u64::try_from(id).ok().and_then(|id| context.engine.clients.of(id));
                let missing = || Error::command("The client ID you want redirect to does not exist");
                Some(client.ok_or_else(missing)?)
            }
        };
        for wrong in [&self.wrong, &self.wrong_status] {
            wrong.clone().map_or(Ok(()), Err)?;
        }
        if self.status == Status::Off {
            context.stop_tracking();
            reply.ok();
            return Ok(());
        }
        let session = &context.session;
        self.check(session.wishes.as_deref(), session.info.traits.has(Trait::BROADCAST))?;
        if session.refuses_pushes && target.is_none() {
            return Err(Error::new(ErrorKind::Usage, "ERR nobody reads what is pushed to this session"));
        }
        let mut wishes = Wishes { optin: self.optin, optout: self.optout, ..Wishes::default() };
        let mut traits = Trait::TRACKING;
        if self.noloop {
            traits = traits.with(Trait::NO_LOOP);
        }
        if self.bcast {
            traits = traits.with(Trait::BROADCAST);
            // Without a prefix it is told of all keys.
            let all: &[&[u8]] = if self.prefix.is_empty() { &[b""] } else { &self.prefix };
            wishes.prefixes.extend(all.iter().map(|prefix| Box::from(*prefix)));
        }
        if let Some(target) = &target {
            target.traits.set(Trait::HEARS_FOR_OTHERS, true);
        }
        context.track(wishes, traits, target.map_or(0, |target| target.id));
        reply.ok();
        Ok(())
    }
}

/// Says whether the reads of the next command count.
///
/// Returns `OK`. YES is for sessions that track with OPTIN, NO for those with OPTOUT.
#[derive(Command)]
#[command(
    name = "CLIENT|CACHING", group = Connection, since = "6.0.0", complexity = "O(1)", arity = 3,
    flags(NOSCRIPT, LOADING, STALE, ALLOW_BUSY),
    custom_parse, reply = "ok",
)]
pub struct ClientCaching<'a> {
    #[arg(hidden)]
    word: &'a [u8],
    mode: Mode,
}

#[derive(Arg, Clone, Copy, PartialEq, Eq)]
enum Mode {
    #[arg(token = "YES")]
    Yes,
    #[arg(token = "NO")]
    No,
}

impl<'a> ClientCaching<'a> {
    /// Whether the session tracks comes before what is wrong with the word.
    fn parse_args(args: &mut Args<'a>) -> Result<Self> {
        let word = args.required()?;
        Ok(Self { word, mode: if is_token(word, "YES") { Mode::Yes } else { Mode::No } })
    }
}

impl Session for ClientCaching<'_> {
    fn execute(&self, context: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        let Some(wishes) = &mut context.session.wishes else {
            return Err(Error::command(
                "CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled",
            ));
        };
        match self.mode {
            Mode::Yes if !wishes.optin => {
                return Err(Error::command(
                    "CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.",
                ));
            }
            Mode::No if !is_token(self.word, "NO") => return Err(Error::syntax()),
            Mode::No if !wishes.optout => {
                return Err(Error::command(
                    "CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.",
                ));
            }
            _ => wishes.caching = true,
        }
        reply.ok();
        Ok(())
    }
}

/// Tells how the session tracks.
///
/// Returns a map of flags, of the session that is told in its place, and of prefixes.
#[derive(Command)]
#[command(
    name = "CLIENT|TRACKINGINFO", group = Connection, since = "6.2.0", complexity = "O(1)", arity = 2,
    flags(NOSCRIPT, LOADING, STALE),
    reply = "map(bulk, any)",
)]
pub struct ClientTrackingInfo {}

impl Session for ClientTrackingInfo {
    fn execute(&self, context: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        let session = &context.session;
        let mut flags: Vec<&str> = Vec::new();
        match session.wishes.as_deref() {
            None => flags.push("off"),
            Some(wishes) => {
                let has = |which: Trait| session.info.traits.has(which);
                let all = [
                    ("on", true),
                    ("bcast", has(Trait::BROADCAST)),
                    ("optin", wishes.optin),
                    ("caching-yes", wishes.optin && wishes.caching),
                    ("optout", wishes.optout),
                    ("caching-no", wishes.optout && wishes.caching),
                    ("noloop", has(Trait::NO_LOOP)),
                    ("broken_redirect", has(Trait::BROKEN_REDIRECT)),
                ];
                flags.extend(all.iter().filter(|(_, has)| *has).map(|(flag, _)| flag));
            }
        }
        reply.map(3);
        reply.bulk(b"flags");
        reply.set(flags.len());
        flags.iter().for_each(|flag| reply.bulk(flag.as_bytes()));
        reply.bulk(b"redirect");
        reply.integer(session.info.redirect());
        reply.bulk(b"prefixes");
        let prefixes = session.wishes.as_deref().map(|wishes| &wishes.prefixes);
        reply.array(prefixes.map_or(0, |prefixes| prefixes.len()));
        prefixes.into_iter().flatten().for_each(|prefix| reply.bulk(prefix));
        Ok(())
    }
}

/// Returns which session is told in this one's place of keys that have changed.
///
/// Returns its number, 0 where the session is told itself, and -1 where it does not track.
#[derive(Command)]
#[command(
    name = "CLIENT|GETREDIR", group = Connection, since = "6.0.0", complexity = "O(1)", arity = 2,
    flags(NOSCRIPT, LOADING, STALE, ALLOW_BUSY),
    reply = "int",
)]
pub struct ClientGetRedir {}

impl Session for ClientGetRedir {
    fn execute(&self, context: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        reply.integer(context.session.info.redirect());
        Ok(())
    }
}
