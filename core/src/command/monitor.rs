//! What MONITOR shows of a command: a line with the time, the client, and the words.
//!
//! Who gets it is [`crate::clients::monitors`]' affair.

use std::fmt::Write as _;

use super::Reply;
use super::reply::Form;
use super::run::{Context, Found};
use super::spec::{Flags, shown};
use std::borrow::Cow;

use crate::clients::ClientAddress;
use crate::config::BufferClass;
use crate::local::Local;
use crate::sync::Arc;

impl Context<'_, '_> {
    /// Has those who monitor see a command that was executed, once nothing is locked.
    #[cold]
    #[inline(never)]
    pub(super) fn show_to_monitors(&mut self, found: &Found, argv: &[&[u8]]) {
        let is_hidden =
            [Flags::ADMIN, Flags::SKIP_MONITOR].iter().any(|flag| found.spec.flags.contains(*flag));
        if !is_hidden {
            let line = self.monitor_line(&shown(found.spec, argv));
            self.session.shown.push(line);
        }
        // Within a transaction shards are locked; its lines come before EXEC's own.
        if self.transaction.is_none() && !self.session.shown.is_empty() {
            let lines = std::mem::take(&mut self.session.shown);
            self.engine.show(&lines);
        }
    }

    /// Has those who monitor see a script before the commands that it runs.
    #[cfg(feature = "scripting")]
    pub(crate) fn show_script(&mut self, argv: &[&[u8]]) {
        if self.engine.is_monitored() {
            let line = self.monitor_line(argv);
            self.session.shown.push(line);
        }
    }

    fn monitor_line(&self, argv: &[&[u8]]) -> String {
        let now_us = self.engine.keyspace.clock.now_us();
        let client: Cow<'_, str> = match &self.session.info.address {
            _ if self.session.in_script => "lua".into(),
            // As of a client that comes by a path, and not by an address with a port.
            ClientAddress::InProcess => "unix:in-process".into(),
            ClientAddress::Socket { peer, .. } => peer.into(),
            ClientAddress::Unix(path) => format!("unix:{path}").into(),
        };
        let mut line = String::new();
        // Writing to a string can't fail.
        let _ =
            write!(line, "{}.{:06} [{} {client}]", now_us / 1_000_000, now_us % 1_000_000, self.session.db);
        for word in argv {
            line.push(' ');
            quote(&mut line, word);
        }
        line
    }
}

impl Local {
    fn show(&self, lines: &[String]) {
        let monitors = self.monitors();
        let limit = self.config.push_limit(BufferClass::Normal);
        for line in lines {
            let encoded = [Form::Resp, Form::Tape].map(|form| {
                let mut reply = Reply::new(form);
                reply.simple(line);
                Arc::<[u8]>::from(reply.as_bytes())
            });
            for client in &monitors {
                let [resp, tape] = &encoded;
                self.push(client, if client.reads_tape { tape } else { resp }, &limit);
            }
        }
    }
}

/// A word in double quotes, with what is not printable in the notation of C.
fn quote(line: &mut String, word: &[u8]) {
    line.push('"');
    for byte in word {
        match byte {
            b'"' => line.push_str("\\\""),
            b'\\' => line.push_str("\\\\"),
            b'\n' => line.push_str("\\n"),
            b'\r' => line.push_str("\\r"),
            b'\t' => line.push_str("\\t"),
            0x07 => line.push_str("\\a"),
            0x08 => line.push_str("\\b"),
            b' '..=b'~' => line.push(*byte as char),
            byte => _ = write!(line, "\\x{byte:02x}"),
        }
    }
    line.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_as_the_server_does() {
        let mut line = String::new();
        quote(&mut line, b"x y\"\\\n\r\t\x07\x08\x00\xc3\xbf'z");
        assert_eq!(line, "\"x y\\\"\\\\\\n\\r\\t\\a\\b\\x00\\xc3\\xbf'z\"");
    }
}
