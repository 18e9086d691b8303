//! `/v1/documents`: files that workers make, stored and served.

use std::ops::Range;

use axum::extract::{Path, RawQuery, Request, State};
use axum::http::header::{
    ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_SECURITY_POLICY,
    CONTENT_TYPE, ETAG, IF_NONE_MATCH, IF_RANGE, RANGE, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Json, body::Body};
use bytes::Bytes;
use futures_util::Stream;
use serde_json::{Value as Json_, json};
use tokio::sync::OwnedSemaphorePermit;

use super::Api;
use super::body::{media_type, whole};
use super::problem::Problem;
use super::query::Query;
use crate::actors::handles::{DocumentError, Kept};
use crate::domain::document::{DocumentId, is_media_type};
use crate::domain::ids::CaseId;

/// Bytes of a document that is taken beside the others.
const SMALL: usize = 256 * 1024;

/// Bytes that a reader is given at a time.
const CHUNK: usize = 64 * 1024;

/// Cases that are named of a document.
const CASES: usize = 20;

/// Stores a document.
pub async fn put(
    State(api): State<Api>,
    request: Request,
) -> Result<(StatusCode, Json<Json_>), Problem> {
    let kind = media_type(request.headers());
    if !is_media_type(&kind) {
        let detail = "Content-Type says what the document is, such as application/pdf";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
    }
    let length = request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    let is_small = length.and_then(|length| length.parse().ok()).is_some_and(|n: usize| n <= SMALL);
    // so many are held in memory at a time; small ones do not wait for large ones
    let turn = async { if is_small { None } else { api.uploads.acquire().await.ok() } };
    let _turn = turn.await;
    let bytes = whole(request, api.max_document).await?;
    let length = bytes.len();
    let id = api.handle.put_document(kind, bytes).await.map_err(Problem::unavailable)?;
    Ok((StatusCode::CREATED, Json(json!({"document": id.to_string(), "bytes": length}))))
}

/// Lists the documents of a case.
pub async fn list(
    State(api): State<Api>,
    RawQuery(query): RawQuery,
) -> Result<Json<Json_>, Problem> {
    let query = Query::read(query.as_deref(), &["case"])?;
    let Some(case) = query.get("case") else {
        return Err(Problem::at("?case", "the case whose documents these are"));
    };
    let case: CaseId = case.parse().map_err(|_| Problem::not_found("case"))?;
    let case = api.handle.case(case).await?;
    let mut items = Vec::new();
    for id in case.state.documents {
        items.push(match api.handle.kept_document(id).await {
            Ok(Some(kept)) => about(&api, &kept).await?,
            // it is named, and not there, or not whole: whoever reads it hears why
            Ok(None) | Err(DocumentError::Damaged(_)) => json!({
                "id": id.to_string(), "mediaType": null, "bytes": null, "createdAt": null,
                "cases": [],
            }),
            Err(error) => return Err(Problem::unavailable(error.to_string())),
        });
    }
    Ok(Json(json!({"items": items, "next": null})))
}

async fn about(api: &Api, kept: &Kept) -> Result<Json_, Problem> {
    let (views, id) = (api.handle.views().clone(), kept.id);
    let cases = super::blocking(move || views.cases_of_document(id, CASES)).await??;
    Ok(json!({
        "id": id.to_string(),
        "mediaType": kept.media_type,
        "bytes": kept.bytes,
        "createdAt": kept.stored_at.to_string(),
        "cases": cases.iter().map(ToString::to_string).collect::<Vec<_>>(),
    }))
}

/// Serves a document, or a part of it. It is never shown in the place of a page of ours.
pub async fn get(
    State(api): State<Api>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let id: DocumentId = id.parse().map_err(|_| Problem::not_found("document"))?;
    let tag = format!("\"{id}\"");
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    if text(IF_NONE_MATCH).is_some_and(|known| known == "*" || known.contains(&tag))
        && let Ok(Some(_)) = api.handle.kept_document(id).await
    {
        return Ok((StatusCode::NOT_MODIFIED, [(ETAG, tag)]).into_response());
    }
    // it is held in memory until its reader has it
    let turn = api.downloads.clone().acquire_owned().await;
    let turn = turn.map_err(|error| Problem::unavailable(error.to_string()))?;
    let found = api.handle.document(id).await.map_err(|error| match error {
        DocumentError::Damaged(_) => {
            let detail = "the document's file does not hold what it was named by";
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail).of_kind("document-damaged")
        }
        DocumentError::Disk(error) => Problem::unavailable(error.to_string()),
    })?;
    let Some((kept, bytes)) = found else { return Err(Problem::not_found("document")) };
    let bytes = Bytes::from(bytes);
    let is_same = text(IF_RANGE).is_none_or(|known| known == tag);
    let wanted = text(RANGE).filter(|_| is_same).and_then(|range| range_of(range, bytes.len()));
    let length = bytes.len();
    let (status, part) = match &wanted {
        None => (StatusCode::OK, bytes),
        Some(Some(range)) => (StatusCode::PARTIAL_CONTENT, bytes.slice(range.clone())),
        Some(None) => (StatusCode::RANGE_NOT_SATISFIABLE, Bytes::new()),
    };
    let range = match &wanted {
        Some(Some(Range { start, end })) => Some(format!("bytes {start}-{}/{length}", end - 1)),
        Some(None) => Some(format!("bytes */{length}")),
        None => None,
    };
    let mut response = (
        status,
        [
            (CONTENT_TYPE, kept.media_type),
            (CONTENT_LENGTH, part.len().to_string()),
            (CONTENT_DISPOSITION, "attachment".to_owned()),
            (X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
            (CONTENT_SECURITY_POLICY, "sandbox; default-src 'none'".to_owned()),
            (ACCEPT_RANGES, "bytes".to_owned()),
            (ETAG, tag),
        ],
        Body::from_stream(in_parts(part, turn)),
    )
        .into_response();
    if let Some(range) = range.and_then(|range| HeaderValue::from_str(&range).ok()) {
        response.headers_mut().insert(CONTENT_RANGE, range);
    }
    Ok(response)
}

/// A document in parts, and the turn of its reader, which ends with the last of them.
fn in_parts(
    bytes: Bytes,
    turn: OwnedSemaphorePermit,
) -> impl Stream<Item = Result<Bytes, std::convert::Infallible>> {
    futures_util::stream::unfold((bytes, turn), |(mut rest, turn)| async move {
        if rest.is_empty() {
            return None;
        }
        let part = rest.split_to(rest.len().min(CHUNK));
        Some((Ok(part), (rest, turn)))
    })
}

/// The one range that a header asks for. None: it is none that is understood, and all is given. Inner none:
/// it lies outside.
fn range_of(header: &str, length: usize) -> Option<Option<Range<usize>>> {
    let (first, last) = header.strip_prefix("bytes=")?.split_once('-')?;
    let number = |text: &str| text.trim().parse::<usize>().ok();
    let range = match (first.trim(), last.trim()) {
        ("", last) => length.saturating_sub(number(last)?)..length,
        (first, "") => number(first)?..length,
        (first, last) => number(first)?..number(last)?.saturating_add(1).min(length),
    };
    Some(Some(range).filter(|range| range.start < range.end && range.start < length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_a_part_or_none_at_all() {
        assert_eq!(range_of("bytes=0-3", 10), Some(Some(0..4)));
        assert_eq!(range_of("bytes=7-", 10), Some(Some(7..10)));
        assert_eq!(range_of("bytes=-4", 10), Some(Some(6..10)));
        assert_eq!(range_of("bytes=5-99", 10), Some(Some(5..10)));
        assert_eq!(range_of("bytes=10-", 10), Some(None));
        assert_eq!(range_of("bytes=0-1,3-4", 10), None);
        assert_eq!(range_of("lines=1-2", 10), None);
    }
}
