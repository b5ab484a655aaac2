//! Parses the compat scripts (`compat/*.txt`); the format is described in `tests/README.md`.
//!
//! Running a script is `run.rs`'s work, comparing replies `compare.rs`'s.

use crate::quote;

/// The number of the connection to a further server that each side has for itself: `@target`.
pub const TARGET: usize = usize::MAX;

/// A whole script.
#[derive(Debug, Default)]
pub struct Script {
    /// Protocols it runs under; both unless a `%resp` line says otherwise.
    pub protocols: Vec<u8>,
    /// What to do, in order.
    pub steps: Vec<Step>,
}

/// One line of a script.
#[derive(Clone, Debug)]
pub struct Step {
    /// Line number in the file, from 1.
    pub line: usize,
    /// What it does.
    pub action: Action,
}

/// What a line does.
#[derive(Clone, Debug)]
pub enum Action {
    /// Sends a command and compares the replies.
    Command(Call),
    /// Sends the command that many times, `{i}` replaced by 1, 2, 3, ...
    Times(u32, Call),
    /// Repeats a command on each server until it gives the written reply.
    Await(Call),
    /// Sends bytes as they are and compares one reply.
    Raw(usize, Vec<u8>),
    /// Sends bytes that get no reply.
    Send(usize, Vec<u8>),
    /// Compares one more reply or push of a connection.
    Read(usize),
    /// Compares one more line of MONITOR, but for its time and the client's address.
    Monitored(usize),
    /// Asks for the number of a connection, which `{idN}` stands for from then on.
    Id(usize),
    /// Both servers must have closed the connection.
    Closed(usize),
    /// Waits that many milliseconds.
    Sleep(u64),
}

/// A command with the connection it is sent on, the way its replies are compared, and the reply written for it.
#[derive(Clone, Debug)]
pub struct Call {
    /// Connection number, from 1, or [`TARGET`].
    pub client: usize,
    /// The words.
    pub words: Vec<Vec<u8>>,
    /// How replies are brought into one form.
    pub modes: Vec<Mode>,
    /// The reply both must give, in the scripts' notation.
    pub expected: Option<String>,
}

/// A way of comparing, written in brackets before the command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Order of elements does not matter.
    Unordered,
    /// Order of pairs does not matter: a map, or a flat array of pairs.
    Pairs,
    /// Order does not matter on any level.
    Deep,
    /// Integers may differ by that much.
    Within(i64),
    /// Only types and lengths are compared.
    Shape,
    /// Both must succeed or both fail, nothing more.
    Outcome,
    /// Iterates a cursor to its end and compares all the elements as a set.
    Scan,
    /// Each reply must be one of the words.
    OneOf(Vec<Vec<u8>>),
    /// Only the names in `name:value` or `name=value` text are compared.
    Fields,
    /// Only the keys of a map, or of a flat array of pairs.
    Keys,
    /// Pairs with these keys are left out.
    Without(Vec<Vec<u8>>),
    /// Pairs with these keys are left out, on all levels.
    Omit(Vec<Vec<u8>>),
    /// In each element, the values at these positions are compared by type only.
    Mask(Vec<usize>),
    /// Times of the present, and ages by their names, are compared by type only, on all levels.
    Times,
    /// Only these names in INFO or CLIENT LIST text, with their values (but for the microseconds in INFO commandstats).
    Only(Vec<Vec<u8>>),
    /// COMMAND INFO: order of flags, categories and subcommands does not matter, notes are dropped.
    CommandInfo,
    /// COMMAND DOCS: summary, complexity and history are dropped, subcommands sorted.
    CommandDocs,
}

impl Script {
    /// Parses the text of a script.
    ///
    /// # Errors
    /// The first line that cannot be understood, with its number.
    pub fn parse(text: &str) -> Result<Script, String> {
        let mut script = Script { protocols: vec![2, 3], steps: Vec::new() };
        for (index, line) in text.lines().enumerate() {
            let (line, number) = (line.trim(), index + 1);
            let fail = |message: String| format!("line {number}: {message}");
            match line.split_once(' ').unwrap_or((line, "")) {
                ("", _) => {}
                (word, _) if word.starts_with('#') => {}
                ("=>", reply) => script.expect(reply).map_err(fail)?,
                ("%resp", version) => {
                    script.protocols = vec![version.trim().parse().map_err(|_| fail("%resp 2 or 3".into()))?]
                }
                _ => {
                    script.steps.push(Step { line: number, action: action(line).map_err(fail)? });
                }
            }
        }
        Ok(script)
    }

    fn expect(&mut self, reply: &str) -> Result<(), String> {
        match self.steps.last_mut().map(|step| &mut step.action) {
            Some(Action::Command(call) | Action::Times(_, call) | Action::Await(call)) => {
                call.expected = Some(reply.trim().to_owned());
                Ok(())
            }
            _ => Err("`=>` must follow a command".into()),
        }
    }
}

impl Step {
    /// The command it sends, if it is one.
    pub fn call(&self) -> Option<&Call> {
        match &self.action {
            Action::Command(call) | Action::Times(_, call) | Action::Await(call) => Some(call),
            _ => None,
        }
    }
}

fn action(line: &str) -> Result<Action, String> {
    let (client, line) = client(line)?;
    let Some(directive) = line.strip_prefix('%') else { return Ok(Action::Command(call(client, line)?)) };
    let (name, rest) = directive.split_once(' ').unwrap_or((directive, ""));
    match name {
        "sleep" => Ok(Action::Sleep(rest.trim().parse().map_err(|_| "%sleep MILLISECONDS")?)),
        "raw" => Ok(Action::Raw(client, quote::split(rest)?.concat())),
        "send" => Ok(Action::Send(client, quote::split(rest)?.concat())),
        "read" => Ok(Action::Read(client)),
        "monitored" => Ok(Action::Monitored(client)),
        "id" => Ok(Action::Id(client)),
        "closed" => Ok(Action::Closed(client)),
        "await" => Ok(Action::Await(call(client, rest)?)),
        "times" => {
            let (count, rest) = rest.split_once(' ').ok_or("%times COUNT COMMAND")?;
            Ok(Action::Times(count.parse().map_err(|_| "%times COUNT COMMAND")?, call(client, rest)?))
        }
        _ => Err(format!("unknown directive %{name}")),
    }
}

fn client(line: &str) -> Result<(usize, &str), String> {
    let Some(rest) = line.strip_prefix('@') else { return Ok((1, line)) };
    let (number, rest) = rest.split_once(' ').ok_or("@NUMBER COMMAND")?;
    if number == "target" {
        return Ok((TARGET, rest.trim_start()));
    }
    match number.parse() {
        Ok(number) if number > 0 => Ok((number, rest.trim_start())),
        _ => Err(format!("bad connection number {number}")),
    }
}

fn call(client: usize, line: &str) -> Result<Call, String> {
    let mut modes = Vec::new();
    let mut rest = line.trim_start();
    while let Some(bracket) = rest.strip_prefix('[') {
        let (inside, behind) = bracket.split_once(']').ok_or("missing ]")?;
        modes.push(mode(inside)?);
        rest = behind.trim_start();
    }
    let words = quote::split(rest)?;
    if words.is_empty() {
        return Err("no command".into());
    }
    Ok(Call { client, words, modes, expected: None })
}

fn mode(text: &str) -> Result<Mode, String> {
    let mut words = quote::split(text)?.into_iter();
    let name = words.next().ok_or("empty []")?;
    let rest: Vec<Vec<u8>> = words.collect();
    Ok(match name.as_slice() {
        b"unordered" => Mode::Unordered,
        b"pairs" => Mode::Pairs,
        b"deep" => Mode::Deep,
        b"shape" => Mode::Shape,
        b"outcome" => Mode::Outcome,
        b"scan" => Mode::Scan,
        b"fields" => Mode::Fields,
        b"info" => Mode::CommandInfo,
        b"docs" => Mode::CommandDocs,
        b"only" => Mode::Only(rest),
        b"keys" => Mode::Keys,
        b"times" => Mode::Times,
        b"oneof" => Mode::OneOf(rest),
        b"without" => Mode::Without(rest),
        b"omit" => Mode::Omit(rest),
        b"mask" => {
            let positions = rest.iter().map(|n| std::str::from_utf8(n).ok().and_then(|n| n.parse().ok()));
            Mode::Mask(positions.collect::<Option<_>>().ok_or("[mask POSITION...]")?)
        }
        b"within" => {
            let limit = rest.first().and_then(|n| std::str::from_utf8(n).ok()).and_then(|n| n.parse().ok());
            Mode::Within(limit.ok_or("[within NUMBER]")?)
        }
        _ => return Err(format!("unknown mode [{text}]")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_every_kind_of_line() {
        let text = "# note\n%resp 3\n\nSET k \"v\\x00\"\n=> +OK\n@2 [within 5] [unordered] PTTL k\n%sleep 20\n\
                    %times 3 SET k{i} v\n%await EXISTS k\n=> :0\n@2 %raw \"PING\\r\\n\"\n%closed\n@2 %id\n@3 %monitored";
        let script = Script::parse(text).unwrap();
        assert_eq!(script.protocols, [3]);
        assert_eq!(script.steps.len(), 9);
        let Action::Command(set) = &script.steps[0].action else { panic!("a command") };
        assert_eq!((set.words[2].as_slice(), set.expected.as_deref()), (&b"v\0"[..], Some("+OK")));
        let Action::Command(ttl) = &script.steps[1].action else { panic!("a command") };
        assert_eq!((ttl.client, &ttl.modes[..]), (2, &[Mode::Within(5), Mode::Unordered][..]));
        assert!(matches!(&script.steps[5].action, Action::Raw(2, bytes) if bytes == b"PING\r\n"));
        assert!(matches!(&script.steps[6].action, Action::Closed(1)));
        assert!(matches!(&script.steps[7].action, Action::Id(2)));
        assert!(matches!(&script.steps[8].action, Action::Monitored(3)));
    }

    #[test]
    fn a_target_is_a_connection() {
        let script = Script::parse("@target GET k\n").unwrap();
        assert_eq!(script.steps[0].call().unwrap().client, TARGET);
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        for text in ["%nonsense", "[nonsense] GET k", "@0 GET k", "=> +OK", "GET \"k"] {
            assert!(Script::parse(text).is_err(), "{text}");
        }
    }
}
