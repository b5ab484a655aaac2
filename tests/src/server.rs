//! Starts and stops the two servers of a comparison: the oracle (a real valkey-server) and the subject (Keystead).
//!
//! `cargo xtask test` names the binaries in `KEYSTEAD_ORACLE` and `KEYSTEAD_BIN`; nothing here installs or builds.

use crate::resp::{Client, Reply};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// The binary a server is started from.
#[derive(Clone, Debug)]
pub enum Binary {
    /// A real valkey-server.
    Valkey(PathBuf),
    /// The `keystead` command.
    Keystead(PathBuf),
}

impl Binary {
    /// Which kind it is, told by the file's name.
    pub fn at(path: PathBuf) -> Self {
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        if name.starts_with("valkey-server") { Binary::Valkey(path) } else { Binary::Keystead(path) }
    }

    fn command(&self, port: u16, dir: &Path) -> Command {
        let (path, lead): (_, &[&str]) = match self {
            Binary::Valkey(path) => (path, &[]),
            Binary::Keystead(path) => (path, &["serve"]),
        };
        let mut command = Command::new(path);
        command.args(lead).arg(dir.join("server.conf")).args(["--port", &port.to_string()]);
        command.args(["--enable-debug-command", "yes", "--save", ""]);
        if matches!(self, Binary::Valkey(_)) {
            command.args(["--bind", "127.0.0.1"]);
        }
        command
    }
}

/// The two binaries to compare.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The judge.
    pub oracle: Binary,
    /// The judged.
    pub subject: Binary,
}

impl Pair {
    /// Reads `KEYSTEAD_ORACLE` and `KEYSTEAD_BIN`; the latter may name a valkey-server too, which checks the tests.
    ///
    /// # Errors
    /// What is unset or missing, as a sentence for the user.
    pub fn from_env() -> Result<Self, String> {
        Ok(Pair {
            oracle: Binary::Valkey(from_env("KEYSTEAD_ORACLE")?),
            subject: Binary::at(from_env("KEYSTEAD_BIN")?),
        })
    }
}

impl Binary {
    /// The valkey-server 8.1 that `KEYSTEAD_OLDER` names: what reads RDB files up to version 11.
    ///
    /// # Errors
    /// As of [`Pair::from_env`].
    pub fn older_from_env() -> Result<Self, String> {
        from_env("KEYSTEAD_OLDER").map(Binary::Valkey)
    }
}

/// A binary that a variable names.
fn from_env(name: &str) -> Result<PathBuf, String> {
    match std::env::var_os(name).map(PathBuf::from) {
        Some(path) if path.is_file() => Ok(path),
        Some(path) => Err(format!("{name} names {}, which does not exist", path.display())),
        None => Err(format!("{name} is not set: run this through `cargo xtask test compat property`")),
    }
}

/// A running server with a folder of its own; dropping it kills the process and removes the folder.
#[derive(Debug)]
pub struct Server {
    binary: Binary,
    child: Child,
    address: SocketAddr,
    dir: PathBuf,
    /// The folder goes with the server.
    owns_folder: bool,
}

impl Server {
    /// Starts a server on a free loopback port and waits until it answers.
    ///
    /// # Errors
    /// Those of the process or the socket; a server that does not answer within ten seconds.
    pub fn start(binary: &Binary) -> io::Result<Self> {
        let mut last = io::Error::other("never tried");
        // Another process can take the port between our choice and the server's bind.
        for _ in 0..3 {
            match Self::try_start(binary, None, &[]) {
                Ok(server) => return Ok(server),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// As [`Server::start`], in a folder that stays, with options. What is there has been loaded.
    ///
    /// # Errors
    /// As there.
    pub fn start_in(folder: &Path, binary: &Binary, options: &[&str]) -> io::Result<Self> {
        let server = Self::try_start(binary, Some(folder), options)?;
        let (mut client, start) = (server.client()?, Instant::now());
        // A server answers some commands while it loads.
        while start.elapsed() < Duration::from_secs(60) {
            let info = client.call(&["INFO", "persistence"])?;
            if info.text().is_some_and(|text| String::from_utf8_lossy(text).contains("\r\nloading:0\r\n")) {
                return Ok(server);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Err(io::Error::other("the server loads for ever"))
    }

    fn try_start(binary: &Binary, folder: Option<&Path>, options: &[&str]) -> io::Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let serial = COUNT.fetch_add(1, Ordering::Relaxed);
        let own = std::env::temp_dir().join(format!("keystead-tests-{}-{serial}", std::process::id()));
        let dir = folder.map_or(own, Path::to_owned);
        std::fs::create_dir_all(&dir)?;
        std::fs::write(dir.join("server.conf"), "")?;
        let log = std::fs::File::create(dir.join("server.log"))?;
        let mut command = binary.command(port, &dir);
        command.args(options);
        command.current_dir(&dir).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn()?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let owns_folder = folder.is_none();
        let mut server = Server { binary: binary.clone(), child, address, dir, owns_folder };
        server.wait_ready()?;
        Ok(server)
    }

    fn wait_ready(&mut self) -> io::Result<()> {
        let start = Instant::now();
        loop {
            if let Ok(mut client) = Client::connect(self.address)
                && client.call(&["INFO", "server"]).is_ok_and(|info| self.is_told_by(&info))
            {
                // Gone for certain before a script counts connections.
                client.call(&["QUIT"])?;
                client.is_closed();
                return Ok(());
            }
            if self.child.try_wait()?.is_some() || start.elapsed() > Duration::from_secs(10) {
                let log = std::fs::read_to_string(self.dir.join("server.log")).unwrap_or_default();
                return Err(io::Error::other(format!("the server does not answer; its output:\n{log}")));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Whether what INFO says is said by this server. Another one may have been given the same port, and then answers while this one ends.
    fn is_told_by(&self, info: &Reply) -> bool {
        let own = format!("process_id:{}", self.child.id());
        let text = info.text().map(String::from_utf8_lossy).unwrap_or_default();
        text.lines().any(|line| line.trim_end() == own)
    }

    /// Another server of the same binary.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub fn another(&self) -> io::Result<Self> {
        Self::start(&self.binary)
    }

    /// Waits until the process has ended, and says whether it ended well.
    ///
    /// # Errors
    /// It has not within ten seconds.
    pub fn wait(mut self) -> io::Result<bool> {
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(10) {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status.success());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Err(io::Error::other("the server does not end"))
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        &self.dir
    }

    /// A new connection.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn client(&self) -> io::Result<Client> {
        Client::connect(self.address)
    }

    /// True while the process lives.
    pub fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only if the process or folder is gone already, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if self.owns_folder {
            let _ = std::fs::remove_dir_all(&self.dir);
        }
    }
}
