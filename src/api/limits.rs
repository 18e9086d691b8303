//! What is let in: so many requests at once, so many of one client within a second, so many that
//! follow something live.

use std::num::NonZeroU32;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Api;
use super::problem::Problem;

/// Followers of histories and of the stream at the same time.
const STREAMS: usize = 1000;

/// The limits.
pub struct Limits {
    requests: Semaphore,
    streams: Arc<Semaphore>,
    rate: Option<DefaultKeyedRateLimiter<String>>,
}

impl Limits {
    /// So many requests at once, and so many of one client within a second (0: any).
    pub fn new(requests: usize, rate: usize) -> Self {
        let rate = u32::try_from(rate).ok().and_then(NonZeroU32::new);
        Self {
            requests: Semaphore::new(requests),
            streams: Arc::new(Semaphore::new(STREAMS)),
            rate: rate.map(|rate| RateLimiter::keyed(Quota::per_second(rate))),
        }
    }

    /// Whether this client may ask now.
    pub fn lets_in(&self, client: &String) -> bool {
        self.rate.as_ref().is_none_or(|rate| rate.check_key(client).is_ok())
    }

    /// A place among those who follow something live.
    pub fn stream(&self) -> Result<OwnedSemaphorePermit, Problem> {
        let permit = self.streams.clone().try_acquire_owned();
        permit.map_err(|_| Problem::too_many("too many follow something live already"))
    }
}

/// Sheds what is too much before anything is read of it.
pub async fn shed(State(api): State<Api>, request: Request, next: Next) -> Response {
    let Ok(_permit) = api.limits.requests.try_acquire() else {
        metrics::counter!("caseworker_http_shed_total").increment(1);
        return Problem::too_many("too many requests are under way").into_response();
    };
    next.run(request).await
}
