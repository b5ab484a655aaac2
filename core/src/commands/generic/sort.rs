//! SORT and SORT_RO.
//!
//! They sort whatever is a [`Source`], by the elements themselves or by what a [`Pattern`] leads to.

mod pattern;
mod source;

use std::cmp::Ordering;
use std::ops::{ControlFlow, Range};

use crate::alloc::{self, Texts};
use crate::command::spec::{BeginSearch, FindKeys};
use crate::command::{Arg, Command, Read, Reply, Write};
use crate::error::{Error, Result, until_zero};
use crate::keyspace::{Db, EventClass, Key};
use crate::num::parse_f64;
use crate::value::list::Collected;
use crate::value::listpack::Element;
use pattern::Pattern;
use source::Source;

#[derive(Arg, Clone, Copy)]
enum Order {
    #[arg(token = "ASC")]
    Asc,
    #[arg(token = "DESC")]
    Desc,
}

#[derive(Arg)]
#[arg(token = "LIMIT")]
struct Limit {
    offset: i64,
    count: i64,
}

/// Sorts the elements of a list, a set or a sorted set, or stores them sorted.
///
/// Returns the elements, or with STORE their number.
#[derive(Command)]
#[command(
    name = "SORT", group = Generic, since = "1.0.0", complexity = "O(N+M*log(M)) where N is the number of elements in the list or set to sort, and M the number of returned elements. When the elements are not sorted, complexity is O(N).", arity = -2,
    flags(WRITE, DENYOOM, MOVABLEKEYS), acl(DANGEROUS, LIST, SET, SORTEDSET),
    whole_keyspace, extra_key(RO, ACCESS, notes = "For the optional BY/GET keyword. It is marked 'unknown' because the key names derive from the content of the key we sort", begin = BeginSearch::Unknown, find = FindKeys::Unknown), extra_key(OW, UPDATE, notes = "For the optional STORE keyword. It is marked 'unknown' because the keyword can appear anywhere in the argument array", begin = BeginSearch::Unknown, find = FindKeys::Unknown), reply = "array(bulk | null) | int",
)]
pub struct Sort<'a> {
    #[key(RO, ACCESS)]
    key: Key<'a>,
    #[arg(token = "BY", kind = Pattern, key_spec = 1)]
    by_pattern: Option<&'a [u8]>,
    #[arg(oneof, last_counts)]
    limit: Option<Limit>,
    #[arg(token = "GET", kind = Pattern, multiple_token, key_spec = 1)]
    get_pattern: Vec<&'a [u8]>,
    #[arg(oneof, last_counts)]
    order: Option<Order>,
    #[arg(token = "ALPHA")]
    sorting: bool,
    #[arg(token = "STORE", key_spec = 2)]
    destination: Option<Key<'a>>,
}

impl Write for Sort<'_> {
    fn execute(&self, db: &mut Db<'_>, reply: &mut Reply) -> Result<()> {
        let request = Request {
            key: &self.key,
            by: self.by_pattern,
            limit: self.limit.as_ref(),
            get: &self.get_pattern,
            is_descending: matches!(self.order, Some(Order::Desc)),
            is_alpha: self.sorting,
            is_stored: self.destination.is_some(),
        };
        let sorted = request.sorted(db)?;
        match &self.destination {
            None => request.reply(db, &sorted, reply),
            Some(destination) => {
                let texts = request.texts(db, &sorted)?;
                drop(sorted);
                store(db, destination, &texts)?;
                reply.count(texts.len());
                Ok(())
            }
        }
    }
}

/// Stores what was sorted as a list, whatever was there before. Of nothing there is no list: the key goes.
fn store(db: &mut Db<'_>, destination: &Key<'_>, texts: &Texts) -> Result<()> {
    if texts.len() > 0 {
        let keyspace = db.keyspace();
        let list = Collected::new(texts.iter(), keyspace.config.hot(), &keyspace.shared.pool)?;
        list.with(|value| db.insert(destination, value, None))?;
        db.notify(EventClass::List, "sortstore", destination.bytes());
    } else if db.remove(destination) {
        db.notify(EventClass::Generic, "del", destination.bytes());
    }
    Ok(())
}

/// Sorts the elements of a list, a set or a sorted set.
///
/// Returns the elements. It is SORT without STORE, for replicas and read-only scripts.
#[derive(Command)]
#[command(
    name = "SORT_RO", group = Generic, since = "7.0.0", complexity = "O(N+M*log(M)) where N is the number of elements in the list or set to sort, and M the number of returned elements. When the elements are not sorted, complexity is O(N).", arity = -2,
    flags(READONLY, MOVABLEKEYS), acl(DANGEROUS, LIST, SET, SORTEDSET),
    whole_keyspace, extra_key(RO, ACCESS, notes = "For the optional BY/GET keyword. It is marked 'unknown' because the key names derive from the content of the key we sort", begin = BeginSearch::Unknown, find = FindKeys::Unknown), reply = "array(bulk | null)",
)]
pub struct SortRo<'a> {
    #[key(RO, ACCESS)]
    key: Key<'a>,
    #[arg(token = "BY", kind = Pattern, key_spec = 1)]
    by_pattern: Option<&'a [u8]>,
    #[arg(oneof, last_counts)]
    limit: Option<Limit>,
    #[arg(token = "GET", kind = Pattern, multiple_token, key_spec = 1)]
    get_pattern: Vec<&'a [u8]>,
    #[arg(oneof, last_counts)]
    order: Option<Order>,
    #[arg(token = "ALPHA")]
    sorting: bool,
}

impl Read for SortRo<'_> {
    fn execute(&self, db: &Db<'_>, reply: &mut Reply) -> Result<()> {
        let request = Request {
            key: &self.key,
            by: self.by_pattern,
            limit: self.limit.as_ref(),
            get: &self.get_pattern,
            is_descending: matches!(self.order, Some(Order::Desc)),
            is_alpha: self.sorting,
            is_stored: false,
        };
        let sorted = request.sorted(db)?;
        request.reply(db, &sorted, reply)
    }
}

/// What is to be sorted, and how.
struct Request<'r> {
    key: &'r Key<'r>,
    by: Option<&'r [u8]>,
    limit: Option<&'r Limit>,
    get: &'r [&'r [u8]],
    is_descending: bool,
    is_alpha: bool,
    is_stored: bool,
}

/// What an element is sorted by.
enum Weight<'d> {
    Number(f64),
    /// A text looked up for it; `None` comes first.
    Text(Option<Element<'d>>),
    Itself,
}

/// An element with what it is sorted by, and its place among those of one weight.
type Weighed<'d> = (Element<'d>, Weight<'d>, usize);

impl Request<'_> {
    /// The elements in the order and within the limits that were asked for.
    fn sorted<'d>(&self, db: &'d Db<'_>) -> Result<Vec<Element<'d>>> {
        let value = db.lookup(self.key).map(|entry| entry.value());
        let source = Source::of(value)?;
        if source.is_packed_zset() {
            db.unpack_later(self.key.bytes());
        }
        let range = self.range(source.len());
        let mut by = self.by.map(Pattern::new);
        let mut is_alpha = self.is_alpha;
        if by.as_ref().is_some_and(|by| !by.names_keys()) {
            if source.has_order() || !self.is_stored {
                return self.unsorted(&source, range);
            }
            // What is stored must not depend on the order of a table.
            (by, is_alpha) = (None, true);
        }
        let mut elements = alloc::with_room_for(source.len())?;
        let mut are_numbers = true;
        source.each_until(false, |element| {
            let weight = match (&by, is_alpha) {
                (None, true) => Weight::Itself,
                (None, false) => number(Some(element), &mut are_numbers),
                (Some(by), true) => Weight::Text(by.look_up(db, element)),
                (Some(by), false) => number(by.look_up(db, element), &mut are_numbers),
            };
            elements.push((element, weight, elements.len()));
            ControlFlow::Continue(())
        });
        if !are_numbers {
            return Err(Error::command("One or more scores can't be converted into double"));
        }
        // What is alike stays in its order, unless that is a table's: what is stored must not depend on it.
        let has_places = source.has_places();
        let order = |one: &Weighed<'_>, other: &Weighed<'_>| {
            let by_weight = self.compare(one, other);
            let by_weight = if self.is_descending { by_weight.reverse() } else { by_weight };
            by_weight.then_with(|| if has_places { one.2.cmp(&other.2) } else { by_bytes(one, other) })
        };
        // Only what is asked for is sorted: the rest is on the right side of it.
        if range.start > 0 && range.start < elements.len() {
            elements.select_nth_unstable_by(range.start, order);
        }
        let rest = elements.get_mut(range.start..).unwrap_or_default();
        if !range.is_empty() && range.len() < rest.len() {
            rest.select_nth_unstable_by(range.len() - 1, order);
        }
        let wanted = &mut elements[range];
        wanted.sort_unstable_by(order);
        alloc::collected(wanted.iter().map(|(element, ..)| *element))
    }

    /// The elements within the limits in the order that they have anyway.
    fn unsorted<'d>(&self, source: &Source<'d>, range: Range<usize>) -> Result<Vec<Element<'d>>> {
        let mut elements = alloc::with_room_for(range.len())?;
        let mut at = 0;
        source.each_until(self.is_descending, |element| {
            if range.contains(&at) {
                elements.push(element);
            }
            at += 1;
            if at < range.end { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        Ok(elements)
    }

    /// Which of so many elements are asked for.
    fn range(&self, len: usize) -> Range<usize> {
        let Some(limit) = self.limit else { return 0..len };
        let at_most = |number: i64| usize::try_from(number).map_or(0, |number| number.min(len));
        let start = at_most(limit.offset);
        let end = if limit.count < 0 { len } else { (start + at_most(limit.count)).min(len) };
        start..end
    }

    /// Numbers that are alike are ordered by the elements' texts.
    fn compare(&self, one: &Weighed<'_>, other: &Weighed<'_>) -> Ordering {
        match (&one.1, &other.1) {
            (Weight::Number(lower), Weight::Number(higher)) => {
                lower.partial_cmp(higher).unwrap_or(Ordering::Equal).then_with(|| by_bytes(one, other))
            }
            (Weight::Text(Some(one)), Weight::Text(Some(other))) => self.collate(*one, *other),
            (Weight::Text(one), Weight::Text(other)) => one.is_some().cmp(&other.is_some()),
            _ => self.collate(one.0, other.0),
        }
    }

    /// As the server, which replies in the order of C's texts, which end at their first zero, and stores in that of all bytes.
    fn collate(&self, one: Element<'_>, other: Element<'_>) -> Ordering {
        one.with(|one| {
            other.with(|other| match self.is_stored {
                true => one.cmp(other),
                false => until_zero(one).cmp(until_zero(other)),
            })
        })
    }

    /// Visits what is asked for of each element: itself, or what each GET leads to.
    fn each_text<'d>(
        &self,
        db: &'d Db<'_>,
        sorted: &[Element<'d>],
        mut visit: impl FnMut(Option<Element<'d>>) -> ControlFlow<()>,
    ) -> Result<()> {
        let patterns = alloc::collected(self.get.iter().map(|pattern| Pattern::new(pattern)))?;
        let _ = sorted.iter().try_for_each(|element| {
            if patterns.is_empty() {
                return visit(Some(*element));
            }
            patterns.iter().try_for_each(|pattern| visit(pattern.look_up(db, *element)))
        });
        Ok(())
    }

    fn reply(&self, db: &Db<'_>, sorted: &[Element<'_>], reply: &mut Reply) -> Result<()> {
        reply.array(sorted.len() * self.get.len().max(1));
        self.each_text(db, sorted, |text| {
            match text {
                Some(text) => text.with(|text| reply.bulk(text)),
                None => reply.null(),
            }
            if reply.is_full() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
    }

    /// Copies of what is asked for; what is missing is empty.
    fn texts(&self, db: &Db<'_>, sorted: &[Element<'_>]) -> Result<Texts> {
        let (mut texts, mut copied) = (Texts::default(), Ok(()));
        self.each_text(db, sorted, |text| {
            copied = text.unwrap_or(Element::Bytes(b"")).with(|text| texts.push(text));
            if copied.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        copied.map(|()| texts)
    }
}

fn by_bytes(one: &Weighed<'_>, other: &Weighed<'_>) -> Ordering {
    one.0.with(|one| other.0.with(|other| one.cmp(other)))
}

/// The number that an element is sorted by: nothing is 0. What is none is noted.
fn number<'d>(text: Option<Element<'_>>, are_numbers: &mut bool) -> Weight<'d> {
    let number = match text {
        None => Some(0.0),
        Some(Element::Int(integer)) => Some(integer as f64),
        Some(Element::Bytes(text)) => {
            let text = until_zero(text);
            // Decimal forms only, unlike scores.
            if text.contains(&b'x') || text.contains(&b'X') { None } else { parse_f64(text) }
        }
    };
    *are_numbers &= number.is_some();
    Weight::Number(number.unwrap_or(0.0))
}
