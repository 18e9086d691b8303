//! Where something stands in a text.

/// Both are counted from 1; zeros where nothing is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Location {
    pub line: usize,
    pub column: usize,
}
