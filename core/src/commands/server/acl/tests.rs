//! Users in an engine: at its beginning, in files, and with sessions that are open while they change.

use std::fs;

use crate::{Config, Engine, Form, Session};

fn engine(arguments: &[&str]) -> Result<Engine, String> {
    let arguments: Vec<&[u8]> = arguments.iter().map(|word| word.as_bytes()).collect();
    let config = Config::from_arguments(&arguments).map_err(|error| error.to_string())?;
    Engine::builder().config(config).open().map_err(|error| error.to_string())
}

fn with_text(text: &str) -> Result<Engine, String> {
    let config = Config::from_text(text.as_bytes()).unwrap();
    Engine::builder().config(config).open().map_err(|error| error.to_string())
}

fn run(session: &mut Session, line: &str) -> String {
    let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
    String::from_utf8_lossy(session.execute(&words)).trim_end().to_owned()
}

#[test]
fn a_change_of_the_default_user_reaches_sessions_that_took_the_short_way() {
    let engine = Engine::new();
    let [mut one, mut other, mut admin] = std::array::from_fn(|_| engine.session(Form::Resp));
    run(&mut admin, "ACL SETUSER boss on nopass +@all ~* &*");
    run(&mut admin, "AUTH boss x");
    for session in [&mut one, &mut other] {
        assert_eq!(run(session, "SET k v"), "+OK");
    }
    assert!(!engine.inner.measures_all());
    run(&mut admin, "ACL SETUSER default -set");
    // Both would go on by what they know.
    assert!(engine.inner.measures_all());
    let denied = "-NOPERM User default has no permissions to run the 'set' command";
    assert_eq!(run(&mut one, "SET k w"), denied);
    assert!(engine.inner.measures_all());
    assert_eq!(run(&mut one, "GET k"), "$1\r\nv");
    assert_eq!(run(&mut other, "SET k w"), denied);
    // Everybody knows: those who may do everything take the short way again.
    assert!(!engine.inner.measures_all());
    let mut later = engine.session(Form::Resp);
    assert_eq!(run(&mut later, "SET k w"), denied);
    assert_eq!(run(&mut admin, "SET k x"), "+OK");
    run(&mut admin, "ACL SETUSER default +set");
    assert_eq!(run(&mut one, "SET k y"), "+OK");
    // One that is gone need not know, and one that may do everything again neither.
    run(&mut later, "GET k");
    run(&mut other, "GET k");
    run(&mut admin, "ACL SETUSER default resetkeys");
    run(&mut one, "PING");
    run(&mut other, "PING");
    assert!(engine.inner.measures_all());
    drop(later);
    assert!(!engine.inner.measures_all());
    run(&mut admin, "ACL SETUSER default allkeys");
    run(&mut one, "PING");
    run(&mut admin, "ACL SETUSER default resetkeys");
    assert!(engine.inner.measures_all());
    run(&mut admin, "ACL SETUSER default allkeys");
    assert!(!engine.inner.measures_all());
    assert_eq!(run(&mut one, "GET k"), "$1\r\ny");
}

#[test]
fn a_session_whose_user_is_removed_is_nobody() {
    let engine = Engine::new();
    let [mut one, mut admin] = std::array::from_fn(|_| engine.session(Form::Resp));
    run(&mut admin, "ACL SETUSER boss on nopass +@all ~* &*");
    run(&mut one, "AUTH boss x");
    assert_eq!(run(&mut one, "SET k v"), "+OK");
    assert_eq!(run(&mut admin, "ACL DELUSER boss"), ":1");
    // The default user needs no password, so that nobody has to be anybody; but HELLO asks.
    assert_eq!(run(&mut one, "SET k w"), "+OK");
    assert!(run(&mut one, "HELLO").starts_with("-NOAUTH"));
    run(&mut admin, "CONFIG SET requirepass secret");
    assert_eq!(run(&mut one, "SET k x"), "-NOAUTH Authentication required.");
    assert_eq!(run(&mut admin, "SET k y"), "+OK");
    assert_eq!(run(&mut one, "AUTH secret"), "+OK");
    assert_eq!(run(&mut one, "ACL WHOAMI"), "$7\r\ndefault");
}

#[test]
fn typed_calls_may_do_everything() {
    let engine = Engine::new();
    let mut session = engine.session(Form::Resp);
    run(&mut session, "ACL SETUSER default off resetkeys nocommands");
    let db = engine.database(0).unwrap();
    db.set("k", "v").unwrap();
    assert_eq!(db.get("k").unwrap().as_deref(), Some(&b"v"[..]));
    assert!(run(&mut session, "GET k").starts_with("-NOPERM"));
}

#[test]
fn users_of_the_configuration_are_there_from_the_beginning() {
    let text = "user bob on >p1 +get ~x\nuser carl on nopass (+get ~x) (+set ~y)\nrequirepass foo\n";
    let engine = with_text(text).unwrap();
    let mut session = engine.session(Form::Resp);
    assert_eq!(run(&mut session, "GET x"), "-NOAUTH Authentication required.");
    assert_eq!(run(&mut session, "AUTH bob p1"), "+OK");
    assert_eq!(run(&mut session, "GET x"), "$-1");
    assert_eq!(run(&mut session, "AUTH foo"), "+OK");
    assert_eq!(
        run(&mut session, "ACL GETUSER bob").matches("p1").count(),
        0,
        "passwords are kept as hashes alone"
    );
    // What the file says of the default user replaces the option.
    let engine = with_text("requirepass foo\nuser default on +@all ~* >bar\n").unwrap();
    let mut session = engine.session(Form::Resp);
    assert!(run(&mut session, "AUTH foo").starts_with("-WRONGPASS"));
    assert_eq!(run(&mut session, "AUTH bar"), "+OK");
    for (text, error) in [
        (
            "user bob on\nuser bob off\n",
            "Error in user declaration 'bob': Duplicate user found. A user can only be defined once in config files",
        ),
        ("user bob on nonsense\n", "Error in user declaration 'bob': Syntax error"),
        ("user bob +nosuch\n", "Error in user declaration 'bob': Unknown command or category name in ACL"),
        ("user bob on (+get\n", "Error in user declaration '(+get': Wrong format"),
        ("user \"a b\" on\n", "Spaces not allowed in ACL usernames"),
    ] {
        assert_eq!(with_text(text).unwrap_err(), error);
    }
}

#[test]
fn users_are_kept_in_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().to_str().unwrap();
    let file = folder.path().join("users.acl");
    let arguments = ["--dir", dir, "--aclfile", "users.acl"];
    let missing = engine(&arguments).unwrap_err();
    assert!(missing.contains("opening file") && missing.contains("No such file or directory"), "{missing}");
    fs::write(&file, "user bob on nopass +get +acl ~x\nuser carl on nopass +@all ~* &*\n").unwrap();
    let engine = engine(&arguments).unwrap();
    let [mut admin, mut bob, mut carl] = std::array::from_fn(|_| engine.session(Form::Resp));
    run(&mut bob, "AUTH bob x");
    run(&mut carl, "AUTH carl x");
    run(&mut admin, "ACL SETUSER dora on %RW~* ~a\"b");
    assert_eq!(run(&mut admin, "ACL SAVE"), "+OK");
    let saved = "user bob on nopass ~x resetchannels -@all +get +acl\nuser carl on nopass ~* &* +@all\n\
                 user default on nopass ~* &* +@all\nuser dora on %RW~* ~a\"b resetchannels -@all\n";
    assert_eq!(fs::read_to_string(&file).unwrap(), saved);
    assert_eq!(run(&mut admin, "ACL LOAD"), "+OK");
    fs::write(&file, "user bob on nopass +set ~x\nuser x nonsense\n").unwrap();
    let wrong = run(&mut admin, "ACL LOAD");
    let end = "users.acl:2: Syntax error. WARNING: ACL errors detected, no change to the previously active ACL rules was performed";
    assert!(wrong.starts_with("-ERR ") && wrong.ends_with(end), "{wrong}");
    assert_eq!(run(&mut bob, "GET x"), "$-1");
    fs::write(&file, "user bob on nopass +set ~x\n").unwrap();
    assert_eq!(run(&mut admin, "ACL LOAD"), "+OK");
    // A user that remains goes on with what the file says; one that is gone is nobody.
    assert!(run(&mut bob, "GET x").starts_with("-NOPERM"));
    assert_eq!(run(&mut bob, "SET x 1"), "+OK");
    assert!(run(&mut carl, "HELLO").starts_with("-NOAUTH"));
    assert_eq!(run(&mut admin, "ACL USERS"), "*2\r\n$3\r\nbob\r\n$7\r\ndefault");
    fs::remove_file(&file).unwrap();
    assert!(run(&mut admin, "ACL LOAD").starts_with("-ERR Error loading ACLs, opening file"));
    assert_eq!(run(&mut admin, "CONFIG SET dir /nonexistent").split(' ').next(), Some("-ERR"));
}

#[test]
fn config_rewrite_writes_the_users() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("v.conf");
    fs::write(&path, "# mine\nuser bob on >p +get\nhz 20\nuser gone off\n").unwrap();
    let engine = engine(&[path.to_str().unwrap()]).unwrap();
    let mut session = engine.session(Form::Resp);
    run(&mut session, "ACL DELUSER gone");
    run(&mut session, "ACL SETUSER q\"x on ~'a");
    assert_eq!(run(&mut session, "CONFIG REWRITE"), "+OK");
    let text = fs::read_to_string(&path).unwrap();
    let hash = "#148de9c5a7a44d19e56cd9ae1a554bf67847afb0c58f6e12fa29ac7ddfca9940";
    let bob = format!("user bob on {hash} resetchannels -@all +get\n");
    assert!(text.starts_with(&format!("# mine\n{bob}hz 20\nuser default on nopass ~* &* +@all\n")), "{text}");
    assert!(text.contains("\nuser \"q\\\"x\" on \"~'a\" resetchannels -@all\n"), "{text}");
    let again = with_text(&text).unwrap();
    assert_eq!(again.inner.users.file_text(), engine.inner.users.file_text());
    let both = format!("{text}\naclfile nowhere\n");
    assert!(with_text(&both).unwrap_err().starts_with("Users stand in the configuration file"));
}

#[test]
fn commands_have_the_names_that_the_configuration_gives_them() {
    let text = "rename-command GET GETX\nrename-command flushall \"\"\nrename-command SET get\nuser u on nopass +get ~*\n";
    let engine = with_text(text).unwrap();
    let mut session = engine.session(Form::Resp);
    assert_eq!(run(&mut session, "GET k v"), "+OK");
    assert_eq!(run(&mut session, "getx k"), "$1\r\nv");
    let unknown = "-ERR unknown command 'SET', with args beginning with: 'k' 'v'";
    assert_eq!(run(&mut session, "SET k v"), unknown);
    assert!(run(&mut session, "FLUSHALL").starts_with("-ERR unknown command 'FLUSHALL'"));
    assert_eq!(run(&mut session, "GETX"), "-ERR wrong number of arguments for 'get' command");
    assert_eq!(run(&mut session, "ACL DRYRUN default set a b"), "-ERR Command 'set' not found");
    assert_eq!(run(&mut session, "ACL DRYRUN default getx a"), "+OK");
    for line in ["MULTI", "GET k x", "GETX k"] {
        run(&mut session, line);
    }
    assert_eq!(run(&mut session, "EXEC"), "*2\r\n+OK\r\n$1\r\nx");
    // Rules go by the commands' own names.
    run(&mut session, "AUTH u x");
    assert_eq!(run(&mut session, "GETX k"), "$1\r\nx");
    assert_eq!(run(&mut session, "GET k y"), "-NOPERM User u has no permissions to run the 'set' command");
    for (text, error) in [
        ("rename-command nosuch x\n", "No such command in rename-command"),
        ("rename-command get set\n", "Target command name already exists"),
        ("rename-command get \"\"\nrename-command get x\n", "No such command in rename-command"),
    ] {
        assert_eq!(with_text(text).unwrap_err(), error);
    }
}

#[test]
fn nothing_passes_once_it_is_forbidden_though_others_are_at_it() {
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
    let engine = Engine::new();
    let mut admin = engine.session(Form::Resp);
    run(&mut admin, "ACL SETUSER boss on nopass +@all ~* &*");
    run(&mut admin, "AUTH boss x");
    // Odd: SET is forbidden.
    let (turn, is_over) = (AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for number in 0..3 {
            let (engine, turn, is_over) = (&engine, &turn, &is_over);
            scope.spawn(move || {
                let mut session = engine.session(Form::Resp);
                let mut commands = 0;
                while !is_over.load(Ordering::Acquire) {
                    let before = turn.load(Ordering::Acquire);
                    let reply = run(&mut session, "SET k v");
                    let is_forbidden = before % 2 == 1 && turn.load(Ordering::Acquire) == before;
                    assert!(!is_forbidden || reply.starts_with("-NOPERM"), "{reply}");
                    commands += 1;
                    // Sessions come and go meanwhile.
                    if number == 0 && commands % 50 == 0 {
                        session = engine.session(Form::Resp);
                    }
                }
            });
        }
        for _ in 0..200 {
            run(&mut admin, "ACL SETUSER default -set");
            turn.fetch_add(1, Ordering::Release);
            run(&mut admin, "GET k");
            std::thread::yield_now();
            turn.fetch_add(1, Ordering::Release);
            run(&mut admin, "ACL SETUSER default +set");
        }
        is_over.store(true, Ordering::Release);
    });
    assert!(!engine.inner.measures_all());
    let mut session = engine.session(Form::Resp);
    assert_eq!(run(&mut session, "SET k v"), "+OK");
}

#[test]
fn who_waits_for_a_key_is_asked_again() {
    let engine = Engine::new();
    let mut admin = engine.session(Form::Resp);
    run(&mut admin, "ACL SETUSER u on nopass +@all ~*");
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let mut session = engine.session(Form::Resp);
            run(&mut session, "AUTH u x");
            run(&mut session, "BLPOP k 60")
        });
        while !engine.inner.clients.all().iter().any(|client| client.blocking().is_some()) {
            std::thread::yield_now();
        }
        for line in ["MULTI", "ACL SETUSER u resetkeys", "RPUSH k v", "ACL LOG RESET", "PUBLISH c m"] {
            run(&mut admin, line);
        }
        assert!(run(&mut admin, "EXEC").starts_with("*4\r\n+OK\r\n:1\r\n"));
        assert_eq!(waiting.join().unwrap(), "-NOPERM No permissions to access a key");
    });
    assert_eq!(run(&mut admin, "LLEN k"), ":1");
    let log = run(&mut admin, "ACL LOG");
    assert!(log.starts_with("*1\r\n") && log.contains("cmd=blpop user=u"), "{log}");
}
