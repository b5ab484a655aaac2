//! Tests of the options as a whole: the server's names, defaults, errors, files and rewritten files.
//!
//! Parts are tested beside their code.

use super::events::KeyspaceEvents;
use super::*;

use proptest::prelude::*;

/// Lines of "name TAB default TAB mutable|immutable" as the server's CONFIG GET * and CONFIG SET gave them.
const SERVER_NAMES: &str = include_str!("../../tests/data/config_names.txt");

fn set(config: &Config, name: &str, value: &str) -> Result<(), String> {
    config.set(&[(name.as_bytes(), value.as_bytes())]).map_err(|error| error.to_string())
}

fn get(config: &Config, name: &str) -> String {
    String::from_utf8(config.text(name).unwrap()).unwrap()
}

fn reason(config: &Config, name: &str, value: &str) -> String {
    let error = set(config, name, value).unwrap_err();
    let start = format!("CONFIG SET failed (possibly related to argument '{name}') - ");
    error.strip_prefix(&start).unwrap_or_else(|| panic!("{error}")).to_owned()
}

#[test]
fn names_defaults_and_mutability_are_the_servers() {
    let config = Config::default();
    let mut names = Vec::new();
    for line in SERVER_NAMES.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        let spec =
            &OPTIONS[table::find(fields[0].as_bytes()).unwrap_or_else(|| panic!("{} is missing", fields[0]))];
        assert_eq!(spec.mutability == Mutability::Immutable, fields[2] == "immutable", "{}", fields[0]);
        if spec.name != "dir" {
            assert_eq!(get(&config, fields[0]), fields[1], "{}", fields[0]);
        }
        names.push(fields[0].to_owned());
    }
    let mut ours: Vec<String> =
        config.get(&[b"*"]).into_iter().map(|(name, _)| String::from_utf8(name).unwrap()).collect();
    ours.sort();
    names.sort();
    assert_eq!(ours, names);
    for name in table::OURS {
        assert_eq!(config.get(&[name.as_bytes()]).len(), 1, "{name} is told by its name");
    }
}

#[test]
fn a_folder_is_told_by_its_full_path() {
    let config = Config::from_text(b"dir src/../src\n").unwrap();
    let full = std::env::current_dir().unwrap().join("src").canonicalize().unwrap();
    assert_eq!(get(&config, "dir"), full.to_str().unwrap());
}

#[test]
fn every_option_says_what_it_is_for_and_whether_it_works() {
    for spec in OPTIONS.iter() {
        assert!(spec.doc().ends_with('.'), "{}", spec.name);
        assert_eq!(spec.applies == Applies::Accepted, spec.doc().contains("without effect"), "{}", spec.name);
        let reason = spec.warning().map(|warning| warning.split(": ").nth(1).unwrap_or_default().len());
        assert!(reason.is_none_or(|reason| reason > ".".len()), "{} has no reason", spec.name);
    }
}

#[test]
fn who_sets_what_has_no_effect_is_told_so_with_the_reason() {
    let config =
        Config::from_text(b"daemonize yes\nport 7000\nsupervised no\nrepl-timeout 5\nio-threads 4\n")
            .unwrap();
    assert_eq!(
        config.warnings(),
        [
            "The option daemonize has no effect: the program stays in the foreground; a supervisor can put it elsewhere.",
            "The option repl-timeout has no effect: there are no replicas."
        ]
    );
}

/// Every name that the server's CONFIG GET tells is done, refused, or warned about.
#[test]
fn no_option_of_the_server_is_without_effect_silently() {
    for line in SERVER_NAMES.lines() {
        let name = line.split('\t').next().unwrap();
        let spec = &OPTIONS[table::find(name.as_bytes()).unwrap()];
        assert_eq!(spec.warning().is_some(), spec.applies == Applies::Accepted, "{name}");
    }
}

#[test]
fn hot_options_are_in_the_table_and_follow_it() {
    let config = Config::default();
    for name in hot::HOT_NAMES {
        assert_eq!(OPTIONS[table::find(name.as_bytes()).unwrap()].name, *name);
    }
    assert_eq!(config.hot().hash_max_listpack_entries(), 512);
    assert_eq!(config.hot().slowlog_log_slower_than(), 10_000);
    assert!(config.hot().latency_tracking());
    config.set(&[(b"slowlog-log-slower-than", b"-1"), (b"notify-keyspace-events", b"KEA")]).unwrap();
    assert_eq!(config.hot().slowlog_log_slower_than(), -1);
    assert!(config.hot().notify_keyspace_events().contains(KeyspaceEvents::KEYSPACE));
    assert_eq!(MAXMEMORY_POLICIES[config.hot().maxmemory_policy()], "noeviction");
}

#[test]
fn get_answers_in_the_callers_spelling_and_nothing_twice() {
    let config = Config::default();
    let names = |patterns: &[&[u8]]| -> Vec<String> {
        config.get(patterns).into_iter().map(|(name, _)| String::from_utf8(name).unwrap()).collect()
    };
    assert_eq!(names(&[b"HZ"]), ["HZ"]);
    assert_eq!(names(&[b"hz", b"h*z", b"hz", b"HZ"]), ["hz"]);
    assert_eq!(names(&[b"nosuch"]), [""; 0]);
    assert_eq!(names(&[b"slave-priority", b"replica-priority"]), ["slave-priority", "replica-priority"]);
    let mut slowlog = names(&[b"SLOWLOG*"]);
    slowlog.sort();
    assert_eq!(slowlog, ["slowlog-log-slower-than", "slowlog-max-len"]);
}

#[test]
fn setting_is_all_or_nothing() {
    let config = Config::default();
    let error = config.set(&[(b"maxmemory", b"5"), (b"hz", b"abc")]).unwrap_err().to_string();
    assert_eq!(
        error,
        "CONFIG SET failed (possibly related to argument 'hz') - argument couldn't be parsed into an integer"
    );
    assert_eq!(get(&config, "maxmemory"), "0");
    let error = config.set(&[(b"maxmemory", b"7"), (b"nosuch", b"4")]).unwrap_err().to_string();
    assert_eq!(error, "Unknown option or number of arguments for CONFIG SET - 'nosuch'");
    let error = config.set(&[(b"maxmemory", b"x"), (b"MAXMEMORY", b"2")]).unwrap_err().to_string();
    assert_eq!(error, "CONFIG SET failed (possibly related to argument 'MAXMEMORY') - duplicate parameter");
    config.set(&[(b"hash-max-listpack-entries", b"1"), (b"hash-max-ziplist-entries", b"2")]).unwrap();
    assert_eq!(get(&config, "hash-max-listpack-entries"), "2");
}

#[test]
fn refusals_are_worded_as_the_servers() {
    let config = Config::default();
    for (name, value, expected) in [
        ("databases", "4", "can't set immutable config"),
        ("dir", "/tmp", "can't set protected config"),
        ("maxmemory", "x", "argument must be a memory value"),
        ("repl-backlog-size", "0", "argument must be between 1 and 9223372036854775807 inclusive"),
        ("hz", "-1", "argument must be between 0 and 2147483647 inclusive"),
        ("hz", "010", "argument couldn't be parsed into an integer"),
        ("activerehashing", "maybe", "argument must be 'yes' or 'no'"),
        ("appendfsync", "YES", "argument(s) must be one of the following: everysec, always, no"),
        ("save", "100 1 200", "Invalid save parameters"),
        ("save", "0 1", "Invalid save parameters"),
        ("save", "  100   1  ", "Invalid save parameters"),
        (
            "client-output-buffer-limit",
            "normal 0 0",
            "Wrong number of arguments in buffer limit configuration.",
        ),
        (
            "client-output-buffer-limit",
            "foo 0 0 0",
            "Invalid client class specified in buffer limit configuration.",
        ),
        (
            "client-output-buffer-limit",
            "normal 0 0 -1",
            "Error in hard, soft or soft_seconds setting in buffer limit configuration.",
        ),
        ("oom-score-adj-values", "1 2", "wrong number of arguments"),
        (
            "oom-score-adj-values",
            "-3000 2 1",
            "Invalid oom-score-adj-values, elements must be between -2000 and 2000.",
        ),
        ("notify-keyspace-events", "q", "Invalid event class character. Use 'Ag$lshzxeKEtmdn'."),
        (
            "latency-tracking-info-percentiles",
            "101",
            "latency-tracking-info-percentiles parameters should sit between [0.0,100.0]",
        ),
        ("latency-tracking-info-percentiles", "x", "Invalid latency-tracking-info-percentiles parameters"),
        (
            "shutdown-on-sigint",
            "save nosave",
            "shutdown options SAVE and NOSAVE can't be used simultaneously",
        ),
        (
            "shutdown-on-sigint",
            "",
            "argument(s) must be one of the following: default, save, nosave, now, force",
        ),
        ("maxmemory-clients", "101%", "percentage argument must be less or equal to 100"),
        ("maxmemory-clients", "-1%", "argument must be a memory or percent value"),
        ("maxmemory-clients", "1.5%", "argument must be a memory or percent value"),
        ("rdma-bind", "a", "No RDMA building support."),
    ] {
        assert_eq!(reason(&config, name, value), expected, "{name} {value:?}");
    }
}

#[test]
fn values_are_printed_as_the_servers() {
    let config = Config::default();
    for (name, value, printed) in [
        ("maxmemory", "1GB", "1073741824"),
        ("maxmemory", "18446744073709551616", "18446744073709551615"),
        ("maxmemory-clients", "50%", "50%"),
        ("maxmemory-clients", "0%", "0"),
        ("maxmemory-policy", "allkeys-LRU", "allkeys-lru"),
        ("hz", "0", "1"),
        ("hz", "10000", "500"),
        ("repl-backlog-size", "1", "16384"),
        ("save", "900 1 300 10", "900 1 300 10"),
        ("save", "", ""),
        (
            "client-output-buffer-limit",
            "normal 1mb 1k 10",
            "normal 1048576 1000 10 slave 268435456 67108864 60 pubsub 33554432 8388608 60",
        ),
        (
            "client-output-buffer-limit",
            "normal 1 2 3 replica 4 5 6",
            "normal 1 2 3 slave 4 5 6 pubsub 33554432 8388608 60",
        ),
        ("shutdown-on-sigint", "force save", "save force"),
        ("shutdown-on-sigint", "now default", "now"),
        ("latency-tracking-info-percentiles", "50 60.5 33.33333333333", "50 60.5 33.333333"),
        ("latency-tracking-info-percentiles", "", ""),
        ("bind", "127.0.0.1 ::1", "127.0.0.1 ::1"),
        ("loglevel", "WARNING", "warning"),
        ("cluster-blacklist-ttl", "-5", "-5"),
    ] {
        set(&config, name, value).unwrap();
        assert_eq!(get(&config, name), printed, "{name} {value:?}");
    }
}

fn load(text: &str) -> Result<Config, String> {
    let config = Config::default();
    config.parse_file(text.as_bytes()).map_err(|error| error.to_string())?;
    Ok(config)
}

fn line_error(number: usize, text: &str, reason: &str) -> String {
    format!(
        "\n*** FATAL CONFIG FILE ERROR (Version 9.1.2) ***\nReading the configuration file, at line {number}\n>>> '{text}'\n{reason}\n"
    )
}

#[test]
fn files_stop_at_the_first_wrong_line() {
    for (text, number, line, reason) in [
        ("foo bar\n", 1, "foo bar", "Bad directive or wrong number of arguments"),
        ("hz\n", 1, "hz", "wrong number of arguments"),
        ("hz 1 2\n", 1, "hz 1 2", "wrong number of arguments"),
        ("hz \"10\n", 1, "hz \"10", "Unbalanced quotes in configuration line"),
        ("hz 10\nhz -1\n", 2, "hz -1", "argument must be between 0 and 2147483647 inclusive"),
        ("\t hz 10 # x\n", 1, "hz 10 # x", "wrong number of arguments"),
        ("hz\x0010\n", 1, "hz", "wrong number of arguments"),
        ("user\n", 1, "user", "Bad directive or wrong number of arguments"),
        ("include\n", 1, "include", "Bad directive or wrong number of arguments"),
        ("rename-command get\n", 1, "rename-command get", "Bad directive or wrong number of arguments"),
        ("loadmodule\n", 1, "loadmodule", "Bad directive or wrong number of arguments"),
        ("sentinel x\n", 1, "sentinel x", "sentinel directive while not in sentinel mode"),
        ("save 900\n", 1, "save 900", "Invalid save parameters"),
        ("save \"\" 1\n", 1, "save \"\" 1", "Invalid save parameters"),
        ("databases 0\n", 1, "databases 0", "argument must be between 1 and 2147483647 inclusive"),
        ("unixsocketperm 999\n", 1, "unixsocketperm 999", "argument couldn't be parsed as an octal number"),
        ("unixsocketperm 1000\n", 1, "unixsocketperm 1000", "argument must be between 0 and 777 inclusive"),
        ("replicaof a\n", 1, "replicaof a", "wrong number of arguments"),
        ("replicaof a 70000\n", 1, "replicaof a 70000", "Invalid primary port"),
        ("oom-score-adj-values 1 2 3 4\n", 1, "oom-score-adj-values 1 2 3 4", "wrong number of arguments"),
        (
            "bind a a a a a a a a a a a a a a a a a\n",
            1,
            "bind a a a a a a a a a a a a a a a a a",
            "Too many bind addresses specified.",
        ),
        ("# f\n\nnosuch \"1\" ", 3, "nosuch \"1\"", "Bad directive or wrong number of arguments"),
    ] {
        assert_eq!(load(text).unwrap_err(), line_error(number, line, reason), "{text:?}");
    }
}

#[test]
fn files_set_options() {
    let config = load(
        "# comment\n\n  MAXMEMORY 100mb  \r\nsave 900 1\nsave 300 10\nrequirepass \"a b\\x41\"\nunixsocketperm 700\ndatabases 4\n\
         client-output-buffer-limit normal 1 1 1\nclient-output-buffer-limit pubsub 2 2 2\ndynamic-hz no\nreplicaof no one\n\
         latency-tracking-info-percentiles 50 99\nslave-priority 7\n",
    )
    .unwrap();
    for (name, value) in [
        ("maxmemory", "104857600"),
        ("save", "900 1 300 10"),
        ("requirepass", "a bA"),
        ("unixsocketperm", "700"),
        ("databases", "4"),
        ("client-output-buffer-limit", "normal 1 1 1 slave 268435456 67108864 60 pubsub 2 2 2"),
        ("latency-tracking-info-percentiles", "50 99"),
        ("replica-priority", "7"),
    ] {
        assert_eq!(get(&config, name), value);
    }
    assert_eq!(config.hot().databases(), 4);
    assert_eq!(get(&load("save 1 1\nsave \"\"\nsave 5 5\n").unwrap(), "save"), "5 5");
    assert_eq!(get(&load("save 1 1\nsave\n").unwrap(), "save"), "");
}

#[test]
fn directives_are_handed_on() {
    let text = b"user alice on >pw ~*\nrename-command DEBUG \"\"\nloadmodule /x a b\n";
    let directives = Config::default().parse_file(text).unwrap();
    assert_eq!(directives.users, [[b"alice".to_vec(), b"on".to_vec(), b">pw".to_vec(), b"~*".to_vec()]]);
    assert_eq!(directives.renames, [(b"DEBUG".to_vec(), Vec::new())]);
    assert_eq!(directives.modules.len(), 1);
}

#[test]
fn files_include_files() {
    let dir = std::env::temp_dir().join(format!("keystead-config-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("a.conf"), "hz 20\n").unwrap();
    std::fs::write(dir.join("b.conf"), "timeout 3\n").unwrap();
    std::fs::write(dir.join("bad"), "hz 10\nhz bad\n").unwrap();
    let include = |name: &str| load(&format!("include {}\n", dir.join(name).display()));
    let config = include("*.conf").unwrap();
    assert_eq!((get(&config, "hz").as_str(), get(&config, "timeout").as_str()), ("20", "3"));
    assert_eq!(
        include("bad").unwrap_err(),
        line_error(2, "hz bad", "argument couldn't be parsed into an integer")
    );
    assert_eq!(
        load("include /nope\n").unwrap_err(),
        "Fatal error, can't open config file '/nope': No such file or directory"
    );
    std::fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn rewriting_keeps_comments_and_order() {
    let old = "# A comment\nmaxmemory 100mb\n\n# policy below\nmaxmemory-policy allkeys-lru\nsave 900 1\nsave 300 10\nhz 10\n   \
               appendonly   no   \nslave-priority 50\nclient-output-buffer-limit normal 1mb 2mb 3\nlist-max-ziplist-size -3\n\
               rename-command DEBUG BAR\nuser alice on\nrequirepass \"a b\\x00c\"\nmaxmemory-samples 7\n\
               maxmemory-samples 8\ndynamic-hz no\nlatency-tracking-info-percentiles 50 99\nunixsocketperm 700\nbind 127.0.0.1\n";
    let config = load(old).unwrap();
    config
        .set(&[
            (b"maxmemory", b"200mb"),
            (b"hz", b"20"),
            (b"lfu-decay-time", b"5"),
            (b"slowlog-max-len", b"5"),
            (b"maxmemory-clients", b"5%"),
            (b"maxmemory-samples", b"5"),
            (b"save", b"100 1 200 2"),
            (b"notify-keyspace-events", b"KEA"),
        ])
        .unwrap();
    let new =
        String::from_utf8(config.rewrite(old.as_bytes(), &[b"alice on #1".to_vec(), b"default on".to_vec()]))
            .unwrap();
    let (kept, appended) = new.split_once("# Generated by CONFIG REWRITE\n").unwrap();
    assert_eq!(
        kept,
        "# A comment\nmaxmemory 200mb\n\n# policy below\nmaxmemory-policy allkeys-lru\nsave 100 1 200 2\n\nhz 20\nappendonly no\n\
         replica-priority 50\nclient-output-buffer-limit normal 1mb 2mb 3\nlist-max-listpack-size -3\n\
         rename-command DEBUG BAR\nuser alice on #1\nrequirepass \"a b\\x00c\"\nmaxmemory-samples 5\n\n\
         # ??? dynamic-hz no\nlatency-tracking-info-percentiles 50 99\nunixsocketperm 700\nbind 127.0.0.1\n\n"
    );
    let mut appended: Vec<&str> = appended.lines().filter(|line| !line.starts_with("dir ")).collect();
    appended.sort();
    assert_eq!(
        appended,
        [
            "commandlog-slow-execution-max-len 5",
            "lfu-decay-time 5",
            "maxmemory-clients 5%",
            "notify-keyspace-events \"AKE\"",
            "user default on",
        ]
    );
}

#[test]
fn rewriting_an_empty_file_writes_what_the_server_writes() {
    let config = Config::default();
    let text = String::from_utf8(config.rewrite(b"", &[])).unwrap();
    let mut lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.remove(0), "# Generated by CONFIG REWRITE");
    lines.retain(|line| !line.starts_with("dir "));
    lines.sort();
    assert_eq!(lines, ["latency-tracking-info-percentiles 50 99 99.9", "save 3600 1 300 100 60 10000"]);
}

#[test]
fn rewriting_keeps_a_line_that_went_back_to_its_default() {
    let config = load("hz 20\nrequirepass x\n").unwrap();
    config.set(&[(b"hz", b"10"), (b"requirepass", b""), (b"save", b"")]).unwrap();
    let text = String::from_utf8(config.rewrite(b"hz 20\nrequirepass x\n", &[])).unwrap();
    assert!(text.starts_with("hz 10\n\n# Generated by CONFIG REWRITE\n"), "{text}");
    assert!(text.contains("\nsave \"\"\n"));
}

proptest! {
    #[test]
    fn any_file_parses_or_not_without_panic(text in "(hz|save|bind|maxmemory|user|include|#|\"|'|[0-9 \\n\\\\xk%]){0,30}") {
        let config = Config::default();
        let _ = config.parse_file(text.as_bytes());
        config.rewrite(text.as_bytes(), &[]);
    }

    #[test]
    fn any_value_is_taken_or_refused_without_panic(index in 0..OPTIONS.len(), value: Vec<u8>) {
        let config = Config::default();
        let _ = config.set(&[(OPTIONS[index].name.as_bytes(), &value)]);
    }

    #[test]
    fn a_rewritten_file_loads_to_the_same_values(
        settings in prop::collection::vec((0..OPTIONS.len(), "[0-9]{1,4}|[0-9]{1,3}(kb|mb|%)|yes|no|[a-zKEA ]{0,6}|[0-9]{1,3} [0-9]{1,3}"), 0..30)
    ) {
        let config = Config::default();
        for (index, value) in &settings {
            let _ = config.set(&[(OPTIONS[*index].name.as_bytes(), value.as_bytes())]);
        }
        let text = config.rewrite(b"", &[]);
        let loaded = Config::default();
        loaded.parse_file(&text).map_err(|error| TestCaseError::fail(error.to_string()))?;
        for (ours, theirs) in loaded.get(&[b"*"]).into_iter().zip(config.get(&[b"*"])) {
            prop_assert_eq!(ours, theirs);
        }
        prop_assert_eq!(loaded.rewrite(&text, &[]), [&text[..], b"\n"].concat());
    }
}
