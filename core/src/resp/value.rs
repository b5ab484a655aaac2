//! A decoded reply that owns its parts, for tests and for what remote servers answer.
//!
//! The engine's own replies never take this form; they go from the sink to the bindings as bytes.

/// A reply of RESP2 or RESP3.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    /// RESP3's null, and RESP2's null string and null array.
    Null,
    /// A line such as `OK`.
    Simple(Vec<u8>),
    /// An error's line, its code included.
    Error(Vec<u8>),
    /// An error as a bulk string (RESP3 only).
    BulkError(Vec<u8>),
    /// A 64-bit integer.
    Integer(i64),
    /// A double; infinities and NaN included.
    Double(f64),
    /// A boolean.
    Boolean(bool),
    /// An integer of any size, in decimal digits.
    BigNumber(Vec<u8>),
    /// A string of bytes.
    Bulk(Vec<u8>),
    /// Text with a format of three bytes, `txt` or `mkd`.
    Verbatim {
        /// The three bytes in front of the colon.
        format: [u8; 3],
        /// What is behind it.
        text: Vec<u8>,
    },
    /// An array.
    Array(Vec<Value>),
    /// Pairs in the order they were sent.
    Map(Vec<(Value, Value)>),
    /// Elements in the order they were sent.
    Set(Vec<Value>),
    /// A message out of band: pub/sub, invalidation.
    Push(Vec<Value>),
    /// A reply with attributes in front.
    Attributed {
        /// The attributes.
        attributes: Vec<(Value, Value)>,
        /// The reply they belong to.
        value: Box<Value>,
    },
}

#[cfg(any(test, feature = "fuzzing", feature = "remote"))]
impl Value {
    /// Appends the reply's bytes, in the form of RESP3 (RESP2's kinds are the same there, but for null).
    pub(crate) fn write(&self, buf: &mut Vec<u8>) {
        match self {
            Self::Null => buf.extend_from_slice(b"_\r\n"),
            Self::Simple(line) => write_line(buf, b'+', line),
            Self::Error(line) => write_line(buf, b'-', line),
            Self::BulkError(text) => write_bulk(buf, b'!', &[text]),
            Self::Integer(value) => write_line(buf, b':', value.to_string().as_bytes()),
            Self::Double(value) => {
                let mut text = Vec::new();
                crate::num::write_f64(&mut text, *value);
                write_line(buf, b',', &text);
            }
            Self::Boolean(value) => write_line(buf, b'#', if *value { b"t" } else { b"f" }),
            Self::BigNumber(digits) => write_line(buf, b'(', digits),
            Self::Bulk(bytes) => write_bulk(buf, b'$', &[bytes]),
            Self::Verbatim { format, text } => write_bulk(buf, b'=', &[format, b":", text]),
            Self::Array(values) => write_values(buf, b'*', values),
            Self::Set(values) => write_values(buf, b'~', values),
            Self::Push(values) => write_values(buf, b'>', values),
            Self::Map(pairs) => write_pairs(buf, b'%', pairs),
            Self::Attributed { attributes, value } => {
                write_pairs(buf, b'|', attributes);
                value.write(buf);
            }
        }
    }
}

#[cfg(any(test, feature = "fuzzing", feature = "remote"))]
fn write_line(buf: &mut Vec<u8>, kind: u8, line: &[u8]) {
    buf.push(kind);
    buf.extend_from_slice(line);
    buf.extend_from_slice(b"\r\n");
}

#[cfg(any(test, feature = "fuzzing", feature = "remote"))]
fn write_bulk(buf: &mut Vec<u8>, kind: u8, parts: &[&[u8]]) {
    let len: usize = parts.iter().map(|part| part.len()).sum();
    write_line(buf, kind, len.to_string().as_bytes());
    for part in parts {
        buf.extend_from_slice(part);
    }
    buf.extend_from_slice(b"\r\n");
}

#[cfg(any(test, feature = "fuzzing", feature = "remote"))]
fn write_values(buf: &mut Vec<u8>, kind: u8, values: &[Value]) {
    write_line(buf, kind, values.len().to_string().as_bytes());
    values.iter().for_each(|value| value.write(buf));
}

#[cfg(any(test, feature = "fuzzing", feature = "remote"))]
fn write_pairs(buf: &mut Vec<u8>, kind: u8, pairs: &[(Value, Value)]) {
    write_line(buf, kind, pairs.len().to_string().as_bytes());
    for (key, value) in pairs {
        key.write(buf);
        value.write(buf);
    }
}
