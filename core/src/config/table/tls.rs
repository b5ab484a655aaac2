//! Options: encrypted connections.
//!
//! What the kinds mean is said in `spec.rs`; reading the values is left to those who honour them.

use super::{NATURAL_32, PORT, TEXT, option};
use crate::config::spec::{Kind, OptionSpec};

pub(super) const OPTIONS: &[OptionSpec] = &[
    option("tls-port", PORT, "0", "TLS port to listen on; 0 is none.").applied(),
    option("tls-cert-file", TEXT, "", "Certificate.").applied(),
    option("tls-key-file", TEXT, "", "Key of the certificate.").applied(),
    option("tls-key-file-pass", TEXT, "", "Password of the key.").applied(),
    option("tls-client-cert-file", TEXT, "", "Certificate for outgoing connections.")
        .inert("connections to other servers are not encrypted"),
    option("tls-client-key-file", TEXT, "", "Key of that certificate.")
        .inert("connections to other servers are not encrypted"),
    option("tls-client-key-file-pass", TEXT, "", "Password of that key.")
        .inert("connections to other servers are not encrypted"),
    option("tls-dh-params-file", TEXT, "", "Parameters of the key exchange.")
        .inert("keys are agreed on by elliptic curves alone"),
    option("tls-ca-cert-file", TEXT, "", "Certificates of trusted authorities.").applied(),
    option("tls-ca-cert-dir", TEXT, "", "Directory of such certificates.").applied(),
    option(
        "tls-auth-clients",
        Kind::Choice(&["no", "yes", "optional"]),
        "yes",
        "Whether clients must show a certificate.",
    )
    .applied(),
    option(
        "tls-auth-clients-user",
        Kind::Choice(&["CN", "URI", "off"]),
        "off",
        "What in a client's certificate names its user.",
    )
    .applied(),
    option(
        "tls-auto-reload-interval",
        NATURAL_32,
        "0",
        "Seconds between looks for new certificates; 0 is never.",
    )
    .inert("certificates are read anew by CONFIG SET of their paths, not by themselves"),
    option("tls-replication", Kind::Bool, "no", "Encrypt replication.").inert("there are no replicas"),
    option("tls-cluster", Kind::Bool, "no", "Encrypt the cluster's bus.").inert("there is no cluster"),
    option("tls-protocols", TEXT, "", "Versions of the protocol allowed.").applied(),
    option("tls-ciphers", TEXT, "", "Ciphers up to TLS 1.2.").applied(),
    option("tls-ciphersuites", TEXT, "", "Ciphers of TLS 1.3.").applied(),
    option("tls-prefer-server-ciphers", Kind::Bool, "no", "Let the server choose the cipher.").applied(),
    option("tls-session-caching", Kind::Bool, "yes", "Remember sessions.").applied(),
    option("tls-session-cache-size", NATURAL_32, "20480", "Sessions remembered.").applied(),
    option("tls-session-cache-timeout", NATURAL_32, "300", "Seconds for which a session is remembered.")
        .inert("the oldest sessions are forgotten when there are too many"),
];
