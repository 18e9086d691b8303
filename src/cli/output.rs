//! How verbs print: tables for people, JSON for programs.

use clap::ValueEnum;

/// How to print.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Text,
    Json,
}

impl Format {
    /// Whether a program reads it.
    pub fn is_json(self) -> bool {
        self == Self::Json
    }
}
