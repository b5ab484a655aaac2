//! Commands about the engine as a whole: its options, statistics, logs and memory, its databases, and the commands themselves.

pub(crate) mod acl;
pub(crate) mod acl_log;
pub(crate) mod command;
pub(crate) mod command_docs;
pub(crate) mod command_keys;
pub(crate) mod command_list;
pub(crate) mod commandlog;
pub(crate) mod config;
pub(crate) mod debug;
mod debug_digest;
mod debug_populate;
pub(crate) mod debug_protocol;
pub(crate) mod flush;
mod gather;
pub(crate) mod info;
pub(crate) mod latency;
pub(crate) mod memory;
pub(crate) mod memory_stats;
pub(crate) mod module;
pub(crate) mod monitor;
pub(crate) mod replication;
pub(crate) mod save;
pub(crate) mod shutdown;
pub(crate) mod slowlog;
pub(crate) mod time;

#[cfg(test)]
mod tests {
    use crate::command::tape::Item;
    use crate::{Config, Engine, Form, Session};

    /// Every command of the group that replies without an error, with what it takes for granted.
    const CALLS: &[&str] = &[
        "SET k v",
        "SET e v EX 100",
        "CONFIG SET latency-monitor-threshold 1 slowlog-log-slower-than 0",
        "CONFIG SET commandlog-request-larger-than 0 commandlog-reply-larger-than 0",
        "DEBUG SLEEP 0.002",
        "COMMAND",
        "COMMAND COUNT",
        "COMMAND DOCS",
        "COMMAND GETKEYS MSET a 1 b 2",
        "COMMAND GETKEYSANDFLAGS SORT k STORE d",
        "COMMAND HELP",
        "COMMAND INFO get nosuch object",
        "COMMAND LIST FILTERBY ACLCAT slow",
        "COMMANDLOG GET -1 large-reply",
        "COMMANDLOG GET 3 slow",
        "COMMANDLOG HELP",
        "COMMANDLOG LEN large-request",
        "CONFIG GET *",
        "CONFIG HELP",
        "DBSIZE",
        "DEBUG HELP",
        "DEBUG OBJECT k",
        "DEBUG PROTOCOL map",
        "INFO everything",
        "LASTSAVE",
        "LATENCY DOCTOR",
        "LATENCY GRAPH command",
        "LATENCY HELP",
        "LATENCY HISTOGRAM",
        "LATENCY HISTORY command",
        "LATENCY LATEST",
        "LATENCY RESET",
        "LOLWUT VERSION 6",
        "MEMORY DOCTOR",
        "MEMORY HELP",
        "MEMORY MALLOC-STATS",
        "MEMORY PURGE",
        "MEMORY STATS",
        "MEMORY USAGE k SAMPLES 3",
        "ROLE",
        "SLOWLOG GET",
        "SLOWLOG HELP",
        "SLOWLOG LEN",
        "SLOWLOG RESET",
        "COMMANDLOG RESET large-reply",
        "TIME",
        "CONFIG RESETSTAT",
        "SWAPDB 0 1",
        "FLUSHDB ASYNC",
        "FLUSHALL SYNC",
    ];

    fn call<'s>(session: &'s mut Session, line: &str) -> &'s [u8] {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        session.execute(&words)
    }

    fn engine() -> Engine {
        let config = Config::from_text(b"enable-debug-command local\n").unwrap();
        Engine::builder().config(config).open().unwrap()
    }

    /// Sessions that write tapes compare each reply with the shape that its command declares.
    #[test]
    fn replies_have_their_declared_shapes() {
        for protocol in ["2", "3"] {
            let engine = engine();
            let mut session = engine.session(Form::Tape);
            call(&mut session, &format!("HELLO {protocol}"));
            for line in CALLS {
                let (item, _) = Item::read(call(&mut session, line)).unwrap();
                assert!(!matches!(item, Item::Error { .. }), "{line}: {item:?}");
            }
        }
    }

    /// EXEC holds the locks that these commands would take.
    #[test]
    fn they_all_run_in_a_transaction() {
        let engine = engine();
        let mut session = engine.session(Form::Tape);
        call(&mut session, "MULTI");
        for line in CALLS {
            assert!(call(&mut session, line).ends_with(b"QUEUED"), "{line}");
        }
        let (item, _) = Item::read(call(&mut session, "EXEC")).unwrap();
        let Item::Array(replies) = item else { panic!("{item:?}") };
        for (line, reply) in CALLS.iter().zip(&replies) {
            assert!(!matches!(reply, Item::Error { .. }), "{line}: {reply:?}");
        }
    }

    #[test]
    fn debug_is_for_those_whom_the_option_names() {
        let refused = |config: &str| {
            let config = Config::from_text(config.as_bytes()).unwrap();
            let engine = Engine::builder().config(config).open().unwrap();
            call(&mut engine.session(Form::Resp), "DEBUG SLEEP 0")
                .starts_with(b"-ERR DEBUG command not allowed.")
        };
        assert!(refused(""));
        assert!(!refused("enable-debug-command yes\n"));
        assert!(!refused("enable-debug-command local\n"));
    }

    /// The server finds such a name when the seed of its table happens to have it in the other's bucket, and no script can ask for that.
    #[test]
    fn a_name_that_goes_on_behind_a_zero_byte_is_another() {
        let engine = engine();
        let mut session = engine.session(Form::Resp);
        for (line, reply) in [
            ("GET\0 k", "-ERR unknown command 'GET', with args beginning with: 'k' \r\n"),
            ("COMMAND GETKEYS get\0 k", "-ERR Invalid command specified\r\n"),
            ("COMMAND INFO get\0", "*1\r\n$-1\r\n"),
            ("CONFIG GET hz\0", "*0\r\n"),
            ("CONFIG SET hz\0 30", "-ERR Unknown option or number of arguments for CONFIG SET - 'hz'\r\n"),
        ] {
            assert_eq!(call(&mut session, line), reply.as_bytes(), "{line:?}");
        }
    }
}
