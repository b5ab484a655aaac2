//! The engine behind redis-rs: a connection without a socket, with all of its `Commands`, pipelines and transactions.
//!
//! ```
//! use keystead::{Engine, RedisConnection};
//! use redis::Commands;
//!
//! let mut connection = RedisConnection::new(&Engine::new());
//! let () = connection.set("answer", 42)?;
//! let answer: i32 = connection.get("answer")?;
//! assert_eq!(answer, 42);
//! # Ok::<(), redis::RedisError>(())
//! ```

use redis::{Cmd, ConnectionLike, ErrorKind, RedisError, RedisResult, Value, parse_redis_value};
use smallvec::SmallVec;

use crate::Session;
use crate::command::Form;
use crate::engine::Engine;
use crate::resp::RequestBuffer;

/// A session that redis-rs takes for a connection.
pub struct RedisConnection {
    session: Session,
}

impl RedisConnection {
    /// A connection of its own to `engine`, on database 0.
    pub fn new(engine: &Engine) -> Self {
        Self { session: engine.session(Form::Resp) }
    }

    /// The session behind it.
    pub fn session(&mut self) -> &mut Session {
        &mut self.session
    }

    /// Executes packed commands and gives each reply to `take`.
    fn run(&mut self, packed: &[u8], mut take: impl FnMut(Value) -> RedisResult<()>) -> RedisResult<()> {
        let limit = self.session.engine().config().hot().proto_max_bulk_len();
        let mut requests = RequestBuffer::new(limit);
        requests.input().extend_from_slice(packed);
        loop {
            match requests.next() {
                Ok(Some(args)) => {
                    let argv: SmallVec<[&[u8]; 8]> = args.iter().collect();
                    // CLIENT REPLY leaves replies out.
                    let reply = self.session.execute(&argv);
                    take(if reply.is_empty() { Value::Nil } else { parse_redis_value(reply)? })?;
                }
                Ok(None) => return Ok(()),
                Err(error) => {
                    return Err(RedisError::from((ErrorKind::Client, "bad request", error.to_string())));
                }
            }
        }
    }
}

impl ConnectionLike for RedisConnection {
    fn req_packed_command(&mut self, cmd: &[u8]) -> RedisResult<Value> {
        let mut reply = Value::Nil;
        self.run(cmd, |value| {
            reply = value;
            Ok(())
        })?;
        reply.extract_error()
    }

    fn req_packed_commands(&mut self, cmd: &[u8], offset: usize, count: usize) -> RedisResult<Vec<Value>> {
        let mut replies = Vec::with_capacity(count);
        let mut position = 0;
        let mut first_error = None;
        self.run(cmd, |value| {
            if position < offset {
                // Of a transaction's preamble only its errors count.
                first_error = first_error.take().or(value.extract_error().err());
            } else if replies.len() < count {
                replies.push(value);
            }
            position += 1;
            Ok(())
        })?;
        match first_error {
            Some(error) => Err(error),
            None => Ok(replies),
        }
    }

    fn req_command(&mut self, cmd: &Cmd) -> RedisResult<Value> {
        self.req_packed_command(&cmd.get_packed_command())
    }

    fn get_db(&self) -> i64 {
        self.session.db() as i64
    }

    fn check_connection(&mut self) -> bool {
        true
    }

    fn is_open(&self) -> bool {
        !self.session.is_quitting()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use redis::{Commands, pipe};

    use super::*;

    #[test]
    fn typed_commands_and_errors_are_redis_rs() {
        let mut connection = RedisConnection::new(&Engine::new());
        let () = connection.hset_multiple("h", &[("a", 1), ("b", 2)]).unwrap();
        let all: HashMap<String, i32> = connection.hgetall("h").unwrap();
        assert_eq!(all, HashMap::from([("a".into(), 1), ("b".into(), 2)]));
        let error = connection.incr::<_, _, i64>("h", 1).unwrap_err();
        assert_eq!(error.code(), Some("WRONGTYPE"));
        let missing: Option<String> = connection.get("none").unwrap();
        assert_eq!(missing, None);
        let binary: Vec<u8> = vec![0, 255, 13, 10];
        let () = connection.set("bytes", &binary).unwrap();
        assert_eq!(connection.get::<_, Vec<u8>>("bytes").unwrap(), binary);
    }

    #[test]
    fn pipelines_and_transactions_answer_in_order() {
        let mut connection = RedisConnection::new(&Engine::new());
        let (one, two): (i64, i64) = pipe().incr("n", 1).incr("n", 5).query(&mut connection).unwrap();
        assert_eq!((one, two), (1, 6));
        let (old, new): (i64, i64) =
            pipe().atomic().get("n").set("n", 10).ignore().incr("n", 1).query(&mut connection).unwrap();
        assert_eq!((old, new), (6, 11));
    }

    #[test]
    fn iterators_walk_the_whole_keyspace() {
        let mut connection = RedisConnection::new(&Engine::new());
        for number in 0..500 {
            let () = connection.set(format!("key:{number}"), number).unwrap();
        }
        let found = connection.scan_match::<_, String>("key:*").unwrap().count();
        assert!(found >= 500);
    }
}
