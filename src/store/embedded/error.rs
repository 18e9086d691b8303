//! What can go wrong with the embedded journal, in words that say what to do.

use std::path::PathBuf;

use crate::store::record::RECORD_MAX;

/// Why nothing was appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    #[error("the entity is not at the expected version any more")]
    Conflict,
    #[error("the record is larger than {} KiB", RECORD_MAX / 1024)]
    TooLarge,
    #[error("the journal is closed")]
    Closed,
}

/// Why the journal cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("the journal in {} is in use by another process", .0.display())]
    Locked(PathBuf),
    #[error(
        "the journal in {} cannot be opened: {error}. It holds what was acknowledged: \
         restore the folder from a backup, or move it away to begin anew",
        .folder.display()
    )]
    Damaged { folder: PathBuf, error: String },
    #[error(
        "the journal in {} ends at position {found}, but {expected} was acknowledged: \
         {} records are missing. Restore the folder from a backup; to go on without them, \
         delete {}",
        .folder.display(), .expected - .found, .mark.display()
    )]
    Short { folder: PathBuf, mark: PathBuf, found: u64, expected: u64 },
    #[error("the journal in {} cannot be used: {error}", .folder.display())]
    Io { folder: PathBuf, error: std::io::Error },
}

/// A read that failed: the disk's fault, or a block that is damaged.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the journal cannot be read: {error}")]
pub struct ReadError {
    error: String,
    /// A block is damaged: what lies in it is lost, all else can be read.
    pub damaged: bool,
}

impl ReadError {
    pub(super) fn damage(error: &str) -> Self {
        Self { error: error.to_owned(), damaged: true }
    }
}

impl From<fjall::Error> for ReadError {
    fn from(error: fjall::Error) -> Self {
        let error = error.to_string();
        let words = ["Checksum", "Decode", "Decompress", "InvalidTag", "InvalidHeader"];
        let damaged = words.iter().any(|word| error.contains(word));
        Self { error, damaged }
    }
}
