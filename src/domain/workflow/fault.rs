//! What is wrong with a definition: where, what, and what would be right.

use serde::Serialize;

use super::location::Location;

/// Faults kept for one definition; more than these help nobody.
const FAULTS_MAX: usize = 100;

/// One fault of a definition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// JSON pointer into the definition; empty for a fault of the syntax.
    pub pointer: String,
    /// Counted from 1.
    pub line: usize,
    /// Counted from 1, in characters.
    pub column: usize,
    /// What is wrong.
    pub detail: String,
    /// What would be right.
    pub fix: String,
}

impl Fault {
    /// A fault at a place of the text.
    pub fn at(
        place: Location,
        pointer: &str,
        detail: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self {
            pointer: pointer.to_owned(),
            line: place.line,
            column: place.column,
            detail: detail.into(),
            fix: fix.into(),
        }
    }
}

/// All faults of a definition, in the order of the text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    faults: Vec<Fault>,
}

impl Faults {
    /// A single fault.
    pub fn of(fault: Fault) -> Self {
        Self { faults: vec![fault] }
    }

    /// Adds a fault, unless there are too many already or it is known.
    pub fn push(&mut self, fault: Fault) {
        if self.faults.len() < FAULTS_MAX && !self.faults.contains(&fault) {
            self.faults.push(fault);
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.faults.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.faults.len()
    }

    /// The faults, sorted by place.
    pub fn sorted(mut self) -> Vec<Fault> {
        self.faults.sort_by_key(|f| (f.line, f.column));
        self.faults
    }
}

impl IntoIterator for Faults {
    type Item = Fault;
    type IntoIter = std::vec::IntoIter<Fault>;

    fn into_iter(self) -> Self::IntoIter {
        self.sorted().into_iter()
    }
}
