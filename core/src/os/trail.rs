//! What a forked child of a test leaves behind: the steps that it took, and, if it hangs, what its threads are doing.
//!
//! Forking itself, and waiting, is [`super::in_fork`]'s.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::clock::{Clock, Timer};

/// Steps written to a file, which both sides of a fork know. Not to a pipe: children that other threads fork meanwhile would keep it open.
pub(crate) struct Trail {
    path: PathBuf,
    file: File,
    /// The process that made it.
    owner: u32,
    start: Timer,
}

impl Trail {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let (owner, number) = (std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(format!("keystead-fork-{owner}-{number}"));
        let file = File::create(&path).expect("a file for the steps of a child");
        Self { path, file, owner, start: Clock::system().timer() }
    }

    /// Notes what is about to be done.
    pub(crate) fn step(&self, what: &str) {
        let line = format!("{:6} ms: {what}\n", self.start.elapsed().as_millis());
        (&self.file).write_all(line.as_bytes()).expect("the file takes a line");
    }

    /// Notes that what was done came out so, and hands it on.
    pub(crate) fn check(&self, what: &str, is_fine: bool) -> bool {
        if !is_fine {
            self.step(&format!("WRONG: {what}"));
        }
        is_fine
    }

    /// All steps so far.
    pub(crate) fn told(&self) -> String {
        std::fs::read_to_string(&self.path).unwrap_or_default()
    }
}

impl Drop for Trail {
    fn drop(&mut self) {
        // A child has it, too, if a panic ends what it does.
        if std::process::id() == self.owner {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// What the threads of a process are doing, as far as the system tells, and their stacks if there is a debugger.
pub(crate) fn threads_of(process: u32) -> String {
    let mut told = String::new();
    let read = |path: &Path, name: &str| {
        std::fs::read_to_string(path.join(name)).unwrap_or_else(|error| error.to_string()).trim().to_owned()
    };
    for task in std::fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten() {
        let path = task.path();
        let _ = writeln!(
            told,
            "thread {} {:?}: waits in {}, system call {}\n  {}",
            task.file_name().to_string_lossy(),
            read(&path, "comm"),
            read(&path, "wchan"),
            read(&path, "syscall"),
            read(&path, "stat"),
        );
    }
    let stacks =
        ["-batch", "-nx", "-ex", "set debuginfod enabled off", "-ex", "thread apply all backtrace", "-p"];
    match Command::new("gdb").args(stacks).arg(process.to_string()).output() {
        Ok(output) => told.push_str(&String::from_utf8_lossy(&output.stdout)),
        Err(error) => _ = writeln!(told, "no stacks: gdb: {error}"),
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    #[cfg_attr(any(miri, tsan, loom), ignore = "forks a process with threads")]
    fn a_child_that_hangs_leaves_its_steps_and_what_it_waits_for() {
        let trail = Trail::new();
        let outcome = super::super::fork_and_wait(std::time::Duration::from_secs(2), &trail, |trail| {
            trail.step("to sleep");
            assert!(trail.check("one is one", true) && !trail.check("one is two", false));
            std::thread::sleep(std::time::Duration::from_secs(3600));
            true
        });
        let told = outcome.expect_err("it was ended");
        for part in ["hung", " ms: to sleep", "WRONG: one is two", "waits in"] {
            assert!(told.contains(part), "no {part:?} in {told}");
        }
        assert!(!told.contains("one is one"), "{told}");
        let other = Trail::new();
        let wrong = super::super::fork_and_wait(std::time::Duration::from_secs(60), &other, |trail| {
            trail.step("to fail");
            false
        });
        let told = wrong.expect_err("it failed");
        assert!(told.contains("ended with status") && told.contains("to fail"), "{told}");
        let path = other.path.clone();
        drop(other);
        assert!(!path.exists());
    }
}
