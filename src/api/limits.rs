//! What is let in: so many requests at once, so many of one client within a second, so many that
//! follow something live.

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};

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
    requests: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    rate: Option<DefaultKeyedRateLimiter<String>>,
}

impl Limits {
    /// So many requests at once, and so many of one client within a second (0: any).
    pub fn new(requests: usize, rate: usize) -> Self {
        let rate = u32::try_from(rate).ok().and_then(NonZeroU32::new);
        Self {
            requests: Arc::new(Semaphore::new(requests)),
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
        permit.map_err(|_| Problem::too_many("too many follow or wait for something already"))
    }
}

/// Sheds what is too much before anything is read of it.
/// Whether it lives and is ready is answered whatever is under way.
pub async fn shed(State(api): State<Api>, mut request: Request, next: Next) -> Response {
    if matches!(request.uri().path(), "/healthz" | "/readyz") {
        return next.run(request).await;
    }
    if api.handle.is_starting() && request.uri().path() != "/metrics" {
        let detail = "the process is starting";
        return Problem::unavailable(detail).into_response();
    }
    let Ok(permit) = api.limits.requests.clone().try_acquire_owned() else {
        metrics::counter!("caseworker_http_shed_total").increment(1);
        return Problem::too_many("too many requests are under way").into_response();
    };
    let turn = Turn(Arc::new(Mutex::new(Some(permit))));
    request.extensions_mut().insert(turn.clone());
    let response = next.run(request).await;
    turn.give_up();
    response
}

/// A request's place among those under way. One that only waits gives it up before its end.
#[derive(Clone)]
pub struct Turn(Arc<Mutex<Option<OwnedSemaphorePermit>>>);

impl Turn {
    /// Others may be served instead.
    pub fn give_up(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}
