//! A small RESP2/RESP3 client of the tests' own: a test must not trust the codec it tests.
//!
//! It reads any reply into [`Reply`], keeps the wire's types apart, and prints them in the scripts' notation.

use crate::quote::quote;
use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long a reply may take before the test counts it as missing.
const PATIENCE: Duration = Duration::from_secs(20);

/// One reply, exactly as typed on the wire.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reply {
    /// `+text`
    Simple(Vec<u8>),
    /// `-text`
    Error(Vec<u8>),
    /// `:n`
    Int(i64),
    /// `$n`
    Bulk(Vec<u8>),
    /// `$-1`, RESP2's null
    Nil,
    /// `*-1`, RESP2's null array
    NilArray,
    /// `_`, RESP3's null
    Null,
    /// `*n`
    Array(Vec<Reply>),
    /// `%n`
    Map(Vec<(Reply, Reply)>),
    /// Attributes (RESP3) of the reply that comes next.
    Attributes(Vec<(Reply, Reply)>),
    /// `~n`
    Set(Vec<Reply>),
    /// `>n`
    Push(Vec<Reply>),
    /// `,x`, kept as text
    Double(Vec<u8>),
    /// `#t` or `#f`
    Bool(bool),
    /// `(n`
    BigNumber(Vec<u8>),
    /// `=n`, format and text
    Verbatim(Vec<u8>),
}

impl Reply {
    /// The text of a string-like reply.
    pub fn text(&self) -> Option<&[u8]> {
        match self {
            Reply::Simple(t) | Reply::Error(t) | Reply::Bulk(t) | Reply::Double(t) | Reply::BigNumber(t) => {
                Some(t)
            }
            Reply::Verbatim(t) => t.get(4..),
            _ => None,
        }
    }

    /// The elements of an array, set or push.
    pub fn items(&self) -> Option<&[Reply]> {
        match self {
            Reply::Array(i) | Reply::Set(i) | Reply::Push(i) => Some(i),
            _ => None,
        }
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lossy = |t: &[u8]| String::from_utf8_lossy(t).into_owned();
        let list = |i: &[Reply]| i.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        match self {
            Reply::Simple(t) => write!(f, "+{}", lossy(t)),
            Reply::Error(t) => write!(f, "-{}", lossy(t)),
            Reply::Int(n) => write!(f, ":{n}"),
            Reply::Bulk(t) => write!(f, "{}", quote(t)),
            Reply::Nil => write!(f, "nil"),
            Reply::NilArray => write!(f, "nil-array"),
            Reply::Null => write!(f, "null"),
            Reply::Array(i) => write!(f, "[{}]", list(i)),
            Reply::Set(i) => write!(f, "set[{}]", list(i)),
            Reply::Push(i) => write!(f, "push[{}]", list(i)),
            Reply::Map(pairs) => {
                let pairs: Vec<_> = pairs.iter().map(|(k, v)| format!("{k}={v}")).collect();
                write!(f, "{{{}}}", pairs.join(" "))
            }
            Reply::Attributes(pairs) => {
                let pairs: Vec<_> = pairs.iter().map(|(k, v)| format!("{k}={v}")).collect();
                write!(f, "|{{{}}}", pairs.join(" "))
            }
            Reply::Double(t) => write!(f, ",{}", lossy(t)),
            Reply::Bool(b) => write!(f, "#{}", if *b { 't' } else { 'f' }),
            Reply::BigNumber(t) => write!(f, "({}", lossy(t)),
            Reply::Verbatim(t) => write!(f, "={}", quote(t)),
        }
    }
}

/// One connection to a server under test.
#[derive(Debug)]
pub struct Client {
    reader: BufReader<TcpStream>,
}

impl Client {
    /// Connects without saying anything.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Client { reader: BufReader::with_capacity(64 * 1024, stream) })
    }

    /// Sends one command and reads its reply.
    ///
    /// # Errors
    /// Those of the socket, a closed connection, or bytes that are not RESP.
    pub fn call<W: AsRef<[u8]>>(&mut self, words: &[W]) -> io::Result<Reply> {
        let mut bytes = Vec::new();
        encode(words, &mut bytes);
        self.send(&bytes)?;
        self.read()
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.reader.get_mut().write_all(bytes)
    }

    /// Reads the next reply or push.
    ///
    /// # Errors
    /// Those of the socket, a closed connection, or bytes that are not RESP.
    pub fn read(&mut self) -> io::Result<Reply> {
        let line = self.line()?;
        let (&kind, text) = line.split_first().ok_or_else(|| bad("empty line"))?;
        Ok(match kind {
            b'+' => Reply::Simple(text.to_vec()),
            b'-' => Reply::Error(text.to_vec()),
            b':' => Reply::Int(number(text)?),
            b'$' if text == b"-1" => Reply::Nil,
            b'*' if text == b"-1" => Reply::NilArray,
            b'_' => Reply::Null,
            b',' => Reply::Double(text.to_vec()),
            b'(' => Reply::BigNumber(text.to_vec()),
            b'#' => Reply::Bool(text == b"t"),
            b'$' => Reply::Bulk(self.blob(text)?),
            b'=' => Reply::Verbatim(self.blob(text)?),
            b'*' => Reply::Array(self.list(text)?),
            b'~' => Reply::Set(self.list(text)?),
            b'>' => Reply::Push(self.list(text)?),
            b'%' => Reply::Map(self.pairs(text)?),
            b'|' => Reply::Attributes(self.pairs(text)?),
            other => return Err(bad(&format!("unknown reply type {:?}", char::from(other)))),
        })
    }

    /// Whether something to read comes within a time.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn has_more(&mut self, within: Duration) -> io::Result<bool> {
        self.reader.get_mut().set_read_timeout(Some(within))?;
        let more = match self.reader.fill_buf() {
            Ok(_) => Ok(true),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                Ok(false)
            }
            Err(error) => Err(error),
        };
        self.reader.get_mut().set_read_timeout(Some(PATIENCE))?;
        more
    }

    /// True once the server has closed the connection and nothing is left to read.
    pub fn is_closed(&mut self) -> bool {
        match self.reader.fill_buf() {
            Ok(left) => left.is_empty(),
            Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
        }
    }

    fn line(&mut self) -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        self.reader.read_until(b'\n', &mut line)?;
        if line.is_empty() {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed the connection"));
        }
        if !line.ends_with(b"\r\n") {
            return Err(bad(&format!("line without CRLF: {}", quote(&line))));
        }
        line.truncate(line.len() - 2);
        Ok(line)
    }

    fn blob(&mut self, length: &[u8]) -> io::Result<Vec<u8>> {
        let length = usize::try_from(number(length)?).map_err(|_| bad("negative length"))?;
        let mut bytes = vec![0; length + 2];
        self.reader.read_exact(&mut bytes)?;
        if !bytes.ends_with(b"\r\n") {
            return Err(bad("bulk string without CRLF"));
        }
        bytes.truncate(length);
        Ok(bytes)
    }

    fn list(&mut self, length: &[u8]) -> io::Result<Vec<Reply>> {
        (0..number(length)?).map(|_| self.read()).collect()
    }

    fn pairs(&mut self, length: &[u8]) -> io::Result<Vec<(Reply, Reply)>> {
        (0..number(length)?).map(|_| Ok((self.read()?, self.read()?))).collect()
    }
}

/// Appends a command as an array of bulk strings.
pub fn encode<W: AsRef<[u8]>>(words: &[W], out: &mut Vec<u8>) {
    out.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
    for word in words {
        let word = word.as_ref();
        out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
}

fn number(text: &[u8]) -> io::Result<i64> {
    std::str::from_utf8(text).ok().and_then(|t| t.parse().ok()).ok_or_else(|| bad("not a number"))
}

fn bad(message: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn read(bytes: &'static [u8]) -> io::Result<Reply> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = Client::connect(listener.local_addr().unwrap()).unwrap();
        listener.accept().unwrap().0.write_all(bytes).unwrap();
        client.read()
    }

    #[test]
    fn reads_every_type_and_keeps_them_apart() {
        let all = b"*13\r\n+a\r\n-e\r\n:-5\r\n$2\r\n\r\n\r\n$-1\r\n*-1\r\n_\r\n%1\r\n+k\r\n:1\r\n~1\r\n#t\r\n>0\r\n,1.5\r\n(12\r\n=5\r\ntxt:x\r\n";
        let shown = r#"[+a -e :-5 "\r\n" nil nil-array null {+k=:1} set[#t] push[] ,1.5 (12 ="txt:x"]"#;
        assert_eq!(read(all).unwrap().to_string(), shown);
    }

    #[test]
    fn refuses_what_is_not_resp() {
        assert!(read(b"+a\n").is_err());
        assert!(read(b"?a\r\n").is_err());
        assert!(read(b"$3\r\nabcd\r\n").is_err());
        assert!(read(b"").is_err());
    }
}
