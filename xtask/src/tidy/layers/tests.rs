//! The rules on layers, with one violation of each planted.

use super::*;

/// What is found in a tree of these files below `core/src`.
fn found(files: &[(&str, &str)]) -> String {
    let exports = "//! T.\npub use engine::{Builder, Engine};\npub use database::loads::Load;\n";
    let own = files.iter().map(|(name, text)| (format!("core/src/{name}"), format!("//! A file.\n{text}")));
    let mut files: Vec<(String, String)> = own.collect();
    if !files.iter().any(|(name, _)| name == "core/src/lib.rs") {
        files.push(("core/src/lib.rs".to_owned(), exports.to_owned()));
    }
    check(&files).join("\n")
}

#[test]
fn an_arrow_that_runs_upward() {
    let planted = "use crate::clock::Clock;\nuse crate::commands::string;\n";
    assert_eq!(
        found(&[("keyspace/db.rs", planted)]),
        "core/src/keyspace/db.rs:3: `keyspace` (keyspace) uses `commands` (commands), a layer above it"
    );
    let downward = "use crate::keyspace::Db;\nuse crate::command::Reply;\n";
    assert_eq!(found(&[("commands/string/get.rs", downward)]), "");
    let group = "use crate::{\n    clock::Clock,\n    engine::{Engine, Handle},\n    value,\n};\n";
    assert!(found(&[("expire/wheel.rs", group)]).contains("wheel.rs:2: `expire` (keyspace) uses `engine`"));
    let exported = "pub(crate) use crate::listener::Port;\n";
    assert!(found(&[("value/hash.rs", exported)]).contains("uses `listener`"));
    assert!(found(&[("drawer.rs", "")]).contains("in no layer"));
}

#[test]
fn paths_within_code_through_super_and_by_way_of_exports() {
    let inline = "fn f() {\n    crate::engine::start();\n}\n";
    assert!(found(&[("store/table.rs", inline)]).contains("table.rs:3: `store` (store) uses `engine`"));
    assert!(found(&[("store/mod.rs", "use super::engine::Engine;\n")]).contains("uses `engine`"));
    assert!(found(&[("store/table.rs", "use super::super::engine::Engine;\n")]).contains("uses `engine`"));
    assert_eq!(found(&[("store/table.rs", "use super::engine::Engine;\n")]), "");
    assert!(found(&[("store/table.rs", "fn f(_: crate::Engine) {}\n")]).contains("uses `engine`"));
    assert!(found(&[("store/table.rs", "use crate::{Load, clock};\n")]).contains("uses `database`"));
    assert_eq!(found(&[("store/table.rs", "// crate::engine\nconst NAME: &str = \"crate::engine\";\n")]), "");
}

#[test]
fn a_circle_between_modules_of_one_layer() {
    let stats = ("stats.rs", "use crate::clients::Clients;\n");
    let clients = ("clients/mod.rs", "mod state;\n");
    let state = ("clients/state.rs", "fn f() { crate::pulse::beat() }\n");
    let pulse = ("pulse.rs", "use crate::stats::Stats;\n");
    assert_eq!(found(&[stats, clients, pulse]), "");
    assert_eq!(
        found(&[stats, clients, state, pulse]),
        "a circle of modules: `clients` uses `pulse` (core/src/clients/state.rs:2), `pulse` uses `stats` (core/src/pulse.rs:2), `stats` uses \
         `clients` (core/src/stats.rs:2)"
    );
    // Within a module files may use each other as they like.
    assert_eq!(found(&[("clients/state.rs", "use super::Clients;\nuse crate::clients::mark;\n")]), "");
}

#[test]
fn tests_may_look_anywhere_and_code_behind_them_may_not() {
    let tested = "#[cfg(test)]\nmod tests {\n    use crate::engine::Engine;\n}\n";
    assert_eq!(found(&[("keyspace/db.rs", tested)]), "");
    let behind = format!("{tested}use crate::engine::Engine;\n");
    assert!(found(&[("keyspace/db.rs", &behind)]).contains("db.rs:6:"));
    let item = "#[cfg(test)]\nuse crate::engine::Engine;\nuse crate::commands::LIST;\n";
    assert!(found(&[("keyspace/db.rs", item)]).contains("db.rs:4: `keyspace` (keyspace) uses `commands`"));
    let files = [
        ("keyspace/mod.rs", "#[cfg(test)]\nmod trials;\n#[cfg(all(test, loom))]\n#[allow(x)]\nmod models;\n"),
        ("keyspace/trials.rs", "use crate::engine::Engine;\n"),
        ("keyspace/models/deep.rs", "use crate::engine::Engine;\n"),
    ];
    assert_eq!(found(&files), "");
}

#[test]
fn heads_of_groups() {
    let heads = |path| heads(path).into_iter().collect::<Vec<_>>();
    assert_eq!(heads("a::b::C;"), ["a"]);
    assert_eq!(heads("{a::b, c::{d, e::F}, g};"), ["a", "c", "g"]);
    assert_eq!(heads("a::{b, c};"), ["a"]);
    assert_eq!(heads("Engine;"), ["Engine"]);
    assert_eq!(heads("engine::start(x, y)"), ["engine"]);
}
