//! Making a configuration from what a program was started with, and what a listener asks of it.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::schedule::Schedule;
use super::{Config, OPTIONS, OptionSpec, Value, args_to_text, default_value};
use crate::error::{Error, ErrorKind, Result, reason};
use crate::files::Replacement;

impl Config {
    /// Options from a server's command line: the path of a `valkey.conf` unless the first argument begins with `--`, then options as `--name value ...`,
    /// which win over the file's.
    ///
    /// # Errors
    /// The file can't be read, or an option is wrong; the text names it in the server's words.
    pub fn from_arguments(arguments: &[&[u8]]) -> Result<Config> {
        let (file, options) = match arguments.split_first() {
            Some((path, rest)) if !path.starts_with(b"--") => (Some(*path), rest),
            _ => (None, arguments),
        };
        let mut text = file.map(read).transpose()?.unwrap_or_default();
        text.push(b'\n');
        text.extend_from_slice(&args_to_text(options));
        let mut config = Config::from_text(&text)?;
        config.file = file.map(|path| absolute(Path::new(&*String::from_utf8_lossy(path))));
        Ok(config)
    }

    /// The file that the options were read from, absolute.
    pub(crate) fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// Brings the file that the options were read from up to date, and the lines of users in it; it is replaced whole or not at all.
    ///
    /// # Errors
    /// There was no file, or it can't be replaced.
    pub(crate) fn rewrite_file(&self, users: &[Vec<u8>]) -> Result<()> {
        let path =
            self.file().ok_or_else(|| Error::command("The server is running without a config file"))?;
        self.try_rewrite(path, users)
            .map_err(|error| Error::command(format_args!("Rewriting config file: {}", reason(&error))))
    }

    fn try_rewrite(&self, path: &Path, users: &[Vec<u8>]) -> io::Result<()> {
        let old = match fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            other => other?,
        };
        let new = self.rewrite(&old, users);
        if new == old {
            return Ok(());
        }
        let mut replacement = Replacement::try_begin(path)?;
        if let Ok(metadata) = fs::metadata(path) {
            replacement.file().set_permissions(metadata.permissions())?;
        }
        replacement.file().write_all(&new)?;
        replacement.try_commit().map(drop)
    }

    /// Options from the text of a `valkey.conf`.
    ///
    /// # Errors
    /// An option is wrong; the text names its line in the server's words.
    pub fn from_text(text: &[u8]) -> Result<Config> {
        let config = Config::default();
        config.add_text(text)?;
        Ok(config)
    }

    /// Sets options from the text of a `valkey.conf`.
    ///
    /// # Errors
    /// As [`Config::from_text`]; options of earlier lines stay set.
    pub fn add_text(&self, text: &[u8]) -> Result<()> {
        let directives =
            self.parse_file(text).map_err(|error| Error::new(ErrorKind::Usage, error.to_string()))?;
        self.users.lock().extend(directives.users);
        self.renames.lock().extend(directives.renames);
        Ok(())
    }

    /// Sets one option, of several words where it takes such.
    ///
    /// # Errors
    /// There is no such option, or it can't have this value; the text names both as the caller wrote them.
    pub fn set_option(&self, name: &str, value: &str) -> Result<()> {
        self.parse_option(name.as_bytes(), value.as_bytes()).map_err(|reason| {
            let text = match reason {
                None => format!("ERR there is no option '{name}'"),
                Some(reason) => format!("ERR the option '{name}' can't be '{value}': {reason}"),
            };
            Error::from_bytes(ErrorKind::Usage, text.into_bytes())
        })
    }

    /// The most bytes that data may take; 0 is no limit.
    pub fn maxmemory(&self) -> u64 {
        self.hot().maxmemory()
    }

    /// A line for each option that was set to something else than its default and has no effect, with the reason. For whoever starts a server.
    pub fn warnings(&self) -> Vec<String> {
        let set = OPTIONS.iter().filter(|spec| self.is_set(spec.name));
        let differs =
            |spec: &&OptionSpec| self.value(spec.name).is_some_and(|value| value != default_value(spec));
        set.filter(differs).filter_map(OptionSpec::warning).collect()
    }

    /// The pairs of seconds and changes after which a snapshot is due.
    pub(crate) fn save_points(&self) -> Vec<(u64, u64)> {
        match self.value("save") {
            Some(Value::Save(points)) => {
                points.iter().map(|(seconds, changes)| (*seconds as u64, *changes as u64)).collect()
            }
            _ => Vec::new(),
        }
    }

    /// When backups are due, if ever.
    pub(crate) fn backup_schedule(&self) -> Option<Schedule> {
        Schedule::parse(&self.text("backup-schedule")?).ok()?
    }

    /// How many backups are kept; 0 is all.
    pub(crate) fn backups_kept(&self) -> usize {
        match self.value("backup-keep") {
            Some(Value::Int(kept)) => usize::try_from(kept).unwrap_or(0),
            _ => 0,
        }
    }

    /// The TCP port, 0 for none.
    #[cfg(any(test, feature = "listener"))]
    pub(crate) fn port(&self) -> u16 {
        match self.value("port") {
            Some(Value::Int(port)) => u16::try_from(port).unwrap_or(0),
            _ => 0,
        }
    }

    /// The port for encrypted connections, 0 for none.
    #[cfg(feature = "listener")]
    pub(crate) fn tls_port(&self) -> u16 {
        match self.value("tls-port") {
            Some(Value::Int(port)) => u16::try_from(port).unwrap_or(0),
            _ => 0,
        }
    }

    /// The path of the Unix socket, if the options name one.
    #[cfg(feature = "listener")]
    pub(crate) fn unix_socket(&self) -> Option<PathBuf> {
        let path = self.text("unixsocket").filter(|path| !path.is_empty())?;
        Some(PathBuf::from(String::from_utf8_lossy(&path).into_owned()))
    }

    /// What the option `bind` lists. Where nobody set it that is the loopback address: what protected mode comes to.
    #[cfg(any(test, feature = "listener"))]
    pub(crate) fn bind(&self) -> Vec<String> {
        match self.value("bind") {
            Some(Value::Words(words)) if self.is_set("bind") => {
                words.iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect()
            }
            _ => vec!["127.0.0.1".to_owned()],
        }
    }
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn read(path: &[u8]) -> Result<Vec<u8>> {
    let path = String::from_utf8_lossy(path);
    std::fs::read(Path::new(&*path)).map_err(|error| {
        Error::new(ErrorKind::Usage, format!("Fatal error, can't open config file '{path}': {error}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_win_over_defaults() {
        let config =
            Config::from_arguments(&[b"--port", b"7001", b"--maxmemory", b"1mb", b"--bind", b"127.0.0.2"])
                .unwrap();
        assert_eq!((config.port(), config.hot().maxmemory()), (7001, 1 << 20));
        assert_eq!(config.bind(), ["127.0.0.2"]);
        assert_eq!(Config::default().bind(), ["127.0.0.1"]);
    }

    #[test]
    fn the_file_is_remembered_and_rewritten() {
        let path = std::env::temp_dir().join(format!("keystead-rewrite-{}.conf", std::process::id()));
        fs::write(&path, "# mine\nhz 20\n").unwrap();
        let config =
            Config::from_arguments(&[path.to_str().unwrap().as_bytes(), b"--timeout", b"3"]).unwrap();
        config.set(&[(b"hz", b"30")]).unwrap();
        config.rewrite_file(&[]).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("# mine\nhz 30\n") && text.contains("\ntimeout 3\n"), "{text}");
        assert_eq!(config.file(), Some(&*path));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
            config.set(&[(b"hz", b"40")]).unwrap();
            config.rewrite_file(&[]).unwrap();
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        }
        fs::remove_file(&path).unwrap();
        let error = Config::default().rewrite_file(&[]).unwrap_err();
        assert_eq!(error.to_string(), "ERR The server is running without a config file");
    }

    #[test]
    fn wrong_options_are_named() {
        let error = Config::from_arguments(&[b"--maxmemory", b"lots"]).unwrap_err();
        assert!(error.to_string().contains("maxmemory"), "{error}");
        let error = Config::from_arguments(&[b"/nonexistent/valkey.conf"]).unwrap_err();
        assert!(error.to_string().contains("can't open config file"), "{error}");
    }
}
