//! Encrypted sessions: who is taken for the server, and what is said where nobody is.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use ledger_postgres::{PostgresOptions, PostgresStore};
use postgres_harness::Cluster;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair,
};

use crate::ledger;

/// The database that only those with a certificate may connect to with TLS: the second that is made.
const KNOWN_ONLY: &str = "ledger_1";

fn ca(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate of `ca` for a name, and its key.
fn signed(ca: &CertifiedIssuer<'_, KeyPair>, name: &str, years: (i32, i32)) -> (String, String) {
    let mut params = CertificateParams::new([name.to_owned()]).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = rcgen::date_time_ymd(years.0, 1, 1);
    params.not_after = rcgen::date_time_ymd(years.1, 1, 1);
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, ca).unwrap();
    (certificate.pem(), key.serialize_pem())
}

/// From long ago until long from now.
const NOW: (i32, i32) = (2000, 2100);

fn write(folder: &Path, name: &str, text: &str, mode: u32) -> PathBuf {
    let file = folder.join(name);
    fs::write(&file, text).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
    file
}

/// Opens a ledger with these parameters; what is said where it does not open.
fn opened(options: &PostgresOptions, parameters: &str) -> Result<(), String> {
    let mut options = options.clone();
    options.url = format!("{}?{parameters}", options.url);
    PostgresStore::view(&options)
        .map(|_| ())
        .map_err(|error| error.to_string())
}

fn refused(result: Result<(), String>, expected: &str) {
    let error = result.unwrap_err();
    assert!(error.contains(expected), "{error}");
}

#[test]
fn a_server_is_who_its_certificate_says() {
    let Some(cluster) = Cluster::start("tls") else {
        return;
    };
    if !cluster.has_tls("tls") {
        return;
    }
    let options = ledger(&cluster);
    opened(&options, "sslmode=prefer").unwrap();
    refused(
        opened(&options, "sslmode=require"),
        "the server does not offer TLS, which sslmode asks for",
    );

    let (ours, other) = (ca("ours"), ca("others"));
    let folder = tempfile::tempdir().unwrap();
    let trusted = write(folder.path(), "ours.pem", &ours.pem(), 0o644);
    let strangers = write(folder.path(), "strangers.pem", &other.pem(), 0o644);
    let (trusted, strangers) = (trusted.display(), strangers.display());
    let offer = |name, years| {
        let (certificate, key) = signed(&ours, name, years);
        cluster.offer_tls(&certificate, &key, &ours.pem(), KNOWN_ONLY);
    };
    offer("127.0.0.1", NOW);
    for fits in [
        "sslmode=disable".to_owned(),
        "sslmode=prefer".to_owned(),
        "sslmode=require".to_owned(),
        format!("sslmode=require&sslrootcert={trusted}"),
        format!("sslmode=verify-ca&sslrootcert={trusted}"),
        format!("sslmode=verify-full&sslrootcert={trusted}"),
    ] {
        assert_eq!(opened(&options, &fits), Ok(()), "{fits}");
    }
    // Of the sessions of an open ledger, how many are not encrypted.
    let plain = |parameters: &str| {
        let mut options = options.clone();
        options.url = format!("{}?{parameters}", options.url);
        let _open = PostgresStore::open(&options, std::sync::Arc::new(|| ())).unwrap();
        let sessions = "SELECT count(*) FROM pg_stat_activity JOIN pg_stat_ssl USING (pid) \
                        WHERE application_name LIKE 'refundry%' AND NOT ssl";
        let count = cluster.sql("postgres", sessions).unwrap().remove(0);
        count.parse::<u32>().unwrap()
    };
    assert_eq!((plain("sslmode=prefer"), plain("sslmode=require")), (0, 0));
    assert!(plain("sslmode=disable") > 4);

    let unknown = "the server's certificate is not signed by a CA of sslrootcert";
    for mode in ["require", "verify-ca", "verify-full"] {
        let parameters = format!("sslmode={mode}&sslrootcert={strangers}");
        refused(opened(&options, &parameters), unknown);
    }
    refused(
        opened(&options, "sslmode=verify-full&sslrootcert=system"),
        unknown,
    );

    offer("db.example", NOW);
    let verify = |mode: &str| opened(&options, &format!("sslmode={mode}&sslrootcert={trusted}"));
    verify("verify-ca").unwrap();
    refused(
        verify("verify-full"),
        "is for another name than the one in the URL",
    );

    offer("127.0.0.1", (2000, 2001));
    refused(verify("verify-ca"), "the server's certificate is too old");
    opened(&options, "sslmode=require").unwrap();
}

#[test]
fn a_node_shows_its_certificate() {
    let Some(cluster) = Cluster::start("tls of clients") else {
        return;
    };
    if !cluster.has_tls("tls of clients") {
        return;
    }
    let (ours, folder) = (ca("ours"), tempfile::tempdir().unwrap());
    let trusted = write(folder.path(), "ca.pem", &ours.pem(), 0o644);
    let (server, server_key) = signed(&ours, "127.0.0.1", NOW);
    let (node, node_key) = signed(&ours, "node-1", NOW);
    let _first = ledger(&cluster);
    let options = ledger(&cluster);
    assert!(options.url.ends_with(KNOWN_ONLY), "{}", options.url);
    cluster.offer_tls(&server, &server_key, &ours.pem(), KNOWN_ONLY);
    let full = format!("sslmode=verify-full&sslrootcert={}", trusted.display());
    refused(opened(&options, &full), "a valid client certificate");

    let certificate = write(folder.path(), "node.pem", &node, 0o644);
    let key = write(folder.path(), "node.key", &node_key, 0o600);
    let shown = |certificate: &Path, key: &Path| {
        let (certificate, key) = (certificate.display(), key.display());
        opened(
            &options,
            &format!("{full}&sslcert={certificate}&sslkey={key}"),
        )
    };
    shown(&certificate, &key).unwrap();
    let open = write(folder.path(), "open.key", &node_key, 0o644);
    refused(shown(&certificate, &open), "is open to others (mode 0644)");
    let no_key = write(folder.path(), "no.key", &node, 0o600);
    refused(shown(&certificate, &no_key), "expected a private key");
    refused(shown(&open, &key), "expected certificates in PEM");
    let others = write(folder.path(), "others.key", &server_key, 0o600);
    refused(shown(&certificate, &others), "do not serve together");
    let (stranger, stranger_key) = signed(&ca("others"), "node-1", NOW);
    let certificate = write(folder.path(), "stranger.pem", &stranger, 0o644);
    let key = write(folder.path(), "stranger.key", &stranger_key, 0o600);
    refused(shown(&certificate, &key), "UnknownCA");
}
