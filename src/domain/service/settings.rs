//! What is known of a service before it is called.

use std::sync::Arc;

use crate::domain::time::DAY;

/// A service's settings. Times are in milliseconds.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    pub name: Arc<str>,
    /// Hosts in endpoints of definitions that stand for this service.
    pub hosts: Vec<String>,
    /// Takes the place of scheme and host; none where a call goes where the endpoint says.
    pub url: Option<String>,
    /// Named in the configuration. Others have limits, but no breaker and no patience.
    pub known: bool,
    /// How long one call may take.
    pub timeout: i64,
    pub max_concurrent: u32,
    pub rate: Option<Rate>,
    /// The service does a repeated call with the same key once.
    pub honours_key: bool,
    /// How long an outage is waited for.
    pub patience: i64,
    pub breaker: Trip,
    /// What is asked instead of a case's own call when the breaker tries whether it is back.
    pub probe: Option<Probe>,
}

/// So many calls in so many milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    pub calls: u32,
    pub per: i64,
}

/// When the breaker opens, and how it tries again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trip {
    /// Failures in the window, at least half of its calls.
    pub failures: u32,
    pub window: i64,
    /// Before the first probe; doubles up to `probe_after_max`.
    pub probe_after: i64,
    pub probe_after_max: i64,
}

/// A request that shows whether the service is back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    pub method: String,
    pub path: String,
}

impl Default for Trip {
    fn default() -> Self {
        Self { failures: 5, window: 30_000, probe_after: 5000, probe_after_max: 300_000 }
    }
}

impl Settings {
    /// The defaults of a service of this name.
    pub fn named(name: &str) -> Self {
        Self {
            name: name.into(),
            hosts: Vec::new(),
            url: None,
            known: true,
            timeout: 30_000,
            max_concurrent: 64,
            rate: None,
            honours_key: false,
            patience: 30 * DAY,
            breaker: Trip::default(),
            probe: None,
        }
    }

    /// What counts for a host that no service names.
    pub fn unknown(host: &str) -> Self {
        Self { known: false, patience: 0, hosts: vec![host.to_owned()], ..Self::named(host) }
    }
}
