//! A job as the server hands it over, who does it, and what became of it.

use std::time::Duration;

use serde_json::{Value as Json, json};
use tokio::sync::watch;

use super::Settings;
use super::looping::LoopChild;
use super::said::Said;
use super::server::Server;
use super::{child, looping, process};

/// A job.
#[derive(Debug, Clone)]
pub struct Job {
    pub id: String,
    pub lease: String,
    pub queue: String,
    pub key: String,
    pub attempt: i64,
    pub lease_seconds: u64,
    /// What whoever does it reads: all of it but the lease.
    pub told: Json,
}

/// Why a job is to be stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// It takes longer than it may.
    Timeout,
    /// Its lease is over, or nobody wants it any more.
    NotWanted,
    /// The worker ends.
    Ending,
}

/// Told when a job is to be stopped.
pub type Stop = watch::Receiver<Option<Why>>;

/// What became of a job.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    Done {
        output: Json,
        /// What it has left, by the ids under which the server has it.
        documents: Vec<String>,
    },
    Failed {
        error: Json,
        retryable: bool,
        retry_after: Option<i64>,
        crashed: bool,
    },
    Released,
    /// Nobody wants to hear of it.
    Dropped,
}

impl Outcome {
    /// Done, with nothing but this.
    pub fn done(output: Json) -> Self {
        Self::Done { output, documents: Vec::new() }
    }

    /// A failure with this text.
    pub fn failed(detail: impl Into<String>, retryable: bool) -> Self {
        let error = json!({"detail": detail.into()});
        Self::Failed { error, retryable, retry_after: None, crashed: false }
    }

    /// What did the job was killed.
    pub fn crashed(detail: impl Into<String>) -> Self {
        let error = json!({"detail": detail.into()});
        Self::Failed { error, retryable: true, retry_after: None, crashed: true }
    }

    /// What it comes to that a job was stopped.
    pub fn stopped(why: Why, timeout: Duration) -> Self {
        match why {
            Why::Timeout => {
                Self::failed(format!("it took longer than {} s", timeout.as_secs()), true)
            }
            Why::NotWanted => Self::Dropped,
            Why::Ending => Self::Released,
        }
    }

    /// In a word, for the numbers.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Done { .. } => "done",
            Self::Failed { crashed: true, .. } => "crashed",
            Self::Failed { retryable: true, .. } => "retry",
            Self::Failed { .. } => "failed",
            Self::Released => "released",
            Self::Dropped => "dropped",
        }
    }
}

impl Job {
    /// Reads a job as the server hands it over.
    pub fn read(mut told: Json) -> Option<Self> {
        let text = |told: &Json, name: &str| told[name].as_str().map(str::to_owned);
        let lease = text(&told, "lease")?;
        told.as_object_mut()?.remove("lease");
        Some(Self {
            id: text(&told, "id")?,
            queue: text(&told, "queue")?,
            key: text(&told, "key")?,
            attempt: told["attempt"].as_i64().unwrap_or(1),
            lease_seconds: told["leaseSeconds"].as_u64().unwrap_or(60).max(1),
            lease,
            told,
        })
    }
}

/// Who does the jobs of one hand.
pub enum Doer {
    /// A child for each.
    Each,
    /// One child for many.
    Many(Box<LoopChild>),
}

impl Doer {
    pub fn new(settings: &Settings) -> Self {
        match settings.looping {
            true => Self::Many(Box::default()),
            false => Self::Each,
        }
    }

    /// Does a job, unless it is told to stop.
    pub async fn work(
        &mut self,
        (settings, server): (&Settings, &Server),
        job: &Job,
        said: &Said,
        stop: Stop,
    ) -> Outcome {
        let allowed = settings.allow.iter().find(|kind| kind.queue() == Some(&*job.queue));
        if let Some(kind) = allowed {
            return process::work(settings, *kind, job, said, stop).await;
        }
        match self {
            Self::Each => child::work((settings, server), job, said, stop).await,
            Self::Many(many) => looping::work(many, (settings, server), job, said, stop).await,
        }
    }

    /// Waits until it may take a job.
    pub async fn rest(&mut self) {
        if let Self::Many(many) = self {
            many.rest().await;
        }
    }

    /// No more jobs come.
    pub async fn end(self, grace: Duration) {
        if let Self::Many(many) = self {
            many.end(grace).await;
        }
    }
}
