//! Options: encrypted connections.
//!
//! What the kinds mean is said in `spec.rs`; reading the values is left to those who honour them.

use super::{NATURAL_32, PORT, TEXT, option};
use crate::config::spec::{Kind, OptionSpec};

pub(super) const OPTIONS: &[OptionSpec] = &[
    option("tls-port", PORT, "0", "TLS port to listen on; 0 is none."),
    option("tls-cert-file", TEXT, "", "Certificate."),
    option("tls-key-file", TEXT, "", "Key of the certificate."),
    option("tls-key-file-pass", TEXT, "", "Password of the key."),
    option("tls-client-cert-file", TEXT, "", "Certificate for outgoing connections."),
    option("tls-client-key-file", TEXT, "", "Key of that certificate."),
    option("tls-client-key-file-pass", TEXT, "", "Password of that key."),
    option("tls-dh-params-file", TEXT, "", "Parameters of the key exchange."),
    option("tls-ca-cert-file", TEXT, "", "Certificates of trusted authorities."),
    option("tls-ca-cert-dir", TEXT, "", "Directory of such certificates."),
    option(
        "tls-auth-clients",
        Kind::Choice(&["no", "yes", "optional"]),
        "yes",
        "Whether clients must show a certificate.",
    ),
    option(
        "tls-auth-clients-user",
        Kind::Choice(&["CN", "URI", "off"]),
        "off",
        "What in a client's certificate names its user.",
    ),
    option(
        "tls-auto-reload-interval",
        NATURAL_32,
        "0",
        "Seconds between looks for new certificates; 0 is never.",
    ),
    option("tls-replication", Kind::Bool, "no", "Encrypt replication."),
    option("tls-cluster", Kind::Bool, "no", "Encrypt the cluster's bus."),
    option("tls-protocols", TEXT, "", "Versions of the protocol allowed."),
    option("tls-ciphers", TEXT, "", "Ciphers up to TLS 1.2."),
    option("tls-ciphersuites", TEXT, "", "Ciphers of TLS 1.3."),
    option("tls-prefer-server-ciphers", Kind::Bool, "no", "Let the server choose the cipher."),
    option("tls-session-caching", Kind::Bool, "yes", "Remember sessions."),
    option("tls-session-cache-size", NATURAL_32, "20480", "Sessions remembered."),
    option("tls-session-cache-timeout", NATURAL_32, "300", "Seconds for which a session is remembered."),
];
