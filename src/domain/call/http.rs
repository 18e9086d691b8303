//! HTTP requests built and answers judged.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value as Json, json};

use super::uri;
use crate::domain::case::command::{Health, Outcome};
use crate::domain::case::effect::{HttpBody, HttpRequest};
use crate::domain::case::problem::{Problem, Standard};
use crate::domain::data::Data;
use crate::domain::workflow::expr::json::{SIZE_MAX, shallow_enough, size_of};
use crate::domain::workflow::model::OutputFormat;

/// What a request is made of, all expressions evaluated.
#[derive(Debug, Default)]
pub struct Parts {
    pub method: Arc<str>,
    pub url: String,
    pub query: Vec<(String, String)>,
    pub headers: Vec<(String, String)>,
    /// Names of headers (in lower case) whose values may not be shown.
    pub hidden: Vec<String>,
    /// The query may not be shown.
    pub hides_query: bool,
    pub body: Option<Json>,
    pub authorization: Option<String>,
    pub output: OutputFormat,
    pub redirect: bool,
}

/// Names and values of a query or of headers. A list gives a name several values; null none.
///
/// # Errors
/// When this is no object of plain values.
pub fn pairs(value: &Json, what: &str) -> Result<Vec<(String, String)>, String> {
    let Json::Object(fields) = value else {
        return Err(format!("the {what} are no object"));
    };
    let mut pairs = Vec::new();
    for (name, value) in fields {
        let values = match value {
            Json::Null => continue,
            Json::Array(items) => items.iter().collect(),
            one => vec![one],
        };
        for value in values {
            let text = uri::scalar(value)
                .ok_or_else(|| format!("`{name}` of the {what} is no plain value"))?;
            pairs.push((name.clone(), text));
        }
    }
    Ok(pairs)
}

/// Puts a request together. `key` goes along as `Idempotency-Key`, unless nothing is changed by
/// the method.
pub fn request(parts: Parts, key: &str) -> HttpRequest {
    let url = uri::with_query(&parts.url, &parts.query);
    let mut headers = parts.headers;
    let has = |headers: &[(String, String)], name: &str| {
        headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name))
    };
    let shown_headers: serde_json::Map<String, Json> = headers
        .iter()
        .filter(|(name, _)| !parts.hidden.contains(&name.to_ascii_lowercase()))
        .map(|(name, value)| (name.clone(), Json::from(value.as_str())))
        .collect();
    let shown_url = if parts.hides_query { &parts.url } else { &url };
    let shown = json!({
        "method": parts.method.to_ascii_lowercase(), "uri": shown_url, "headers": shown_headers,
    });
    if let Some(authorization) = parts.authorization
        && !has(&headers, "authorization")
    {
        headers.push(("authorization".to_owned(), authorization));
    }
    if !matches!(&*parts.method, "GET" | "HEAD") && !has(&headers, "idempotency-key") {
        headers.push(("idempotency-key".to_owned(), key.to_owned()));
    }
    let content_type = headers
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case("content-type"))
        .map(|(_, value)| value.to_ascii_lowercase());
    let body = parts.body.map(|body| body_of(body, content_type.as_deref()));
    if content_type.is_none()
        && let Some(body) = &body
    {
        let kind = match body {
            HttpBody::Json(_) => "application/json",
            HttpBody::Form(_) => "application/x-www-form-urlencoded",
            HttpBody::Text(_) => "text/plain; charset=utf-8",
        };
        headers.push(("content-type".to_owned(), kind.to_owned()));
    }
    HttpRequest {
        method: parts.method,
        url,
        headers,
        body,
        follow_redirects: parts.redirect,
        output: parts.output,
        shown,
    }
}

/// A body in the form that its content type asks for; JSON where it asks for nothing else.
fn body_of(body: Json, content_type: Option<&str>) -> HttpBody {
    let kind = content_type.unwrap_or("application/json");
    match body {
        Json::String(text) if !is_json(kind) => HttpBody::Text(text),
        Json::Object(_) if kind.starts_with("application/x-www-form-urlencoded") => {
            HttpBody::Form(pairs(&body, "form").unwrap_or_default())
        }
        other => HttpBody::Json(Data::from(other)),
    }
}

fn is_json(content_type: &str) -> bool {
    let kind = content_type.split(';').next().unwrap_or_default().trim();
    kind == "application/json" || kind.ends_with("+json")
}

/// Whether a call with this method can be repeated without harm.
pub fn repeatable(method: &str) -> bool {
    matches!(method, "GET" | "HEAD" | "PUT" | "DELETE" | "OPTIONS")
}

/// An answer as it came in.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// What an answer means: done, failed, not done, or nobody knows.
pub fn judge(request: &HttpRequest, answer: Answer, health: Health) -> Outcome {
    let status = answer.status;
    let error = || error_of(status, &answer);
    match status {
        429 | 503 => {
            let retry_after = retry_after(&answer);
            Outcome::NotDone { error: error(), retry_after, health }
        }
        502 | 504 => Outcome::Unknown { error: error(), health },
        200..=299 => output(request, answer),
        300..=399 if request.follow_redirects => output(request, answer),
        _ => Outcome::Failed { error: error(), server: status >= 500 },
    }
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}

/// Milliseconds of `Retry-After` that are heeded at the most.
pub const RETRY_AFTER_MAX: i64 = 15 * 60 * 1000;

/// `Retry-After` in milliseconds: of seconds, or of a date as the answer's own `Date` has it, so that
/// nobody's clock has to agree with ours.
fn retry_after(answer: &Answer) -> Option<i64> {
    let text = answer.header("retry-after")?.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        let seconds = text.parse::<i64>().unwrap_or(i64::MAX);
        return Some(seconds.saturating_mul(1000).min(RETRY_AFTER_MAX));
    }
    let date = |text: &str| {
        let text = text.trim().trim_end_matches("GMT").trim_end();
        jiff::civil::DateTime::strptime("%a, %d %b %Y %H:%M:%S", text).ok()
    };
    let wait = date(text)?.duration_since(date(answer.header("date")?)?).as_millis();
    Some(i64::try_from(wait).unwrap_or(i64::MAX).clamp(0, RETRY_AFTER_MAX))
}

fn error_of(status: u16, answer: &Answer) -> Problem {
    let reason = reason(status);
    let told = answer.header("content-type").is_some_and(is_json);
    let told = told.then(|| serde_json::from_slice::<Json>(&answer.body).ok()).flatten();
    // only what a problem document says on purpose: an answer may hold anything
    let said = told.as_ref().and_then(|body| body.get("detail").or_else(|| body.get("title")));
    let detail = match said.and_then(Json::as_str) {
        Some(text) => format!("answered {status} {reason}: {}", cut(text, 200)),
        None => format!("answered {status} {reason}"),
    };
    Problem::new(Standard::Communication, detail)
        .with_status(i64::from(status))
        .with_title(if reason.is_empty() { "Communication Error" } else { reason })
}

fn cut(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}

fn output(request: &HttpRequest, answer: Answer) -> Outcome {
    // it was done, whatever can be made of the answer
    let refuse =
        |detail: String| Outcome::Unusable { error: Problem::new(Standard::Communication, detail) };
    if answer.body.len() > SIZE_MAX {
        let detail = format!("the answer is larger than {} KiB", SIZE_MAX / 1024);
        return refuse(detail);
    }
    let value = match request.output {
        OutputFormat::Raw => Json::from(STANDARD.encode(&answer.body)),
        OutputFormat::Content => match content(&answer) {
            Ok(content) => content,
            Err(detail) => return refuse(detail),
        },
        OutputFormat::Response => {
            let content = match content(&answer) {
                Ok(content) => content,
                Err(detail) => return refuse(detail),
            };
            let headers: serde_json::Map<String, Json> =
                answer.headers.iter().map(|(k, v)| (k.clone(), Json::from(v.as_str()))).collect();
            json!({
                "request": request.shown, "statusCode": answer.status,
                "headers": headers, "content": content,
            })
        }
    };
    // what is escaped may be much longer than what came
    if size_of(&value) > 2 * SIZE_MAX {
        return refuse(format!("the answer is larger than {} KiB as JSON", 2 * SIZE_MAX / 1024));
    }
    Outcome::Done(Data::from(value))
}

/// The body: JSON where it says so (or says nothing and is JSON), text where it is text, else in
/// base64.
fn content(answer: &Answer) -> Result<Json, String> {
    if answer.body.is_empty() {
        return Ok(Json::Null);
    }
    let kind = answer.header("content-type").unwrap_or_default().to_ascii_lowercase();
    if is_json(&kind) {
        let parsed: Json = serde_json::from_slice(&answer.body)
            .map_err(|e| format!("the answer says that it is JSON, but is not: {e}"))?;
        if !shallow_enough(&parsed) {
            return Err("the answer nests too deep".to_owned());
        }
        return Ok(parsed);
    }
    if kind.is_empty()
        && let Ok(parsed) = serde_json::from_slice::<Json>(&answer.body)
        && shallow_enough(&parsed)
    {
        return Ok(parsed);
    }
    let textual = kind.is_empty() || kind.starts_with("text/") || kind.contains("xml");
    match std::str::from_utf8(&answer.body) {
        Ok(text) if textual => Ok(Json::from(text)),
        _ => Ok(Json::from(STANDARD.encode(&answer.body))),
    }
}

/// The usual reason phrase of a status.
pub fn reason(status: u16) -> &'static str {
    match status {
        300 => "Multiple Choices",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        415 => "Unsupported Media Type",
        422 => "Unprocessable Content",
        423 => "Locked",
        425 => "Too Early",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "",
    }
}

/// The value of an `Authorization` header with a user's name and password.
pub fn basic(username: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{username}:{password}")))
}

#[cfg(test)]
mod tests;
