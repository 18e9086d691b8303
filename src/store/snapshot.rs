//! Snapshots: a case's state at a version, so that a long history need not be folded again.

use serde::{Deserialize, Serialize};

use super::codec;
use super::record::Hash;
use crate::domain::case::state::State;

/// A state, and the hash of the record that led to it.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
pub struct Snapshot {
    pub state: State,
    pub hash: Hash,
}

impl Snapshot {
    /// As bytes for the store of snapshots.
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// From such bytes; none where they are damaged or of another shape.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        codec::decode(bytes)
    }
}
