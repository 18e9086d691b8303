//! Bodies of requests: bounded, of the right media type, and refused with the pointer of what is
//! wrong.

use std::error::Error;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{FromRequest, Request};
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use http_body_util::LengthLimitError;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_path_to_error::Segment;

use super::Api;
use super::problem::Problem;

/// How long a body may take to come.
const BODY_TIME: Duration = Duration::from_secs(20);

/// A JSON body of this shape.
pub struct JsonBody<T>(pub T);

/// The same, where no body at all means the default.
pub struct OptionalBody<T>(pub T);

/// The bytes of a body.
pub struct Raw(pub Bytes);

/// The reason that a person gives, where a verb needs nothing else.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub struct Reason {
    #[serde(default)]
    pub reason: String,
}

/// Bytes of a reason.
const REASON_MAX: usize = 1000;

/// A reason that may be left out.
///
/// # Errors
/// 400 when it is too long.
pub fn check_optional_reason(text: &str) -> Result<(), Problem> {
    match text.len() > REASON_MAX {
        true => Err(Problem::at("/reason", format!("at most {REASON_MAX} bytes"))),
        false => Ok(()),
    }
}

/// A reason that is stored.
///
/// # Errors
/// 400 when there is none, or it is too long.
pub fn check_reason(text: &str) -> Result<(), Problem> {
    match text.trim().is_empty() || text.len() > REASON_MAX {
        true => Err(Problem::at("/reason", format!("1 to {REASON_MAX} bytes"))),
        false => Ok(()),
    }
}

impl FromRequest<Api> for Raw {
    type Rejection = Problem;

    async fn from_request(request: Request, api: &Api) -> Result<Self, Problem> {
        expect_plain(request.headers())?;
        read(request.into_body(), api.max_body).await.map(Self)
    }
}

impl<T: DeserializeOwned> FromRequest<Api> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, api: &Api) -> Result<Self, Problem> {
        expect_plain(request.headers())?;
        expect_json(request.headers())?;
        let bytes = read(request.into_body(), api.max_body).await?;
        parse_object(&bytes).map(Self)
    }
}

impl<T: DeserializeOwned + Default> FromRequest<Api> for OptionalBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, api: &Api) -> Result<Self, Problem> {
        expect_plain(request.headers())?;
        let json = expect_json(request.headers());
        let bytes = read(request.into_body(), api.max_body).await?;
        if bytes.is_empty() {
            return Ok(Self(T::default()));
        }
        json?;
        parse_object(&bytes).map(Self)
    }
}

/// The bytes of a body that may have a length of its own.
///
/// # Errors
/// As every other body.
pub async fn whole(request: Request, most: usize) -> Result<Bytes, Problem> {
    expect_plain(request.headers())?;
    read(request.into_body(), most).await
}

async fn read(body: Body, most: usize) -> Result<Bytes, Problem> {
    let Ok(read) = tokio::time::timeout(BODY_TIME, to_bytes(body, most)).await else {
        let detail = format!("the body took longer than {} s", BODY_TIME.as_secs());
        return Err(Problem::new(StatusCode::REQUEST_TIMEOUT, detail));
    };
    read.map_err(|error| {
        let too_long = error.source().is_some_and(|source| source.is::<LengthLimitError>());
        match too_long {
            true => {
                let detail = format!("the body is larger than {most} bytes");
                Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
            }
            false => {
                let detail = format!("the body was cut off, or is not framed as it says: {error}");
                Problem::new(StatusCode::BAD_REQUEST, detail)
            }
        }
    })
}

/// Only bodies as they are: none is unpacked.
fn expect_plain(headers: &HeaderMap) -> Result<(), Problem> {
    let encoding = headers.get(CONTENT_ENCODING).and_then(|value| value.to_str().ok());
    if encoding.is_none_or(|encoding| encoding.eq_ignore_ascii_case("identity")) {
        return Ok(());
    }
    let detail = "a body with a Content-Encoding is not taken";
    Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail))
}

/// The media type of a request, without its parameters.
pub fn media_type(headers: &HeaderMap) -> String {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    value.split(';').next().unwrap_or("").trim().to_ascii_lowercase()
}

/// Only JSON.
///
/// # Errors
/// 415 for all else.
pub fn expect_json(headers: &HeaderMap) -> Result<(), Problem> {
    let media = media_type(headers);
    if media == "application/json" || media.ends_with("+json") {
        return Ok(());
    }
    let detail = "the body has to be application/json";
    Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail))
}

/// Reads a JSON object into a shape. A list is none, although its values could be taken for fields in their
/// order.
///
/// # Errors
/// As [`parse`].
pub fn parse_object<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let first = bytes.iter().find(|byte| !byte.is_ascii_whitespace());
    match first {
        Some(b'[') => Err(Problem::at("", "an object is expected")),
        _ => parse(bytes),
    }
}

/// Reads JSON into a shape.
///
/// # Errors
/// 400 where it is no JSON, 422 where it is not of the shape.
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let parsed = serde_path_to_error::deserialize(&mut reader);
    let value = parsed.map_err(|error| {
        let mut pointer = String::new();
        for segment in error.path() {
            match segment {
                Segment::Seq { index } => pointer += &format!("/{index}"),
                Segment::Map { key } => pointer += &format!("/{}", escape(key)),
                Segment::Enum { variant } => pointer += &format!("/{}", escape(variant)),
                Segment::Unknown => {}
            }
        }
        let error = error.into_inner();
        if !error.is_data() {
            return malformed(&error);
        }
        let message = error.to_string();
        let field = message.strip_prefix("unknown field `").and_then(|m| m.split('`').next());
        if let Some(field) = field
            && !pointer.ends_with(&format!("/{}", escape(field)))
        {
            pointer += &format!("/{}", escape(field));
        }
        let detail = message.split(" at line ").next().unwrap_or_default().to_owned();
        Problem::at(pointer, detail)
    })?;
    reader.end().map_err(|error| malformed(&error))?;
    Ok(value)
}

fn malformed(error: &serde_json::Error) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, format!("the body is no JSON: {error}"))
}

fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::response::IntoResponse;
    use serde::Deserialize;

    #[derive(Deserialize, Debug)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only read")]
    struct Shape {
        name: String,
        list: Vec<Inner>,
    }

    #[derive(Deserialize, Debug)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only read")]
    struct Inner {
        number: u32,
    }

    async fn refusal(text: &str) -> (u16, String) {
        let response = parse::<Shape>(text.as_bytes()).unwrap_err().into_response();
        let status = response.status().as_u16();
        let body = to_bytes(response.into_body(), 10_000).await.unwrap();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        let pointer = body["errors"][0]["pointer"].as_str().unwrap_or("none").to_owned();
        (status, pointer)
    }

    #[tokio::test]
    async fn pointers_lead_to_what_is_wrong() {
        assert_eq!(refusal(r#"{"name": 1, "list": []}"#).await, (422, "/name".into()));
        let list = r#"{"name": "x", "list": [{"number": 1}, {"number": -1}]}"#;
        assert_eq!(refusal(list).await, (422, "/list/1/number".into()));
        let unknown = r#"{"name": "x", "list": [{"number": 1, "other": 2}]}"#;
        assert_eq!(refusal(unknown).await, (422, "/list/0/other".into()));
        assert_eq!(refusal(r#"{"name": "x""#).await, (400, "none".into()));
        assert_eq!(refusal(r#"{"name": "x", "list": []} more"#).await.0, 400);
    }
}
