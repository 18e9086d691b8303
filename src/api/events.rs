//! `POST /v1/events`: CloudEvents in structured, binary or batch mode.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::{Extension, Json};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode;
use serde_json::{Map, Value as Json_, json};

use super::Api;
use super::auth::Client;
use super::body::{Raw, media_type, parse};
use super::problem::Problem;
use crate::domain::cloud_event::CloudEvent;
use crate::domain::workflow::expr::json::{SIZE_MAX, shallow_enough};
use crate::domain::workflow::schema::Violation;

/// Events of one batch at the most.
const BATCH_MAX: usize = 1000;

/// Takes events in.
pub async fn take(
    State(api): State<Api>,
    Extension(client): Extension<Client>,
    headers: HeaderMap,
    Raw(body): Raw,
) -> Result<(StatusCode, Json<Json_>), Problem> {
    let events = match media_type(&headers).as_str() {
        "application/cloudevents+json" => vec![checked(parse(&body)?, "")?],
        "application/cloudevents-batch+json" => batch(parse(&body)?)?,
        media => vec![checked(binary(&headers, media, &body)?, "")?],
    };
    let stored = api.handle.store_events(&events, client.by("")).await;
    let stored = stored.map_err(Problem::unavailable)?;
    let answer =
        json!({"accepted": events.len(), "stored": stored, "receipt": api.handle.receipt()});
    Ok((StatusCode::ACCEPTED, Json(answer)))
}

fn batch(events: Vec<Json_>) -> Result<Vec<CloudEvent>, Problem> {
    if events.len() > BATCH_MAX {
        return Err(Problem::at("", format!("a batch has at most {BATCH_MAX} events")));
    }
    let events = events.into_iter().enumerate();
    events.map(|(place, event)| checked(event, &format!("/{place}"))).collect()
}

fn checked(event: Json_, pointer: &str) -> Result<CloudEvent, Problem> {
    let event = CloudEvent::check(event).map_err(|violations| {
        Problem::invalid(violations.into_iter().map(|violation| Violation {
            pointer: format!("{pointer}{}", violation.pointer),
            ..violation
        }))
    })?;
    let encoded = event.attributes.get("data_base64").and_then(Json_::as_str);
    if encoded.is_some_and(|text| STANDARD.decode(text).is_err()) {
        return Err(Problem::at(format!("{pointer}/data_base64"), "Base64 (RFC 4648, section 4)"));
    }
    if !shallow_enough(&event.attributes) {
        return Err(Problem::at(pointer, "it is nested too deep"));
    }
    if event.attributes.to_string().len() > SIZE_MAX {
        let detail = format!("an event has at most {} KiB", SIZE_MAX / 1024);
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail));
    }
    Ok(event)
}

/// The event that headers and body make: `ce-` headers are its attributes.
fn binary(headers: &HeaderMap, media: &str, body: &[u8]) -> Result<Json_, Problem> {
    let mut event = Map::new();
    for (name, value) in headers {
        if let Some(attribute) = name.as_str().strip_prefix("ce-") {
            let text = percent_decode(value.as_bytes()).decode_utf8();
            let wrong = || Problem::at(format!("/{attribute}"), "text in percent-encoded UTF-8");
            event.insert(attribute.to_owned(), Json_::from(text.map_err(|_| wrong())?));
        }
    }
    if event.is_empty() {
        let detail = "an event is application/cloudevents+json, or has its attributes in `ce-` \
                      headers";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
    }
    if media.is_empty() && body.is_empty() {
        return Ok(Json_::Object(event));
    }
    event.insert("datacontenttype".to_owned(), Json_::from(media));
    if media.ends_with("json") {
        event.insert("data".to_owned(), parse(body)?);
    } else if let Ok(text) = std::str::from_utf8(body) {
        event.insert("data".to_owned(), Json_::from(text));
    } else {
        event.insert("data_base64".to_owned(), Json_::from(STANDARD.encode(body)));
    }
    Ok(Json_::Object(event))
}
