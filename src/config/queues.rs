//! `[queues.<name>]`: how much of a queue is done at the same time, and how long a lease lasts.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::{Deserializer, Error};

use super::values::{Count, PerTime, Span};
use crate::domain::work::lease::SECONDS;
use crate::domain::work::queue::{Settings, check_name};

/// The queues that the file names.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Queues(pub BTreeMap<Arc<str>, Settings>);

/// One of them.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Queue {
    /// Leases at the same time.
    concurrency: Option<Count>,
    /// Leases begun.
    rate: Option<PerTime>,
    /// What each priority below 9 is worth.
    aging: Option<Span>,
    /// How long a lease lasts, where neither the worker nor the job says so.
    lease: Option<Span>,
}

impl<'de> Deserialize<'de> for Queues {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let named = BTreeMap::<String, Queue>::deserialize(deserializer)?;
        let mut queues = BTreeMap::new();
        for (name, queue) in named {
            check_name(&name).map_err(D::Error::custom)?;
            let settings =
                queue.settings().map_err(|wrong| D::Error::custom(format!("`{name}`: {wrong}")))?;
            queues.insert(Arc::from(name), settings);
        }
        Ok(Self(queues))
    }
}

impl Queue {
    fn settings(self) -> Result<Settings, String> {
        let default = Settings::default();
        let lease = self.lease.map_or(default.lease, |span| span.0);
        let within = (SECONDS.start() * 1000)..=(SECONDS.end() * 1000);
        if !within.contains(&lease) {
            let (least, most) = (SECONDS.start(), SECONDS.end());
            return Err(format!("`lease` has to be from {least} to {most} seconds"));
        }
        let aging = self.aging.map_or(default.aging, |span| span.0);
        if !(0..=86_400_000).contains(&aging) {
            return Err("`aging` has to be a day at the most".to_owned());
        }
        let concurrency = match self.concurrency {
            Some(Count(0)) => {
                return Err("`concurrency` has to be 1 at least: pause the queue instead".into());
            }
            concurrency => concurrency.map(|count| u32::try_from(count.0).unwrap_or(u32::MAX)),
        };
        Ok(Settings { concurrency, rate: self.rate.map(|rate| rate.0), aging, lease })
    }
}
