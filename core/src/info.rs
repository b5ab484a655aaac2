//! INFO: sections and fields of the server's, printed from a snapshot of the engine.
//!
//! Filling the snapshot is the commands' task, who know the engine.

mod datum;
mod fields;
mod snapshot;

use std::fmt::Write as _;

use fields::Field;
pub(crate) use snapshot::{CommandLatency, CommandStats, DatabaseStats, Snapshot};

use crate::command::is_token;
use crate::config::format_percentile;

/// The version of Redis that it is compatible with.
pub(crate) const REDIS_VERSION: &str = "7.2.4";

/// Where a section is printed without being asked for by name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Printed {
    /// In `default`, `all` and `everything`.
    Always,
    /// In `all` and `everything`.
    InAll,
}

/// One section of INFO.
struct Section {
    title: &'static str,
    /// What a caller asks for.
    name: &'static str,
    printed: Printed,
    write: fn(&Snapshot, &mut String),
}

/// The sections in the order they are printed, whatever the order they are asked for.
const SECTIONS: &[Section] = &[
    section("Server", Printed::Always, write_server),
    section("TLS", Printed::InAll, |s, out| write_fields(fields::TLS, s, out)),
    section("Clients", Printed::Always, |s, out| write_fields(fields::CLIENTS, s, out)),
    section("Memory", Printed::Always, |s, out| write_fields(fields::MEMORY, s, out)),
    section("Persistence", Printed::Always, write_persistence),
    section("Stats", Printed::Always, |s, out| write_fields(fields::STATS, s, out)),
    section("Replication", Printed::Always, |s, out| write_fields(fields::REPLICATION, s, out)),
    section("CPU", Printed::Always, |s, out| write_fields(fields::CPU, s, out)),
    section("Modules", Printed::Always, |_, _| {}),
    section("Commandstats", Printed::InAll, write_commands),
    section("Errorstats", Printed::Always, write_errors),
    section("Latencystats", Printed::InAll, write_latencies),
    section("Cluster", Printed::Always, |s, out| write_fields(fields::CLUSTER, s, out)),
    section("Cluster Info", Printed::InAll, |_, _| {}).named("cluster_info"),
    section("Scripting Engines", Printed::InAll, |s, out| write_fields(fields::SCRIPTING_ENGINES, s, out))
        .named("scriptingengines"),
    section("Keyspace", Printed::Always, write_keyspace),
];

const fn section(title: &'static str, printed: Printed, write: fn(&Snapshot, &mut String)) -> Section {
    Section { title, name: title, printed, write }
}

/// The text of INFO with the given arguments: names of sections in any case, `default` (as with none), `all`, `everything`.
/// Unknown names add nothing.
pub(crate) fn render(snapshot: &Snapshot, sections: &[&[u8]]) -> String {
    let mut out = String::with_capacity(8 * 1024);
    for section in SECTIONS.iter().filter(|section| section.is_asked_for(sections)) {
        if !out.is_empty() {
            out.push_str("\r\n");
        }
        write_line(&mut out, format_args!("# {}", section.title));
        (section.write)(snapshot, &mut out);
    }
    out
}

impl Section {
    const fn named(self, name: &'static str) -> Self {
        Self { name, ..self }
    }

    fn is_asked_for(&self, names: &[&[u8]]) -> bool {
        if names.is_empty() {
            return self.printed == Printed::Always;
        }
        names.iter().any(|name| {
            let is = |word: &str| is_token(name, word);
            is(self.name)
                || is("all")
                || is("everything")
                || self.printed == Printed::Always && is("default")
                || self.title == "Modules" && is("module_list")
        })
    }
}

fn write_line(out: &mut String, line: std::fmt::Arguments<'_>) {
    out.write_fmt(line).expect("writing to a string does not fail");
    out.push_str("\r\n");
}

fn write_fields(fields: &[Field], snapshot: &Snapshot, out: &mut String) {
    fields.iter().for_each(|field| write_field(field.name, field, snapshot, out));
}

fn write_field(name: &str, field: &Field, snapshot: &Snapshot, out: &mut String) {
    out.push_str(name);
    out.push(':');
    (field.datum)(snapshot).write(out);
    out.push_str("\r\n");
}

fn write_server(s: &Snapshot, out: &mut String) {
    for field in fields::SERVER {
        let renamed = s.extended_redis_compatibility && field.name == "server_mode";
        write_field(if renamed { "redis_mode" } else { field.name }, field, s, out);
    }
    for (index, listener) in s.listeners.iter().enumerate() {
        write_line(out, format_args!("listener{index}:{listener}"));
    }
}

fn write_persistence(s: &Snapshot, out: &mut String) {
    write_fields(fields::PERSISTENCE, s, out);
    if s.aof_enabled != 0 {
        write_fields(fields::PERSISTENCE_AOF, s, out);
    }
}

fn write_commands(s: &Snapshot, out: &mut String) {
    for command in &s.commands {
        let CommandStats { calls, usec, rejected_calls, failed_calls, .. } = command;
        let per_call = if *calls == 0 { 0.0 } else { *usec as f64 / *calls as f64 };
        let name = safe_name(&command.name);
        write_line(
            out,
            format_args!(
                "cmdstat_{name}:calls={calls},usec={usec},usec_per_call={per_call:.2},\
                 rejected_calls={rejected_calls},failed_calls={failed_calls}"
            ),
        );
    }
}

fn write_errors(s: &Snapshot, out: &mut String) {
    for (code, count) in &s.errors {
        write_line(out, format_args!("errorstat_{}:count={count}", safe_name(code)));
    }
}

fn write_latencies(s: &Snapshot, out: &mut String) {
    for command in &s.latencies {
        let percentiles: Vec<String> = command
            .percentiles
            .iter()
            .map(|(percentile, nanoseconds)| {
                format!("p{}={:.3}", format_percentile(*percentile), *nanoseconds as f64 / 1000.0)
            })
            .collect();
        let name = safe_name(&command.name);
        write_line(out, format_args!("latency_percentiles_usec_{name}:{}", percentiles.join(",")));
    }
}

fn write_keyspace(s: &Snapshot, out: &mut String) {
    for DatabaseStats { index, keys, expires, avg_ttl, volatile_items } in &s.databases {
        if *keys > 0 || *expires > 0 {
            let ttl = format_args!("expires={expires},avg_ttl={avg_ttl}");
            write_line(
                out,
                format_args!("db{index}:keys={keys},{ttl},keys_with_volatile_items={volatile_items}"),
            );
        }
    }
}

/// A name without the bytes that mean something in INFO's lines.
fn safe_name(name: &str) -> String {
    name.replace(['#', ':', '\n', '\r'], "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the server answered to INFO EVERYTHING.
    const SERVER_INFO: &str = include_str!("../tests/data/info.txt");

    fn filled() -> Snapshot {
        Snapshot {
            used_memory: 1_475_288,
            used_memory_peak: 538_199_656,
            used_memory_overhead: 962_376,
            used_memory_startup: 958_696,
            aof_enabled: 1,
            rdb_last_bgsave_status: true,
            listeners: vec!["name=tcp,bind=*,bind=-::*,port=7803".to_owned()],
            commands: vec![CommandStats {
                name: "config|set".to_owned(),
                calls: 17,
                usec: 626,
                rejected_calls: 1,
                failed_calls: 12,
            }],
            errors: vec![("ERR".to_owned(), 426)],
            latencies: vec![CommandLatency {
                name: "set".to_owned(),
                percentiles: vec![(50.0, 1), (99.0, 1003), (99.9, 2_555_903)],
            }],
            databases: vec![
                DatabaseStats { index: 0, keys: 2, expires: 1, avg_ttl: 5, volatile_items: 1 },
                DatabaseStats { index: 1, ..Default::default() },
            ],
            ..Default::default()
        }
    }

    /// Titles and field names, in order; lists of commands, errors and databases count as one name.
    fn outline(text: &str) -> Vec<String> {
        let name = |line: &str| {
            let name = line.split(':').next().unwrap_or_default();
            for list in ["cmdstat_", "errorstat_", "latency_percentiles_usec_", "db"] {
                if name.starts_with(list) {
                    return list.to_owned();
                }
            }
            name.to_owned()
        };
        let mut names: Vec<String> = text.lines().map(name).collect();
        names.dedup();
        names
    }

    #[test]
    fn sections_and_fields_are_the_servers() {
        assert_eq!(outline(&render(&filled(), &[b"everything"])), outline(SERVER_INFO));
    }

    #[test]
    fn lines_have_the_servers_form() {
        let text = render(&filled(), &[b"everything"]);
        for line in [
            "cmdstat_config|set:calls=17,usec=626,usec_per_call=36.82,rejected_calls=1,failed_calls=12",
            "errorstat_ERR:count=426",
            "latency_percentiles_usec_set:p50=0.001,p99=1.003,p99.9=2555.903",
            "db0:keys=2,expires=1,avg_ttl=5,keys_with_volatile_items=1",
            "used_memory_human:1.41M",
            "used_memory_peak_perc:0.27%",
            "used_memory_dataset:512912",
            "used_memory_dataset_perc:99.29%",
            "rdb_last_bgsave_status:ok",
            "aof_last_write_status:err",
            "current_fork_perc:0.00",
            "used_cpu_sys:0.000000",
            "listener0:name=tcp,bind=*,bind=-::*,port=7803",
        ] {
            assert!(text.contains(&format!("\r\n{line}\r\n")), "{line}");
        }
        assert!(!text.contains("db1:"));
    }

    fn titles(names: &[&str]) -> Vec<String> {
        let names: Vec<&[u8]> = names.iter().map(|name| name.as_bytes()).collect();
        let text = render(&Snapshot::default(), &names);
        text.lines().filter_map(|line| line.strip_prefix("# ")).map(str::to_owned).collect()
    }

    #[test]
    fn arguments_choose_sections() {
        let default = titles(&[]);
        assert_eq!(default.len(), 11);
        assert_eq!(titles(&["default"]), default);
        assert_eq!(titles(&["all"]).len(), 16);
        assert_eq!(titles(&["EVERYTHING"]).len(), 16);
        assert_eq!(titles(&["default", "commandstats"]).len(), 12);
        assert_eq!(titles(&["memory", "SERVER", "server"]), ["Server", "Memory"]);
        assert_eq!(titles(&["nosuch"]), [""; 0]);
        assert_eq!(titles(&["nosuch", "cpu"]), ["CPU"]);
        assert_eq!(titles(&["module_list"]), ["Modules"]);
        assert_eq!(
            titles(&["cluster_info", "scriptingengines", "tls"]),
            ["TLS", "Cluster Info", "Scripting Engines"]
        );
        assert_eq!(render(&Snapshot::default(), &[b"nosuch"]), "");
        assert_eq!(
            render(&Snapshot::default(), &[b"keyspace", b"cluster"]),
            "# Cluster\r\ncluster_enabled:0\r\n\r\n# Keyspace\r\n"
        );
    }
}
