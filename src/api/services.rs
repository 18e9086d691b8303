//! `/v1/services`: breakers as they stand, and operators' holds.

use axum::extract::{Path, State};
use axum::{Extension, Json};
use serde::Deserialize;
use serde_json::{Value as Json_, json};

use super::Api;
use super::auth::Client;
use super::body::{JsonBody, OptionalBody, Reason};
use super::problem::Problem;
use crate::actors::handles::ServiceHandle;
use crate::domain::service::circuit::{Cause, Circuit};
use crate::domain::time::Timestamp;

/// Why calls wait behind a service that answered 429.
const PAUSED: &str = "it asked for a pause; `probe` ends it";

/// Lists the services that are configured.
pub async fn list(State(api): State<Api>) -> Result<Json<Json_>, Problem> {
    api.views()?;
    let mut items = Vec::new();
    for served in api.handle.services() {
        if served.settings.known {
            items.push(show(&api, &served).await?);
        }
    }
    Ok(Json(json!({"items": items, "next": null})))
}

/// Shows a service.
pub async fn get(State(api): State<Api>, Path(name): Path<String>) -> Result<Json<Json_>, Problem> {
    api.views()?;
    let served = find(&api, &name)?;
    show(&api, &served).await.map(Json)
}

fn find(api: &Api, name: &str) -> Result<std::sync::Arc<ServiceHandle>, Problem> {
    api.handle.service(name).ok_or_else(|| Problem::not_found("service"))
}

async fn show(api: &Api, served: &ServiceHandle) -> Result<Json_, Problem> {
    let settings = &served.settings;
    let (views, name) = (api.handle.views().clone(), settings.name.clone());
    let counted = super::blocking(move || {
        let (waiting, repeating) = (views.count_line(&name)?, views.count_repeating(&name)?);
        views.calls(&name).map(|calls| (waiting, repeating, calls))
    });
    let ((waiting, oldest), (repeating, repeated), calls) = counted.await??;
    let oldest = oldest.into_iter().chain(repeated).min();
    let now = api.handle.clock().now();
    let (circuit, in_flight, ramp, last, paused) = {
        let gate = served.gate();
        let (last, paused) = (gate.last_failure().cloned(), gate.paused_until(now));
        (gate.circuit().clone(), gate.in_flight(), gate.ramp_limit(), last, paused)
    };
    let mut shown = json!({
        "name": settings.name,
        "hosts": settings.hosts,
        "url": settings.url.as_deref().map(without_credentials),
        "state": circuit.name(),
        "since": null,
        "cause": null,
        "nextProbeAt": null,
        "until": null,
        "reason": null,
        "waiting": waiting + repeating,
        "oldestSince": oldest.map(|at| at.to_string()),
        "inFlight": in_flight,
        "ramp": {"limit": ramp.unwrap_or(settings.max_concurrent), "max": settings.max_concurrent},
        "calls": {"answered": calls.answered, "failed": calls.failed, "unknown": calls.unknown,
                  "repeating": repeating},
    });
    if let Some(until) = paused {
        shown["until"] = json!(until.to_string());
        shown["reason"] = json!(PAUSED);
    }
    match circuit {
        Circuit::Closed => {
            // not enough to open the breaker, and yet somebody waits for it
            let last = last.filter(|_| repeating > 0);
            shown["cause"] = json!(last.as_ref().map(cause));
        }
        Circuit::Open(outage) | Circuit::HalfOpen { outage, .. } => {
            shown["since"] = json!(outage.since.to_string());
            shown["cause"] = json!(outage.cause.as_ref().map(cause));
            shown["nextProbeAt"] = json!(outage.next_probe_at.to_string());
        }
        Circuit::Isolated { since, reason, until } => {
            shown["since"] = json!(since.to_string());
            shown["reason"] = json!(reason);
            shown["until"] = json!(until.to_string());
        }
    }
    Ok(shown)
}

/// An address that may be shown.
fn without_credentials(url: &str) -> String {
    match url::Url::parse(url) {
        Ok(mut url) => {
            // an error means that such an address has no credentials
            let _ = url.set_password(None);
            let _ = url.set_username("");
            url.to_string().trim_end_matches('/').to_owned()
        }
        Err(_) => String::new(),
    }
}

fn cause(cause: &Cause) -> Json_ {
    json!({"at": cause.at.to_string(), "status": cause.status, "detail": cause.detail})
}

/// `POST /v1/services/{name}/isolate`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Isolation {
    #[serde(default)]
    reason: String,
    #[serde(default)]
    until: String,
}

/// Holds a service until an instant.
pub async fn isolate(
    State(api): State<Api>,
    Extension(client): Extension<Client>,
    Path(name): Path<String>,
    JsonBody(body): JsonBody<Isolation>,
) -> Result<Json<Json_>, Problem> {
    let served = find(&api, &name)?;
    let until: Timestamp =
        body.until.parse().map_err(|_| Problem::at("/until", "a time as in RFC 3339"))?;
    if until <= api.handle.clock().now() {
        return Err(Problem::at("/until", "a time to come: a hold always ends by itself"));
    }
    if body.reason.trim().is_empty() || body.reason.len() > 1000 {
        return Err(Problem::at("/reason", "1 to 1000 bytes"));
    }
    if !served.settings.known {
        let detail = "no service names this host: name it in services.toml to hold its calls";
        return Err(Problem::conflict(detail, &[]));
    }
    let by = client.by(&body.reason);
    api.handle.isolate(&served, body.reason, until, by).await.map_err(Problem::unavailable)?;
    show(&api, &served).await.map(Json)
}

/// Ends a hold.
pub async fn release(
    State(api): State<Api>,
    Extension(client): Extension<Client>,
    Path(name): Path<String>,
    OptionalBody(body): OptionalBody<Reason>,
) -> Result<Json<Json_>, Problem> {
    if body.reason.len() > 1000 {
        return Err(Problem::at("/reason", "at most 1000 bytes"));
    }
    let served = find(&api, &name)?;
    let released = api.handle.release(&served, client.by(&body.reason)).await;
    if !released.map_err(Problem::unavailable)? {
        return Err(Problem::conflict("the service is not isolated", &["isolate"]));
    }
    show(&api, &served).await.map(Json)
}

/// Tries a service now.
pub async fn probe(
    State(api): State<Api>,
    Path(name): Path<String>,
) -> Result<Json<Json_>, Problem> {
    let served = find(&api, &name)?;
    if !api.handle.probe(&served).await.map_err(Problem::unavailable)? {
        return Err(Problem::conflict(
            "the service's breaker is not open, and it asked for no pause",
            &["isolate"],
        ));
    }
    show(&api, &served).await.map(Json)
}
