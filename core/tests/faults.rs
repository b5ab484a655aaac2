//! What goes wrong with a disk while an engine runs: it is full, may not be written to, or the folder is gone. Whoever writes is told; nothing that was
//! acknowledged is lost; and when the disk is well again, so is the engine.
//!
//! A full disk is a small one in memory, which a child mounts for itself alone (`unshare`, as root or where users may); who may not write is a child of another
//! user, if this one is root.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use keystead::{Config, Engine, ErrorKind, Form, Session};

const FOLDER: &str = "KEYSTEAD_FAULTS_FOLDER";

fn open(folder: &Path, options: &str) -> keystead::Result<Engine> {
    let config = Config::from_text(format!("auto-aof-rewrite-percentage 0\n{options}\n").as_bytes())?;
    Engine::builder().path(folder.join("app.ks")).config(config).open()
}

fn run(session: &mut Session, line: &str) -> String {
    let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
    String::from_utf8_lossy(session.execute(&words)).trim_end().replace("\r\n", " ")
}

fn info(session: &mut Session, name: &str) -> String {
    let told = run(session, "INFO persistence");
    let found = told.split(' ').find_map(|line| line.strip_prefix(&format!("{name}:")));
    found.unwrap_or_else(|| panic!("{name} in {told}")).to_owned()
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..6000 {
        if is_so() {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("waited in vain for {what}");
}

/// Begins a rewrite, or a snapshot, and says how it went.
fn written(session: &mut Session, command: &str) -> String {
    assert!(run(session, command).ends_with(" started"), "{command}");
    let (running, status) = match command {
        "BGSAVE" => ("rdb_bgsave_in_progress", "rdb_last_bgsave_status"),
        _ => ("aof_rewrite_in_progress", "aof_last_bgrewrite_status"),
    };
    wait_until(command, || info(session, running) == "0");
    info(session, status)
}

/// A value that no compression makes shorter.
fn value(number: usize, len: usize) -> String {
    let mut state = number as u64 * 2 + 1;
    let letter = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b'0' + (state >> 58) as u8)
    };
    (0..len).map(letter).collect()
}

/// All of a test binary's own work in a child: `program` and its arguments come before it.
fn in_child(child: &str, folder: &Path, program: &[&str]) {
    // Whoever is to run it may not be allowed to read where it was built.
    let binary = folder.join("faults");
    fs::copy(std::env::current_exe().unwrap(), &binary).unwrap();
    fs::set_permissions(&binary, Permissions::from_mode(0o755)).unwrap();
    let mut command = Command::new(program.first().map_or(binary.as_os_str(), |name| name.as_ref()));
    if let [_, arguments @ ..] = program {
        command.args(arguments).arg(&binary);
    } else if is_root() {
        command.uid(65_534).gid(65_534).current_dir("/");
    }
    command.args(["--exact", child, "--ignored", "--nocapture"]).env(FOLDER, folder.join("disk"));
    let output = command.output().unwrap();
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.contains("1 passed"), "{child}: {said}");
    assert_eq!(said.matches("panicked").count(), 0, "{said}");
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    fs::metadata("/proc/self").unwrap().uid() == 0
}

/// Runs a child on a disk of so many megabytes.
fn on_small_disk(child: &str, megabytes: u32) {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("disk")).unwrap();
    let disk = folder.path().join("disk");
    let mount = format!("mount -t tmpfs -o size={megabytes}m none {} && exec \"$0\" \"$@\"", disk.display());
    let may =
        |option| Command::new("unshare").args([option, "true"]).status().is_ok_and(|status| status.success());
    let option = ["-m", "-rm"].into_iter().find(|option| may(option));
    let option =
        option.expect("this test mounts a file system for itself: as root, or where users may (unshare -rm)");
    in_child(child, folder.path(), &["unshare", option, "sh", "-c", &mount]);
}

fn disk() -> PathBuf {
    std::env::var(FOLDER).expect("the other test sets it").into()
}

/// Takes all room of a disk but for some kilobytes.
fn fill(disk: &Path, left: usize) -> PathBuf {
    let path = disk.join("filler");
    let mut file = File::create(&path).unwrap();
    while file.write_all(&[1; 4096]).is_ok() {}
    let len = file.metadata().unwrap().len();
    file.set_len(len - (left as u64) * 1024).unwrap();
    path
}

/// Writes values until one is refused. Returns how many were not.
fn write_until_refused(session: &mut Session, from: usize) -> (usize, String) {
    for number in from.. {
        let reply = run(session, &format!("SET key:{number} {}", value(number, 10_000)));
        if reply != "+OK" {
            return (number, reply);
        }
    }
    unreachable!("the disk is small")
}

fn has_all(session: &mut Session, count: usize) {
    for number in 0..count {
        let reply = run(session, &format!("GET key:{number}"));
        assert!(reply.ends_with(&value(number, 10_000)), "key {number} is another");
    }
}

#[test]
#[ignore = "a part of the other tests, which start it"]
fn child_with_a_full_log() {
    for policy in ["always", "everysec", "no"] {
        let disk = disk().join(policy);
        fs::create_dir(&disk).unwrap();
        let options = format!("appendfsync {policy}");
        let engine = open(&disk, &options).unwrap();
        let mut own = engine.session(Form::Resp);
        let mut count = 0;
        for _ in 0..3 {
            let filler = fill(&disk, 100);
            let (refused, reply) = write_until_refused(&mut own, count);
            assert!(
                reply.starts_with("-MISCONF Errors writing to the AOF file: No space left"),
                "{policy}: {reply}"
            );
            count = refused;
            assert_eq!(info(&mut own, "aof_last_write_status"), "err");
            let typed = engine.database(0).unwrap().set("typed", "value").unwrap_err();
            assert_eq!(typed.kind(), ErrorKind::Misconf);
            has_all(&mut own, count);
            fs::remove_file(filler).unwrap();
            wait_until("the log to be written again", || run(&mut own, "SET other value") == "+OK");
            assert_eq!(info(&mut own, "aof_last_write_status"), "ok");
        }
        drop((own, engine));
        let engine = open(&disk, &options).unwrap();
        let mut own = engine.session(Form::Resp);
        has_all(&mut own, count);
        assert_eq!(run(&mut own, "MGET other typed"), "*2 $5 value $-1");
        drop((own, engine));
        fs::remove_dir_all(disk).unwrap();
    }
}

#[test]
#[ignore = "a part of the other tests, which start it"]
fn child_without_room_for_a_rewrite() {
    let disk = disk();
    let engine = open(&disk, "").unwrap();
    let mut own = engine.session(Form::Resp);
    for number in 0..150 {
        run(&mut own, &format!("SET key:{number} {}", value(number, 10_000)));
    }
    let names = || {
        let entries = fs::read_dir(disk.join("app.ks/appendonlydir")).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    let filler = fill(&disk, 600);
    for _ in 0..3 {
        assert_eq!(written(&mut own, "BGREWRITEAOF"), "err");
        assert_eq!(run(&mut own, "INCR count")[..1], *":", "the log goes on");
        assert!(!names().iter().any(|name| name.starts_with("temp-")), "{:?}", names());
    }
    fs::remove_file(filler).unwrap();
    assert_eq!(written(&mut own, "BGREWRITEAOF"), "ok");
    assert_eq!(names().len(), 4, "{:?}", names());
    run(&mut own, "INCR count");
    drop((own, engine));
    let engine = open(&disk, "").unwrap();
    let mut own = engine.session(Form::Resp);
    has_all(&mut own, 150);
    assert_eq!(run(&mut own, "GET count"), "$1 4");
}

#[test]
#[ignore = "a part of the other tests, which start it"]
fn child_without_room_for_a_snapshot() {
    let disk = disk();
    let options = "appendonly no\nsave 3600 1";
    let engine = open(&disk, options).unwrap();
    let mut own = engine.session(Form::Resp);
    run(&mut own, "SET before it");
    assert_eq!(run(&mut own, "SAVE"), "+OK");
    for number in 0..150 {
        run(&mut own, &format!("SET key:{number} {}", value(number, 10_000)));
    }
    let filler = fill(&disk, 600);
    assert!(run(&mut own, "SAVE").contains("No space left"));
    assert_eq!(written(&mut own, "BGSAVE"), "err");
    assert!(run(&mut own, "SET before that").starts_with("-MISCONF Valkey is configured to save RDB"));
    assert!(engine.snapshot(disk.join("copy")).is_err());
    let left: Vec<_> =
        fs::read_dir(disk.join("app.ks")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "{left:?}");
    fs::remove_file(filler).unwrap();
    assert_eq!(written(&mut own, "BGSAVE"), "ok");
    assert_eq!(run(&mut own, "SET before that"), "+OK");
    drop((own, engine));
    let engine = open(&disk, options).unwrap();
    let mut own = engine.session(Form::Resp);
    has_all(&mut own, 150);
    assert_eq!(run(&mut own, "GET before"), "$2 it", "what came behind the snapshot is in no file");
}

#[test]
#[ignore = "a part of the other tests, which start it"]
fn child_that_may_not_write() {
    let disk = disk();
    let app = disk.join("app.ks");
    let folders = [app.clone(), app.join("appendonlydir")];
    let set = |mode| {
        for folder in &folders {
            fs::set_permissions(folder, Permissions::from_mode(mode)).unwrap();
        }
    };
    let engine = open(&disk, "").unwrap();
    let mut own = engine.session(Form::Resp);
    run(&mut own, "SET k v");
    set(0o500);
    assert_eq!(written(&mut own, "BGREWRITEAOF"), "err");
    assert!(run(&mut own, "SAVE").contains("Permission denied"));
    assert_eq!(run(&mut own, "SET k w"), "+OK", "its log is there");
    drop((own, engine));
    let engine = open(&disk, "").unwrap();
    let mut own = engine.session(Form::Resp);
    assert_eq!(run(&mut own, "GET k"), "$1 w", "nothing has to be made to go on");
    set(0o700);
    assert_eq!(written(&mut own, "BGREWRITEAOF"), "ok");
    drop((own, engine));
    for entry in fs::read_dir(&folders[1]).unwrap().map(Result::unwrap) {
        fs::set_permissions(entry.path(), Permissions::from_mode(0o400)).unwrap();
    }
    let error = open(&disk, "").map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
    assert!(
        error.to_string().contains("Permission denied") && error.to_string().contains("app.ks"),
        "{error}"
    );
    set(0o500);
    let error = open(&disk.join("app.ks"), "").map(drop).unwrap_err();
    assert!(
        error.to_string().contains("app.ks") && error.to_string().contains("Permission denied"),
        "{error}"
    );
    set(0o700);
}

#[test]
#[ignore = "a part of the other tests, which start it"]
fn child_on_a_disk_that_is_only_read() {
    let disk = disk();
    let remount = |how| {
        let done = Command::new("mount").args(["-o", how]).arg(&disk).status().unwrap();
        assert!(done.success(), "{how}");
    };
    let write = |value: &str| {
        let engine = open(&disk, "").unwrap();
        engine.database(0).unwrap().set("k", value).unwrap();
    };
    write("first");
    remount("remount,ro");
    for options in ["", "appendonly no"] {
        let opened = open(&disk, options).map(drop);
        let error = opened.expect_err("the folder can't be locked");
        assert_eq!(error.kind(), ErrorKind::Io);
        assert!(error.to_string().contains("app.ks") && error.to_string().contains("Read-only"), "{error}");
    }
    assert!(keystead::check(disk.join("app.ks")).is_ok(), "it can be verified");
    remount("remount,rw");
    let engine = open(&disk, "").unwrap();
    assert_eq!(run(&mut engine.session(Form::Resp), "GET k"), "$5 first");
    drop(engine);
    write("second");
}

#[test]
fn a_disk_that_is_only_read_keeps_an_engine_closed() {
    on_small_disk("child_on_a_disk_that_is_only_read", 8);
}

#[test]
fn a_full_disk_refuses_writes_until_there_is_room() {
    on_small_disk("child_with_a_full_log", 6);
}

#[test]
fn a_rewrite_without_room_leaves_the_log_as_it_is() {
    on_small_disk("child_without_room_for_a_rewrite", 8);
}

#[test]
fn a_snapshot_without_room_leaves_the_one_before() {
    on_small_disk("child_without_room_for_a_snapshot", 8);
}

#[test]
fn a_folder_that_may_not_be_written_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().join("disk");
    fs::create_dir(&disk).unwrap();
    for path in [folder.path(), &disk] {
        fs::set_permissions(path, Permissions::from_mode(0o777)).unwrap();
    }
    in_child("child_that_may_not_write", folder.path(), &[]);
}

#[test]
fn an_engine_outlives_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path(), "appendfsync always").unwrap();
    let mut own = engine.session(Form::Resp);
    run(&mut own, "SET k v");
    let app = folder.path().join("app.ks");
    fs::remove_dir_all(&app).unwrap();
    assert_eq!(run(&mut own, "SET k w"), "+OK", "it goes on in memory");
    assert_eq!(written(&mut own, "BGREWRITEAOF"), "err");
    assert!(run(&mut own, "SAVE").contains("No such file"));
    assert_eq!(run(&mut own, "INCR count"), ":1");
    // A folder that is made again is filled by a rewrite, and is this engine's alone.
    fs::create_dir(&app).unwrap();
    assert_eq!(written(&mut own, "BGREWRITEAOF"), "ok");
    assert!(app.join("lock").exists() && app.join("appendonlydir/appendonly.aof.ring").exists());
    assert_eq!(run(&mut own, "INCR count"), ":2");
    let copy = tempfile::tempdir().unwrap();
    let copied = Command::new("cp").arg("-r").arg(&app).arg(copy.path()).status().unwrap();
    assert!(copied.success());
    let again = open(copy.path(), "").unwrap();
    assert_eq!(
        run(&mut again.session(Form::Resp), "MGET k count"),
        "*2 $1 w $1 2",
        "as a kill would leave it"
    );
    fs::remove_dir_all(app.join("appendonlydir")).unwrap();
    assert_eq!(run(&mut own, "INCR count"), ":3");
    assert_eq!(written(&mut own, "BGREWRITEAOF"), "ok");
    drop((own, engine));
    let engine = open(folder.path(), "").unwrap();
    assert_eq!(run(&mut engine.session(Form::Resp), "MGET k count"), "*2 $1 w $1 3");
}
