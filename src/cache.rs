//! Where ironvec keeps what it can make again, and what lies there: for each model and type that CoreML runs, a folder of
//! weights, graphs and compiled models. `$IRONVEC_CACHE`, else the platform's folder for caches of this user; never a
//! folder that others may write to as well. An entry that a process uses is locked, and is not removed meanwhile.

use std::env;
use std::fs::{self, DirBuilder, File, TryLockError};
use std::io;
use std::path::{Component, Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::whole_file::write_file;

/// What is wrong where there is no folder.
pub const NO_FOLDER: &str = "it keeps weights and compiled models in a folder, and no home folder is known to hold it: \
                             set IRONVEC_CACHE";
/// Overrides the folder.
const VARIABLE: &str = "IRONVEC_CACHE";
/// Holds an entry for each model and type.
const ENTRIES: &str = "coreml";
/// In an entry: what it belongs to.
const ABOUT: &str = "about.json";
/// Begins the names of entries that are being removed.
const REMOVED: &str = ".removed-";

/// The folder, absolute, which may not exist yet. None where neither a variable nor the system names one.
pub fn folder() -> Result<Option<PathBuf>> {
    let found = locate(|name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from), env::home_dir());
    // Made absolute once, at load: buckets are opened later, when the working directory may be another.
    let Some(found) = found else { return Ok(None) };
    std::path::absolute(&found).map(Some).map_err(|error| unwritable(&found, error))
}

/// The folder by these variables and this home. Only the variable of our own may be relative.
fn locate(variable: impl Fn(&str) -> Option<PathBuf>, home: Option<PathBuf>) -> Option<PathBuf> {
    if let Some(named) = variable(VARIABLE) {
        return Some(named);
    }
    let absolute = |path: &PathBuf| path.is_absolute();
    let home = home.filter(absolute);
    let platform = if cfg!(windows) {
        variable("LOCALAPPDATA").filter(absolute)
    } else if cfg!(target_os = "macos") {
        home.map(|home| home.join("Library/Caches"))
    } else {
        // The XDG specification has relative values ignored.
        variable("XDG_CACHE_HOME").filter(absolute).or_else(|| home.map(|home| home.join(".cache")))
    };
    platform.map(|caches| caches.join("ironvec"))
}

/// What an entry belongs to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// The checkpoint's folder.
    pub model: String,
    /// The graphs' type.
    pub dtype: String,
}

/// An entry that this process uses, and that nobody removes meanwhile.
pub struct Held {
    folder: PathBuf,
    /// None where the disk takes no lock; it takes no removal then either, see [`remove`].
    _lock: Option<File>,
}

impl Held {
    /// Where its files lie.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

/// The entry of this name, made where it is not there.
pub fn hold(cache: &Path, name: &str, about: &About) -> Result<Held> {
    let entries = cache.join(ENTRIES);
    let folder = entries.join(name);
    create(&entries)?;
    let lock = open_lock(&entries, name).ok().filter(|lock| lock.lock_shared().is_ok());
    if let Some(lock) = &lock {
        // The time of its last use. Where it cannot be set, the entry only looks older than it is.
        let _ = lock.set_modified(SystemTime::now());
    }
    create(&folder)?;
    write_file(&folder.join(ABOUT), &serde_json::to_vec(about).unwrap_or_default())?;
    Ok(Held { folder, _lock: lock })
}

/// An entry as it lies there.
#[derive(Debug)]
pub struct Entry {
    /// Its folder's name.
    pub name: String,
    /// Its folder.
    pub folder: PathBuf,
    /// What it belongs to; empty where it does not say.
    pub about: About,
    /// The size of its files.
    pub bytes: u64,
    /// When a process last opened it.
    pub used: SystemTime,
    /// Whether one has it open.
    pub in_use: bool,
}

/// All entries, the one used last first.
pub fn entries(cache: &Path) -> Result<Vec<Entry>> {
    let folder = cache.join(ENTRIES);
    let found = match fs::read_dir(&folder) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::malformed_by(&folder, format!("cannot be read: {error}"), error)),
    };
    let names = found
        .filter_map(|entry| Some(entry.ok()?).filter(|entry| entry.path().is_dir())?.file_name().into_string().ok());
    let mut entries: Vec<Entry> =
        names.filter(|name| !name.starts_with('.')).map(|name| entry(&folder, name)).collect();
    entries.sort_by(|a, b| b.used.cmp(&a.used).then_with(|| a.name.cmp(&b.name)));
    Ok(entries)
}

fn entry(entries: &Path, name: String) -> Entry {
    let folder = entries.join(&name);
    let about = fs::read(folder.join(ABOUT)).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let changed = |path: PathBuf| fs::metadata(path).and_then(|facts| facts.modified());
    Entry {
        about: about.unwrap_or_default(),
        bytes: size(&folder),
        used: changed(lock_path(entries, &name)).or_else(|_| changed(folder.clone())).unwrap_or(SystemTime::UNIX_EPOCH),
        in_use: lock_path(entries, &name).exists() && !matches!(lock_alone(entries, &name), Ok(Some(_))),
        folder,
        name,
    }
}

/// Removes an entry, and what a removal that was broken off has left. False: it is in use, or not there.
pub fn remove(cache: &Path, name: &str) -> Result<bool> {
    let entries = cache.join(ENTRIES);
    let folder = entries.join(name);
    if !Path::new(name).components().eq([Component::Normal(name.as_ref())]) || !folder.is_dir() {
        return Ok(false);
    }
    let Some(_lock) = lock_alone(&entries, name).map_err(|error| unwritable(&folder, error))? else { return Ok(false) };
    // Out of the way in one step: half an entry would be taken for a whole one.
    let aside = entries.join(format!("{REMOVED}{name}.{}", std::process::id()));
    fs::rename(&folder, &aside).map_err(|error| unwritable(&folder, error))?;
    for left in fs::read_dir(&entries).into_iter().flatten().flatten() {
        if left.file_name().to_string_lossy().starts_with(REMOVED) && left.path() != aside {
            // Another process may be at it.
            let _ = fs::remove_dir_all(left.path());
        }
    }
    fs::remove_dir_all(&aside).map_err(|error| unwritable(&aside, error))?;
    Ok(true)
}

/// The lock of an entry for this process alone. None: another one has it.
fn lock_alone(entries: &Path, name: &str) -> io::Result<Option<File>> {
    let lock = open_lock(entries, name)?;
    match lock.try_lock() {
        Ok(()) => Ok(Some(lock)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Beside the entry and never removed: who waits for a file that is removed would hold a lock that nobody else sees.
fn lock_path(entries: &Path, name: &str) -> PathBuf {
    entries.join(format!("{name}.lock"))
}

fn open_lock(entries: &Path, name: &str) -> io::Result<File> {
    let path = lock_path(entries, name);
    // On a disk that is read alone, an existing file can still be locked.
    File::options().write(true).create(true).truncate(false).open(&path).or_else(|_| File::open(&path))
}

/// For this user alone, with its parents where they are not there.
fn create(folder: &Path) -> Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder).map_err(|error| unwritable(folder, error))
}

/// Bytes of all files below a folder; links are not followed.
fn size(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(facts) if facts.is_dir() => size(&entry.path()),
            Ok(facts) => facts.len(),
            Err(_) => 0, // removed meanwhile
        })
        .sum()
}

fn unwritable(path: &Path, source: io::Error) -> Error {
    Error::Unwritable { path: path.to_owned(), source: source.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_variable_goes_first_and_relative_ones_of_others_are_ignored() {
        let root = Path::new(if cfg!(windows) { "C:\\" } else { "/" });
        let home = || Some(root.join("home"));
        let caches = if cfg!(windows) { "LOCALAPPDATA" } else { "XDG_CACHE_HOME" };
        let with = |set: &[(&str, PathBuf)], home: Option<PathBuf>| {
            locate(|name| set.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone()), home)
        };
        let ours = (VARIABLE, PathBuf::from("ours"));
        assert_eq!(with(&[ours, (caches, root.join("caches"))], home()), Some(PathBuf::from("ours")));
        assert_eq!(with(&[], None), None);
        assert_eq!(with(&[(caches, PathBuf::from("relative"))], None), None);
        assert_eq!(with(&[], Some(PathBuf::from("relative"))), None);
        if cfg!(not(target_os = "macos")) {
            assert_eq!(with(&[(caches, root.join("caches"))], home()), Some(root.join("caches").join("ironvec")));
        }
        if cfg!(target_os = "linux") {
            let relative = (caches, PathBuf::from("relative"));
            assert_eq!(with(&[relative], home()), Some(PathBuf::from("/home/.cache/ironvec")));
        }
    }

    #[test]
    fn an_entry_is_kept_while_it_is_held() {
        let cache = tempfile::tempdir().unwrap();
        assert!(entries(cache.path()).unwrap().is_empty());
        let about = About { model: "a folder".to_owned(), dtype: "float32".to_owned() };
        let held = hold(cache.path(), "one", &about).unwrap();
        let again = hold(cache.path(), "one", &about).unwrap();
        fs::create_dir(held.folder().join("compiled")).unwrap();
        fs::write(held.folder().join("compiled").join("weights"), [0; 1000]).unwrap();
        let listed = entries(cache.path()).unwrap();
        assert_eq!(listed.len(), 1);
        assert_eq!((listed[0].name.as_str(), &listed[0].about, listed[0].in_use), ("one", &about, true));
        assert!(listed[0].bytes > 1000);
        drop(held);
        assert!(!remove(cache.path(), "one").unwrap(), "one of two has let it go");
        assert!(again.folder().join("compiled").join("weights").is_file());
        drop(again);
        assert!(!entries(cache.path()).unwrap()[0].in_use);
        fs::create_dir(cache.path().join(ENTRIES).join(".removed-two.1")).unwrap();
        assert!(remove(cache.path(), "one").unwrap());
        assert!(entries(cache.path()).unwrap().is_empty());
        let left: Vec<_> =
            fs::read_dir(cache.path().join(ENTRIES)).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["one.lock"], "nor is anything left of the removal that was broken off");
        assert!(!remove(cache.path(), "one").unwrap());
        assert!(hold(cache.path(), "one", &about).unwrap().folder().join(ABOUT).is_file());
    }

    #[test]
    fn only_entries_are_removed() {
        let cache = tempfile::tempdir().unwrap();
        drop(hold(cache.path(), "one", &About::default()).unwrap());
        for name in ["..", ".", "", "one/..", "../coreml", "/"] {
            assert!(!remove(cache.path(), name).unwrap(), "{name:?}");
        }
        assert_eq!(entries(cache.path()).unwrap().len(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn what_is_made_is_this_users_alone() {
        use std::os::unix::fs::PermissionsExt;
        let cache = tempfile::tempdir().unwrap();
        let held = hold(&cache.path().join("made"), "one", &About::default()).unwrap();
        for folder in held.folder().ancestors().take(3) {
            assert_eq!(fs::metadata(folder).unwrap().permissions().mode() & 0o777, 0o700, "{}", folder.display());
        }
    }
}
