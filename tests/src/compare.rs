//! Brings replies into a form in which equal behaviour is equal data, by the modes a script names.
//!
//! Which replies are compared is decided by `run.rs` and by the property test.

use crate::resp::Reply;
use crate::script::Mode;

/// What is wrong between two replies, or nothing.
pub fn difference(modes: &[Mode], oracle: &Reply, subject: &Reply) -> Option<String> {
    for mode in modes {
        match mode {
            Mode::Within(limit) if is_within(*limit, oracle, subject) => return None,
            Mode::Outcome if is_error(oracle) == is_error(subject) => return None,
            Mode::OneOf(words) if !is_error(oracle) => {
                let known = |r: &Reply| r.text().is_some_and(|t| words.iter().any(|w| w == t));
                if known(oracle) && known(subject) && kind(oracle) == kind(subject) {
                    return None;
                }
            }
            _ => {}
        }
    }
    let (oracle, subject) = (normal(modes, oracle), normal(modes, subject));
    (oracle != subject).then(|| format!("oracle   {oracle}\nsubject  {subject}"))
}

/// The reply with everything removed that the modes say does not matter.
pub fn normal(modes: &[Mode], reply: &Reply) -> Reply {
    let mut reply = reply.clone();
    if is_error(&reply) {
        return reply;
    }
    for mode in modes {
        reply = match mode {
            Mode::Unordered | Mode::Scan => unordered(reply),
            Mode::Pairs => pairs(reply),
            Mode::Deep => deep(reply),
            Mode::Shape => shape(reply),
            Mode::Fields => fields(&reply),
            Mode::Only(names) => only(&reply, names),
            Mode::Keys => keys(reply),
            Mode::Without(names) => left_out(reply, names),
            Mode::Omit(names) => without(&reply, &names.iter().map(Vec::as_slice).collect::<Vec<_>>()),
            Mode::Mask(positions) => masked(reply, positions),
            Mode::Times => timeless(reply),
            Mode::CommandInfo => command_infos(reply),
            Mode::CommandDocs => command_docs(reply),
            Mode::Within(_) | Mode::Outcome | Mode::OneOf(_) => reply,
        };
    }
    reply
}

fn is_error(reply: &Reply) -> bool {
    matches!(reply, Reply::Error(_))
}

fn kind(reply: &Reply) -> std::mem::Discriminant<Reply> {
    std::mem::discriminant(reply)
}

/// Equal but for integers (also those in bulk strings) that differ by at most `limit`.
fn is_within(limit: i64, a: &Reply, b: &Reply) -> bool {
    let near = |x: i64, y: i64| x.abs_diff(y) <= limit.unsigned_abs();
    let number = |r: &Reply| match r {
        Reply::Int(n) => Some(*n),
        Reply::Bulk(t) => std::str::from_utf8(t).ok().and_then(|t| t.parse().ok()),
        _ => None,
    };
    if kind(a) != kind(b) {
        return false;
    }
    if let (Some(x), Some(y)) = (number(a), number(b)) {
        // The negative answers of the TTL family are codes, not times.
        return x == y || (x >= 0 && y >= 0 && near(x, y));
    }
    if let (Some(a), Some(b)) = (a.items(), b.items()) {
        return a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_within(limit, a, b));
    }
    match (a, b) {
        (Reply::Map(a), Reply::Map(b)) => {
            let pair = |((ak, av), (bk, bv)): (&(Reply, Reply), &(Reply, Reply))| {
                ak == bk && is_within(limit, av, bv)
            };
            a.len() == b.len() && a.iter().zip(b).all(pair)
        }
        _ => a == b,
    }
}

fn unordered(reply: Reply) -> Reply {
    let sorted = |mut items: Vec<Reply>| {
        items.sort();
        items
    };
    match reply {
        Reply::Array(items) => Reply::Array(sorted(items)),
        Reply::Set(items) => Reply::Set(sorted(items)),
        Reply::Map(mut pairs) => {
            pairs.sort();
            Reply::Map(pairs)
        }
        other => other,
    }
}

fn pairs(reply: Reply) -> Reply {
    let is_pair = |item: &Reply| item.items().is_some_and(|pair| pair.len() == 2);
    match reply {
        // RESP3 has HRANDFIELD's pairs as arrays of two.
        Reply::Array(items) if items.iter().all(is_pair) => unordered(Reply::Array(items)),
        Reply::Array(items) if items.len() % 2 == 0 => {
            let mut pairs: Vec<Vec<Reply>> = items.chunks(2).map(<[Reply]>::to_vec).collect();
            pairs.sort();
            Reply::Array(pairs.concat())
        }
        other => unordered(other),
    }
}

fn deep(reply: Reply) -> Reply {
    unordered(match reply {
        Reply::Array(items) => Reply::Array(items.into_iter().map(deep).collect()),
        Reply::Set(items) => Reply::Set(items.into_iter().map(deep).collect()),
        Reply::Map(pairs) => Reply::Map(pairs.into_iter().map(|(k, v)| (k, deep(v))).collect()),
        other => other,
    })
}

/// Types and lengths of containers only.
fn shape(reply: Reply) -> Reply {
    let all = |items: Vec<Reply>| items.into_iter().map(shape).collect();
    match reply {
        Reply::Array(items) => Reply::Array(all(items)),
        Reply::Set(items) => Reply::Set(all(items)),
        Reply::Push(items) => Reply::Push(all(items)),
        Reply::Map(pairs) => Reply::Map(pairs.into_iter().map(|(k, v)| (k, shape(v))).collect()),
        Reply::Int(_) => Reply::Int(0),
        Reply::Bulk(_) => Reply::Bulk(b"*".to_vec()),
        Reply::Simple(_) => Reply::Simple(b"*".to_vec()),
        Reply::Double(_) => Reply::Double(b"*".to_vec()),
        Reply::Verbatim(text) => Reply::Verbatim([text.get(..4).unwrap_or_default(), b"*"].concat()),
        other => other,
    }
}

/// The named parts of an INFO text (`name:value` lines) or of CLIENT LIST (`name=value` words), line by line.
fn only(reply: &Reply, names: &[Vec<u8>]) -> Reply {
    let text = String::from_utf8_lossy(reply.text().unwrap_or_default()).into_owned();
    let is_named = |part: &&str| {
        let end = part.find([':', '=']).unwrap_or(part.len());
        names.iter().any(|name| name == &part.as_bytes()[..end])
    };
    let is_info =
        |line: &str| line.split(' ').next().is_some_and(|word| word.contains(':') && !word.contains("://"));
    let kept = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
        let kept: Vec<&str> = match is_info(line) && !line.starts_with("id=") {
            true => Some(line).into_iter().filter(is_named).collect(),
            false => line.split(' ').filter(is_named).collect(),
        };
        let timeless =
            |part: &str| part.split(',').filter(|p| !p.starts_with("usec")).collect::<Vec<_>>().join(",");
        let kept: Vec<String> = kept.into_iter().map(timeless).collect();
        (!kept.is_empty()).then(|| Reply::Bulk(kept.join(" ").into_bytes()))
    });
    unordered(Reply::Array(kept.collect()))
}

fn keys(reply: Reply) -> Reply {
    match reply {
        Reply::Array(items) => unordered(Reply::Array(items.into_iter().step_by(2).collect())),
        Reply::Map(pairs) => unordered(Reply::Array(pairs.into_iter().map(|(key, _)| key).collect())),
        other => other,
    }
}

fn left_out(reply: Reply, names: &[Vec<u8>]) -> Reply {
    let stays = |key: &Reply| !names.iter().any(|name| Some(name.as_slice()) == key.text());
    match reply {
        Reply::Array(items) => {
            Reply::Array(items.chunks(2).filter(|pair| stays(&pair[0])).flatten().cloned().collect())
        }
        Reply::Map(pairs) => Reply::Map(pairs.into_iter().filter(|(key, _)| stays(key)).collect()),
        other => other,
    }
}

fn masked(reply: Reply, positions: &[usize]) -> Reply {
    let mask = |(at, value)| if positions.contains(&at) { shape(value) } else { value };
    match reply {
        Reply::Array(items) => {
            let element = |item| match item {
                Reply::Array(values) => Reply::Array(values.into_iter().enumerate().map(mask).collect()),
                other => other,
            };
            Reply::Array(items.into_iter().map(element).collect())
        }
        other => other,
    }
}

/// Without times of the present, in milliseconds, and the ages that XINFO names. Negative ones are codes.
fn timeless(reply: Reply) -> Reply {
    const PRESENT: std::ops::Range<i64> = 1_600_000_000_000..9_000_000_000_000;
    let is_age = |name: &Reply| matches!(name.text(), Some(b"idle" | b"inactive"));
    let age = |value: Reply| if matches!(value, Reply::Int(0..)) { shape(value) } else { value };
    match reply {
        Reply::Int(number) if PRESENT.contains(&number) => Reply::Int(0),
        Reply::Array(items) => {
            let mut was_age = false;
            let each = |item: Reply| {
                let item = if std::mem::replace(&mut was_age, is_age(&item)) { age(item) } else { item };
                timeless(item)
            };
            Reply::Array(items.into_iter().map(each).collect())
        }
        Reply::Map(pairs) => {
            let each = |(key, value)| {
                let value = if is_age(&key) { age(value) } else { value };
                (key, timeless(value))
            };
            Reply::Map(pairs.into_iter().map(each).collect())
        }
        other => other,
    }
}

/// The names of an INFO text, or of each line of CLIENT LIST, in order.
fn fields(reply: &Reply) -> Reply {
    let text = String::from_utf8_lossy(reply.text().unwrap_or_default()).into_owned();
    let name = |word: &str| {
        let end = word.find([':', '=']).unwrap_or(word.len());
        Reply::Bulk(word.as_bytes()[..end].to_vec())
    };
    let lines = text.lines().map(|line| match line.split_once(':') {
        Some((field, _)) if !field.contains(['=', ' ']) => name(field),
        _ if line.starts_with('#') => Reply::Bulk(line.as_bytes().to_vec()),
        _ => Reply::Array(line.split(' ').map(name).collect()),
    });
    let mut lines: Vec<Reply> = lines.collect();
    // The oracle's engine of scripts is a module of its own.
    lines.retain(|line| ![Some(&b"module"[..]), Some(b"engine_0")].contains(&line.text()));
    let is_counted = |line: &Reply| {
        let name = line.text().unwrap_or_default();
        [&b"cmdstat_"[..], b"latency_percentiles_", b"errorstat_"]
            .iter()
            .any(|prefix| name.starts_with(prefix))
    };
    // These stand in the order of a hash table.
    lines.chunk_by_mut(|a, b| is_counted(a) && is_counted(b)).for_each(<[Reply]>::sort);
    let wire_type = if matches!(reply, Reply::Verbatim(_)) { "verbatim" } else { "text" };
    Reply::Array(vec![Reply::Simple(wire_type.into()), Reply::Array(lines)])
}

fn command_infos(reply: Reply) -> Reply {
    match reply {
        Reply::Array(items) => unordered(Reply::Array(items.into_iter().map(command_info).collect())),
        other => other,
    }
}

/// One entry: name, arity, flags, first, last, step, categories, tips, key specs, subcommands.
fn command_info(reply: Reply) -> Reply {
    let Reply::Array(items) = reply else { return reply };
    let slot = |(index, item)| match index {
        2 | 6 => unordered(item),
        8 => without(&item, &[b"notes"]),
        9 => command_infos(item),
        _ => item,
    };
    Reply::Array(items.into_iter().enumerate().map(slot).collect())
}

fn command_docs(reply: Reply) -> Reply {
    pairs(without(&reply, &[b"summary", b"complexity", b"history"]))
}

/// Drops those keys from maps and flat arrays of pairs on all levels, and sorts what hangs under `subcommands`.
fn without(reply: &Reply, names: &[&[u8]]) -> Reply {
    let dropped = |key: &Reply| key.text().is_some_and(|key| names.contains(&key));
    let value = |key: &Reply, value: &Reply| {
        let value = without(value, names);
        if key.text() == Some(b"subcommands") { pairs(value) } else { value }
    };
    match reply {
        Reply::Map(pairs) => {
            let kept = pairs.iter().filter(|(k, _)| !dropped(k));
            Reply::Map(kept.map(|(k, v)| (k.clone(), value(k, v))).collect())
        }
        Reply::Array(items)
            if items.len() % 2 == 0 && items.iter().step_by(2).all(|k| k.text().is_some()) =>
        {
            let kept = items.chunks(2).filter(|pair| !dropped(&pair[0]));
            Reply::Array(kept.flat_map(|pair| [pair[0].clone(), value(&pair[0], &pair[1])]).collect())
        }
        Reply::Array(items) => Reply::Array(items.iter().map(|item| without(item, names)).collect()),
        Reply::Set(items) => Reply::Set(items.iter().map(|item| without(item, names)).collect()),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Reply {
        Reply::Bulk(text.as_bytes().to_vec())
    }

    fn bulks(texts: &[&str]) -> Reply {
        Reply::Array(texts.iter().map(|t| bulk(t)).collect())
    }

    fn same(modes: &[Mode], a: &Reply, b: &Reply) -> bool {
        difference(modes, a, b).is_none()
    }

    #[test]
    fn without_a_mode_type_and_text_count() {
        assert!(same(&[], &bulk("1"), &bulk("1")));
        assert!(!same(&[], &bulk("1"), &Reply::Int(1)));
        assert!(!same(&[], &Reply::Nil, &Reply::NilArray));
        assert!(!same(&[], &Reply::Error(b"ERR a".to_vec()), &Reply::Error(b"ERR b".to_vec())));
    }

    #[test]
    fn order_matters_unless_named() {
        let (a, b) = (bulks(&["a", "1", "b", "2"]), bulks(&["b", "2", "a", "1"]));
        assert!(!same(&[], &a, &b));
        assert!(same(&[Mode::Pairs], &a, &b) && same(&[Mode::Unordered], &a, &b));
        assert!(!same(&[Mode::Pairs], &a, &bulks(&["b", "1", "a", "2"])));
    }

    #[test]
    fn tolerance_spares_the_codes_of_ttl() {
        let within = [Mode::Within(5)];
        assert!(same(&within, &Reply::Int(100), &Reply::Int(104)));
        assert!(!same(&within, &Reply::Int(100), &Reply::Int(106)));
        assert!(!same(&within, &Reply::Int(-1), &Reply::Int(2)));
        assert!(!same(&within, &Reply::Int(-1), &Reply::Int(-2)));
    }

    #[test]
    fn fields_compare_names_only() {
        let modes = [Mode::Fields];
        assert!(same(&modes, &bulk("# A\r\nx:1\r\ny:2\r\n"), &bulk("# A\r\nx:7\r\ny:a=b\r\n")));
        assert!(!same(&modes, &bulk("# A\r\nx:1\r\n"), &bulk("# A\r\ny:1\r\n")));
        assert!(same(&modes, &bulk("id=1 addr=127.0.0.1:5 name="), &bulk("id=2 addr=[::1]:6 name=x")));
        assert!(!same(&modes, &bulk("id=1 name="), &bulk("id=1 nam=")));
    }

    #[test]
    fn one_of_and_shape_and_outcome() {
        let one = [Mode::OneOf(vec![b"a".to_vec(), b"b".to_vec()])];
        assert!(same(&one, &bulk("a"), &bulk("b")));
        assert!(!same(&one, &bulk("a"), &bulk("c")));
        assert!(same(&[Mode::Shape], &bulks(&["a", "b"]), &bulks(&["c", "d"])));
        assert!(!same(&[Mode::Shape], &bulks(&["a", "b"]), &bulks(&["c"])));
        assert!(!same(&[Mode::Outcome], &bulk("a"), &Reply::Error(b"ERR".to_vec())));
    }

    #[test]
    fn only_keeps_named_values() {
        let names = |names: &[&str]| [Mode::Only(names.iter().map(|n| n.as_bytes().to_vec()).collect())];
        let stats = |hits: &str, usec: &str| {
            bulk(&format!(
                "# Stats\r\nhits:{hits}\r\nmisses:{usec}\r\ncmdstat_get:calls=2,usec={usec},usec_per_call=1.0,failed_calls=0\r\n"
            ))
        };
        let modes = names(&["hits", "cmdstat_get"]);
        assert!(same(&modes, &stats("1", "5"), &stats("1", "7")));
        assert!(!same(&modes, &stats("1", "5"), &stats("2", "5")));
        assert_eq!(
            normal(&modes, &stats("1", "5")).to_string(),
            r#"["cmdstat_get:calls=2,failed_calls=0" "hits:1"]"#
        );
        let client = |addr: &str, name: &str| bulk(&format!("id=3 addr={addr} name={name} db=0\n"));
        assert!(same(&names(&["name", "db"]), &client("127.0.0.1:5", "x"), &client("127.0.0.1:6", "x")));
        assert!(!same(&names(&["name", "db"]), &client("127.0.0.1:5", "x"), &client("127.0.0.1:5", "y")));
    }

    #[test]
    fn keys_without_and_mask() {
        let (a, b) = (bulks(&["dir", "/a", "x", "1"]), bulks(&["x", "1", "dir", "/b"]));
        assert!(same(&[Mode::Keys], &a, &b) && !same(&[Mode::Pairs], &a, &b));
        assert!(same(&[Mode::Without(vec![b"dir".to_vec()]), Mode::Pairs], &a, &b));
        let log = |time, command| Reply::Array(vec![Reply::Array(vec![Reply::Int(time), bulk(command)])]);
        assert!(same(&[Mode::Mask(vec![0])], &log(1, "get"), &log(2, "get")));
        assert!(!same(&[Mode::Mask(vec![0])], &log(1, "get"), &log(2, "set")));
    }

    #[test]
    fn docs_drop_wording_and_keep_arguments() {
        let docs = |summary: &str, argument: &str| {
            let entry = [bulk("summary"), bulk(summary), bulk("arguments"), bulks(&["name", argument])];
            Reply::Array(vec![bulk("get"), Reply::Array(entry.to_vec())])
        };
        assert!(same(&[Mode::CommandDocs], &docs("x", "key"), &docs("y", "key")));
        assert!(!same(&[Mode::CommandDocs], &docs("x", "key"), &docs("x", "field")));
    }
}
