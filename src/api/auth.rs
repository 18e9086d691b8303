//! Who asks: the name of an API key, or `local` where none are configured.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

use super::Api;
use super::problem::Problem;
use crate::actors::handles::By;

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client(pub String);

impl Client {
    /// For the history.
    pub fn by(&self, why: &str) -> By {
        By { who: self.0.clone(), from: "http".to_owned(), why: why.to_owned() }
    }
}

/// The queues whose jobs alone a client may do; none: it may do everything.
#[derive(Clone, Debug)]
pub struct OfQueues(pub Option<Arc<[String]>>);

impl OfQueues {
    /// Whether the client may see this queue.
    pub fn has(&self, queue: &str) -> bool {
        self.0.as_ref().is_none_or(|queues| queues.iter().any(|known| known == queue))
    }
}

/// What a worker's key is for: to lease jobs and to say what became of them.
fn is_for_workers(method: &Method, path: &str) -> bool {
    let leases = path.strip_prefix("/v1/queues/").is_some_and(|rest| rest.ends_with("/jobs/lease"));
    let uploads = path == "/v1/documents";
    method == Method::POST && (leases || uploads || path.starts_with("/v1/jobs/"))
}

/// Lets known clients through. Whether it lives and is ready may be asked by anybody; a feed's address is
/// its own key.
pub async fn authenticate(State(api): State<Api>, mut request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let open = matches!(path, "/healthz" | "/readyz");
    let feed = is_feed(request.method(), path);
    let (client, queues) = match client(&api, request.headers()) {
        Some(client) => client,
        None if feed => (Client("feed".to_owned()), None),
        None if open => (Client("nobody".to_owned()), None),
        None => {
            let detail = match request.headers().contains_key(AUTHORIZATION) {
                true => "this API key is not known",
                false => "an API key is needed: `Authorization: Bearer <key>`",
            };
            let mut response = Problem::new(StatusCode::UNAUTHORIZED, detail).into_response();
            let scheme = HeaderValue::from_static("Bearer realm=\"caseworker\"");
            response.headers_mut().insert(WWW_AUTHENTICATE, scheme);
            return response;
        }
    };
    if !open && !api.limits.lets_in(&client.0) {
        return Problem::too_many("too many requests of this client").into_response();
    }
    if queues.is_some() && !open && !is_for_workers(request.method(), path) {
        let detail = "this key may do jobs of its queues, and nothing else";
        return Problem::new(StatusCode::FORBIDDEN, detail).into_response();
    }
    request.extensions_mut().insert(OfQueues(queues));
    request.extensions_mut().insert(client);
    next.run(request).await
}

/// Whether it is a calendar that is read by its token: `/v1/csrs/{id}/calendar.ics`.
fn is_feed(method: &Method, path: &str) -> bool {
    let id = path.strip_prefix("/v1/csrs/").and_then(|rest| rest.strip_suffix("/calendar.ics"));
    let id = id.is_some_and(|id| !id.is_empty() && !id.contains('/'));
    id && (method == Method::GET || method == Method::HEAD)
}

fn client(api: &Api, headers: &HeaderMap) -> Option<(Client, Option<Arc<[String]>>)> {
    if api.keys.is_empty() {
        return Some((Client("local".to_owned()), None));
    }
    let key = key_of(headers)?;
    // the digests are compared, which tells nobody anything about the key
    let digest: [u8; 32] = Sha256::digest(key.as_bytes()).into();
    let known = api.keys.iter().find(|known| known.sha256 == digest);
    known.map(|known| (Client(known.name.clone()), known.queues.clone()))
}

/// The key that a client shows: in `Authorization`, or, where a browser opens a WebSocket and cannot, among the
/// protocols that it offers, as `bearer.` and base64url.
fn key_of(headers: &HeaderMap) -> Option<String> {
    use base64::Engine as _;
    if let Some(value) = headers.get(AUTHORIZATION) {
        return value.to_str().ok()?.strip_prefix("Bearer ").map(|key| key.trim().to_owned());
    }
    let offered = headers.get(SEC_WEBSOCKET_PROTOCOL)?.to_str().ok()?;
    let key = offered.split(',').find_map(|one| one.trim().strip_prefix("bearer."))?;
    let key = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(key).ok()?;
    String::from_utf8(key).ok()
}
