//! How a verb ended, as scripts see it.

use std::process::{ExitCode, Termination};

/// The exit codes of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    Ok = 0,
    Failed = 1,
    Usage = 2,
    NotFound = 3,
    NotAllowed = 4,
    Conflict = 5,
    Unreachable = 6,
    TimedOut = 7,
    PartlyDone = 8,
    /// The case that was waited for ended faulted or cancelled.
    EndedBadly = 9,
}

impl Termination for Exit {
    fn report(self) -> ExitCode {
        ExitCode::from(self as u8)
    }
}
