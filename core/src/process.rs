//! Facts about this process and its machine, for INFO: memory, processor time, the system's name.
//!
//! Read from `/proc`, so they are known on Linux only; elsewhere numbers are 0 and names are what the compiler knows.

use std::fs;
use std::time::Duration;

/// Time spent in the kernel and in the program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ProcessorTime {
    pub(crate) system: Duration,
    pub(crate) user: Duration,
}

/// Ticks per second in `/proc/*/stat`; a constant of Linux's interface to programs.
const TICKS_PER_SECOND: u64 = 100;

/// Bytes of this process in memory.
pub(crate) fn resident_bytes() -> u64 {
    field_kib("/proc/self/status", "VmRSS:")
}

/// Bytes of the machine's memory.
pub(crate) fn machine_bytes() -> u64 {
    field_kib("/proc/meminfo", "MemTotal:")
}

/// Processor time of all threads of this process so far.
pub(crate) fn processor_time() -> ProcessorTime {
    read("/proc/self/stat").and_then(|text| parse_stat(&text)).unwrap_or_default()
}

/// Processor time of the calling thread so far.
pub(crate) fn thread_time() -> ProcessorTime {
    read("/proc/thread-self/stat").and_then(|text| parse_stat(&text)).unwrap_or_default()
}

/// Name, release and machine of the system, such as `Linux 6.1.0 x86_64`.
pub(crate) fn system_name() -> String {
    let kernel = |what: &str| read(&format!("/proc/sys/kernel/{what}"));
    let kind = kernel("ostype").unwrap_or_else(|| std::env::consts::OS.to_owned());
    let release = kernel("osrelease").unwrap_or_default();
    [kind.trim(), release.trim(), std::env::consts::ARCH]
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

/// Path of the program.
pub(crate) fn executable() -> String {
    std::env::current_exe().map(|path| path.display().to_string()).unwrap_or_default()
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok()
}

/// A line `name   123 kB` of a file, in bytes.
fn field_kib(path: &str, name: &str) -> u64 {
    let text = read(path).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// The fields utime and stime, the 14th and 15th; the second, the program's name, may hold spaces but ends with the last parenthesis.
fn parse_stat(text: &str) -> Option<ProcessorTime> {
    let (_, behind_name) = text.rsplit_once(") ")?;
    let mut fields = behind_name.split(' ').skip(11);
    let mut next = || {
        let ticks: u64 = fields.next()?.parse().ok()?;
        Some(Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND))
    };
    let user = next()?;
    Some(ProcessorTime { user, system: next()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_stand_behind_the_name_whatever_it_is() {
        let line = "17 (a) b (c) S 1 17 17 0 -1 4194560 1 0 0 0 250 31 0 0 20 0 1 0 5 1 1";
        let expected =
            ProcessorTime { user: Duration::from_millis(2_500), system: Duration::from_millis(310) };
        assert_eq!(parse_stat(line), Some(expected));
        assert_eq!(parse_stat("nonsense"), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn linux_tells_everything() {
        assert!(resident_bytes() > 100 * 1024 && machine_bytes() > resident_bytes());
        assert!(system_name().starts_with("Linux "));
        assert!(!executable().is_empty());
    }
}
