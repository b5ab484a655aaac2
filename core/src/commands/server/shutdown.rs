//! SHUTDOWN: ends the server, of which the engine is one as long as it listens where its options say.

use crate::command::spec::{ArgKind, ArgSpec};
use crate::command::{Arg, Args, Argv, Command, Context, Reply, Session, is_token};
use crate::error::{Error, Result};

#[derive(Arg, Clone, Copy, PartialEq, Eq)]
enum SaveSelector {
    #[arg(token = "NOSAVE")]
    NoSave,
    #[arg(token = "SAVE")]
    Save,
}

#[derive(Arg, Clone, Copy)]
struct SaveSelectorBlock {
    #[arg(oneof)]
    save_selector: Option<SaveSelector>,
    #[arg(token = "NOW", since = "7.0.0")]
    now: bool,
    #[arg(token = "FORCE", since = "7.0.0")]
    force: bool,
    #[arg(token = "SAFE", since = "9.0.0")]
    safe: bool,
    #[arg(token = "FAILOVER", since = "9.0.0")]
    failover: bool,
}

#[derive(Clone, Copy)]
enum AbortSelector {
    SaveSelectorBlock(SaveSelectorBlock),
    Abort,
}

impl<'a> Arg<'a> for AbortSelector {
    const SPEC: ArgSpec = ArgSpec {
        kind: ArgKind::OneOf,
        args: &[
            ArgSpec { name: "save-selector-block", ..<SaveSelectorBlock as Arg<'_>>::SPEC },
            ArgSpec {
                name: "abort",
                kind: ArgKind::PureToken,
                token: Some("ABORT"),
                since: "7.0.0",
                ..ArgSpec::PLAIN
            },
        ],
        ..ArgSpec::PLAIN
    };

    fn parse(args: &mut Args<'a>) -> Result<Self> {
        if args.remaining() == 1 && args.skip_token("ABORT") {
            return Ok(Self::Abort);
        }
        how(args.take_rest()).map(Self::SaveSelectorBlock)
    }

    fn encode(&self, out: &mut Argv) {
        match self {
            Self::SaveSelectorBlock(how) => how.encode(out),
            Self::Abort => out.push(b"ABORT".to_vec()),
        }
    }
}

/// The words come in any order, as often as anybody likes.
fn how(words: &[&[u8]]) -> Result<SaveSelectorBlock> {
    let mut how =
        SaveSelectorBlock { save_selector: None, now: false, force: false, safe: false, failover: false };
    for word in words {
        let selected = match () {
            () if is_token(word, "NOSAVE") => Some(SaveSelector::NoSave),
            () if is_token(word, "SAVE") => Some(SaveSelector::Save),
            () => None,
        };
        match () {
            () if selected.is_some() => {
                if how.save_selector.is_some_and(|before| Some(before) != selected) {
                    return Err(Error::syntax());
                }
                how.save_selector = selected;
            }
            () if is_token(word, "NOW") => how.now = true,
            () if is_token(word, "FORCE") => how.force = true,
            () if is_token(word, "SAFE") => how.safe = true,
            () if is_token(word, "FAILOVER") => how.failover = true,
            () => return Err(Error::syntax()),
        }
    }
    Ok(how)
}

/// Saves the databases, if the options ask for snapshots, and ends the server.
///
/// Returns nothing: the connection ends. It is an error if the snapshot can't be written, unless FORCE is given, and where there is no server: an engine in
/// a process is closed by that.
#[derive(Command)]
#[command(
    name = "SHUTDOWN", group = Server, since = "1.0.0", complexity = "O(N) when saving, where N is the total number of keys in all databases when saving data, otherwise O(1)", arity = -1,
    flags(ADMIN, NOSCRIPT, LOADING, STALE, NO_MULTI, ALLOW_BUSY),
    history(("7.0.0", "Added the `NOW`, `FORCE` and `ABORT` modifiers."), ("9.0.0", "Added the `SAFE` and `FAILOVER` modifiers.")),
    session, custom_parse, reply = "ok",
)]
pub struct Shutdown {
    #[arg(oneof)]
    abort_selector: Option<AbortSelector>,
}

impl Shutdown {
    fn parse_args(args: &mut Args<'_>) -> Result<Self> {
        let abort_selector = (args.remaining() > 0).then(|| AbortSelector::parse(args)).transpose()?;
        Ok(Self { abort_selector })
    }
}

impl Session for Shutdown {
    fn execute(&self, context: &mut Context<'_, '_>, _: &mut Reply) -> Result<()> {
        let how = match self.abort_selector {
            Some(AbortSelector::Abort) => return Err(Error::command("No shutdown in progress.")),
            Some(AbortSelector::SaveSelectorBlock(how)) => Some(how),
            None => None,
        };
        if how.is_some_and(|how| how.failover) {
            return Err(Error::command("SHUTDOWN FAILOVER is only supported in cluster mode."));
        }
        let selected = how.and_then(|how| how.save_selector).map(|selected| selected == SaveSelector::Save);
        let is_forced = how.is_some_and(|how| how.force);
        context.engine.shut_down(selected, is_forced)?;
        context.session.quitting = true;
        Ok(())
    }
}
