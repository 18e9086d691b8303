//! One process for each data folder.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

/// Holds the folder as long as it lives; the operating system lets go when the process ends.
#[derive(Debug)]
pub struct FolderLock {
    _file: File,
}

/// Why the folder cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    #[error("the data folder {} is in use by process {holder}", .folder.display())]
    Held { folder: PathBuf, holder: String },
    #[error("the data folder {} cannot be used: {error}", .folder.display())]
    Io { folder: PathBuf, error: std::io::Error },
}

/// Takes the folder, making it if it is not there.
///
/// # Errors
/// When another process holds it, or it cannot be made.
pub fn take(folder: &Path) -> Result<FolderLock, LockError> {
    let failed = |error| LockError::Io { folder: folder.to_owned(), error };
    std::fs::create_dir_all(folder).map_err(failed)?;
    let path = folder.join("lock");
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            let _ = file.read_to_string(&mut holder);
            let holder = holder.trim().to_owned();
            return Err(LockError::Held { folder: folder.to_owned(), holder });
        }
        Err(TryLockError::Error(error)) => return Err(failed(error)),
    }
    file.set_len(0).map_err(failed)?;
    write!(file, "{}", std::process::id()).map_err(failed)?;
    Ok(FolderLock { _file: file })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_held_once() {
        let folder = tempfile::tempdir().unwrap();
        let held = take(folder.path()).unwrap();
        let refused = take(folder.path()).unwrap_err().to_string();
        assert!(refused.contains(&std::process::id().to_string()), "{refused}");
        drop(held);
        assert!(take(folder.path()).is_ok());
    }
}
