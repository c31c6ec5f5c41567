//! Sessions that are encrypted: what is asked of the server's certificate, and what is wrong with one, in words.
//!
//! Files are read for each session that begins, so that a certificate that is replaced serves without a new start.

use std::error::Error;
use std::fmt;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{self, CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};
use tokio_postgres_rustls::MakeRustlsConnect;

/// What servers that begin with TLS at once want to hear.
const PROTOCOL: &[u8] = b"postgresql";

/// How sessions are encrypted, where they are.
#[derive(Clone)]
pub(crate) struct Encryption {
    pub(crate) check: Check,
    pub(crate) client: Option<ClientFiles>,
}

/// What is asked of the server's certificate.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Check {
    /// Whoever answers is taken for the server: safe from listeners only.
    Nothing,
    /// That one of these CAs has signed it, for whatever name.
    Chain(Roots),
    /// That one of these CAs has signed it, for the name in the URL.
    Name(Roots),
}

/// Whom certificates must be signed by.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Roots {
    /// The CAs in a file.
    File(PathBuf),
    /// The CAs that this machine trusts.
    System,
}

/// A certificate by which the server knows the node, and its key.
#[derive(Clone)]
pub(crate) struct ClientFiles {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl Encryption {
    /// What makes a session encrypted.
    ///
    /// # Errors
    /// Which file cannot be used, and why.
    pub(crate) fn connector(&self) -> Result<MakeRustlsConnect, String> {
        let provider = Arc::new(crypto::ring::default_provider());
        let verifier = Verifier {
            provider: provider.clone(),
            roots: match &self.check {
                Check::Nothing => None,
                Check::Chain(roots) | Check::Name(roots) => Some(roots.load()?),
            },
            names: matches!(self.check, Check::Name(_)),
        };
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let mut config = match &self.client {
            None => builder.with_no_client_auth(),
            Some(files) => {
                let (chain, key) = files.load()?;
                let config = builder.with_client_auth_cert(chain, key);
                config.map_err(|error| {
                    let (certificate, key) = (files.certificate.display(), files.key.display());
                    format!("sslcert {certificate} and sslkey {key} do not serve together: {error}")
                })?
            }
        };
        config.alpn_protocols = vec![PROTOCOL.to_vec()];
        Ok(MakeRustlsConnect::new(config))
    }
}

impl Roots {
    fn load(&self) -> Result<RootCertStore, String> {
        let mut store = RootCertStore::empty();
        match self {
            Roots::File(file) => {
                for certificate in certificates("sslrootcert", file)? {
                    let added = store.add(certificate);
                    added.map_err(|error| format!("sslrootcert {}: {error}", file.display()))?;
                }
            }
            Roots::System => {
                let found = rustls_native_certs::load_native_certs();
                store.add_parsable_certificates(found.certs);
                if store.is_empty() {
                    return Err("sslrootcert=system: this machine trusts no CA".to_owned());
                }
            }
        }
        Ok(store)
    }
}

impl ClientFiles {
    fn load(&self) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), String> {
        let chain = certificates("sslcert", &self.certificate)?;
        let place = self.key.display();
        let found = std::fs::metadata(&self.key);
        let found = found.map_err(|error| format!("sslkey {place}: cannot be read: {error}"))?;
        // Root may let a group read it, as libpq says.
        let (wider, most) = if found.uid() == 0 {
            (0o037, "0640")
        } else {
            (0o077, "0600")
        };
        if found.mode() & wider != 0 {
            return Err(format!(
                "sslkey {place}: is open to others (mode {:04o}); expected {most}",
                found.mode() & 0o7777
            ));
        }
        // What is wrong in it is not said in the parser's words, which might show a part.
        let key = PrivateKeyDer::from_pem_file(&self.key)
            .map_err(|_| format!("sslkey {place}: expected a private key in PEM, unencrypted"))?;
        Ok((chain, key))
    }
}

/// All certificates of a file; at least one.
fn certificates(name: &str, file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let place = file.display();
    let bytes =
        std::fs::read(file).map_err(|error| format!("{name} {place}: cannot be read: {error}"))?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match all {
        Ok(all) if !all.is_empty() => Ok(all),
        _ => Err(format!("{name} {place}: expected certificates in PEM")),
    }
}

/// Looks at the server's certificate, as far as the URL asks for it.
#[derive(Debug)]
struct Verifier {
    provider: Arc<CryptoProvider>,
    /// None: whatever the server shows is good.
    roots: Option<RootCertStore>,
    names: bool,
}

impl Verifier {
    /// How signatures are looked at; not at all where the certificate is not either, which may then be one that this library cannot read.
    fn algorithms(&self) -> Option<&WebPkiSupportedAlgorithms> {
        let all = &self.provider.signature_verification_algorithms;
        self.roots.is_some().then_some(all)
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if let Some(roots) = &self.roots {
            let certificate = ParsedCertificate::try_from(certificate)?;
            let algorithms = self.provider.signature_verification_algorithms.all;
            verify_server_cert_signed_by_trust_anchor(
                &certificate,
                roots,
                intermediates,
                now,
                algorithms,
            )?;
            if self.names {
                verify_server_name(&certificate, name)?;
            }
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        match self.algorithms() {
            Some(used) => crypto::verify_tls12_signature(message, certificate, signature, used),
            None => Ok(HandshakeSignatureValid::assertion()),
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        match self.algorithms() {
            Some(used) => crypto::verify_tls13_signature(message, certificate, signature, used),
            None => Ok(HandshakeSignatureValid::assertion()),
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// What went wrong with TLS, if that is what went wrong.
pub(crate) fn reason(error: &tokio_postgres::Error) -> Option<String> {
    let mut next = error.source();
    while let Some(source) = next {
        let inner = source
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref)
            .and_then(|inner| inner.downcast_ref::<rustls::Error>());
        if let Some(error) = inner.or_else(|| source.downcast_ref()) {
            return Some(Reason(error).to_string());
        }
        // The library has no type for it.
        if source.to_string() == "server does not support TLS" {
            return Some("the server does not offer TLS, which sslmode asks for".to_owned());
        }
        next = source.source();
    }
    None
}

struct Reason<'a>(&'a rustls::Error);

impl fmt::Display for Reason<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let certificate = match self.0 {
            rustls::Error::InvalidCertificate(certificate) => certificate,
            rustls::Error::AlertReceived(alert) => {
                return write!(
                    f,
                    "the server ends TLS, and says {alert:?}; where that is about a certificate, it is the one of sslcert"
                );
            }
            other => return write!(f, "TLS with the server: {other}"),
        };
        match certificate {
            CertificateError::UnknownIssuer => {
                f.write_str("the server's certificate is not signed by a CA of sslrootcert")
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                write!(
                    f,
                    "the server's certificate is for another name than the one in the URL: {certificate}"
                )
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                write!(f, "the server's certificate is too old: {certificate}")
            }
            other => write!(f, "the server's certificate cannot be trusted: {other}"),
        }
    }
}
