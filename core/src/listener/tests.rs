//! Tests of listeners over real sockets of the loopback interface.

mod limits;
mod places;

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use super::*;
use crate::{Clock, Config, Form};

/// What a listener answers to `request`, up to the end of the connection, which the client begins.
fn exchange(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(request).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    rest(&mut stream)
}

/// What comes until the listener ends the connection.
fn rest(stream: &mut TcpStream) -> String {
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    reply
}

/// One request of one reply of one line, or two for a string.
fn ask(stream: &mut TcpStream, request: &str) -> String {
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(format!("{request}\r\n").as_bytes()).unwrap();
    let mut reply = vec![0; 64 * 1024];
    let read = stream.read(&mut reply).unwrap();
    String::from_utf8_lossy(&reply[..read]).into_owned()
}

fn engine(options: &[&[u8]]) -> Engine {
    Engine::builder().config(Config::from_arguments(options).unwrap()).open().unwrap()
}

fn listening() -> (Engine, Listener, SocketAddr) {
    let engine = Engine::new();
    let listener = Listener::bind(&engine, "127.0.0.1:0").unwrap();
    let address = listener.addresses()[0];
    (engine, listener, address)
}

/// A port that nobody has at the moment.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let (_, _listener, address) = listening();
    let request = b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\nINCR a\r\n*2\r\n$3\r\nGET\r\n$1\r\na\r\n";
    assert_eq!(exchange(address, request), "+OK\r\n:2\r\n$1\r\n2\r\n");
}

#[test]
fn who_ends_its_own_connection_within_exec_hears_nothing_of_what_follows() {
    let (engine, _listener, address) = listening();
    let request =
        b"MULTI\r\nSET a 1\r\nCLIENT KILL TYPE normal SKIPME no\r\nPING\r\nSET b 2\r\nEXEC\r\nSET c 3\r\n";
    let queued = "+QUEUED\r\n".repeat(4);
    assert_eq!(exchange(address, request), format!("+OK\r\n{queued}*4\r\n+OK\r\n:1\r\n"));
    let db = engine.database(0).unwrap();
    assert_eq!(
        ["a", "b", "c"].map(|key| db.contains(key).unwrap()),
        [true, true, false],
        "all of it was done"
    );
}

#[test]
fn a_protocol_error_ends_the_connection_after_earlier_replies() {
    let (_, _listener, address) = listening();
    let reply = exchange(address, b"GET a\r\n*x\r\nGET a\r\n");
    assert_eq!(reply, "$-1\r\n-ERR Protocol error: invalid multibulk length\r\n");
}

#[test]
fn a_line_of_http_ends_the_connection_before_what_follows() {
    let (engine, _listener, address) = listening();
    for request in [
        &b"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\n\r\nSET hacked yes\r\n"[..],
        b"post / HTTP/1.1\r\nSET hacked yes\r\n",
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nSET hacked yes\r\n",
        b"*1\r\n$5\r\nhOsT:\r\nSET hacked yes\r\n",
        b"*1\r\n$6\r\nPOST\x00x\r\nSET hacked yes\r\n",
        b"MULTI\r\nPOST\r\nSET hacked yes\r\nEXEC\r\n",
    ] {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(request).unwrap();
        // Replies of before may be lost with the connection, as with Valkey.
        let reply = rest(&mut stream);
        assert!(!reply.contains("+OK\r\n+OK") && !reply.contains("unknown"), "{reply}");
        assert_eq!(engine.session(Form::Resp).execute(&[b"EXISTS", b"hacked"]), b":0\r\n");
    }
    let other = exchange(address, b"Host:x\r\nPING\r\n");
    assert!(other.starts_with("-ERR unknown command 'Host:x'") && other.ends_with("+PONG\r\n"), "{other}");
}

#[test]
fn who_has_not_authenticated_sends_little() {
    let engine = engine(&[b"--requirepass", b"secret"]);
    let listener = Listener::bind(&engine, "127.0.0.1:0").unwrap();
    let address = listener.addresses()[0];
    for (request, reply) in [
        ("*11\r\n", "-ERR Protocol error: unauthenticated multibulk length\r\n"),
        ("*10\r\n$16385\r\n", "-ERR Protocol error: unauthenticated bulk length\r\n"),
        ("*10\r\n$16384\r\n", ""),
        ("GET a\r\n", "-NOAUTH Authentication required.\r\n"),
        ("AUTH secret\r\n*11\r\n$16385\r\n", "+OK\r\n"),
    ] {
        assert_eq!(exchange(address, request.as_bytes()), reply, "{request}");
    }
}

#[test]
fn a_client_with_too_much_of_a_request_is_ended() {
    let engine = engine(&[b"--client-query-buffer-limit", b"1mb"]);
    let listener = Listener::bind(&engine, "127.0.0.1:0").unwrap();
    let address = listener.addresses()[0];
    let long = vec![b'x'; 3 << 20];
    let header = format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n${}\r\n", long.len());
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(header.as_bytes()).unwrap();
    // The listener gives up before it has read all of it.
    let _ = stream.write_all(&long);
    let mut byte = [0];
    assert!(!matches!(stream.read(&mut byte), Ok(1)));
    let mut queueing = TcpStream::connect(address).unwrap();
    assert_eq!(ask(&mut queueing, "MULTI"), "+OK\r\n");
    let word = "x".repeat(40_000);
    let mut queued = 0;
    while queueing.write_all(format!("SET k {word}\r\n").as_bytes()).is_ok()
        && queueing.read(&mut [0; 64]).is_ok_and(|read| read > 0)
    {
        queued += 1;
        assert!(queued < 40, "a transaction counts");
    }
    assert!(queued > 20, "{queued}");
    let info = engine.session(Form::Resp).execute(&[b"INFO", b"stats"]).to_vec();
    let info = String::from_utf8(info).unwrap();
    assert!(info.contains("client_query_buffer_limit_disconnections:2\r\n"), "{info}");
    assert_eq!(engine.session(Form::Resp).execute(&[b"EXISTS", b"k"]), b":0\r\n");
    // Many small requests at once are no large one.
    assert_eq!(exchange(address, "PING\r\n".repeat(400_000).as_bytes()).len(), "+PONG\r\n".len() * 400_000);
}

#[test]
fn idle_clients_are_ended() {
    let (engine, _listener, address) = listening();
    let mut idle = TcpStream::connect(address).unwrap();
    let mut busy = TcpStream::connect(address).unwrap();
    let mut session = engine.session(Form::Resp);
    assert_eq!(ask(&mut idle, "PING"), "+PONG\r\n");
    // Set while the listener sleeps.
    assert_eq!(session.execute(&[b"CONFIG", b"SET", b"timeout", b"1"]), b"+OK\r\n");
    let start = Clock::system().timer();
    idle.set_nonblocking(true).unwrap();
    let ended = loop {
        assert_eq!(ask(&mut busy, "PING"), "+PONG\r\n");
        if idle.read(&mut [0]).is_ok_and(|read| read == 0) {
            break start.elapsed();
        }
        assert!(start.elapsed() < Duration::from_secs(20));
        std::thread::sleep(Duration::from_millis(20));
    };
    assert!(ended > Duration::from_millis(900), "{ended:?}");
    assert_eq!(ask(&mut busy, "PING"), "+PONG\r\n");
    assert_eq!(session.execute(&[b"PING"]), b"+PONG\r\n");
}

#[test]
fn protected_mode_is_for_other_machines_without_a_password() {
    let peer = |text: &str| text.parse::<IpAddr>().unwrap();
    let open = engine(&[]);
    for (address, denied) in [
        ("127.0.0.1", false),
        ("127.3.2.1", false),
        ("::1", false),
        ("::ffff:127.0.0.1", false),
        ("192.168.1.5", true),
        ("10.0.0.1", true),
        ("::ffff:10.0.0.1", true),
        ("2001:db8::1", true),
        ("169.254.1.1", true),
    ] {
        assert_eq!(accept::is_denied(&open, peer(address)), denied, "{address}");
    }
    for options in [[&b"--protected-mode"[..], b"no"], [b"--requirepass", b"secret"]] {
        assert!(!accept::is_denied(&engine(&options), peer("10.0.0.1")));
    }
}

#[test]
fn options_say_where_to_listen_and_can_be_changed() {
    let port = free_port().to_string();
    let engine =
        engine(&[b"--port", port.as_bytes(), b"--bind", b"127.0.0.1", b"-203.0.113.7", b"127.0.0.3"]);
    let listener = Listener::serve(&engine).unwrap();
    let shown = |listener: &Listener| {
        let addresses = listener.addresses();
        addresses.iter().map(|address| address.ip().to_string()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(shown(&listener), "127.0.0.1 127.0.0.3");
    let mut client = TcpStream::connect(("127.0.0.1", port.parse().unwrap())).unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().port();
    let no_port = "-ERR CONFIG SET failed (possibly related to argument 'port') - Unable to listen on this port. Check server logs.\r\n";
    let no_bind = "-ERR CONFIG SET failed (possibly related to argument 'bind') - Failed to bind to specified addresses.\r\n";
    let other = free_port();
    for (request, reply) in [
        (format!("CONFIG SET port {taken}"), no_port),
        (format!("CONFIG SET hz 77 PORT {taken} maxmemory 7mb"), no_port),
        ("CONFIG GET hz".into(), "*2\r\n$2\r\nhz\r\n$2\r\n10\r\n"),
        ("CONFIG GET maxmemory".into(), "*2\r\n$9\r\nmaxmemory\r\n$1\r\n0\r\n"),
        ("CONFIG SET bind 203.0.113.7".into(), no_bind),
        ("CONFIG SET bind nonsense.invalid".into(), no_bind),
        ("CONFIG SET bind '127.0.0.1 127.0.0.1'".into(), no_bind),
        (format!("CONFIG SET bind 127.0.0.1 port {taken}"), no_bind),
        ("CONFIG GET bind".into(), "*2\r\n$4\r\nbind\r\n$32\r\n127.0.0.1 -203.0.113.7 127.0.0.3\r\n"),
        ("CONFIG SET bind 127.0.0.1".into(), "+OK\r\n"),
        (format!("CONFIG SET port {other}"), "+OK\r\n"),
    ] {
        assert_eq!(ask(&mut client, &request), reply, "{request}");
    }
    assert_eq!(listener.addresses(), [SocketAddr::from(([127, 0, 0, 1], other))]);
    assert_eq!(exchange(listener.addresses()[0], b"PING\r\n"), "+PONG\r\n");
    assert!(TcpStream::connect(("127.0.0.1", port.parse::<u16>().unwrap())).is_err());
    assert_eq!(ask(&mut client, "CONFIG SET port 0"), "+OK\r\n");
    assert_eq!(shown(&listener), "");
    assert_eq!(ask(&mut client, "MULTI"), "+OK\r\n");
    assert_eq!(ask(&mut client, &format!("CONFIG SET port {taken}")), "+QUEUED\r\n");
    assert_eq!(ask(&mut client, &format!("CONFIG SET port {other}")), "+QUEUED\r\n");
    assert_eq!(ask(&mut client, "EXEC"), format!("*2\r\n{no_port}+OK\r\n"));
    assert_eq!(shown(&listener), "127.0.0.1");
    assert!(Listener::serve(&self::engine(&[b"--port", b"0"])).is_err());
    assert!(Listener::serve(&self::engine(&[b"--port", taken.to_string().as_bytes()])).is_err());
}

#[test]
fn without_a_bind_only_the_loopback_address_is_listened_on() {
    let port = free_port().to_string();
    let listener = Listener::serve(&engine(&[b"--port", port.as_bytes()])).unwrap();
    assert_eq!(listener.addresses(), [SocketAddr::from(([127, 0, 0, 1], port.parse().unwrap()))]);
}

#[test]
fn a_fixed_address_does_not_follow_the_options() {
    let (engine, listener, address) = listening();
    let mut session = engine.session(Form::Resp);
    assert_eq!(session.execute(&[b"CONFIG", b"SET", b"port", b"1"]), b"+OK\r\n");
    assert_eq!(listener.addresses(), [address]);
}

#[test]
fn a_crowd_connects_at_once() {
    let (engine, _listener, address) = listening();
    let start = Clock::system().timer();
    let mut slowest = Duration::ZERO;
    let crowd: Vec<TcpStream> = (0..500)
        .map(|_| {
            let begin = Clock::system().timer();
            let stream = TcpStream::connect(address).unwrap();
            slowest = slowest.max(begin.elapsed());
            stream
        })
        .collect();
    // A connection that finds the queue full is tried again after a second.
    assert!(slowest < Duration::from_millis(900), "{slowest:?} of {:?}", start.elapsed());
    for mut stream in crowd {
        assert_eq!(ask(&mut stream, "PING"), "+PONG\r\n");
    }
    let mut session = engine.session(Form::Resp);
    session.execute(&[b"CONFIG", b"SET", b"maxclients", b"1"]);
    while engine.inner.network.open.load(Ordering::Relaxed) > 0 {
        std::thread::sleep(Duration::from_millis(5));
    }
    let mut first = TcpStream::connect(address).unwrap();
    assert_eq!(ask(&mut first, "PING"), "+PONG\r\n");
    assert_eq!(rest(&mut TcpStream::connect(address).unwrap()), "-ERR max number of clients reached\r\n");
    assert_eq!(ask(&mut first, "PING"), "+PONG\r\n");
}

#[cfg(all(target_os = "linux", not(miri)))]
#[test]
fn more_clients_than_descriptors_are_refused() {
    assert!(os::in_fork_by_steps(|trail| {
        assert!(os::limit_descriptors(200));
        let port = free_port().to_string();
        let engine = engine(&[b"--port", port.as_bytes(), b"--maxclients", b"500"]);
        let _listener = Listener::serve(&engine).unwrap();
        let mut session = engine.session(Form::Resp);
        trail.step("serves");
        let told = "-ERR CONFIG SET failed (possibly related to argument 'maxclients') - The operating system is not able to handle the \
                    specified number of clients, try with 168\r\n";
        for (words, reply) in [
            (&[&b"CONFIG"[..], b"GET", b"maxclients"][..], "*2\r\n$10\r\nmaxclients\r\n$3\r\n168\r\n"),
            (&[b"CONFIG", b"SET", b"maxclients", b"169", b"hz", b"77"], told),
            (&[b"CONFIG", b"GET", b"hz"], "*2\r\n$2\r\nhz\r\n$2\r\n10\r\n"),
            (&[b"CONFIG", b"SET", b"maxclients", b"168"], "+OK\r\n"),
            (&[b"CONFIG", b"SET", b"maxclients", b"5"], "+OK\r\n"),
        ] {
            assert_eq!(String::from_utf8_lossy(session.execute(words)), reply);
        }
        true
    }));
}

/// Processor time of this process in hundredths of a second, from its file of statistics, which is open.
#[cfg(all(target_os = "linux", not(miri)))]
fn hundredths_used(stat: &mut std::fs::File) -> u64 {
    use std::io::Seek;
    let mut text = String::new();
    stat.rewind().unwrap();
    stat.read_to_string(&mut text).unwrap();
    let (_, fields) = text.rsplit_once(')').unwrap();
    fields.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum()
}

#[cfg(all(target_os = "linux", not(miri)))]
#[test]
fn without_descriptors_clients_are_told_and_the_processor_rests() {
    use std::os::fd::AsRawFd;
    // A child, whose limit is its own.
    assert!(os::in_fork_by_steps(|trail| {
        let (_engine, _listener, address) = listening();
        let mut crowd = vec![TcpStream::connect(address).unwrap()];
        assert_eq!(ask(&mut crowd[0], "PING"), "+PONG\r\n");
        // Beside other tests the numbers of descriptors have holes, which are filled so that it is known how many are left.
        let last = crowd[0].as_raw_fd();
        let mut filling: Vec<_> = std::iter::from_fn(|| std::fs::File::open("/proc/self/stat").ok())
            .take_while(|file| file.as_raw_fd() < last)
            .collect();
        let mut stat = std::fs::File::open("/proc/self/stat").unwrap();
        filling.push(stat.try_clone().unwrap());
        let highest = filling.iter().map(AsRawFd::as_raw_fd).max().unwrap().max(stat.as_raw_fd());
        assert!(os::limit_descriptors(highest as u64 + 32));
        crowd.extend(std::iter::from_fn(|| TcpStream::connect(address).ok()).take(64));
        trail.step("nobody can connect any more");
        let before = hundredths_used(&mut stat);
        std::thread::sleep(Duration::from_millis(600));
        let used = hundredths_used(&mut stat) - before;
        trail.step(&format!("{used} of 60 hundredths of a second, {} connections", crowd.len()));
        assert!(used < 20);
        assert_eq!(ask(&mut crowd[0], "PING"), "+PONG\r\n");
        trail.step("who was there before is served");
        let last = crowd.len() - 1;
        assert!(last > 4 && last < 36, "{last}");
        let mut last = crowd.remove(last);
        crowd.truncate(1);
        trail.step("all but two have gone");
        // It was told that there is no room, or, if somebody took the reserve as well, waited and is served now.
        let reply = ask(&mut last, "PING");
        assert!(reply == "+PONG\r\n" || reply == "-ERR max number of clients reached\r\n", "{reply}");
        let start = Clock::system().timer();
        loop {
            let mut late = TcpStream::connect(address).unwrap();
            let reply = ask(&mut late, "PING");
            if reply == "+PONG\r\n" {
                return true;
            }
            assert!(reply.contains("max number") && start.elapsed() < Duration::from_secs(20), "{reply}");
        }
    }));
}

#[test]
fn killed_clients_are_cut_and_sessions_of_the_host_are_not() {
    let (engine, _listener, address) = listening();
    let mut host = engine.session(Form::Resp);
    assert_eq!(host.execute(&[b"SELECT", b"3"]), b"+OK\r\n");
    let mut client = TcpStream::connect(address).unwrap();
    let mut idle = TcpStream::connect(address).unwrap();
    let id = ask(&mut idle, "CLIENT ID").trim_start_matches(':').trim().to_owned();
    let place = client.local_addr().unwrap();
    assert_eq!(ask(&mut client, &format!("CLIENT KILL ID {} {id} {id}", host.id())), ":1\r\n");
    assert_eq!(rest(&mut idle), "");
    for line in ["CLIENT KILL \"\"", "CLIENT KILL x:1"] {
        assert_eq!(ask(&mut client, line), "-ERR No such client\r\n");
    }
    // Also while it sends, and with replies that it does not read.
    let mut sending = TcpStream::connect(address).unwrap();
    let sender = sending.local_addr().unwrap();
    let thread =
        std::thread::spawn(
            move || {
                while sending.write_all(&b"ECHO 0123456789abcdef\r\n".repeat(1000)).is_ok() {}
            },
        );
    let kill = format!("CLIENT KILL ADDR {sender}");
    while ask(&mut client, &kill) == ":0\r\n" {
        std::thread::sleep(Duration::from_millis(5));
    }
    thread.join().unwrap();
    let killed = host.execute(&[b"CLIENT", b"KILL", place.to_string().as_bytes()]).to_vec();
    assert_eq!((killed, rest(&mut client)), (b"+OK\r\n".to_vec(), String::new()));
    // Nobody of the host, itself included.
    assert_eq!(host.execute(&[b"CLIENT", b"KILL", b"SKIPME", b"no"]), b":0\r\n");
    assert!(!host.is_quitting() && host.db() == 3);
    let mut other = TcpStream::connect(address).unwrap();
    let own = other.local_addr().unwrap();
    assert_eq!(ask(&mut other, &format!("CLIENT KILL {own}")), "+OK\r\n");
    assert_eq!(rest(&mut other), "");
}

/// Waits until INFO says so.
fn await_info(engine: &Engine, line: &str) {
    let mut host = engine.session(Form::Resp);
    while !String::from_utf8_lossy(host.execute(&[b"INFO"])).contains(&format!("{line}\r\n")) {
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn clients_that_go_while_they_wait_are_noticed() {
    let (engine, _listener, address) = listening();
    let mut gone = TcpStream::connect(address).unwrap();
    let mut half = TcpStream::connect(address).unwrap();
    for stream in [&mut gone, &mut half] {
        // What stands behind is not looked at, not even that there is something.
        stream.write_all(b"WAIT 1 0\r\nSET k v\r\n").unwrap();
    }
    await_info(&engine, "blocked_clients:2");
    drop(gone);
    await_info(&engine, "blocked_clients:1");
    half.shutdown(std::net::Shutdown::Write).unwrap();
    await_info(&engine, "blocked_clients:0");
    assert_eq!(rest(&mut half), "");
    await_info(&engine, "connected_clients:1");
    assert_eq!(engine.session(Form::Resp).execute(&[b"EXISTS", b"k"]), b":0\r\n");
}

#[test]
fn a_client_that_dies_while_it_waits_takes_no_element_along() {
    let (engine, _listener, address) = listening();
    let mut host = engine.session(Form::Resp);
    for number in 0..20 {
        let mut dying = TcpStream::connect(address).unwrap();
        dying.write_all(b"BLPOP k 0\r\n").unwrap();
        await_info(&engine, "blocked_clients:1");
        drop(dying);
        await_info(&engine, "blocked_clients:0");
        let element = number.to_string();
        assert_eq!(host.execute(&[b"RPUSH", b"k", element.as_bytes()]), b":1\r\n");
        let mut living = TcpStream::connect(address).unwrap();
        living.write_all(b"BLPOP k 0\r\nQUIT\r\n").unwrap();
        let reply = format!("*2\r\n$1\r\nk\r\n${}\r\n{element}\r\n+OK\r\n", element.len());
        assert_eq!(rest(&mut living), reply);
    }
}

#[test]
fn what_was_popped_for_a_client_that_is_killed_before_its_reply_is_sent_is_put_back() {
    let (engine, _listener, address) = listening();
    let mut host = engine.session(Form::Resp);
    for command in ["BLPOP k 0", "BZPOPMIN k 0"] {
        let push = if command == "BLPOP k 0" { "RPUSH k" } else { "ZADD k 1" };
        for number in 0..50 {
            let mut killed = TcpStream::connect(address).unwrap();
            let id = ask(&mut killed, "CLIENT ID").trim_start_matches(':').trim_end().to_owned();
            killed.write_all(format!("{command}\r\n").as_bytes()).unwrap();
            await_info(&engine, "blocked_clients:1");
            let mut run = |line: &str| {
                let argv: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
                String::from_utf8(host.execute(&argv).to_vec()).unwrap()
            };
            // Its thread has hardly been woken when it is killed.
            assert_eq!(run(&format!("{push} e{number}")), ":1\r\n");
            run(&format!("CLIENT KILL ID {id}"));
            let reply = rest(&mut killed);
            // Its thread needs a moment to put it back.
            let next = if reply.is_empty() { command.replace(" 0", " 20") } else { "EXISTS k".to_owned() };
            let left = run(&next);
            let has = |text: &str| text.contains(&format!("e{number}\r\n"));
            assert!(has(&reply) != has(&left), "the reply is {reply:?}, and {left:?} is left");
        }
    }
}

#[test]
fn what_was_published_before_a_command_came_stands_before_its_reply() {
    let (engine, _listener, address) = listening();
    let mut host = engine.session(Form::Resp);
    let mut hears = TcpStream::connect(address).unwrap();
    hears.write_all(b"SUBSCRIBE c\r\n").unwrap();
    let expect = |stream: &mut TcpStream, expected: &str| {
        let mut found = vec![0; expected.len()];
        stream.read_exact(&mut found).unwrap();
        assert_eq!(String::from_utf8_lossy(&found), expected);
    };
    expect(&mut hears, "*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n");
    for _ in 0..500 {
        assert_eq!(host.execute(&[b"PUBLISH", b"c", b"m"]), b":1\r\n");
        hears.write_all(b"PING x\r\n").unwrap();
        expect(&mut hears, "*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nm\r\n*2\r\n$4\r\npong\r\n$1\r\nx\r\n");
    }
}

#[test]
fn clients_that_wait_or_monitor_are_not_idle() {
    let (engine, _listener, address) = listening();
    let mut waiting = TcpStream::connect(address).unwrap();
    let mut monitor = TcpStream::connect(address).unwrap();
    let mut idle = TcpStream::connect(address).unwrap();
    waiting.write_all(b"WAIT 1 0\r\n").unwrap();
    // The line of WAIT may come with it.
    assert!(ask(&mut monitor, "MONITOR").starts_with("+OK\r\n"));
    assert_eq!(ask(&mut idle, "CONFIG SET timeout 1"), "+OK\r\n");
    await_info(&engine, "blocked_clients:1");
    // The idle one is ended, and the others have been idle as long.
    assert_eq!(rest(&mut idle), "");
    let mut host = engine.session(Form::Resp);
    let clients = String::from_utf8_lossy(host.execute(&[b"CLIENT", b"LIST"])).into_owned();
    let id = clients.lines().find(|line| line.contains("flags=b")).unwrap().trim_start_matches("id=");
    let id = id.split(' ').next().unwrap();
    assert!(clients.contains("flags=O"), "{clients}");
    assert_eq!(host.execute(&[b"CLIENT", b"UNBLOCK", id.as_bytes()]), b":1\r\n");
    let mut reply = [0; 4];
    waiting.read_exact(&mut reply).unwrap();
    assert_eq!(&reply, b":0\r\n");
}

#[test]
fn a_monitor_that_does_not_read_is_ended_and_slows_nobody() {
    let engine = engine(&[b"--client-output-buffer-limit", b"normal 1mb 0 0"]);
    let listener = Listener::bind(&engine, "127.0.0.1:0").unwrap();
    let mut monitor = TcpStream::connect(listener.addresses()[0]).unwrap();
    assert_eq!(ask(&mut monitor, "MONITOR"), "+OK\r\n");
    let mut host = engine.session(Form::Resp);
    let word = vec![b'x'; 64 << 10];
    // The sockets between them take some megabytes.
    while engine.inner.is_monitored() {
        assert_eq!(host.execute(&[b"ECHO", &word]).len(), word.len() + "$65536\r\n\r\n".len());
    }
    await_info(&engine, "client_output_buffer_limit_disconnections:1");
    // The host, and who asks.
    await_info(&engine, "connected_clients:2");
    let mut lines = Vec::new();
    // It may read what was on its way.
    let _ = monitor.read_to_end(&mut lines);
    assert!(lines.starts_with(b"+") && lines.len() > 1 << 20);
}
