//! Encryption of connections to a remote, as rustls takes it.

use std::fmt::Display;
use std::path::Path;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use super::address::{Address, Certificates};
use crate::error::{Error, ErrorKind, Result};
use crate::sync::Arc;

/// What connections to an address are encrypted with; `None` if they aren't.
///
/// # Errors
/// A file of certificates can't be read, or has none.
pub(super) fn of(address: &Address) -> Result<Option<Arc<ClientConfig>>> {
    if !address.is_encrypted {
        return Ok(None);
    }
    let Certificates { authorities, own } = &address.certificates;
    let mut roots = RootCertStore::empty();
    match authorities {
        Some(path) => {
            for certificate in certificates(path)? {
                roots.add(certificate).map_err(|error| wrong(path, error))?;
            }
        }
        None => {
            // One that can't be read is one that nothing is signed by.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::new(ErrorKind::Usage, format!("ERR TLS: {error}")))?
        .with_root_certificates(roots);
    let config = match own {
        None => builder.with_no_client_auth(),
        Some((path, key)) => {
            let own = certificates(path)?;
            let key = PrivateKeyDer::from_pem_file(key).map_err(|error| wrong(key, error))?;
            builder.with_client_auth_cert(own, key).map_err(|error| wrong(path, error))?
        }
    };
    Ok(Some(Arc::new(config)))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let read =
        CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<std::result::Result<Vec<_>, _>>);
    match read.map_err(|error| wrong(path, error))? {
        none if none.is_empty() => Err(wrong(path, "there is no certificate in it")),
        certificates => Ok(certificates),
    }
}

fn wrong(path: &Path, why: impl Display) -> Error {
    Error::new(ErrorKind::Usage, format!("ERR the URL of a remote: {}: {why}", path.display()))
}
