//! Jobs and leases as they lie in the journal: nothing where there is nothing to say.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::domain::case::job::Job;
use crate::domain::ids::{LeaseDigest, TemplateHash};
use crate::domain::time::Timestamp;
use crate::domain::work::job::JobKey;
use crate::domain::work::lease::Lease;

/// What is fixed of a job.
#[derive(Serialize, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WireJob {
    key: JobKey,
    queue: Arc<str>,
    priority: u8,
    place: Timestamp,
    queued_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    expires_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    lease: Option<i64>,
    attempts: u32,
}

/// A worker's hold on it.
#[derive(Serialize, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WireLease {
    worker: Arc<str>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    host: Option<Arc<str>>,
    millis: i64,
    digest: LeaseDigest,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    template: Option<TemplateHash>,
}

impl From<Job> for WireJob {
    fn from(job: Job) -> Self {
        let Job { key, queue, priority, place, queued_at, expires_at, lease, attempts } = job;
        Self { key, queue, priority, place, queued_at, expires_at, lease, attempts }
    }
}

impl From<WireJob> for Job {
    fn from(job: WireJob) -> Self {
        let WireJob { key, queue, priority, place, queued_at, expires_at, lease, attempts } = job;
        Self { key, queue, priority, place, queued_at, expires_at, lease, attempts }
    }
}

impl From<Lease> for WireLease {
    fn from(lease: Lease) -> Self {
        let Lease { worker, host, millis, digest, template } = lease;
        Self { worker, host, millis, digest, template }
    }
}

impl From<WireLease> for Lease {
    fn from(lease: WireLease) -> Self {
        let WireLease { worker, host, millis, digest, template } = lease;
        Self { worker, host, millis, digest, template }
    }
}
