//! What can go wrong with the embedded journal, in words that say what to do.

use std::path::PathBuf;

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
    Damaged {
        folder: PathBuf,
        error: String,
        /// It may be but the last batch, cut off while it was written.
        torn: bool,
    },
    #[error(
        "the journal in {} ends at position {found}, but {expected} was acknowledged: \
         {} records are missing. Restore the folder from a backup; to go on without them, \
         delete {}",
        .folder.display(), .expected - .found, .mark.display()
    )]
    Short { folder: PathBuf, mark: PathBuf, found: u64, expected: u64 },
    #[error(
        "the journal in {} holds another record at position {position} than the one that was \
         acknowledged there: it is not the journal that was last used here. Restore the folder \
         from a backup; to go on with this one, delete {}",
        .folder.display(), .mark.display()
    )]
    Other { folder: PathBuf, mark: PathBuf, position: u64 },
    #[error("the journal in {} cannot be used: {error}", .folder.display())]
    Io { folder: PathBuf, error: std::io::Error },
}
