//! Tests of the request parser: what the server answered to the same bytes, and that splits change nothing.
//!
//! Quoting of inline requests is tested in `inline.rs`.

use super::*;
use proptest::prelude::*;

const LIMIT: usize = 512 * 1024 * 1024;

type Outcome = (Vec<Vec<Vec<u8>>>, Option<ProtocolError>);

fn drain(buffer: &mut RequestBuffer, outcome: &mut Outcome) {
    loop {
        match buffer.next() {
            Ok(None) => return,
            Ok(Some(args)) => outcome.0.push(args.iter().map(<[u8]>::to_vec).collect()),
            Err(error) => {
                outcome.1 = Some(error);
                return;
            }
        }
    }
}

fn parse_pieces<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
    let mut buffer = RequestBuffer::new(LIMIT);
    let mut outcome = (Vec::new(), None);
    for piece in pieces {
        buffer.feed(piece);
        drain(&mut buffer, &mut outcome);
    }
    outcome
}

fn requests(bytes: &[u8]) -> Vec<Vec<Vec<u8>>> {
    let (requests, error) = parse_pieces([bytes]);
    assert_eq!(error, None);
    requests
}

fn error(bytes: &[u8]) -> Option<String> {
    let (requests, error) = parse_pieces([bytes]);
    assert!(requests.is_empty());
    error.map(|error| {
        let mut text = Vec::new();
        error.write(&mut text);
        text.iter().map(|byte| char::from(*byte)).collect()
    })
}

#[test]
fn pipelined_arrays_and_lines() {
    let bytes = b"PING\r\n*2\r\n$4\r\nECHO\r\n$0\r\n\r\n*0\r\n*-5\r\n\r\n  \nPING\n*1\r\n$3\r\na\0b\r\n";
    let expected: [&[&[u8]]; 4] = [&[b"PING"], &[b"ECHO", b""], &[b"PING"], &[b"a\0b"]];
    assert_eq!(requests(bytes), expected);
}

#[test]
fn errors_are_worded_as_the_servers() {
    let long = [b"*1".as_slice(), &[b'0'; 70_000]].concat();
    let long_bulk = [b"*1\r\n$".as_slice(), &[b'1'; 70_000]].concat();
    for (bytes, text) in [
        (&b"*a\r\n"[..], "invalid multibulk length"),
        (b"*\r\n", "invalid multibulk length"),
        (b"* 1\r\n", "invalid multibulk length"),
        (b"*+1\r\n", "invalid multibulk length"),
        (b"*01\r\n$4\r\nPING\r\n", "invalid multibulk length"),
        (b"*-0\r\nPING\r\n", "invalid multibulk length"),
        (b"*1\n$4\r\nPING\r\n", "invalid multibulk length"),
        (b"*2147483648\r\n", "invalid multibulk length"),
        (b"*\0\0\r\n", "invalid multibulk length"),
        (b"*1\r$4\r\nPING\r\n", "invalid CRLF in request"),
        (b"*a\rX", "invalid CRLF in request"),
        (b"*1\r\n$a\rX", "invalid CRLF in request"),
        (b"*1\r\n$4\rPPING\r\n", "invalid CRLF in request"),
        (b"*1\r\n$4\r\nPINGxx", "invalid CRLF in request"),
        (b"*1\r\n$4\r\nPING\rx", "invalid CRLF in request"),
        (b"*1\r\n+4\r\n", "expected '$', got '+'"),
        (b"*1\r\n+4\rX", "expected '$', got '+'"),
        (b"*1\r\n\xff4\r\n", "expected '$', got '\u{ff}'"),
        (b"*1\r\n\r\n", "expected '$', got ' '"),
        (b"*1\r\n\n\r\n", "expected '$', got ' '"),
        (b"*1\r\n\0\r\n", "expected '$', got '\0'"),
        (b"*1\r\n$-1\r\n", "invalid bulk length"),
        (b"*1\r\n$\r\n", "invalid bulk length"),
        (b"*1\r\n$04\r\nPING\r\n", "invalid bulk length"),
        (b"*1\r\n$536870913\r\n", "invalid bulk length"),
        (b"*1\r\n$9223372036854775808\r\n", "invalid bulk length"),
        (b"ECHO \"a\n", "unbalanced quotes in request"),
        (&long, "too big mbulk count string"),
        (&long_bulk, "too big bulk count string"),
        (&[b'A'; 65_537], "too big inline request"),
    ] {
        assert_eq!(
            error(bytes).as_deref(),
            Some(&*format!("Protocol error: {text}")),
            "{:?}",
            &bytes[..bytes.len().min(30)]
        );
    }
}

#[test]
fn unfinished_requests_wait() {
    for bytes in [
        &b"*1\r"[..],
        b"*a\r",
        b"*2147483647\r\n",
        b"*1\r\n+",
        b"*1\r\n$4\r",
        b"*1\r\n$4\r\nPINGx",
        b"*1\r\n$536870912\r\n",
        b"ECHO a\0b\nECHO c\n",
        &[b'A'; 65_536],
        b"",
    ] {
        assert_eq!(error(bytes), None);
    }
}

#[test]
fn an_error_stays() {
    let mut buffer = RequestBuffer::new(LIMIT);
    buffer.feed(b"*x\r\n");
    assert!(buffer.next().is_err());
    buffer.feed(b"PING\r\n");
    assert_eq!(buffer.next().err(), Some(ProtocolError::InvalidMultibulkLength));
}

#[test]
fn the_bulk_limit_is_the_configured_one() {
    let mut buffer = RequestBuffer::new(3);
    buffer.feed(b"*2\r\n$3\r\nabc\r\n$4\r\n");
    assert_eq!(buffer.next().err(), Some(ProtocolError::InvalidBulkLength));
}

#[test]
fn finished_requests_leave_the_buffer() {
    let mut buffer = RequestBuffer::new(LIMIT);
    for _ in 0..1000 {
        buffer.feed(b"*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nPI");
        assert_eq!(buffer.next().unwrap().unwrap().get(0), Some(&b"PING"[..]));
        assert!(buffer.next().unwrap().is_none());
        buffer.feed(b"NG\r\n");
        assert_eq!(buffer.next().unwrap().unwrap().len(), 1);
        assert!(buffer.next().unwrap().is_none());
        assert_eq!(buffer.buffered(), 0);
    }
    assert!(buffer.capacity() < 1024);
}

fn encoded(requests: &[Vec<Vec<u8>>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for args in requests {
        bytes.extend_from_slice(format!("*{}\r\n", args.len()).as_bytes());
        for arg in args {
            bytes.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
            bytes.extend_from_slice(arg);
            bytes.extend_from_slice(b"\r\n");
        }
    }
    bytes
}

fn cut(bytes: &[u8], mut cuts: Vec<prop::sample::Index>) -> Vec<&[u8]> {
    let mut places: Vec<usize> = cuts.drain(..).map(|cut| cut.index(bytes.len() + 1)).collect();
    places.sort_unstable();
    let mut pieces = Vec::new();
    let mut start = 0;
    for place in places {
        pieces.push(&bytes[start..place]);
        start = place;
    }
    pieces.push(&bytes[start..]);
    pieces
}

/// Bytes that look like the protocol often enough to reach every branch.
fn protocol_like() -> impl Strategy<Value = Vec<u8>> {
    let token = prop_oneof![
        Just(b"*2\r\n".to_vec()),
        Just(b"*1\r\n".to_vec()),
        Just(b"*-1\r\n".to_vec()),
        Just(b"$3\r\nabc\r\n".to_vec()),
        Just(b"$0\r\n\r\n".to_vec()),
        Just(b"ECHO \"a\\x41 b\" 'c'\r\n".to_vec()),
        Just(b"\r\n".to_vec()),
        Just(b"a\0b\n".to_vec()),
        prop::collection::vec(any::<u8>(), 0..4),
    ];
    prop::collection::vec(token, 0..12).prop_map(|tokens| tokens.concat())
}

proptest! {
    #[test]
    fn requests_come_back_whole(
        requests in prop::collection::vec(prop::collection::vec(any::<Vec<u8>>(), 1..5), 0..6),
        cuts: Vec<prop::sample::Index>,
    ) {
        let bytes = encoded(&requests);
        prop_assert_eq!(parse_pieces(cut(&bytes, cuts)), (requests, None));
    }

    #[test]
    fn splits_change_nothing(bytes in protocol_like(), cuts: Vec<prop::sample::Index>) {
        prop_assert_eq!(parse_pieces(cut(&bytes, cuts)), parse_pieces([&bytes[..]]));
    }

    #[test]
    fn any_bytes_parse_without_panic(bytes: Vec<u8>) {
        parse_pieces(bytes.chunks(3));
    }
}
