//! The patterns of BY and GET: `weight_*` is a string whose key has the element in the place of the first `*`, `weight_*->field` a field of a hash,
//! and `#` the element itself.

use smallvec::SmallVec;

use crate::error::until_zero;
use crate::keyspace::Db;
use crate::value::Value;
use crate::value::listpack::Element;

/// A pattern, taken apart.
pub(super) enum Pattern<'p> {
    /// The element itself.
    Itself,
    /// There is no place for the element: what this leads to is the same for all, and not looked up.
    Constant,
    Key {
        before: &'p [u8],
        behind: &'p [u8],
        field: Option<&'p [u8]>,
    },
}

impl<'p> Pattern<'p> {
    /// As in the server, marks are looked for up to the first zero byte.
    pub(super) fn new(pattern: &'p [u8]) -> Self {
        let text = until_zero(pattern);
        if text == b"#" {
            return Pattern::Itself;
        }
        let Some(star) = text.iter().position(|byte| *byte == b'*') else { return Pattern::Constant };
        let (before, behind) = (&pattern[..star], &pattern[star + 1..]);
        let arrow = text[star + 1..].windows(2).position(|pair| pair == b"->");
        // Without a name behind it, it is part of the key's.
        match arrow.filter(|arrow| text.len() > star + 1 + arrow + 2) {
            Some(arrow) => {
                Pattern::Key { before, behind: &behind[..arrow], field: Some(&behind[arrow + 2..]) }
            }
            None => Pattern::Key { before, behind, field: None },
        }
    }

    /// Whether it leads to keys, one for each element.
    pub(super) fn names_keys(&self) -> bool {
        matches!(self, Pattern::Key { .. })
    }

    /// What it leads to from an element: a string, or the value of a field.
    pub(super) fn look_up<'d>(&self, db: &'d Db<'_>, element: Element<'d>) -> Option<Element<'d>> {
        let (before, behind, field) = match *self {
            Pattern::Itself => return Some(element),
            Pattern::Constant => return None,
            Pattern::Key { before, behind, field } => (before, behind, field),
        };
        let mut name: SmallVec<[u8; 128]> = SmallVec::from_slice(before);
        element.with(|element| name.extend_from_slice(element));
        name.extend_from_slice(behind);
        let value = db.lookup(&db.key(&name))?.value();
        match (value, field) {
            (Value::Int(integer), None) => Some(Element::Int(integer)),
            (Value::Str(text), None) => Some(Element::Bytes(text)),
            (Value::Hash(hash), Some(field)) => hash.get(field, db.now()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_taken_apart() {
        let shown = |pattern: &[u8]| match Pattern::new(pattern) {
            Pattern::Itself => "#".to_owned(),
            Pattern::Constant => String::new(),
            Pattern::Key { before, behind, field } => {
                let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
                format!("{}|{}|{}", text(before), text(behind), field.map_or("none".into(), text))
            }
        };
        let cases: [(&[u8], &str); 12] = [
            (b"#", "#"),
            (b"#\0", "#"),
            (b"##", ""),
            (b"", ""),
            (b"w", ""),
            (b"w\0*", ""),
            (b"*", "||none"),
            (b"a*b*c", "a|b*c|none"),
            (b"a*b->f->g", "a|b|f->g"),
            (b"a->b*->", "a->b|->|none"),
            (b"a*->\0f", "a|->\\x00f|none"),
            (b"a*b->f\0g", "a|b|f\\x00g"),
        ];
        for (pattern, expected) in cases {
            assert_eq!(shown(pattern), expected, "{}", pattern.escape_ascii());
        }
    }
}
