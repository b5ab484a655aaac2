//! What clients may hold, what becomes of those that do not read, and who answers while a script runs.

use super::*;

/// Sends commands with long replies until the listener takes no more, and reads nothing. Returns how many bytes of requests it took.
fn flood(stream: &TcpStream, request: &[u8]) -> usize {
    let mut stream = stream;
    stream.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    let mut sent = 0;
    while let Ok(written) = stream.write(request) {
        sent += written;
        assert!(sent < 256 << 20, "it takes all there is");
    }
    sent
}

fn held(engine: &Engine) -> usize {
    engine.inner.network.held.load(Ordering::Relaxed)
}

#[test]
fn who_reads_no_replies_is_not_read_from() {
    let (engine, _listener, address) = listening();
    let mut host = engine.session(Form::Resp);
    host.execute(&[b"SET", b"k", &vec![b'x'; 100_000]]);
    let mut slow = TcpStream::connect(address).unwrap();
    flood(&slow, &b"GET k\r\n".repeat(10_000));
    assert!(held(&engine) < 2 << 20, "{}", held(&engine));
    let mut other = TcpStream::connect(address).unwrap();
    assert_eq!(ask(&mut other, "PING"), "+PONG\r\n");
    // What it reads after all is right.
    let mut reply = vec![0; 100_011];
    slow.read_exact(&mut reply).unwrap();
    assert!(reply.starts_with(b"$100000\r\nxxx") && reply.ends_with(b"x\r\n"));
    drop(slow);
    await_info(&engine, "connected_clients:3");
    assert!(held(&engine) < 64 << 10, "{}", held(&engine));
}

#[test]
fn replies_above_the_limit_end_the_connection() {
    for (limit, hard) in [(&b"normal 1mb 0 0"[..], true), (b"normal 0 1mb 1", false)] {
        let engine = engine(&[b"--client-output-buffer-limit", limit]);
        let listener = Listener::bind(&engine, "127.0.0.1:0").unwrap();
        let mut host = engine.session(Form::Resp);
        host.execute(&[b"SET", b"k", &vec![b'x'; 100_000]]);
        let mut slow = TcpStream::connect(listener.addresses()[0]).unwrap();
        // The sockets between them take some megabytes. Sent at once: it may be ended meanwhile.
        let _ = slow.write_all(&b"GET k\r\n".repeat(if hard { 1000 } else { 200 }));
        await_info(&engine, "client_output_buffer_limit_disconnections:1");
        // The host, and who asks.
        await_info(&engine, "connected_clients:2");
        let mut rest = Vec::new();
        let _ = slow.read_to_end(&mut rest);
        assert!(rest.len() < 30_000_000);
    }
}

#[test]
fn the_largest_clients_go_where_all_take_too_much() {
    let engine = engine(&[b"--maxmemory-clients", b"4mb"]);
    let listener = Listener::bind(&engine, "127.0.0.1:0").unwrap();
    let address = listener.addresses()[0];
    let mut spared = TcpStream::connect(address).unwrap();
    assert_eq!(ask(&mut spared, "CLIENT NO-EVICT on"), "+OK\r\n");
    let begin = |stream: &mut TcpStream, bytes: usize| {
        let header = format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n${}\r\n", bytes * 2);
        stream.write_all(header.as_bytes()).unwrap();
        let _ = stream.write_all(&vec![b'x'; bytes]);
    };
    begin(&mut spared, 1 << 20);
    let mut small = TcpStream::connect(address).unwrap();
    begin(&mut small, 100_000);
    assert!(
        !String::from_utf8_lossy(engine.session(Form::Resp).execute(&[b"INFO"]))
            .contains("evicted_clients:1")
    );
    let mut large = TcpStream::connect(address).unwrap();
    begin(&mut large, 3 << 20);
    await_info(&engine, "evicted_clients:1");
    // The host, and who asks, and the two.
    await_info(&engine, "connected_clients:3");
    assert!(!matches!(large.read(&mut [0]), Ok(1)));
    let listed =
        String::from_utf8_lossy(engine.session(Form::Resp).execute(&[b"CLIENT", b"LIST"])).into_owned();
    let figure = |line: &str, name: &str| -> usize {
        let at = line.find(&format!(" {name}=")).unwrap() + name.len() + 2;
        line[at..].split(' ').next().unwrap().parse().unwrap()
    };
    let line = listed.lines().find(|line| line.contains("flags=e")).unwrap();
    assert!(
        figure(line, "qbuf") > 1 << 20 && figure(line, "tot-mem") > 1 << 20 && figure(line, "fd") > 0,
        "{line}"
    );
}

#[test]
fn an_idle_connection_has_no_buffers() {
    let (engine, _listener, address) = listening();
    let mut crowd: Vec<TcpStream> = (0..50).map(|_| TcpStream::connect(address).unwrap()).collect();
    for stream in &mut crowd {
        let long = "x".repeat(50_000);
        stream.write_all(format!("*2\r\n$4\r\nECHO\r\n$50000\r\n{long}\r\n").as_bytes()).unwrap();
        let mut reply = vec![0; 50_010];
        stream.read_exact(&mut reply).unwrap();
        assert_eq!(ask(stream, "PING"), "+PONG\r\n");
    }
    crate::patience::wait_until("nobody holds anything", || {
        held(&engine) == crowd.len() * crate::clients::Link::LEAST
    });
}

#[cfg(feature = "scripting")]
#[test]
fn while_a_script_runs_others_are_told_so_and_can_end_it() {
    for threads in ["1", "2"] {
        let engine = engine(&[b"--busy-reply-threshold", b"50", b"--io-threads", threads.as_bytes()]);
        let listener = Listener::bind(&engine, "127.0.0.1:0").unwrap();
        let address = listener.addresses()[0];
        let mut others: Vec<TcpStream> = (0..4).map(|_| TcpStream::connect(address).unwrap()).collect();
        for round in 0..3 {
            let mut runs = TcpStream::connect(address).unwrap();
            runs.write_all(b"EVAL 'while true do end' 0\r\nPING\r\n").unwrap();
            let busy = "-BUSY Valkey is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.\r\n";
            for other in &mut others {
                // The first of them waits for the threshold.
                while ask(other, "GET k") != busy {}
                assert_eq!(ask(other, "GET k"), busy);
            }
            // Who comes meanwhile, too.
            let mut late = TcpStream::connect(address).unwrap();
            assert_eq!(ask(&mut late, "GET k"), busy);
            assert_eq!(ask(&mut late, "SCRIPT KILL"), "+OK\r\n");
            runs.shutdown(std::net::Shutdown::Write).unwrap();
            let reply = rest(&mut runs);
            assert!(
                reply.contains("Script killed by user") && reply.ends_with("+PONG\r\n"),
                "{round}: {reply}"
            );
            others.iter_mut().for_each(|other| assert_eq!(ask(other, "GET k"), "$-1\r\n"));
        }
    }
}

#[test]
fn the_number_of_workers_can_be_changed() {
    let (engine, _listener, address) = listening();
    let mut host = engine.session(Form::Resp);
    let mut crowd = Vec::new();
    for threads in ["4", "1", "2", "1"] {
        assert_eq!(host.execute(&[b"CONFIG", b"SET", b"io-threads", threads.as_bytes()]), b"+OK\r\n");
        crowd.extend((0..8).map(|_| TcpStream::connect(address).unwrap()));
        crowd.iter_mut().for_each(|stream| assert_eq!(ask(stream, "INCR k").as_bytes()[0], b':'));
    }
    assert_eq!(ask(&mut crowd[0], "GET k"), "$2\r\n80\r\n");
}

#[cfg(all(target_os = "linux", not(miri)))]
#[test]
fn a_forked_child_leaves_connections_alone_and_can_listen_itself() {
    let (engine, listener, address) = listening();
    let mut client = TcpStream::connect(address).unwrap();
    assert_eq!(ask(&mut client, "SUBSCRIBE c").as_bytes()[0], b'*');
    let mut listener = Some(listener);
    assert!(os::in_fork_by_steps(|trail| {
        let mut host = engine.session(Form::Resp);
        // It is the parent's client that hears of it.
        trail.step("publishes");
        host.execute(&[b"PUBLISH", b"c", b"from the child"]);
        trail.step("drops the parent's listener");
        listener.take();
        trail.step("listens");
        let own = Listener::bind(&engine, "127.0.0.1:0").unwrap();
        let mut stream = TcpStream::connect(own.addresses()[0]).unwrap();
        let served = ask(&mut stream, "PING") == "+PONG\r\n";
        trail.step("ends its own listener");
        drop((own, stream));
        served
    }));
    let mut host = engine.session(Form::Resp);
    assert_eq!(host.execute(&[b"PUBLISH", b"c", b"m"]), b":1\r\n");
    let mut reply = [0; 26];
    client.read_exact(&mut reply).unwrap();
    assert_eq!(&reply, b"*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1");
}
