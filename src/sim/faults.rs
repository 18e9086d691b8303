//! What can go wrong with a party.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// Faults of one party, switched while it runs.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Faults {
    /// It refuses connections.
    pub down: bool,
    /// Share of requests that are answered with `error_status`, without being acted on.
    pub errors: f64,
    pub error_status: u16,
    /// Share of requests that are acted on and never answered.
    pub silent: f64,
    pub latency_ms: u64,
    /// It ignores idempotency keys.
    pub ignores_keys: bool,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            down: false,
            errors: 0.0,
            error_status: 503,
            silent: 0.0,
            latency_ms: 0,
            ignores_keys: false,
        }
    }
}

/// A change of some of them.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct FaultsChange {
    pub down: Option<bool>,
    pub errors: Option<f64>,
    pub error_status: Option<u16>,
    pub silent: Option<f64>,
    pub latency_ms: Option<u64>,
    pub ignores_keys: Option<bool>,
}

/// What becomes of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Answered,
    Error(u16),
    Silent,
}

/// The switch of a party's faults.
pub struct Switch {
    faults: watch::Sender<Faults>,
    /// State of a small generator: the same requests meet the same faults.
    random: Mutex<u64>,
    /// Somebody outside has changed them.
    touched: AtomicBool,
}

impl Switch {
    /// Nothing is wrong.
    pub fn new(seed: u64) -> Self {
        Self {
            faults: watch::Sender::new(Faults::default()),
            random: Mutex::new(seed | 1),
            touched: AtomicBool::new(false),
        }
    }

    /// Somebody outside changes them.
    pub fn touch(&self) {
        self.touched.store(true, Ordering::Relaxed);
    }

    /// Whether somebody outside has.
    pub fn is_touched(&self) -> bool {
        self.touched.load(Ordering::Relaxed)
    }

    /// The faults now.
    pub fn now(&self) -> Faults {
        self.faults.borrow().clone()
    }

    /// Follows the faults.
    pub fn follow(&self) -> watch::Receiver<Faults> {
        self.faults.subscribe()
    }

    /// Changes faults.
    pub fn change(&self, change: &FaultsChange) {
        self.faults.send_modify(|faults| {
            let Faults { down, errors, error_status, silent, latency_ms, ignores_keys } = faults;
            *down = change.down.unwrap_or(*down);
            *errors = change.errors.unwrap_or(*errors);
            *error_status = change.error_status.unwrap_or(*error_status);
            *silent = change.silent.unwrap_or(*silent);
            *latency_ms = change.latency_ms.unwrap_or(*latency_ms);
            *ignores_keys = change.ignores_keys.unwrap_or(*ignores_keys);
        });
    }

    /// How long an answer takes.
    pub fn latency(&self) -> Duration {
        Duration::from_millis(self.faults.borrow().latency_ms)
    }

    /// What becomes of the next request.
    pub fn fate(&self) -> Fate {
        let (errors, status, silent) = {
            let faults = self.faults.borrow();
            (faults.errors, faults.error_status, faults.silent)
        };
        let share = self.share();
        if share < errors {
            Fate::Error(status)
        } else if share < errors + silent {
            Fate::Silent
        } else {
            Fate::Answered
        }
    }

    fn share(&self) -> f64 {
        let mut state: MutexGuard<'_, u64> =
            self.random.lock().unwrap_or_else(PoisonError::into_inner);
        // xorshift64
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        (*state >> 11) as f64 / (1u64 << 53) as f64
    }
}
