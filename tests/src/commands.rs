//! Compares what two servers say of their commands, field by field, and holds the differences against a table in which each has its reason.
//!
//! What a field says is brought into one form by `compare.rs`, as it is for scripts. The table is `command_differences.txt`.

use crate::compare;
use crate::resp::{Client, Reply};
use crate::script::Mode;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;

/// The table of differences that are meant.
pub const TABLE: &str = include_str!("../command_differences.txt");

/// The field of a command that only the oracle has, and its subcommands with it.
const ABSENT: &str = "absent";
/// The field of a command that only the subject has.
const EXTRA: &str = "extra";

/// What the places of a reply of COMMAND INFO hold, behind the name. The last, the subcommands, are commands by themselves.
const INFO: [&str; 8] =
    ["arity", "flags", "first-key", "last-key", "key-step", "acl-categories", "tips", "key-specs"];

/// Every command and subcommand by name (`config|get`), and what is said of it by field.
pub type Commands = BTreeMap<String, BTreeMap<String, String>>;

/// Where two servers differ.
#[derive(Debug, PartialEq, Eq)]
pub struct Difference {
    /// The command, or the subcommand: `config|get`.
    pub name: String,
    /// What is said of it, or `absent`, or `extra`.
    pub field: String,
    /// What each says.
    texts: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}{}", self.name, self.field, self.texts)
    }
}

/// Asks a server for all its commands.
///
/// # Errors
/// Those of the connection, or a reply of another shape.
pub fn described(client: &mut Client) -> io::Result<Commands> {
    let infos = compare::normal(&[Mode::CommandInfo], &client.call(&["COMMAND"])?);
    let docs = compare::normal(&[Mode::CommandDocs], &client.call(&["COMMAND", "DOCS"])?);
    let mut commands = Commands::new();
    add_infos(&infos, &mut commands).and_then(|()| add_docs(&docs, &mut commands)).ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidData, "COMMAND or COMMAND DOCS replied in another shape")
    })?;
    Ok(commands)
}

fn text(reply: &Reply) -> Option<String> {
    reply.text().map(|text| String::from_utf8_lossy(text).into_owned())
}

fn add_infos(infos: &Reply, commands: &mut Commands) -> Option<()> {
    for info in infos.items()? {
        let (name, rest) = info.items()?.split_first()?;
        let fields = commands.entry(text(name)?).or_default();
        let told = INFO.iter().zip(rest).map(|(field, value)| ((*field).to_owned(), value.to_string()));
        fields.extend(told);
        add_infos(rest.get(INFO.len())?, commands)?;
    }
    Some(())
}

fn add_docs(docs: &Reply, commands: &mut Commands) -> Option<()> {
    for command in docs.items()?.chunks_exact(2) {
        let name = text(&command[0])?;
        for field in command[1].items()?.chunks_exact(2) {
            match text(&field[0])?.as_str() {
                "subcommands" => add_docs(&field[1], commands)?,
                other => {
                    commands.entry(name.clone()).or_default().insert(other.to_owned(), field[1].to_string());
                }
            }
        }
    }
    Some(())
}

/// All differences, by name. A command that is absent stands for its subcommands.
pub fn differences(oracle: &Commands, subject: &Commands) -> Vec<Difference> {
    let names: BTreeSet<&String> = oracle.keys().chain(subject.keys()).collect();
    let mut found = Vec::new();
    for name in names {
        let difference =
            |field: &str, texts| Difference { name: name.clone(), field: field.to_owned(), texts };
        let container = name.split_once('|').map(|(container, _)| container);
        let stands_for = |side: &Commands| container.is_some_and(|container| !side.contains_key(container));
        match (oracle.get(name), subject.get(name)) {
            (Some(theirs), Some(ours)) => {
                let fields: BTreeSet<&String> = theirs.keys().chain(ours.keys()).collect();
                for field in fields.into_iter().filter(|field| theirs.get(*field) != ours.get(*field)) {
                    let said = |side: &BTreeMap<String, String>| {
                        side.get(field).map_or_else(|| "nothing".to_owned(), Clone::clone)
                    };
                    let texts = format!("\n  oracle   {}\n  subject  {}", said(theirs), said(ours));
                    found.push(difference(field, texts));
                }
            }
            (Some(_), None) if !stands_for(subject) => found.push(difference(ABSENT, String::new())),
            (None, Some(_)) if !stands_for(oracle) => found.push(difference(EXTRA, String::new())),
            _ => {}
        }
    }
    found
}

/// A difference that is meant.
#[derive(Debug)]
struct Row<'t> {
    line: usize,
    name: &'t str,
    field: &'t str,
}

fn rows(table: &str) -> Result<Vec<Row<'_>>, String> {
    let mut rows: Vec<Row<'_>> = Vec::new();
    for (line, text) in (1..).zip(table.lines()) {
        let text = text.trim();
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        let mut words = text.split_whitespace();
        let (Some(name), Some(field), Some(_reason)) = (words.next(), words.next(), words.next()) else {
            return Err(format!("line {line}: a row is a name, a field and a reason: {text}"));
        };
        if let Some(other) = rows.iter().find(|row| (row.name, row.field) == (name, field)) {
            return Err(format!("line {line}: {name} {field} stands in line {} already", other.line));
        }
        rows.push(Row { line, name, field });
    }
    Ok(rows)
}

/// Holds differences against a table: what it does not explain, and rows that explain nothing.
///
/// # Errors
/// A row that is none.
pub fn unexplained(differences: &[Difference], table: &str) -> Result<Vec<String>, String> {
    let rows = rows(table)?;
    let explains = |row: &Row<'_>, found: &Difference| (row.name, row.field) == (&found.name, &found.field);
    let new = differences.iter().filter(|found| !rows.iter().any(|row| explains(row, found)));
    let old = rows.iter().filter(|row| !differences.iter().any(|found| explains(row, found)));
    let old =
        old.map(|Row { line, name, field }| format!("line {line}: {name} {field} is no difference any more"));
    Ok(new.map(ToString::to_string).chain(old).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commands(list: &[(&str, &[(&str, &str)])]) -> Commands {
        let fields = |fields: &[(&str, &str)]| {
            fields.iter().map(|(field, text)| ((*field).to_owned(), (*text).to_owned())).collect()
        };
        list.iter().map(|(name, told)| ((*name).to_owned(), fields(told))).collect()
    }

    fn shown(oracle: &Commands, subject: &Commands) -> Vec<String> {
        differences(oracle, subject).iter().map(|found| format!("{} {}", found.name, found.field)).collect()
    }

    #[test]
    fn each_field_is_compared_and_a_container_stands_for_its_subcommands() {
        let oracle = commands(&[
            ("acl", &[("arity", ":-2")]),
            ("acl|cat", &[("arity", ":-2")]),
            ("config", &[("arity", ":-2")]),
            ("config|get", &[("arity", ":-3"), ("since", "\"2.0.0\"")]),
            ("config|set", &[("arity", ":-4")]),
        ]);
        assert_eq!(shown(&oracle, &oracle), [""; 0]);
        let subject = commands(&[
            ("config", &[("arity", ":-2")]),
            ("config|get", &[("arity", ":3"), ("flags", "[+fast]")]),
            ("own", &[]),
            ("own|help", &[]),
        ]);
        assert_eq!(
            shown(&oracle, &subject),
            [
                "acl absent",
                "config|get arity",
                "config|get flags",
                "config|get since",
                "config|set absent",
                "own extra"
            ]
        );
    }

    #[test]
    fn a_table_explains_what_it_names_and_nothing_else() {
        let (oracle, subject) =
            (commands(&[("a", &[("arity", "1")]), ("b", &[])]), commands(&[("a", &[("arity", "2")])]));
        let found = differences(&oracle, &subject);
        let complaints = |table: &str| unexplained(&found, table);
        assert_eq!(complaints("# all\na arity  a reason\n\nb absent issue 1: later\n").unwrap(), [""; 0]);
        assert_eq!(complaints("a arity reason\n").unwrap(), ["b absent"]);
        assert_eq!(complaints("b absent reason\n").unwrap(), ["a arity\n  oracle   1\n  subject  2"]);
        assert_eq!(
            complaints("a arity x\nb absent x\nc absent x\na flags x\n").unwrap(),
            ["line 3: c absent is no difference any more", "line 4: a flags is no difference any more"]
        );
        assert!(complaints("a arity\n").unwrap_err().contains("line 1: a row is"));
        assert!(complaints("a arity x\na arity y\n").unwrap_err().contains("line 1 already"));
    }

    #[test]
    fn the_table_has_rows_and_each_a_reason() {
        assert!(!rows(TABLE).unwrap().is_empty());
    }

    #[test]
    fn replies_become_fields_by_name() {
        let bulk = |text: &str| Reply::Bulk(text.as_bytes().to_vec());
        let info = |name: &str, arity, subcommands: Vec<Reply>| {
            let lists = || Reply::Array(Vec::new());
            let number = Reply::Int;
            Reply::Array(vec![
                bulk(name),
                number(arity),
                lists(),
                number(1),
                number(2),
                number(3),
                lists(),
                lists(),
                lists(),
                Reply::Array(subcommands),
            ])
        };
        let infos = Reply::Array(vec![info("config", -2, vec![info("config|get", -3, Vec::new())])]);
        let told = |since: &str| vec![bulk("since"), bulk(since)];
        let get = Reply::Array(vec![bulk("config|get"), Reply::Array(told("2.0.0"))]);
        let docs = [told("1.0.0"), vec![bulk("subcommands"), get]].concat();
        let docs = Reply::Array(vec![bulk("config"), Reply::Array(docs)]);
        let mut commands = Commands::new();
        add_infos(&infos, &mut commands).and_then(|()| add_docs(&docs, &mut commands)).unwrap();
        assert_eq!(commands.len(), 2);
        assert_eq!((&*commands["config"]["arity"], &*commands["config|get"]["arity"]), (":-2", ":-3"));
        assert_eq!(
            (&*commands["config"]["key-step"], &*commands["config|get"]["since"]),
            (":3", "\"2.0.0\"")
        );
        assert_eq!(add_infos(&Reply::Int(1), &mut commands), None);
    }
}
