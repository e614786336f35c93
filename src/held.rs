//! Weight files, held open from before their headers are read: whether each is still what was loaded, a map of it, or a
//! copy. ONNX Runtime keeps weights mapped and reads them in every run: a file that is cut short would end the process
//! with a signal (SIGBUS), one that is overwritten would change the vectors. So each is looked at before and after a run.
//! One that is replaced by renaming keeps its content for who holds it, and is no change. What remains is a file that is
//! cut within a run or within the load, and a file system that tells of changes late (NFS): a copy has neither problem.
//! Refused: a file that changed in place.

use std::fs::{self, File, Metadata};
use std::io::{self, Read, Seek};
use std::iter::repeat_n;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use memmap2::Mmap;

use crate::error::{Error, Result};
use crate::memory;

/// A weight file, open.
#[derive(Debug)]
pub struct HeldFile {
    /// The file as the user knows it.
    path: PathBuf,
    /// Where it was opened.
    target: PathBuf,
    file: File,
    loaded: Facts,
}

/// What tells that a file was written to. The time of its last change of status would not do: it moves when another name
/// of the file goes, as in a replacement by renaming.
#[derive(Debug, PartialEq, Eq)]
struct Facts {
    length: u64,
    modified: Option<SystemTime>,
}

impl Facts {
    fn of(metadata: &Metadata) -> Self {
        Facts { length: metadata.len(), modified: metadata.modified().ok() }
    }
}

impl HeldFile {
    /// Opens a file, known to the user as `path`. What is no regular file is refused unopened: a named pipe would block
    /// for ever.
    pub fn open(path: &Path, target: &Path) -> Result<Self> {
        let unreadable = |error| Error::unreadable(path, error);
        if !fs::metadata(target).map_err(unreadable)?.is_file() {
            return Err(Error::malformed(path, "not a regular file"));
        }
        let file = File::open(target).map_err(unreadable)?;
        let loaded = Facts::of(&file.metadata().map_err(unreadable)?);
        Ok(HeldFile { path: path.to_owned(), target: target.to_owned(), file, loaded })
    }

    /// Its bytes when it was opened.
    pub fn length(&self) -> u64 {
        self.loaded.length
    }

    /// Refuses a file that was written to since it was opened.
    pub fn check(&self) -> Result<()> {
        let now = Facts::of(&self.file.metadata().map_err(|error| Error::unreadable(&self.path, error))?);
        if now == self.loaded {
            return Ok(());
        }
        let change = match (self.loaded.length, now.length) {
            (then, now) if then != now => format!("has {now} bytes, and had {then} when the model was loaded"),
            _ => "was written to after the model was loaded".to_owned(),
        };
        let remedy = "load the model again. A file that is replaced by renaming does no harm, nor does any change to a \
                      model loaded with memory_map=False";
        Err(Error::malformed(&self.path, format!("{change}: {remedy}")))
    }

    /// Refuses a name that leads to another file by now: who opened it by name meanwhile may have got that one.
    fn check_name(&self) -> Result<()> {
        let unreadable = |error| Error::unreadable(&self.path, error);
        let (held, named) =
            (self.file.metadata().map_err(unreadable)?, fs::metadata(&self.target).map_err(unreadable)?);
        match same_file(&held, &named) {
            true => Ok(()),
            false => Err(Error::malformed(&self.path, "was replaced while it was being loaded: load the model again")),
        }
    }

    /// Maps the file.
    pub fn map(&self) -> Result<Mmap> {
        self.check()?;
        // SAFETY: the map is read-only, of a file that has the length it had when its header was read. Should another
        // process cut it while it is read, this one is ended by a signal; the file's opening comment tells of it.
        unsafe { Mmap::map(&self.file) }.map_err(|error| Error::unreadable(&self.path, error))
    }

    /// The file's bytes in memory.
    fn copy(&self) -> Result<Arc<[u8]>> {
        let length = usize::try_from(self.loaded.length).unwrap_or(usize::MAX);
        let purpose = || format!("for {length} bytes of weights of {}", self.path.display());
        // An `Arc` of bytes cannot be tried for: whether there is room is found out with a list of the same size.
        drop(memory::room_for::<u8>(length, purpose)?);
        let mut bytes: Arc<[u8]> = repeat_n(0, length).collect();
        let read = |target: &mut [u8]| -> io::Result<()> {
            let mut file = &self.file;
            file.rewind()?;
            file.read_exact(target)
        };
        if let Some(target) = Arc::get_mut(&mut bytes) {
            read(target).map_err(|error| Error::unreadable(&self.path, error))?;
        }
        Ok(bytes)
    }
}

#[cfg(unix)]
fn same_file(one: &Metadata, other: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

#[cfg(not(unix))]
fn same_file(one: &Metadata, other: &Metadata) -> bool {
    Facts::of(one) == Facts::of(other)
}

/// A copy of a weight file, under the name that the graph has for it.
pub type Copy = (String, Arc<[u8]>);

/// The weight files that a session reads.
#[derive(Debug, Default)]
pub struct HeldFiles {
    files: Vec<Arc<HeldFile>>,
    copies: Vec<Copy>,
}

impl HeldFiles {
    /// Holds files, each under the name that the graph has for it; as copies where that is asked for.
    pub fn new(named: Vec<(String, Arc<HeldFile>)>, copied: bool) -> Result<Self> {
        let mut held = HeldFiles::default();
        for (name, file) in named {
            if copied {
                held.copies.push((name, file.copy()?));
            }
            held.files.push(file);
        }
        Ok(held)
    }

    /// The copies, which must outlive the session that is given them.
    pub fn copies(&self) -> &[Copy] {
        &self.copies
    }

    /// To be called when the session has read what it reads by name. Refused: a file that changed or was replaced
    /// meanwhile. Files that there are copies of are looked at no more.
    pub fn settle(&mut self) -> Result<()> {
        self.files.iter().try_for_each(|file| file.check().and_then(|()| file.check_name()))?;
        if !self.copies.is_empty() {
            self.files.clear();
        }
        Ok(())
    }

    /// Refuses files that changed since they were loaded.
    pub fn check(&self) -> Result<()> {
        self.files.iter().try_for_each(|file| file.check())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn held(content: &[u8]) -> (tempfile::TempDir, PathBuf, Arc<HeldFile>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights.bin");
        fs::write(&path, content).unwrap();
        let file = HeldFile::open(&path, &path).unwrap();
        (folder, path, Arc::new(file))
    }

    /// Writes over the start of a file, at a time that its clock can tell from the one before.
    fn overwrite(path: &Path, content: &[u8]) {
        std::thread::sleep(std::time::Duration::from_millis(20));
        File::options().write(true).open(path).unwrap().write_all(content).unwrap();
    }

    #[test]
    fn a_file_that_changed_in_place_is_named() {
        let (_folder, path, file) = held(b"abcdef");
        file.check().unwrap();
        overwrite(&path, b"xyz");
        let message = file.check().unwrap_err().to_string();
        assert!(message.contains("weights.bin: was written to after the model was loaded: load"), "{message}");
        File::options().write(true).open(&path).unwrap().set_len(2).unwrap();
        let message = file.check().unwrap_err().to_string();
        assert!(message.contains("weights.bin: has 2 bytes, and had 6 when the model was loaded: load"), "{message}");
        assert!(file.map().is_err());
        assert!(file.copy().is_err());
    }

    #[cfg(unix)]
    #[test]
    fn a_file_replaced_by_renaming_is_what_it_was() {
        let (folder, path, file) = held(b"abcdef");
        fs::write(folder.path().join("other"), b"x").unwrap();
        fs::rename(folder.path().join("other"), &path).unwrap();
        file.check().unwrap();
        assert_eq!(*file.copy().unwrap(), *b"abcdef");
        let message = HeldFiles::new(vec![(String::new(), file)], false).unwrap().settle().unwrap_err().to_string();
        assert!(message.contains("weights.bin: was replaced while it was being loaded"), "{message}");
    }

    #[test]
    fn what_is_copied_may_change() {
        let (_folder, path, file) = held(b"abcdef");
        let mut mapped = HeldFiles::new(vec![("name".to_owned(), Arc::clone(&file))], false).unwrap();
        let mut copied = HeldFiles::new(vec![("name".to_owned(), file)], true).unwrap();
        mapped.settle().unwrap();
        copied.settle().unwrap();
        overwrite(&path, b"xyz");
        assert!(mapped.check().is_err());
        copied.check().unwrap();
        assert_eq!(copied.copies()[0].0, "name");
        assert_eq!(*copied.copies()[0].1, *b"abcdef");
    }

    #[test]
    fn a_copy_that_does_not_fit_is_a_memory_error() {
        let (_folder, path, _file) = held(b"");
        File::options().write(true).open(&path).unwrap().set_len(1 << 60).unwrap_or(());
        let Ok(file) = HeldFile::open(&path, &path) else { return };
        if file.length() == 1 << 60 {
            assert!(matches!(file.copy(), Err(Error::Memory { .. })));
        }
    }
}
