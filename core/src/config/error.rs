//! What can be wrong with options, in the server's words.
//!
//! The code in front (`ERR`) is added where replies are written.

use std::fmt;

use crate::error::until_zero;

/// Version of the server whose words and semantics the options follow.
const VERSION: &str = "9.1.2";

/// Why CONFIG SET changed nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ConfigError {
    /// No option has this name.
    Unknown(Vec<u8>),
    /// One argument was refused.
    Argument {
        /// The option, as the caller spelled it.
        name: Vec<u8>,
        /// What is wrong with it.
        reason: String,
    },
}

impl ConfigError {
    pub(super) fn unknown(name: &[u8]) -> Self {
        Self::Unknown(until_zero(name).to_vec())
    }

    pub(crate) fn argument(name: &[u8], reason: String) -> Self {
        Self::Argument { name: until_zero(name).to_vec(), reason }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(name) => {
                write!(
                    f,
                    "Unknown option or number of arguments for CONFIG SET - '{}'",
                    String::from_utf8_lossy(name)
                )
            }
            Self::Argument { name, reason } => {
                let name = String::from_utf8_lossy(name);
                write!(f, "CONFIG SET failed (possibly related to argument '{name}') - {reason}")
            }
        }
    }
}

impl std::error::Error for ConfigError {}

/// Why a configuration cannot be loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LoadError {
    /// A file cannot be read.
    Unreadable {
        /// Its path.
        path: String,
        /// What the system says.
        reason: String,
    },
    /// A line is wrong.
    Line {
        /// Number of the line, from one.
        number: usize,
        /// The line without white space around it.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { path, reason } => {
                write!(f, "Fatal error, can't open config file '{path}': {reason}")
            }
            Self::Line { number, text, reason } => write!(
                f,
                "\n*** FATAL CONFIG FILE ERROR (Version {VERSION}) ***\n\
                 Reading the configuration file, at line {number}\n>>> '{text}'\n{reason}\n"
            ),
        }
    }
}

impl std::error::Error for LoadError {}
