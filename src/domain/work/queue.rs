//! A queue: its settings, and what a person has said of it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::domain::service::settings::Rate;
use crate::domain::time::Timestamp;

/// Queues at the most.
pub const QUEUES_MAX: usize = 1000;

/// The queue of documents.
pub const PDF: &str = "pdf";

/// Letters of a queue's name at the most.
const NAME_MAX: usize = 40;

/// What a queue is told in its configuration. Times are in milliseconds.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Settings {
    /// Leases at the same time; none: any number.
    pub concurrency: Option<u32>,
    /// Leases begun; none: any number.
    pub rate: Option<Rate>,
    /// How much longer a job waits for each priority that it is below 9.
    pub aging: i64,
    /// How long a lease lasts where neither the worker nor the job says so.
    pub lease: i64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { concurrency: None, rate: None, aging: 600_000, lease: 60_000 }
    }
}

/// What happened to a queue.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum QueueEvent {
    Paused {
        reason: Arc<str>,
        by: Arc<str>,
    },
    Resumed,
    /// Jobs that were queued before this instant are never leased again.
    Purged {
        at: Timestamp,
        reason: Arc<str>,
    },
}

/// What was said of a queue.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Said {
    /// Why nothing is leased, and who said so.
    pub paused: Option<(Arc<str>, Arc<str>)>,
    /// What was queued before this is not leased any more.
    pub purged: Option<Timestamp>,
}

impl Said {
    /// Takes over what happened.
    pub fn evolve(&mut self, event: &QueueEvent) {
        match event {
            QueueEvent::Paused { reason, by } => self.paused = Some((reason.clone(), by.clone())),
            QueueEvent::Resumed => self.paused = None,
            QueueEvent::Purged { at, .. } => self.purged = self.purged.max(Some(*at)),
        }
    }
}

/// Whether a queue may have this name.
///
/// # Errors
/// What is wrong with it.
pub fn check_name(name: &str) -> Result<(), String> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    match (1..=NAME_MAX).contains(&name.len()) && name.chars().all(fits) {
        true => Ok(()),
        false => {
            let shown: String = name.chars().take(NAME_MAX).collect();
            Err(format!("`{shown}` is no name of a queue: 1 to {NAME_MAX} of a-z, 0-9 and -"))
        }
    }
}

/// A job's place: least first. Each priority is worth `aging`, and of one case each further job a second, so
/// that nobody waits for what was queued more than nine times `aging` after it.
pub fn place(queued_at: Timestamp, priority: u8, aging: i64, of_case: usize) -> Timestamp {
    let rank = i64::from(9u8.saturating_sub(priority));
    let others = i64::try_from(of_case).unwrap_or(i64::MAX).saturating_mul(1000);
    queued_at.plus(rank.saturating_mul(aging).saturating_add(others))
}
