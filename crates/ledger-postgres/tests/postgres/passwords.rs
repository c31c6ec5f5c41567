//! A server that wants a password, which is not in the URL.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use ledger_postgres::PostgresStore;
use postgres_harness::Cluster;

use crate::ledger;

#[test]
fn a_password_in_a_file_of_its_own() {
    let Some(cluster) = Cluster::start("passwords") else {
        return;
    };
    let options = ledger(&cluster);
    let database = options.url.rsplit_once('/').unwrap().1;
    let ask = "CREATE ROLE asked LOGIN SUPERUSER PASSWORD 's3cret:x'";
    cluster.sql("postgres", ask).unwrap();
    cluster.rule("host all asked 127.0.0.1/32 scram-sha-256");

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("passwords");
    let write = |text: &str, mode| {
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
    };
    let opened = |passfile: bool| {
        let mut options = options.clone();
        options.url = options.url.replace("refundry@", "asked@");
        if passfile {
            options.url += &format!("?passfile={}", file.display());
        }
        let opened = PostgresStore::view(&options).map(|_| ());
        let said = opened.map_err(|error| error.to_string());
        assert!(
            !format!("{said:?} {options:?}").contains("s3cret"),
            "{said:?}"
        );
        said
    };
    let refused = |passfile, expected: &str| {
        let error = opened(passfile).unwrap_err();
        assert!(error.contains(expected), "{error}");
    };
    refused(false, "password missing");
    refused(true, "cannot be read: No such file");
    let port = cluster.address().port();
    let text = format!("127.0.0.1:1:*:*:other\n127.0.0.1:{port}:{database}:asked:s3cret\\:x\n");
    write(&text, 0o640);
    refused(true, "is open to others (mode 0640); expected 0600");
    write("*:*:*:refundry:s3cret\\:x\n", 0o600);
    refused(true, "password missing");
    write("*:*:*:*:s3cret\n", 0o600);
    refused(true, "password authentication failed");
    write(&text, 0o600);
    opened(true).unwrap();
}
