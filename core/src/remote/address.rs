//! Where a remote stands and how it is used, as a URL says: `valkey://user:password@host:6379/0?near=64mb`.

use std::path::PathBuf;
use std::time::Duration;

use url::{Host, Url};

use super::sentinel::Sentinels;
use crate::config::Config;
use crate::error::{Error, ErrorKind, Result};
use crate::targets::Place;

/// The port where none is named.
const PORT: u16 = 6379;

/// A remote.
#[derive(Clone)]
pub(crate) struct Address {
    pub(super) endpoint: Endpoint,
    /// Whether what goes there is encrypted.
    pub(super) is_encrypted: bool,
    pub(super) user: Option<Box<[u8]>>,
    pub(super) password: Option<Box<[u8]>>,
    /// The database that is used where a caller names none, and the one whose keys are kept near.
    pub(super) db: usize,
    pub(super) certificates: Certificates,
}

/// Files of certificates for an encrypted connection, in PEM.
#[derive(Clone, Default)]
pub(super) struct Certificates {
    /// Those that the remote's has to be signed by; the system's where none are named.
    pub(super) authorities: Option<PathBuf>,
    /// What is shown to a remote that asks who calls, and its key.
    pub(super) own: Option<(PathBuf, PathBuf)>,
}

/// What is connected to.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Endpoint {
    Tcp(Place),
    Unix(PathBuf),
    /// Whichever server sentinels say is the primary.
    Watched(Sentinels),
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Endpoint::Tcp(Place { host, port }) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Endpoint::Tcp(Place { host, port }) => write!(f, "{host}:{port}"),
            Endpoint::Unix(path) => write!(f, "{}", path.display()),
            Endpoint::Watched(sentinels) => write!(f, "'{}' of the sentinels", sentinels.name),
        }
    }
}

/// What a read is answered with while the remote can't be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OnDown {
    /// An error.
    Error,
    /// What is near, up to so long after the remote was last known to be there; then an error.
    Stale(Duration),
    /// As if there were no such key. Writes are errors.
    Miss,
}

/// How a remote is used.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// Bytes that are kept near; 0 keeps nothing.
    pub(super) near: u64,
    /// The longest that a value is kept near.
    pub(super) ttl_cap: Duration,
    /// An idle link is asked for a sign of life so often.
    pub(super) heartbeat: Duration,
    /// A link that has not answered for so long is lost.
    pub(super) deadline: Duration,
    /// The longest that a call waits for its reply.
    pub(super) timeout: Duration,
    /// The longest that connecting takes.
    pub(super) connect_timeout: Duration,
    /// Connections that are kept for later calls.
    pub(super) pool_size: usize,
    pub(super) on_down: OnDown,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            near: 64 << 20,
            ttl_cap: Duration::from_secs(30 * 60),
            heartbeat: Duration::from_secs(1),
            deadline: Duration::from_secs(1),
            timeout: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(1),
            pool_size: 10,
            on_down: OnDown::Error,
        }
    }
}

impl Options {
    /// The memory limit of the engine that keeps what is near.
    pub(crate) fn near_bytes(&self) -> u64 {
        // Without a limit, which 0 is elsewhere, nothing is kept at all, so any serves.
        self.near.max(1 << 20)
    }

    /// How old what is served can be at most, if the link to the remote breaks without anybody noticing.
    pub(super) fn bound(&self) -> Duration {
        self.heartbeat + self.deadline
    }
}

/// Reads the URL of a remote.
///
/// # Errors
/// It is malformed, or has an option that there is not.
pub(crate) fn parse(text: &str) -> Result<(Address, Options)> {
    let (sentinels, plain) = sentinels_in(text)?;
    let url = Url::parse(&plain).map_err(wrong)?;
    let mut options = Options::default();
    let mut db = None;
    let (mut authorities, mut certificate, mut key) = (None, None, None);
    let (mut sentinel_user, mut sentinel_password) = (None, None);
    for (name, value) in url.query_pairs() {
        match &*name {
            "db" => db = Some(number(&name, &value)?),
            "near" => options.near = memory(&value)?,
            "ttl_cap" => options.ttl_cap = duration(&name, &value)?,
            "heartbeat" => options.heartbeat = duration(&name, &value)?,
            "deadline" => options.deadline = duration(&name, &value)?,
            "timeout" => options.timeout = duration(&name, &value)?,
            "connect_timeout" => options.connect_timeout = duration(&name, &value)?,
            "pool_size" => options.pool_size = number(&name, &value)?,
            "on_down" => options.on_down = on_down(&value)?,
            "sentinel_user" if !sentinels.is_empty() => sentinel_user = Some(value.as_bytes().into()),
            "sentinel_password" if !sentinels.is_empty() => sentinel_password = Some(value.as_bytes().into()),
            "ca" => authorities = Some(PathBuf::from(&*value)),
            "cert" => certificate = Some(PathBuf::from(&*value)),
            "key" => key = Some(PathBuf::from(&*value)),
            _ => return Err(wrong(format_args!("there is no option '{name}'"))),
        }
    }
    let is_unix = matches!(url.scheme(), "unix" | "valkey+unix");
    let is_encrypted = matches!(url.scheme(), "valkeys" | "rediss");
    let endpoint = if is_unix {
        Endpoint::Unix(PathBuf::from(decoded(url.path())?))
    } else if !sentinels.is_empty() {
        let mut parts = url.path().trim_matches('/').split('/');
        let name = decoded(parts.next().unwrap_or_default())?;
        if name.is_empty() {
            return Err(wrong("sentinels are asked for a name: sentinel://host:26379/mymaster"));
        }
        if let Some(number_of_db) = parts.next() {
            db.get_or_insert(number("db", number_of_db)?);
        }
        let (user, password) = (sentinel_user, sentinel_password);
        Endpoint::Watched(Sentinels { places: sentinels, name, user, password })
    } else {
        let host = match url.host() {
            None => "localhost".to_owned(),
            Some(Host::Domain(name)) => decoded(name)?,
            Some(Host::Ipv4(address)) => address.to_string(),
            Some(Host::Ipv6(address)) => address.to_string(),
        };
        let path = url.path().trim_matches('/');
        if !path.is_empty() {
            db.get_or_insert(number("db", path)?);
        }
        Endpoint::Tcp(Place { host, port: url.port().unwrap_or(PORT) })
    };
    let bytes = |text: &str| decoded(text).map(|text| text.into_bytes().into_boxed_slice());
    let user = Some(url.username()).filter(|user| !user.is_empty()).map(bytes).transpose()?;
    let password = url.password().map(bytes).transpose()?;
    if certificate.is_some() != key.is_some() {
        return Err(wrong("cert and key go together"));
    }
    let certificates = Certificates { authorities, own: certificate.zip(key) };
    let address = Address { endpoint, is_encrypted, user, password, db: db.unwrap_or(0), certificates };
    Ok((address, options))
}

/// The sentinels of such a URL, and the URL with the first of them alone, as a URL can have one host.
fn sentinels_in(text: &str) -> Result<(Vec<Place>, String)> {
    /// The port of sentinels where none is named.
    const PORT: u16 = 26379;
    let Some(rest) = text.strip_prefix("sentinel://") else { return Ok((Vec::new(), text.to_owned())) };
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, behind) = rest.split_at(end);
    let (user, hosts) = authority.rsplit_once('@').map_or(("", authority), |(user, hosts)| (user, hosts));
    let place = |text: &str| {
        let url = Url::parse(&format!("sentinel://{text}")).map_err(wrong)?;
        match url.host_str().filter(|host| !host.is_empty()) {
            Some(host) => {
                let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
                Ok(Place { host, port: url.port().unwrap_or(PORT) })
            }
            None => Err(wrong(format_args!("'{text}' is no sentinel"))),
        }
    };
    let places = hosts.split(',').map(place).collect::<Result<Vec<Place>>>()?;
    let at = if user.is_empty() { "" } else { "@" };
    Ok((places, format!("sentinel://{user}{at}sentinel{behind}")))
}

fn wrong(why: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Usage, format!("ERR the URL of a remote: {why}"))
}

fn number(name: &str, text: &str) -> Result<usize> {
    text.parse().map_err(|_| wrong(format_args!("'{text}' is no number, which {name} is")))
}

/// Bytes, as options of the engine name them.
fn memory(text: &str) -> Result<u64> {
    let config = Config::default();
    config.set_option("maxmemory", text).map_err(|_| wrong(format_args!("near={text} is no size")))?;
    Ok(config.hot().maxmemory())
}

/// A duration: a number and `ms`, `s`, `m`, `h` or `d`; seconds where there is no unit.
fn duration(name: &str, text: &str) -> Result<Duration> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3_600.0,
        "d" => 86_400.0,
        _ => return Err(wrong(format_args!("{name}={text} has a unit that is none of ms, s, m, h, d"))),
    };
    let seconds = digits.parse::<f64>().ok().filter(|number| *number > 0.0).map(|number| number * unit);
    let time = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    // Longer ones could not be added to a time.
    time.filter(|time| (1..=u128::from(u32::MAX) * 1000).contains(&time.as_millis()))
        .ok_or_else(|| wrong(format_args!("{name}={text} is no time of a millisecond or more")))
}

fn on_down(text: &str) -> Result<OnDown> {
    match text.split_once(':') {
        None if text == "error" => Ok(OnDown::Error),
        None if text == "miss" => Ok(OnDown::Miss),
        Some(("stale", time)) => duration("on_down", time).map(OnDown::Stale),
        _ => Err(wrong(format_args!("on_down={text} is none of error, miss, stale:30s"))),
    }
}

fn decoded(text: &str) -> Result<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, behind)) = rest.split_first() {
        let escape = (*byte == b'%').then(|| behind.get(..2)).flatten();
        let value = escape
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(value.unwrap_or(*byte));
        rest = if value.is_some() { &behind[2..] } else { behind };
    }
    String::from_utf8(bytes).map_err(|_| wrong("what is escaped in it is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_says_everything() {
        let (address, options) = parse(
            "valkeys://me:p%40ss@example.org:7000/3?near=1mb&ttl_cap=90s&heartbeat=250ms&on_down=stale:2m",
        )
        .unwrap();
        assert_eq!(address.endpoint.to_string(), "example.org:7000");
        assert!(address.is_encrypted);
        assert_eq!(
            (address.user.as_deref(), address.password.as_deref()),
            (Some(&b"me"[..]), Some(&b"p@ss"[..]))
        );
        assert_eq!((address.db, options.near, options.ttl_cap), (3, 1 << 20, Duration::from_secs(90)));
        assert_eq!(options.bound(), Duration::from_millis(1250));
        assert_eq!(options.on_down, OnDown::Stale(Duration::from_secs(120)));
    }

    #[test]
    fn what_is_left_out_is_what_everybody_means() {
        let (address, options) = parse("redis://").unwrap();
        assert_eq!((address.endpoint.to_string(), address.db), ("localhost:6379".to_owned(), 0));
        assert!(!address.is_encrypted && address.user.is_none() && address.password.is_none());
        assert_eq!((options.near, options.pool_size), (64 << 20, 10));
        let of = |text| parse(text).unwrap().0.endpoint.to_string();
        assert_eq!(of("valkey://[::1]:7"), "[::1]:7");
        assert_eq!(of("valkey+unix:///tmp/a%20b.sock?db=2"), "/tmp/a b.sock");
        assert_eq!(parse("unix:///tmp/s?db=2").unwrap().0.db, 2);
    }

    #[test]
    fn sentinels_are_many() {
        let (address, options) =
            parse("sentinel://me:pass@a,b:7000,[::1]:7001/mymaster/2?near=1mb&sentinel_password=s").unwrap();
        let Endpoint::Watched(sentinels) = &address.endpoint else { panic!("{}", address.endpoint) };
        let places: Vec<String> =
            sentinels.places.iter().map(|place| Endpoint::Tcp(place.clone()).to_string()).collect();
        assert_eq!(places, ["a:26379", "b:7000", "[::1]:7001"]);
        assert_eq!((&*sentinels.name, sentinels.password.as_deref()), ("mymaster", Some(&b"s"[..])));
        assert_eq!((address.user.as_deref(), address.db, options.near), (Some(&b"me"[..]), 2, 1 << 20));
        assert_eq!(address.endpoint.to_string(), "'mymaster' of the sentinels");
    }

    #[test]
    fn what_makes_no_sense_is_told() {
        for (text, told) in [
            ("valkey://h:99999", "invalid port number"),
            ("valkey://h/x", "'x' is no number, which db is"),
            ("valkey://h?near=lots", "near=lots is no size"),
            ("valkey://h?ttl_cap=5w", "ttl_cap=5w has a unit that is none of ms, s, m, h, d"),
            ("valkey://h?timeout=0s", "timeout=0s is no time of a millisecond or more"),
            ("valkey://h?timeout=-1s", "timeout=-1s is no time of a millisecond or more"),
            ("valkey://h?timeout=9e9d", "timeout=9e9d is no time of a millisecond or more"),
            ("valkey://h?on_down=panic", "on_down=panic is none of error, miss, stale:30s"),
            ("sentinel://h", "sentinels are asked for a name: sentinel://host:26379/mymaster"),
            ("sentinel://h,/x", "'' is no sentinel"),
            ("valkey://h?sentinel_user=x", "there is no option 'sentinel_user'"),
            ("valkeys://h?cert=a.pem", "cert and key go together"),
            ("valkey://h?nearby=1", "there is no option 'nearby'"),
        ] {
            let error = parse(text).err().map(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
            assert_eq!(error, Some(format!("ERR the URL of a remote: {told}")), "{text}");
        }
    }
}
