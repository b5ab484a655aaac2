//! DEBUG PROTOCOL: one reply of each type, for tests of clients.

use crate::command::Reply;
use crate::error::{Error, Result, until_zero};

/// Writes a value of the type named.
#[expect(clippy::approx_constant, reason = "the server sends 3.141, not pi")]
pub(super) fn write(kind: &[u8], reply: &mut Reply) -> Result<()> {
    match &until_zero(kind).to_ascii_lowercase()[..] {
        b"string" => reply.bulk(b"Hello World"),
        b"integer" => reply.integer(12345),
        b"double" => reply.double(3.141),
        b"null" => reply.null(),
        b"bignum" => reply.big_number("1234567999999999999999999999999999999"),
        b"true" => reply.boolean(true),
        b"false" => reply.boolean(false),
        b"verbatim" => reply.verbatim(b"txt", b"This is a verbatim\nstring"),
        b"array" => {
            reply.array(3);
            (0..3).for_each(|number| reply.integer(number));
        }
        b"set" => {
            reply.set(3);
            (0..3).for_each(|number| reply.integer(number));
        }
        b"map" => {
            reply.map(3);
            for number in 0..3 {
                reply.integer(number);
                reply.boolean(number == 1);
            }
        }
        b"attrib" => {
            if reply.attributes(1) {
                reply.bulk(b"key-popularity");
                reply.array(2);
                reply.bulk(b"key:123");
                reply.integer(90);
            }
            reply.bulk(b"Some real reply following the attribute");
        }
        b"push" if !reply.resp3() => return Err(Error::command("RESP2 is not supported by this command")),
        b"push" => {
            reply.bulk(b"Some real reply following the push reply");
            reply.behind(|reply| {
                reply.push(2);
                reply.bulk(b"server-cpu-usage");
                reply.integer(42);
            });
        }
        _ => {
            return Err(Error::command(
                "Wrong protocol type name. Please use one of the following: \
                 string|integer|double|bignum|null|array|set|map|attrib|push|verbatim|true|false",
            ));
        }
    }
    Ok(())
}
