//! Reply shapes: the small language in which a command declares its reply, and the check of what it really wrote.
//!
//! ```text
//! shape   := choice { "|" choice }
//! choice  := "ok" | "simple" | "bulk" | "int" | "double" | "bool" | "null" | "nullarray" | "verbatim" | "any"
//!          | "array(" shape ")" | "map(" shape "," shape ")" | "set(" shape ")"
//! ```
//!
//! A RESP2 client sees maps as flat arrays, sets as arrays, doubles and verbatim strings as bulk strings and booleans as integers;
//! the check allows exactly that. It runs on every reply in builds with debug assertions, which is how the whole test suite runs.

#[cfg(debug_assertions)]
use super::reply::Form;
#[cfg(debug_assertions)]
use super::spec::Spec;
use super::tape::Item;
#[cfg(debug_assertions)]
use crate::resp::{Decoder, Value};

/// A parsed shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shape {
    /// `+OK`.
    Ok,
    /// Any status line.
    Simple,
    /// A bulk string.
    Bulk,
    /// An integer.
    Int,
    /// A double.
    Double,
    /// A boolean.
    Bool,
    /// The null value.
    Null,
    /// The null array.
    NullArray,
    /// Text with a format.
    Verbatim,
    /// Anything, errors included: what other commands reply (EXEC).
    Any,
    /// Elements of one shape.
    Array(Box<Shape>),
    /// Keys and values.
    Map(Box<Shape>, Box<Shape>),
    /// Members of one shape.
    Set(Box<Shape>),
    /// One of several.
    OneOf(Vec<Shape>),
}

impl Shape {
    /// Parses the shape language; `None` where the text isn't in it.
    pub fn parse(text: &str) -> Option<Shape> {
        let mut rest = text;
        let shape = choices(&mut rest)?;
        rest.trim().is_empty().then_some(shape)
    }

    /// Whether a reply has this shape.
    pub fn fits(&self, reply: &Item<'_>) -> bool {
        match (self, reply) {
            (Shape::Any, _) => true,
            (Shape::OneOf(shapes), reply) => shapes.iter().any(|shape| shape.fits(reply)),
            (Shape::Ok, Item::Simple(text)) => *text == b"OK",
            (Shape::Simple, Item::Simple(_)) => true,
            (Shape::Bulk | Shape::Double | Shape::Verbatim, Item::Bulk(_)) => true,
            (Shape::Int | Shape::Bool, Item::Integer(_)) => true,
            (Shape::Double, Item::Double(_)) => true,
            (Shape::Bool, Item::Boolean(_)) => true,
            (Shape::Verbatim, Item::Verbatim(_)) => true,
            (Shape::Null, Item::Null) => true,
            (Shape::NullArray, Item::NullArray | Item::Null) => true,
            (Shape::Array(element), Item::Array(items)) => items.iter().all(|item| element.fits(item)),
            (Shape::Set(member), Item::Set(items) | Item::Array(items)) => {
                items.iter().all(|item| member.fits(item))
            }
            (Shape::Map(key, value), Item::Map(items)) => pairs_fit(key, value, items),
            (Shape::Map(key, value), Item::Array(items)) => {
                items.len() % 2 == 0 && pairs_fit(key, value, items)
            }
            _ => false,
        }
    }
}

fn pairs_fit(key: &Shape, value: &Shape, items: &[Item<'_>]) -> bool {
    items.chunks_exact(2).all(|pair| key.fits(&pair[0]) && value.fits(&pair[1]))
}

fn choices(rest: &mut &str) -> Option<Shape> {
    let mut all = vec![choice(rest)?];
    while eat(rest, "|") {
        all.push(choice(rest)?);
    }
    Some(if all.len() == 1 { all.remove(0) } else { Shape::OneOf(all) })
}

fn choice(rest: &mut &str) -> Option<Shape> {
    let text = rest.trim_start();
    let end = text.find(|c: char| !c.is_ascii_lowercase()).unwrap_or(text.len());
    let (word, behind) = text.split_at(end);
    *rest = behind;
    Some(match word {
        "ok" => Shape::Ok,
        "simple" => Shape::Simple,
        "bulk" => Shape::Bulk,
        "int" => Shape::Int,
        "double" => Shape::Double,
        "bool" => Shape::Bool,
        "null" => Shape::Null,
        "nullarray" => Shape::NullArray,
        "verbatim" => Shape::Verbatim,
        "any" => Shape::Any,
        "array" => Shape::Array(Box::new(inside(rest, 1)?.remove(0))),
        "set" => Shape::Set(Box::new(inside(rest, 1)?.remove(0))),
        "map" => {
            let mut both = inside(rest, 2)?;
            let value = both.remove(1);
            Shape::Map(Box::new(both.remove(0)), Box::new(value))
        }
        _ => return None,
    })
}

fn inside(rest: &mut &str, count: usize) -> Option<Vec<Shape>> {
    let mut shapes = Vec::with_capacity(count);
    for index in 0..count {
        if !eat(rest, if index == 0 { "(" } else { "," }) {
            return None;
        }
        shapes.push(choices(rest)?);
    }
    eat(rest, ")").then_some(shapes)
}

fn eat(rest: &mut &str, mark: &str) -> bool {
    match rest.trim_start().strip_prefix(mark) {
        Some(behind) => {
            *rest = behind;
            true
        }
        None => false,
    }
}

/// Compares a reply with what its command declares.
///
/// # Panics
/// If they differ: a command lies about its replies.
#[cfg(debug_assertions)]
pub(crate) fn check(spec: &Spec, reply: &[u8], form: Form) {
    match form {
        // What a script returns may be deeper than this can look.
        _ if reply.is_empty() || spec.reply == "any" => {}
        Form::Tape => {
            let (item, rest) = Item::read(reply).unwrap_or_else(|| panic!("{}: half a reply", spec.name));
            assert!(rest.is_empty(), "{}: more than one reply", spec.name);
            check_item(spec, &item);
        }
        Form::Resp => {
            let mut decoder = Decoder::default();
            decoder.feed(reply);
            let value = decoder.next().unwrap_or_else(|error| panic!("{}: {error}", spec.name));
            check_item(spec, &item(&value.unwrap_or_else(|| panic!("{}: half a reply", spec.name))));
            assert_eq!(decoder.next(), Ok(None), "{}: more than one reply", spec.name);
        }
    }
}

/// A decoded reply as the tape would have it. RESP3 has one null for both of RESP2's.
#[cfg(debug_assertions)]
fn item(value: &Value) -> Item<'_> {
    match value {
        Value::Null => Item::Null,
        Value::Simple(text) => Item::Simple(text),
        Value::Error(text) | Value::BulkError(text) => Item::Error { kind: 0, text },
        Value::Integer(number) => Item::Integer(*number),
        Value::Double(number) => Item::Double(*number),
        Value::Boolean(value) => Item::Boolean(*value),
        Value::BigNumber(digits) => Item::BigNumber(digits),
        Value::Bulk(bytes) => Item::Bulk(bytes),
        Value::Verbatim { text, .. } => Item::Verbatim(text),
        Value::Array(values) => Item::Array(values.iter().map(item).collect()),
        Value::Set(values) => Item::Set(values.iter().map(item).collect()),
        Value::Push(values) => Item::Push(values.iter().map(item).collect()),
        Value::Map(pairs) => {
            Item::Map(pairs.iter().flat_map(|(key, value)| [item(key), item(value)]).collect())
        }
        Value::Attributed { value, .. } => item(value),
    }
}

#[cfg(debug_assertions)]
fn check_item(spec: &Spec, item: &Item<'_>) {
    let shape =
        Shape::parse(spec.reply).unwrap_or_else(|| panic!("{}: bad reply shape {:?}", spec.name, spec.reply));
    assert!(shape.fits(item), "{} declares {:?} and replies {item:?}", spec.name, spec.reply);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::table;

    #[test]
    fn every_declared_shape_parses() {
        for found in table::all() {
            assert!(Shape::parse(found.spec.reply).is_some(), "{}: {:?}", found.spec.name, found.spec.reply);
        }
    }

    #[cfg(debug_assertions)]
    fn is_refused(reply: &'static [u8]) -> bool {
        let spec = table::resolve(&[b"STRLEN", b"key"]).unwrap().spec;
        std::panic::catch_unwind(|| check(spec, reply, Form::Resp)).is_err()
    }

    #[test]
    #[cfg(debug_assertions)]
    fn replies_of_resp_are_checked_too() {
        assert!(!is_refused(b":5\r\n"));
        assert!(is_refused(b"$1\r\n5\r\n") && is_refused(b":5\r\n:6\r\n") && is_refused(b":5"));
    }

    #[test]
    fn shapes_nest() {
        let shape = Shape::parse("map(bulk, array(int|null)) | nullarray").unwrap();
        let good = Item::Map(vec![Item::Bulk(b"a"), Item::Array(vec![Item::Integer(1), Item::Null])]);
        let flat = Item::Array(vec![Item::Bulk(b"a"), Item::Array(vec![])]);
        let odd = Item::Array(vec![Item::Bulk(b"a")]);
        assert!(shape.fits(&good) && shape.fits(&flat) && shape.fits(&Item::NullArray));
        assert!(!shape.fits(&odd) && !shape.fits(&Item::Integer(3)));
        assert_eq!(Shape::parse("array(bulk"), None);
    }
}
