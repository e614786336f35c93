//! Bytes in, files that others see whole or not at all: written under a name of their own, renamed when they are done,
//! removed if they never are.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Why a file was not written.
#[derive(Debug)]
pub enum WriteError {
    /// The checkpoint does not give what it holds.
    Weights(Error),
    /// The disk does not take it.
    Disk(std::io::Error),
}

impl From<Error> for WriteError {
    fn from(error: Error) -> Self {
        WriteError::Weights(error)
    }
}

impl From<std::io::Error> for WriteError {
    fn from(error: std::io::Error) -> Self {
        WriteError::Disk(error)
    }
}

/// The folder that a file lies in.
pub fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// What a file that was not written is called.
pub fn place(error: WriteError, path: &Path) -> Error {
    match error {
        WriteError::Weights(error) => error,
        WriteError::Disk(source) => Error::Unwritable { path: path.to_owned(), source: source.into() },
    }
}

/// Writes a file whole or not at all; one that holds these bytes already is left alone.
pub fn write_file(path: &Path, bytes: &[u8]) -> Result<()> {
    if fs::read(path).is_ok_and(|there| there == bytes) {
        return Ok(());
    }
    TemporaryFile::write(path, |out| Ok(out.write_all(bytes)?))?.keep()
}

/// A file under a name of its own until it is whole; removed if it never is.
pub struct TemporaryFile {
    temporary: PathBuf,
    path: PathBuf,
}

impl TemporaryFile {
    /// Writes it, under the other name.
    pub fn write(path: &Path, fill: impl FnOnce(&mut dyn Write) -> Result<(), WriteError>) -> Result<Self> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let temporary = folder_of(path).join(format!(".{name}.{}.{}", std::process::id(), unique_number()));
        let file = TemporaryFile { temporary, path: path.to_owned() };
        let written = (|| {
            let mut out = BufWriter::with_capacity(1 << 20, File::create_new(&file.temporary)?);
            fill(&mut out)?;
            out.flush()?;
            Ok(())
        })();
        written.map_err(|error| place(error, path))?;
        Ok(file)
    }

    /// Gives it its name.
    pub fn keep(self) -> Result<()> {
        let renamed = fs::rename(&self.temporary, &self.path);
        renamed.map_err(|error| Error::Unwritable { path: self.path.clone(), source: error.into() })
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        // Gone already where it was kept.
        let _ = fs::remove_file(&self.temporary);
    }
}

/// Tells apart the files that threads of one process write at once.
fn unique_number() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_finished_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.onnx");
        let failing = TemporaryFile::write(&path, |out| {
            out.write_all(b"half")?;
            Err(WriteError::Disk(std::io::Error::other("disk full")))
        });
        assert!(failing.err().unwrap().to_string().contains("model.onnx: cannot be written: disk full"));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        TemporaryFile::write(&path, |out| Ok(out.write_all(b"whole")?)).unwrap().keep().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"whole");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
