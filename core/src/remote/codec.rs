//! What goes over connections to a remote: commands as bytes, and replies as the engine's sessions have them.

use crate::command::Reply;
use crate::error::{Error, ErrorKind};
use crate::resp::Value;

/// Appends a command.
pub(super) fn encode(buffer: &mut Vec<u8>, argv: &[&[u8]]) {
    let mut digits = itoa::Buffer::new();
    let mut head = |buffer: &mut Vec<u8>, kind: u8, length: usize| {
        buffer.push(kind);
        buffer.extend_from_slice(digits.format(length).as_bytes());
        buffer.extend_from_slice(b"\r\n");
    };
    head(buffer, b'*', argv.len());
    for word in argv {
        head(buffer, b'$', word.len());
        buffer.extend_from_slice(word);
        buffer.extend_from_slice(b"\r\n");
    }
}

/// Bytes that a command takes, nearly.
pub(super) fn encoded_len(argv: &[&[u8]]) -> usize {
    argv.iter().map(|word| word.len() + 16).sum::<usize>() + 16
}

/// Writes what a remote replied.
pub(super) fn write(value: &Value, reply: &mut Reply) {
    match value {
        Value::Null => reply.null(),
        Value::Simple(line) if line == b"OK" => reply.ok(),
        Value::Simple(line) => reply.status(line),
        Value::Error(text) | Value::BulkError(text) => reply.error(&error(text)),
        Value::Integer(value) => reply.integer(*value),
        Value::Double(value) => reply.double(*value),
        Value::Boolean(value) => reply.boolean(*value),
        Value::BigNumber(digits) => reply.big_number(&String::from_utf8_lossy(digits)),
        Value::Bulk(bytes) => reply.bulk(bytes),
        Value::Verbatim { format, text } => reply.verbatim(format, text),
        Value::Array(values) => {
            reply.array(values.len());
            values.iter().for_each(|value| write(value, reply));
        }
        Value::Set(values) => {
            reply.set(values.len());
            values.iter().for_each(|value| write(value, reply));
        }
        Value::Push(values) => {
            reply.push(values.len());
            values.iter().for_each(|value| write(value, reply));
        }
        Value::Map(pairs) => {
            reply.map(pairs.len());
            for (key, value) in pairs {
                write(key, reply);
                write(value, reply);
            }
        }
        Value::Attributed { value, .. } => write(value, reply),
    }
}

/// The error that a remote replied with, of the kind that its first word names.
pub(super) fn error(text: &[u8]) -> Error {
    let code = text.split(|byte| *byte == b' ').next().unwrap_or_default();
    let is_named = |kind: &&ErrorKind| kind.code() != "ERR" && kind.code().as_bytes() == code;
    let kind = ErrorKind::ALL.iter().find(is_named).copied();
    let kind = match code {
        b"LOADING" => Some(ErrorKind::Busy),
        _ => kind,
    };
    Error::from_bytes(kind.unwrap_or(ErrorKind::Command), text.to_vec())
}

/// The text of an error that a reply is.
pub(super) fn failure(value: &Value) -> Option<&[u8]> {
    match value {
        Value::Error(text) | Value::BulkError(text) => Some(text),
        _ => None,
    }
}

/// Whether there is a message within a reply, where none can be.
pub(super) fn has_push_within(value: &Value) -> bool {
    let within = |value: &Value| matches!(value, Value::Push(_)) || has_push_within(value);
    match value {
        Value::Array(values) | Value::Set(values) | Value::Push(values) => values.iter().any(within),
        Value::Map(pairs) => pairs.iter().any(|(key, value)| within(key) || within(value)),
        Value::Attributed { attributes, value } => {
            within(value) || attributes.iter().any(|(key, value)| within(key) || within(value))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Form;

    #[test]
    fn a_command_is_an_array_of_strings() {
        let mut buffer = Vec::new();
        encode(&mut buffer, &[b"SET", b"", b"a\r\nb"]);
        assert_eq!(buffer, b"*3\r\n$3\r\nSET\r\n$0\r\n\r\n$4\r\na\r\nb\r\n");
        assert!(encoded_len(&[b"SET", b"", b"a\r\nb"]) >= buffer.len());
    }

    #[test]
    fn replies_are_written_in_the_session_s_protocol() {
        let frame = b"%1\r\n+f\r\n*5\r\n,1.5\r\n_\r\n#t\r\n~1\r\n:7\r\n=6\r\ntxt:ab\r\n";
        let value = Value::read(frame).unwrap();
        let written = |resp3| {
            let mut reply = Reply::new(Form::Resp);
            reply.set_resp3(resp3);
            write(&value, &mut reply);
            String::from_utf8(reply.as_bytes().to_vec()).unwrap()
        };
        assert_eq!(written(true).as_bytes(), frame);
        assert_eq!(written(false), "*2\r\n+f\r\n*5\r\n$3\r\n1.5\r\n$-1\r\n:1\r\n*1\r\n:7\r\n$2\r\nab\r\n");
    }

    #[test]
    fn errors_have_the_kind_that_they_name() {
        for (text, kind) in [
            ("WRONGTYPE Operation", ErrorKind::WrongType),
            ("ERR nonsense", ErrorKind::Command),
            ("NOSCRIPT No", ErrorKind::NoScript),
            ("LOADING Valkey", ErrorKind::Busy),
            ("CLUSTERDOWN The", ErrorKind::Command),
        ] {
            let error = error(text.as_bytes());
            assert_eq!((error.kind(), error.as_bytes()), (kind, text.as_bytes()));
        }
    }

    #[test]
    fn messages_within_replies_are_found() {
        let read = |frame: &[u8]| has_push_within(&Value::read(frame).unwrap());
        assert!(read(b"*1\r\n>1\r\n+a\r\n") && read(b"%1\r\n+a\r\n*1\r\n>0\r\n"));
        assert!(!read(b">1\r\n+a\r\n") && !read(b"*1\r\n+a\r\n"));
    }
}
