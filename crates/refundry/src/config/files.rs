//! The file system as far as a configuration is concerned: reading its text, and telling whether one path is inside another.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

/// Symbolic links that are followed before a path is given up as a loop; the kernel's own limit.
const LINKS_MAX: usize = 40;

/// The permission bits of a regular file.
///
/// # Errors
/// What is wrong with it.
pub(super) fn mode(file: &Path) -> Result<u32, String> {
    let found = fs::metadata(file).map_err(|error| format!("cannot be read: {error}"))?;
    match found.is_file() {
        true => Ok(found.mode() & 0o7777),
        false => Err("is not a file".to_owned()),
    }
}

/// Reads a text file of at most `bytes_max` bytes. `expected`: what should be in it.
///
/// # Errors
/// What is wrong with the file.
pub(super) fn read_text(file: &Path, bytes_max: u64, expected: &str) -> Result<String, String> {
    let opened = fs::File::open(file).map_err(|error| format!("cannot be read: {error}"))?;
    let mut text = Vec::new();
    opened
        .take(bytes_max + 1)
        .read_to_end(&mut text)
        .map_err(|error| format!("cannot be read: {error}"))?;
    if text.len() as u64 > bytes_max {
        return Err(format!(
            "is longer than {bytes_max} bytes; expected {expected}"
        ));
    }
    String::from_utf8(text).map_err(|error| {
        let offset = error.utf8_error().valid_up_to();
        format!("is not UTF-8 text at byte {offset}; expected a configuration in TOML")
    })
}

/// Whether `path`, or what it leads to by symbolic links, is `folder` or lies inside it. Neither needs to exist yet.
pub(super) fn is_inside(path: &Path, folder: &Path) -> bool {
    let Some(folder) = resolve(folder, true) else {
        return false;
    };
    [resolve(path, false), resolve(path, true)]
        .into_iter()
        .flatten()
        .any(|place| place.starts_with(&folder))
}

/// The path without `.`, `..` and symbolic links, as the system would walk it; the last component's own link is followed only
/// where `follow_last` says so. What does not exist is taken as it is written. `None` for a loop of links.
fn resolve(path: &Path, follow_last: bool) -> Option<PathBuf> {
    let mut resolved = std::env::current_dir().unwrap_or_default();
    let mut rest: VecDeque<OsString> = parts(path);
    let mut links = 0;
    while let Some(part) = rest.pop_front() {
        if part == "/" {
            resolved = PathBuf::from("/");
            continue;
        }
        if part == ".." {
            resolved.pop();
            continue;
        }
        resolved.push(&part);
        if rest.is_empty() && !follow_last {
            break;
        }
        let Ok(target) = fs::read_link(&resolved) else {
            continue;
        };
        links += 1;
        if links > LINKS_MAX {
            return None;
        }
        resolved.pop();
        for part in parts(&target).into_iter().rev() {
            rest.push_front(part);
        }
    }
    Some(resolved)
}

/// The components of a path; `.` is left out, the root is `/`.
fn parts(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter(|component| *component != Component::CurDir)
        .map(|component| component.as_os_str().to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn inside_by_name() {
        let check = |path: &str, folder: &str, inside: bool| {
            assert_eq!(
                is_inside(Path::new(path), Path::new(folder)),
                inside,
                "{path} in {folder}"
            );
        };
        check("/a/data/key", "/a/data", true);
        check("/a/key", "/a/data", false);
        check("/a/database/key", "/a/data", false);
        check("/a/data/../key", "/a/data", false);
        check("/a/other/../data/key", "/a/data", true);
        check("/a/data/key", "/a/./data/sub/..", true);
        check("data/key", "data", true);
        check("data", "data", true);
    }

    #[test]
    fn inside_by_symbolic_links() {
        let folder = tempfile::tempdir().unwrap();
        let place = |name: &str| folder.path().join(name);
        fs::create_dir(place("data")).unwrap();
        fs::create_dir(place("outside")).unwrap();
        symlink("data", place("alias")).unwrap();
        symlink("data/target.key", place("dangling.key")).unwrap();
        symlink("../outside/real.key", place("data/link.key")).unwrap();
        symlink("loop", place("loop")).unwrap();

        assert!(
            is_inside(&place("alias/new.key"), &place("data")),
            "the folder by another name"
        );
        assert!(
            is_inside(&place("data/new.key"), &place("alias")),
            "data_dir is the link"
        );
        assert!(
            is_inside(&place("dangling.key"), &place("data")),
            "leads inside, not there yet"
        );
        assert!(
            is_inside(&place("data/link.key"), &place("data")),
            "lies inside, leads outside"
        );
        assert!(!is_inside(&place("outside/x.key"), &place("data")));
        assert!(!is_inside(&place("loop/x.key"), &place("data")));
    }
}
