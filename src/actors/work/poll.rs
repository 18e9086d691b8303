//! A worker that asks for jobs, and what it gets.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::handover::Handover;
use crate::domain::case::job::GivenJob;
use crate::domain::ids::{Bits, LeaseDigest};
use crate::domain::time::Timestamp;

/// A worker that waits for jobs.
pub struct Poll {
    /// Which one it is.
    pub number: u64,
    pub worker: Arc<str>,
    pub host: Option<Arc<str>>,
    /// Jobs at the most.
    pub most: usize,
    /// Milliseconds of a lease; none: the job's, else the queue's.
    pub millis: Option<i64>,
    pub reply: oneshot::Sender<Handover>,
}

/// A job in a worker's hands.
#[derive(Debug, Clone)]
pub struct Handed {
    pub job: GivenJob,
    /// The token by which the worker names its lease.
    pub token: Arc<str>,
    pub until: Timestamp,
}

/// A token that nobody guesses, and its digest.
pub fn token(random: [u8; 16]) -> (Arc<str>, LeaseDigest) {
    let text = LeaseDigest(Bits(random)).to_string();
    let token: Arc<str> = text.trim_start_matches(LeaseDigest::PREFIX).into();
    let digest = LeaseDigest::of(&token);
    (token, digest)
}
