//! Where ironvec keeps what it can make again: `$IRONVEC_CACHE`, else the platform's own folder for caches.

use std::env;
use std::path::PathBuf;

/// Overrides the folder.
const VARIABLE: &str = "IRONVEC_CACHE";

/// The folder, which may not exist yet.
pub fn folder() -> PathBuf {
    let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(named) = set(VARIABLE) {
        return named;
    }
    let platform = if cfg!(windows) {
        set("LOCALAPPDATA")
    } else if cfg!(target_os = "macos") {
        set("HOME").map(|home| home.join("Library/Caches"))
    } else {
        set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")))
    };
    platform.unwrap_or_else(env::temp_dir).join("ironvec")
}
