//! Places in a journal.

/// A place in the order of all records. It is the journal's own: it can be kept and compared with
/// another of the same journal, and nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct RecordCursor(pub u64);
