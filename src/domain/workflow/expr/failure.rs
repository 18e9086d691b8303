//! Why a source is no expression, and why an expression gave no value.

use std::fmt;

use super::meter::Overrun;

/// Why a source is no expression: what, and where in the source (in bytes).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NoExpr {
    pub detail: String,
    pub fix: String,
    pub offset: usize,
}

/// Why an evaluation gave no value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Failure {
    /// The expression failed on this data.
    Error(String),
    /// It ran into a bound.
    Overrun(Overrun),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Error(text) => f.write_str(text),
            Self::Overrun(overrun) => f.write_str(overrun.detail()),
        }
    }
}
