//! `/v1/workflows`: register, list, read definitions.

use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde_json::{Value as Json_, json};

use super::Api;
use super::auth::Client;
use super::body::{Raw, media_type};
use super::problem::Problem;
use super::query::Query;
use crate::actors::handles::{Refused, TEXT_MAX};
use crate::domain::workflow::model::DefinitionId;
use crate::domain::workflow::source::Format;

/// Registers a definition.
pub async fn register(
    State(api): State<Api>,
    Extension(client): Extension<Client>,
    headers: HeaderMap,
    Raw(body): Raw,
) -> Result<Response, Problem> {
    let format = match media_type(&headers).as_str() {
        "application/yaml" | "application/x-yaml" | "text/yaml" | "text/x-yaml" => Format::Yaml,
        "application/json" => Format::Json,
        _ => {
            let detail = "a definition is application/yaml or application/json";
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
        }
    };
    if body.len() > TEXT_MAX {
        let detail = format!("a definition has at most {} KiB", TEXT_MAX / 1024);
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail));
    }
    let text = String::from_utf8(body.to_vec())
        .map_err(|_| Problem::new(StatusCode::BAD_REQUEST, "the body is no UTF-8"))?;
    match api.handle.register(text, format, client.by("")).await {
        Ok(registration) => {
            let status = if registration.new { StatusCode::CREATED } else { StatusCode::OK };
            let mut shown = identity(&registration.id);
            shown["warnings"] = json!(registration.warnings);
            Ok((status, Json(shown)).into_response())
        }
        Err(Refused::Faults(faults)) => {
            let detail = match faults.len() {
                1 => "the definition has a fault".to_owned(),
                n => format!("the definition has {n} faults"),
            };
            let errors = faults.iter().map(|fault| json!(fault)).collect();
            Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail).with_errors(errors))
        }
        Err(Refused::Other(id)) => {
            let detail = format!("{id} is registered with another content: raise the version");
            Err(Problem::conflict(detail, &[]))
        }
        Err(Refused::Failed(detail)) => Err(Problem::unavailable(detail)),
    }
}

fn identity(id: &DefinitionId) -> Json_ {
    json!({"namespace": id.namespace, "name": id.name, "version": id.version})
}

/// Lists all versions of all definitions.
pub async fn list(
    State(api): State<Api>,
    RawQuery(query): RawQuery,
) -> Result<Json<Json_>, Problem> {
    let query = Query::read(query.as_deref(), &["limit", "cursor"])?;
    let limit = query.limit()?;
    let skip = query.cursor()?.and_then(|c| Some(u32::from_be_bytes(c.try_into().ok()?)));
    let skip = skip.unwrap_or(0) as usize;
    let all = api.handle.definitions();
    let page = all.iter().skip(skip).take(limit).map(|listed| {
        let mut shown = identity(&listed.id);
        shown["title"] = json!(listed.title);
        shown
    });
    let items: Vec<Json_> = page.collect();
    let end = skip + items.len();
    let next = (end < all.len()).then(|| (end as u32).to_be_bytes());
    let next = super::query::cursor(next.as_ref().map(|next| &next[..]));
    Ok(Json(json!({"items": items, "next": next})))
}

/// The latest version of a definition.
pub async fn latest(
    State(api): State<Api>,
    Path((namespace, name)): Path<(String, String)>,
) -> Result<Json<Json_>, Problem> {
    show(&api, &namespace, &name, None).await
}

/// One version of a definition.
pub async fn one(
    State(api): State<Api>,
    Path((namespace, name, version)): Path<(String, String, String)>,
) -> Result<Json<Json_>, Problem> {
    show(&api, &namespace, &name, Some(&version)).await
}

async fn show(
    api: &Api,
    namespace: &str,
    name: &str,
    version: Option<&str>,
) -> Result<Json<Json_>, Problem> {
    let id = api.handle.resolve(namespace, name, version);
    let id = id.ok_or_else(|| Problem::not_found("workflow"))?;
    let definition = api.handle.definition(&id).await;
    let definition = definition.map_err(|error| Problem::unavailable(error.to_string()))?;
    let definition = definition.ok_or_else(|| Problem::unavailable("it cannot be read"))?;
    let mut shown = identity(&id);
    shown["title"] = json!(definition.title);
    shown["definition"] = (*definition.source).clone();
    Ok(Json(shown))
}
