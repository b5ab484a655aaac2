//! Sentinels: which server is the primary, and when that changes.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::address::{Address, Certificates, Endpoint, Options};
use super::breaker::{before_connecting, share};
use super::link::Link;
use super::plain::Greeting;
use super::transport::Transport;
use crate::resp::Value;
use crate::sync::{Arc, Condvar, Mutex};
use crate::targets::Place;

/// Servers that watch others, and the name that they know the watched ones by.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Sentinels {
    pub(super) places: Vec<Place>,
    pub(super) name: String,
    pub(super) user: Option<Box<[u8]>>,
    pub(super) password: Option<Box<[u8]>>,
}

impl Sentinels {
    /// The addresses of the sentinels, beginning anywhere, so that not all clients ask the same one.
    fn in_turn(&self) -> impl Iterator<Item = Address> {
        let first = (share() * self.places.len() as f64) as usize;
        let places = self.places.iter().cycle().skip(first).take(self.places.len());
        places.map(|place| Address {
            endpoint: Endpoint::Tcp(place.clone()),
            is_encrypted: false,
            user: self.user.clone(),
            password: self.password.clone(),
            db: 0,
            certificates: Certificates::default(),
        })
    }

    /// Where the primary is, as the first sentinel says that answers.
    ///
    /// # Errors
    /// None answers, or none knows the name.
    pub(super) fn primary(&self, timeout: Duration) -> io::Result<Place> {
        let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for address in self.in_turn() {
            match self.ask(&address, timeout) {
                Ok(Some(place)) => return Ok(place),
                Ok(None) => last = io::Error::other(format!("no sentinel knows '{}'", self.name)),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn ask(&self, address: &Address, timeout: Duration) -> io::Result<Option<Place>> {
        let transport = Transport::connect(address, None, timeout, timeout)?;
        let mut greeting = Greeting::new(&transport, timeout);
        greeting.authenticate(address)?;
        Ok(match greeting.ask(&[b"SENTINEL", b"GET-MASTER-ADDR-BY-NAME", self.name.as_bytes()])? {
            Value::Array(parts) => match &parts[..] {
                [Value::Bulk(host), Value::Bulk(port)] => {
                    let port = crate::num::parse_u64(port).and_then(|port| u16::try_from(port).ok());
                    port.map(|port| Place { host: String::from_utf8_lossy(host).into_owned(), port })
                }
                _ => None,
            },
            _ => None,
        })
    }
}

/// Listens to sentinels, and ends the link to a server that is the primary no longer.
pub(super) struct Watcher {
    is_closing: AtomicBool,
    pause: (Mutex<()>, Condvar),
    listens: Mutex<Option<Arc<Transport>>>,
}

impl Watcher {
    /// Begins to listen, in a thread of its own.
    pub(super) fn open(sentinels: Sentinels, options: Options, link: Arc<Link>) -> io::Result<Arc<Watcher>> {
        let watcher = Arc::new(Watcher {
            is_closing: AtomicBool::new(false),
            pause: Default::default(),
            listens: Mutex::default(),
        });
        let own = watcher.clone();
        let run = move || own.run(&sentinels, &options, &link);
        thread::Builder::new().name("keystead-sentinel".into()).spawn(run)?;
        Ok(watcher)
    }

    /// Has its thread end soon.
    pub(super) fn close(&self) {
        self.is_closing.store(true, Ordering::Release);
        let held = self.pause.0.lock();
        self.pause.1.notify_all();
        drop(held);
        if let Some(transport) = &*self.listens.lock() {
            transport.shut_down();
        }
    }

    fn run(&self, sentinels: &Sentinels, options: &Options, link: &Link) {
        let mut attempt = 0;
        while !self.is_closing.load(Ordering::Acquire) {
            for address in sentinels.in_turn() {
                match self.listen(&address, sentinels, options, link) {
                    // It had been heard of before it was lost.
                    Ok(()) => attempt = 0,
                    Err(_) => attempt += 1,
                }
                if self.is_closing.load(Ordering::Acquire) {
                    return;
                }
            }
            let held = self.pause.0.lock();
            drop(self.pause.1.wait(held, Some(before_connecting(attempt))));
        }
    }

    /// Listens to one sentinel until it is lost. An error if it could not be reached.
    fn listen(
        &self,
        address: &Address,
        sentinels: &Sentinels,
        options: &Options,
        link: &Link,
    ) -> io::Result<()> {
        let transport =
            Arc::new(Transport::connect(address, None, options.connect_timeout, options.deadline)?);
        *self.listens.lock() = Some(transport.clone());
        let mut greeting = Greeting::new(&transport, options.connect_timeout);
        greeting.authenticate(address)?;
        greeting.ask(&[b"SUBSCRIBE", b"+switch-master"])?;
        // What changed while nobody listened has been told to nobody.
        if sentinels.ask(address, options.connect_timeout)?.is_some_and(|primary| !link.is_to(&primary)) {
            link.reset();
        }
        let mut is_asked = false;
        while !self.is_closing.load(Ordering::Acquire) {
            match greeting.next(options.heartbeat.max(options.deadline)) {
                Ok(Value::Array(parts)) => {
                    is_asked = false;
                    let is_switch = matches!(&parts[..], [Value::Bulk(kind), _, Value::Bulk(text)]
                        if kind == b"message" && text.split(|byte| *byte == b' ').next() == Some(sentinels.name.as_bytes()));
                    if is_switch {
                        link.reset();
                    }
                }
                Ok(_) => is_asked = false,
                Err(error) if error.kind() == io::ErrorKind::TimedOut && !is_asked => {
                    is_asked = true;
                    greeting.send(&[b"PING"])?;
                }
                Err(_) => break,
            }
        }
        Ok(())
    }
}
