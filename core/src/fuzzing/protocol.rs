//! The protocol's two parsers: what is read whole is read the same in pieces, and what is written again is read as the same.

use crate::resp::{Decoder, RequestBuffer, Value};

/// No argument is longer.
const MAX_BULK_LEN: usize = 512;

/// Bytes as requests and as replies. The first one says how long the pieces are.
///
/// # Panics
/// Where one way of reading finds other things than another.
pub fn protocol(bytes: &[u8]) {
    let Some((first, bytes)) = bytes.split_first() else { return };
    let piece = 1 + usize::from(first % 64);
    requests(bytes, piece);
    replies(bytes, piece);
}

fn requests(bytes: &[u8], piece: usize) {
    type Found = (Vec<Vec<Vec<u8>>>, Option<String>);
    let read = |pieces: &mut dyn Iterator<Item = &[u8]>| -> Found {
        let (mut buffer, mut found) = (RequestBuffer::new(MAX_BULK_LEN), Vec::new());
        for piece in pieces {
            buffer.input().extend_from_slice(piece);
            loop {
                match buffer.next() {
                    Ok(Some(words)) => found.push(words.iter().map(<[u8]>::to_vec).collect()),
                    Ok(None) => break,
                    Err(error) => return (found, Some(error.to_string())),
                }
            }
        }
        (found, None)
    };
    let whole = read(&mut std::iter::once(bytes));
    assert_eq!(whole, read(&mut bytes.chunks(piece)), "in pieces of {piece}");
    let mut written = Vec::new();
    for words in &whole.0 {
        written.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
        for word in words {
            written.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            written.extend_from_slice(word);
            written.extend_from_slice(b"\r\n");
        }
    }
    // A word of an inline request may be longer than an argument.
    if whole.0.iter().flatten().all(|word| word.len() <= MAX_BULK_LEN) {
        assert_eq!(read(&mut std::iter::once(&written[..])), (whole.0, None));
    }
}

fn replies(bytes: &[u8], piece: usize) {
    let read = |pieces: &mut dyn Iterator<Item = &[u8]>| {
        let (mut decoder, mut found) = (Decoder::default(), Vec::new());
        for piece in pieces {
            decoder.feed(piece);
            loop {
                match decoder.next() {
                    Ok(Some(value)) => found.push(written(&value)),
                    Ok(None) => break,
                    Err(error) => return (found, Some(error)),
                }
            }
        }
        (found, None)
    };
    let whole = read(&mut std::iter::once(bytes));
    assert_eq!(whole, read(&mut bytes.chunks(piece)), "in pieces of {piece}");
    assert_eq!(read(&mut std::iter::once(&whole.0.concat()[..])), (whole.0, None));
}

/// Not the value itself: NaN is not equal to NaN.
fn written(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    value.write(&mut bytes);
    bytes
}
