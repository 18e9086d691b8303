//! A worker's hold on a job. Whoever has the token has the lease; what is stored is its digest.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::domain::ids::{Bits, LeaseDigest, TemplateHash};

/// A lease may last so many seconds.
pub const SECONDS: std::ops::RangeInclusive<i64> = 5..=3600;

/// An attempt that a worker has.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Lease {
    pub worker: Arc<str>,
    pub host: Option<Arc<str>>,
    /// How long it lasts from when it is given, and from each time that it is extended.
    pub millis: i64,
    pub digest: LeaseDigest,
    /// The content of the template that its document is made by.
    pub template: Option<TemplateHash>,
}

/// What a worker asks for.
#[derive(Clone, PartialEq, Debug)]
pub struct Leasing {
    pub worker: Arc<str>,
    pub host: Option<Arc<str>>,
    /// Milliseconds that the worker asks for; none: the job's, else the queue's.
    pub millis: Option<i64>,
    pub of_queue: i64,
    pub digest: LeaseDigest,
}

impl LeaseDigest {
    /// The digest of the token that a worker holds.
    pub fn of(token: &str) -> Self {
        Self(Bits::derived(&[b"lease", token.as_bytes()]))
    }
}
