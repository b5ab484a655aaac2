//! Making a configuration from what a program was started with, and what a listener asks of it.

use std::path::Path;

use super::{Config, Value, args_to_text};
use crate::error::{Error, ErrorKind, Result};

impl Config {
    /// Options from a server's command line: the path of a `valkey.conf` unless the first argument begins with `--`, then options as `--name value ...`,
    /// which win over the file's.
    ///
    /// # Errors
    /// The file can't be read, or an option is wrong; the text names it in the server's words.
    pub fn from_arguments(arguments: &[&[u8]]) -> Result<Config> {
        let (mut text, options) = match arguments.split_first() {
            Some((path, rest)) if !path.starts_with(b"--") => (read(path)?, rest),
            _ => (Vec::new(), arguments),
        };
        text.push(b'\n');
        text.extend_from_slice(&args_to_text(options));
        Config::from_text(&text)
    }

    /// Options from the text of a `valkey.conf`.
    ///
    /// # Errors
    /// An option is wrong; the text names its line in the server's words.
    pub fn from_text(text: &[u8]) -> Result<Config> {
        let config = Config::default();
        config.parse_file(text).map_err(|error| Error::new(ErrorKind::Usage, error.to_string()))?;
        Ok(config)
    }

    /// The TCP port, 0 for none.
    pub fn port(&self) -> u16 {
        match self.value("port") {
            Some(Value::Int(port)) => u16::try_from(port).unwrap_or(0),
            _ => 0,
        }
    }

    /// The addresses to listen on. Without a `bind` line that is the loopback address: what Valkey's protected mode comes to.
    pub fn bind_addresses(&self) -> Vec<String> {
        match self.value("bind") {
            Some(Value::Words(words)) if !words.iter().any(|word| word == b"*") => words
                .iter()
                .map(|word| String::from_utf8_lossy(word).trim_start_matches('-').to_owned())
                .collect(),
            _ => vec!["127.0.0.1".to_owned()],
        }
    }
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
        assert_eq!(config.bind_addresses(), ["127.0.0.2"]);
        assert_eq!(Config::default().bind_addresses(), ["127.0.0.1"]);
    }

    #[test]
    fn wrong_options_are_named() {
        let error = Config::from_arguments(&[b"--maxmemory", b"lots"]).unwrap_err();
        assert!(error.to_string().contains("maxmemory"), "{error}");
        let error = Config::from_arguments(&[b"/nonexistent/valkey.conf"]).unwrap_err();
        assert!(error.to_string().contains("can't open config file"), "{error}");
    }
}
