//! Encryption of connections: what the options say of certificates, protocols and ciphers, as rustls takes it.
//!
//! What goes over a connection is `wire.rs`'s affair. What rustls can't do is an error that says so, and never left out silently.

use std::fmt::Display;
use std::fs;
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, ServerSessionMemoryCache, WebPkiClientVerifier};
use rustls::version::{TLS12, TLS13};
use rustls::{CipherSuite, RootCertStore, ServerConfig, ServerConnection, SupportedProtocolVersion};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::config::{Config, Value};
use crate::error::{Error, ErrorKind, Result};

/// Cipher suites up to TLS 1.2, as OpenSSL calls them.
const NAMES: [(&str, CipherSuite); 6] = [
    ("ECDHE-ECDSA-AES128-GCM-SHA256", CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256),
    ("ECDHE-ECDSA-AES256-GCM-SHA384", CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384),
    ("ECDHE-ECDSA-CHACHA20-POLY1305", CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256),
    ("ECDHE-RSA-AES128-GCM-SHA256", CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256),
    ("ECDHE-RSA-AES256-GCM-SHA384", CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384),
    ("ECDHE-RSA-CHACHA20-POLY1305", CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256),
];

/// Those of TLS 1.3.
const NAMES_13: [(&str, CipherSuite); 3] = [
    ("TLS_AES_128_GCM_SHA256", CipherSuite::TLS13_AES_128_GCM_SHA256),
    ("TLS_AES_256_GCM_SHA384", CipherSuite::TLS13_AES_256_GCM_SHA384),
    ("TLS_CHACHA20_POLY1305_SHA256", CipherSuite::TLS13_CHACHA20_POLY1305_SHA256),
];

/// What connections are encrypted with, by the options.
///
/// # Errors
/// A file can't be read or has not what it should have, or an option asks for what rustls does not do.
pub(super) fn by_options(config: &Config) -> Result<Arc<ServerConfig>> {
    let text = |option: &str| String::from_utf8_lossy(&config.text(option).unwrap_or_default()).into_owned();
    let wanted = |option: &str, lack: &str| match text(option) {
        path if path.is_empty() => Err(wrong(option, lack)),
        path => Ok(path),
    };
    let certificates = certificates(&wanted("tls-cert-file", "No tls-cert-file configured!")?)?;
    let key_file = wanted("tls-key-file", "No tls-key-file configured!")?;
    if !text("tls-key-file-pass").is_empty() {
        return Err(wrong(
            "tls-key-file-pass",
            "keys with a password can't be read: store the key without one",
        ));
    }
    let key = PrivateKeyDer::from_pem_file(&key_file).map_err(|error| wrong(&key_file, error))?;
    let provider = Arc::new(provider(&text("tls-ciphers"), &text("tls-ciphersuites"))?);
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&versions(&text("tls-protocols"))?)
        .map_err(|error| wrong("tls-protocols", error))?;
    let asked = text("tls-auth-clients");
    let builder = if asked == "no" {
        builder.with_no_client_auth()
    } else {
        let roots = Arc::new(roots(&text("tls-ca-cert-file"), &text("tls-ca-cert-dir"))?);
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
        let verifier = if asked == "optional" { verifier.allow_unauthenticated() } else { verifier };
        builder.with_client_cert_verifier(verifier.build().map_err(|error| wrong("tls-auth-clients", error))?)
    };
    let mut encryption =
        builder.with_single_cert(certificates, key).map_err(|error| wrong(&key_file, error))?;
    encryption.ignore_client_order = text("tls-prefer-server-ciphers") == "yes";
    encryption.session_storage = match config.value("tls-session-cache-size") {
        _ if text("tls-session-caching") == "no" => {
            encryption.send_tls13_tickets = 0;
            Arc::new(NoServerSessionStorage {})
        }
        // OpenSSL takes none for any number; each has its bytes.
        Some(Value::Int(sessions @ 1..)) => ServerSessionMemoryCache::new(sessions.unsigned_abs() as usize),
        _ => ServerSessionMemoryCache::new(20_480),
    };
    Ok(Arc::new(encryption))
}

/// A connection that a client has begun.
///
/// # Errors
/// rustls has none to give.
pub(super) fn accept(encryption: &Arc<ServerConfig>) -> Result<Box<ServerConnection>> {
    let mut connection = ServerConnection::new(encryption.clone()).map_err(|error| wrong("TLS", error))?;
    // What waits to be sent is counted before it is encrypted.
    connection.set_buffer_limit(Some(64 * 1024));
    // It is large, and most connections have none.
    Ok(Box::new(connection))
}

/// The names that the certificate of a client has, of the kind that `tls-auth-clients-user` names, in its order.
pub(super) fn names_of(connection: &ServerConnection, config: &Config) -> Vec<Vec<u8>> {
    let kind = config.text("tls-auth-clients-user").unwrap_or_default();
    let shown = connection.peer_certificates().and_then(|chain| chain.first());
    let Some((_, shown)) = shown.and_then(|shown| X509Certificate::from_der(shown).ok()) else {
        return Vec::new();
    };
    match &*kind {
        b"CN" => {
            let names = shown.subject().iter_common_name();
            names.filter_map(|name| name.as_str().ok()).map(|name| name.as_bytes().to_vec()).collect()
        }
        b"URI" => {
            let Ok(Some(others)) = shown.subject_alternative_name() else { return Vec::new() };
            let uri = |name: &GeneralName<'_>| match name {
                GeneralName::URI(uri) => Some(uri.as_bytes().to_vec()),
                _ => None,
            };
            others.value.general_names.iter().filter_map(uri).collect()
        }
        _ => Vec::new(),
    }
}

fn wrong(what: &str, why: impl Display) -> Error {
    Error::new(ErrorKind::Usage, format!("ERR Failed to configure TLS: {what}: {why}"))
}

fn certificates(path: &str) -> Result<Vec<CertificateDer<'static>>> {
    let read =
        CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<std::result::Result<Vec<_>, _>>);
    match read.map_err(|error| wrong(path, error))? {
        none if none.is_empty() => Err(wrong(path, "there is no certificate in it")),
        certificates => Ok(certificates),
    }
}

/// Those whom clients' certificates have to be signed by.
fn roots(file: &str, folder: &str) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    if file.is_empty() && folder.is_empty() {
        let lack =
            "Either tls-ca-cert-file or tls-ca-cert-dir must be specified when tls-auth-clients is enabled!";
        return Err(wrong("tls-auth-clients", lack));
    }
    if !file.is_empty() {
        for certificate in certificates(file)? {
            roots.add(certificate).map_err(|error| wrong(file, error))?;
        }
    }
    if !folder.is_empty() {
        let entries = fs::read_dir(folder).map_err(|error| wrong(folder, error))?;
        for entry in entries {
            let path = entry.map_err(|error| wrong(folder, error))?.path();
            // Others lie there too.
            for certificate in CertificateDer::pem_file_iter(&path).into_iter().flatten().flatten() {
                let _ = roots.add(certificate);
            }
        }
    }
    if roots.is_empty() { Err(wrong(folder, "there is no certificate in it")) } else { Ok(roots) }
}

/// The versions that are spoken.
fn versions(wanted: &str) -> Result<Vec<&'static SupportedProtocolVersion>> {
    if wanted.is_empty() {
        return Ok(vec![&TLS13, &TLS12]);
    }
    let version = |word: &str| match word.to_ascii_lowercase().as_str() {
        "tlsv1.3" => Ok(&TLS13),
        "tlsv1.2" => Ok(&TLS12),
        "tlsv1" | "tlsv1.1" => {
            Err(wrong("tls-protocols", format_args!("{word} is no longer spoken, TLSv1.2 and TLSv1.3 are")))
        }
        _ => Err(wrong("tls-protocols", format_args!("Invalid tls-protocols specified: {word}"))),
    };
    wanted.split_ascii_whitespace().map(version).collect()
}

/// rustls's algorithms, with the cipher suites that are wanted, in their order.
fn provider(ciphers: &str, suites: &str) -> Result<CryptoProvider> {
    let all = ring::default_provider();
    let is_of_13 = |suite: &rustls::SupportedCipherSuite| suite.tls13().is_some();
    let chosen = |option: &str, text: &str, of_13: bool, names: &[(&str, CipherSuite)]| {
        let own = all.cipher_suites.iter().filter(|suite| is_of_13(suite) == of_13).copied();
        if text.is_empty() {
            return Ok(own.collect::<Vec<_>>());
        }
        text.split(':')
            .map(|word| {
                let known =
                    names.iter().find(|(name, _)| name.eq_ignore_ascii_case(word)).map(|(_, suite)| *suite);
                let lack = || {
                    let names: Vec<&str> = names.iter().map(|(name, _)| *name).collect();
                    wrong(option, format_args!("'{word}' is none of {}", names.join(":")))
                };
                known.and_then(|known| own.clone().find(|suite| suite.suite() == known)).ok_or_else(lack)
            })
            .collect()
    };
    let mut cipher_suites = chosen("tls-ciphersuites", suites, true, &NAMES_13)?;
    cipher_suites.extend(chosen("tls-ciphers", ciphers, false, &NAMES)?);
    Ok(CryptoProvider { cipher_suites, ..all })
}
