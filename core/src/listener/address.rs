//! Where to listen as a text, for faces whose users write one.

use std::net::ToSocketAddrs;

use super::Listener;
use crate::engine::Engine;
use crate::error::{Error, ErrorKind, Result};
use crate::network::Place;

const FORMS: &str = "write host:port, [IPv6 address]:port, unix:/path or tls:host:port";

impl Engine {
    /// Lets Valkey's clients talk to the engine until the listener is dropped: at `host:port`, `[IPv6 address]:port`, `unix:/path`, or, encrypted with what
    /// the `tls-` options name, `tls:host:port`. With port 0 the system chooses the port, which [`Listener::places`] tells. What the options say of places
    /// does not count.
    ///
    /// ```no_run
    /// let engine = keystead::Engine::new();
    /// let listener = engine.listen("unix:/run/app/cache.sock")?;
    /// # Ok::<(), keystead::Error>(())
    /// ```
    ///
    /// # Errors
    /// The text names no place, or it can't be listened at.
    pub fn listen(&self, address: &str) -> Result<Listener> {
        Listener::bind_any(self, places(address)?)
    }
}

/// The places that a text names: a host may have several addresses.
fn places(text: &str) -> Result<Vec<Place>> {
    let wrong =
        |why: &str| Error::new(ErrorKind::Usage, format!("ERR '{text}' is no address to listen on: {why}"));
    if let Some(path) = text.strip_prefix("unix:") {
        return match path {
            "" => Err(wrong("there is no path behind unix:")),
            path => Ok(vec![Place::Unix(path.into())]),
        };
    }
    let (is_encrypted, address) = match text.strip_prefix("tls:") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (host, port) = address.rsplit_once(':').ok_or_else(|| wrong(FORMS))?;
    let port: u16 = port.parse().map_err(|_| wrong("a port is a number from 0 to 65535"))?;
    let bare = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').ok_or_else(|| wrong(FORMS))?,
        None if host.contains(':') => {
            return Err(wrong("an IPv6 address stands in brackets, as in [::1]:6379"));
        }
        None if host.is_empty() => {
            return Err(wrong("there is no host; * is all addresses, localhost this machine"));
        }
        None => host,
    };
    let bare = if bare == "*" { "0.0.0.0" } else { bare };
    let found = (bare, port).to_socket_addrs().map_err(|error| wrong(&error.to_string()))?;
    Ok(found.map(if is_encrypted { Place::Tls } else { Place::Tcp }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_name_places() {
        for (text, place) in [
            ("127.0.0.1:7", "127.0.0.1:7"),
            ("[::1]:0", "[::1]:0"),
            ("*:6379", "0.0.0.0:6379"),
            ("unix:/tmp/a:1", "unix:/tmp/a:1"),
            ("tls:127.0.0.1:7", "tls:127.0.0.1:7"),
        ] {
            assert_eq!(places(text).unwrap()[0].to_string(), place);
        }
        for (text, why) in [
            ("", "write host:port"),
            ("localhost", "write host:port"),
            ("localhost:", "a port is a number"),
            ("localhost:65536", "a port is a number"),
            (":1", "there is no host"),
            ("::1:80", "brackets"),
            ("[::1:80", "write host:port"),
            ("unix:", "there is no path"),
        ] {
            let error = places(text).unwrap_err().to_string();
            assert!(error.contains(why) && error.contains(&format!("'{text}'")), "{error}");
        }
    }
}
