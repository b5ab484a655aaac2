//! Listeners at other places than an address: Unix sockets, and encrypted addresses.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SanType};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::*;

/// A request, and the first of its reply.
fn say(stream: &mut (impl Read + Write), request: &str) -> String {
    stream.write_all(format!("{request}\r\n").as_bytes()).unwrap();
    let mut reply = vec![0; 64 * 1024];
    let read = stream.read(&mut reply).unwrap();
    String::from_utf8_lossy(&reply[..read]).into_owned()
}

fn unix(path: &Path) -> UnixStream {
    let stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

#[test]
fn a_unix_socket_serves_and_its_clients_are_local() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let engine = engine(&[b"--enable-debug-command", b"local"]);
    let listener = engine.listen(&format!("unix:{}", path.display())).unwrap();
    assert_eq!((listener.addresses(), listener.places()), (vec![], vec![format!("unix:{}", path.display())]));
    let mut client = unix(&path);
    assert_eq!(say(&mut client, "SET k v"), "+OK\r\n");
    assert_eq!(say(&mut client, "DEBUG SLEEP 0"), "+OK\r\n");
    let listed = say(&mut client, "CLIENT LIST");
    let shown = path.display();
    assert!(
        listed.contains(&format!(" addr={shown}:0 laddr={shown}:0 ")) && listed.contains(" flags=U "),
        "{listed}"
    );
    assert_eq!(say(&mut client, &format!("CLIENT KILL ADDR {shown}:0 SKIPME yes")), ":0\r\n");
    let info = say(&mut client, "INFO server");
    assert!(info.contains(&format!("listener0:name=unix,bind={shown}\r\n")), "{info}");
    // Somebody listens there.
    let error = Listener::bind_path(&engine, &path).err().unwrap().to_string();
    assert!(error.contains("somebody listens there"), "{error}");
    drop(listener);
    assert!(!path.exists());
    // Who is connected stays so.
    assert_eq!(say(&mut client, "GET k"), "$1\r\nv\r\n");
}

#[test]
fn a_socket_that_was_left_gives_way_and_other_files_do_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let text = path.to_str().unwrap().as_bytes().to_vec();
    let engine = engine(&[b"--port", b"0", b"--unixsocket", &text, b"--unixsocketperm", b"700"]);
    let listener = Listener::serve(&engine).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(say(&mut unix(&path), "PING"), "+PONG\r\n");
    // It goes on where it is when the addresses change.
    let mut host = engine.session(Form::Resp);
    assert_eq!(host.execute(&[b"CONFIG", b"SET", b"port", free_port().to_string().as_bytes()]), b"+OK\r\n");
    assert_eq!((listener.addresses().len(), say(&mut unix(&path), "PING").as_str()), (1, "+PONG\r\n"));
    drop(listener);
    std::fs::write(&path, "mine").unwrap();
    assert!(Listener::bind_path(&engine, &path).is_err());
    assert_eq!(std::fs::read(&path).unwrap(), b"mine");
    let long = folder.path().join("x".repeat(200));
    assert!(Listener::bind_path(&engine, long).is_err());
}

/// An authority, and what it has signed, in files.
struct Certificates {
    folder: tempfile::TempDir,
    authority: Issuer<'static, KeyPair>,
    root: String,
}

impl Certificates {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = params.self_signed(&key).unwrap().pem();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), &root).unwrap();
        Self { folder, authority: Issuer::new(params, key), root }
    }

    /// Has it sign a certificate of this name.
    fn sign(&self, name: &str) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.subject_alt_names.push(SanType::URI(format!("urn:keystead:{name}").try_into().unwrap()));
        let signed = params.signed_by(&key, &self.authority).unwrap();
        std::fs::write(self.path(&format!("{name}.pem")), signed.pem()).unwrap();
        std::fs::write(self.path(&format!("{name}.key")), key.serialize_pem()).unwrap();
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    /// An engine that serves with the certificate of `server`, with more options.
    fn engine(&self, options: &[&str]) -> (Engine, Listener, SocketAddr) {
        let files = [self.path("server.pem"), self.path("server.key"), self.path("ca.pem")];
        let names = ["--tls-cert-file", "--tls-key-file", "--tls-ca-cert-file"];
        let port = free_port().to_string();
        let mut words = vec!["--port", "0", "--tls-port", &port];
        names.iter().zip(&files).for_each(|(name, file)| words.extend([*name, file]));
        words.extend(options);
        let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        let engine = engine(&words);
        let listener = Listener::serve(&engine).unwrap();
        let address = listener.addresses()[0];
        (engine, listener, address)
    }

    /// A client, with the certificate of that name if there is one.
    fn connect(&self, address: SocketAddr, name: Option<&str>) -> StreamOwned<ClientConnection, TcpStream> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.root.as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder =
            ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let builder = builder.with_root_certificates(roots);
        let config = match name {
            None => builder.with_no_client_auth(),
            Some(name) => {
                let own = CertificateDer::from_pem_file(self.path(&format!("{name}.pem"))).unwrap();
                let key = PrivateKeyDer::from_pem_file(self.path(&format!("{name}.key"))).unwrap();
                builder.with_client_auth_cert(vec![own], key).unwrap()
            }
        };
        let name = ServerName::try_from("localhost").unwrap();
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        StreamOwned::new(ClientConnection::new(Arc::new(config), name).unwrap(), stream)
    }
}

#[test]
fn encrypted_connections_serve() {
    let certificates = Certificates::new();
    certificates.sign("server");
    let (engine, listener, address) = certificates.engine(&["--tls-auth-clients", "no"]);
    assert_eq!(listener.places(), [format!("tls:{address}")]);
    let mut client = certificates.connect(address, None);
    assert_eq!(say(&mut client, "PING"), "+PONG\r\n");
    // More than fits a record, or the buffers of the sockets.
    let long = "x".repeat(8 << 20);
    let request = format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n${}\r\n{long}\r\n", long.len());
    client.write_all(request.as_bytes()).unwrap();
    let mut reply = [0; 5];
    client.read_exact(&mut reply).unwrap();
    assert_eq!(&reply, b"+OK\r\n");
    client.write_all("GET k\r\n".repeat(3).as_bytes()).unwrap();
    let expected = format!("${}\r\n{long}\r\n", long.len()).repeat(3);
    let mut found = vec![0; expected.len()];
    client.read_exact(&mut found).unwrap();
    assert!(found == expected.as_bytes());
    // A wait, and what is pushed to it.
    let mut host = engine.session(Form::Resp);
    client.write_all(b"BLPOP list 0\r\n").unwrap();
    client.flush().unwrap();
    await_info(&engine, "blocked_clients:1");
    assert_eq!(host.execute(&[b"RPUSH", b"list", b"a"]), b":1\r\n");
    assert_eq!(say(&mut client, ""), "*2\r\n$4\r\nlist\r\n$1\r\na\r\n");
    // Who does not encrypt is not served, and holds nobody up.
    let mut plain = TcpStream::connect(address).unwrap();
    plain.write_all(b"PING\r\n").unwrap();
    let mut rest = Vec::new();
    plain.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let _ = plain.read_to_end(&mut rest);
    assert!(!rest.windows(4).any(|bytes| bytes == b"PONG"));
    assert_eq!(say(&mut client, "PING"), "+PONG\r\n");
    assert!(
        String::from_utf8_lossy(host.execute(&[b"INFO", b"server"]))
            .contains("listener0:name=tls,bind=127.0.0.1,port=")
    );
}

#[test]
fn clients_show_certificates_where_they_have_to_and_can_be_users_by_them() {
    let certificates = Certificates::new();
    ["server", "ann"].iter().for_each(|name| certificates.sign(name));
    for kind in ["CN", "URI"] {
        let (engine, _listener, address) = certificates.engine(&["--tls-auth-clients-user", kind]);
        let mut host = engine.session(Form::Resp);
        let user = if kind == "CN" { "ann" } else { "urn:keystead:ann" };
        let set = [&b"ACL"[..], b"SETUSER", user.as_bytes(), b"on", b"+@all", b"~*"];
        assert_eq!(host.execute(&set), b"+OK\r\n");
        let mut known = certificates.connect(address, Some("ann"));
        assert_eq!(say(&mut known, "ACL WHOAMI"), format!("${}\r\n{user}\r\n", user.len()));
        // The certificate of no user.
        let mut unknown = certificates.connect(address, Some("server"));
        assert_eq!(say(&mut unknown, "ACL WHOAMI"), "$7\r\ndefault\r\n");
        let mut none = certificates.connect(address, None);
        let asked = none.write_all(b"PING\r\n").and_then(|()| none.read(&mut [0; 64]));
        assert!(asked.is_err() || asked.is_ok_and(|read| read == 0));
    }
    let (_engine, _listener, address) = certificates.engine(&["--tls-auth-clients", "optional"]);
    for name in [None, Some("ann")] {
        assert_eq!(say(&mut certificates.connect(address, name), "PING"), "+PONG\r\n");
    }
}

#[test]
fn certificates_are_taken_over_by_config_set_and_wrong_ones_are_not() {
    let certificates = Certificates::new();
    ["server", "other"].iter().for_each(|name| certificates.sign(name));
    let (engine, _listener, address) = certificates.engine(&["--tls-auth-clients", "no"]);
    let serial = || {
        let mut client = certificates.connect(address, None);
        assert_eq!(say(&mut client, "PING"), "+PONG\r\n");
        client.conn.peer_certificates().unwrap()[0].to_vec()
    };
    let before = serial();
    let mut host = engine.session(Form::Resp);
    let mut set = |pairs: &[&str]| {
        let words: Vec<&[u8]> = ["CONFIG", "SET"].iter().chain(pairs).map(|word| word.as_bytes()).collect();
        String::from_utf8(host.execute(&words).to_vec()).unwrap()
    };
    let failed = |option: &str| {
        let unable = "Unable to update TLS configuration. Check server logs.";
        format!("-ERR CONFIG SET failed (possibly related to argument '{option}') - {unable}\r\n")
    };
    for (option, value) in [
        ("tls-cert-file", "/nonexistent"),
        ("tls-key-file", certificates.path("other.key").as_str()),
        ("tls-key-file-pass", "secret"),
        ("tls-protocols", "TLSv1.1"),
        ("tls-ciphers", "RC4-MD5"),
        ("tls-ciphersuites", "TLS_AES_128_CCM_SHA256"),
    ] {
        assert_eq!(set(&[option, value]), failed(option), "{value}");
    }
    assert_eq!(serial(), before);
    let (certificate, key) = (certificates.path("other.pem"), certificates.path("other.key"));
    assert_eq!(set(&["tls-cert-file", &certificate, "tls-key-file", &key]), "+OK\r\n");
    assert_ne!(serial(), before);
    for (option, value) in [
        ("tls-protocols", "TLSv1.2"),
        ("tls-ciphers", "ECDHE-ECDSA-AES256-GCM-SHA384"),
        ("tls-protocols", "TLSv1.3 TLSv1.2"),
        ("tls-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256"),
        ("tls-session-caching", "no"),
    ] {
        assert_eq!(set(&[option, value]), "+OK\r\n");
        assert_ne!(serial(), before);
    }
}

/// An engine that stands in one behind TLS: with a certificate of its own, with values of many records, and not where the names are wrong.
#[cfg(feature = "remote")]
#[test]
fn an_engine_elsewhere_is_reached_encrypted() {
    let certificates = Certificates::new();
    ["server", "client"].iter().for_each(|name| certificates.sign(name));
    let (engine, _listener, address) = certificates.engine(&["--tls-auth-clients", "yes"]);
    let (ca, own) = (certificates.path("ca.pem"), certificates.path("client"));
    let port = address.port();
    let url = |host: &str, options: &str| {
        format!("valkeys://{host}:{port}/0?timeout=20s&connect_timeout=5s&{options}")
    };
    let near = Engine::open(url("localhost", &format!("ca={ca}&cert={own}.pem&key={own}.key"))).unwrap();
    let timer = crate::Clock::system().timer();
    while !near.near_stats().unwrap().is_linked {
        assert!(timer.elapsed() < Duration::from_secs(20), "there is no link");
        std::thread::sleep(Duration::from_millis(2));
    }
    let (here, there) = (near.database(0).unwrap(), engine.database(0).unwrap());
    let large: Vec<u8> = (0..1_000_000_u32).map(|number| number as u8).collect();
    here.set("large", &large).unwrap();
    assert_eq!(there.get("large").unwrap().as_deref(), Some(&large[..]));
    for _ in 0..2 {
        assert_eq!(here.get("large").unwrap().as_deref(), Some(&large[..]));
    }
    let threads: Vec<_> = (0..8)
        .map(|number| {
            let here = here.clone();
            std::thread::spawn(move || {
                for round in 0..50 {
                    let (key, value) = (format!("key:{number}:{round}"), "v".repeat(round * 300));
                    here.set(&key, &value).unwrap();
                    assert_eq!(here.get(&key).unwrap().as_deref(), Some(value.as_bytes()));
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    there.set("large", "small").unwrap();
    while here.get("large").unwrap().as_deref() != Some(b"small") {
        assert!(timer.elapsed() < Duration::from_secs(60), "the change is not heard of");
    }
    // Nobody signed for that name; without the authority nobody signed at all; and who shows nothing is refused.
    for wrong in [
        url("127.0.0.1", &format!("ca={ca}&cert={own}.pem&key={own}.key")),
        url("localhost", ""),
        url("localhost", &format!("ca={ca}")),
    ] {
        let engine = Engine::open(wrong).unwrap();
        assert_eq!(engine.database(0).unwrap().get("large").unwrap_err().kind(), crate::ErrorKind::Io);
    }
    assert!(Engine::open(url("localhost", "ca=/nonexistent")).is_err());
}
