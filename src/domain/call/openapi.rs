//! Operations of OpenAPI 3 and Swagger 2.0 documents, turned into HTTP requests.

use serde_json::{Map, Value as Json};
use url::Url;

use super::http::Parts;
use super::parameters::{Joint, joint, written};
use super::uri::{encoded, leads_elsewhere};
use crate::domain::workflow::source::{self, Format};

/// Bytes that a document may have.
pub const DOCUMENT_MAX: usize = 4 << 20;

const METHODS: [&str; 8] = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];

/// References that may be followed from one place before it counts as a circle.
const REFERENCES_MAX: usize = 16;

/// Reads a document as it was fetched: JSON, else YAML.
///
/// # Errors
/// When it is neither, or no OpenAPI or Swagger document.
pub fn read(body: &[u8]) -> Result<Json, String> {
    if body.len() > DOCUMENT_MAX {
        return Err(format!("the OpenAPI document is larger than {} MiB", DOCUMENT_MAX >> 20));
    }
    let text = std::str::from_utf8(body).map_err(|_| "the OpenAPI document is no text")?;
    let document = match serde_json::from_str::<Json>(text) {
        Ok(document) => document,
        Err(_) => {
            let node = source::read(text, Format::Yaml);
            node.map_err(|_| "the OpenAPI document is neither JSON nor YAML")?.to_json()
        }
    };
    if document.get("openapi").is_none() && document.get("swagger").is_none() {
        return Err("this is no OpenAPI document".to_owned());
    }
    Ok(document)
}

/// The request of an operation, with its parameters given by name.
///
/// # Errors
/// What the document or the arguments lack.
pub fn request(
    document: &Json,
    document_url: &str,
    operation_id: &str,
    arguments: &Json,
) -> Result<Parts, String> {
    let operation = Operation::find(document, operation_id)?;
    let mut given = match arguments {
        Json::Object(fields) => fields.clone(),
        Json::Null => Map::new(),
        _ => return Err("the parameters are no object".to_owned()),
    };
    let mut parts = Parts { method: operation.method.to_uppercase().into(), ..Parts::default() };
    let mut path = operation.path.to_owned();
    let mut form = Map::new();
    for parameter in operation.parameters(document)? {
        let name = text(parameter, "name").ok_or("a parameter of the document has no name")?;
        let place = text(parameter, "in").unwrap_or_default();
        let value = match given.remove(name) {
            Some(value) => value,
            None if parameter.get("required").and_then(Json::as_bool) == Some(true) => {
                return Err(format!("the parameter `{name}` of {operation_id} is missing"));
            }
            None => continue,
        };
        match place {
            "path" => {
                let pairs = written(name, &value, Joint::With(","))?;
                let value = pairs.into_iter().map(|(_, v)| v).collect::<Vec<_>>().join(",");
                let (place, value) = (format!("{{{name}}}"), encoded(&value));
                let leads = |step: &&str| {
                    step.contains(&place) && leads_elsewhere(&step.replace(&place, &value))
                };
                if path.split('/').any(|step| leads(&step)) {
                    return Err(format!(
                        "the parameter `{name}` makes a step of the path empty or dots, which is \
                         another address"
                    ));
                }
                path = path.replace(&place, &value);
            }
            "query" => parts.query.extend(written(name, &value, joint(parameter, true))?),
            "header" => parts.headers.extend(written(name, &value, Joint::With(","))?),
            "cookie" => {
                let pairs = written(name, &value, Joint::With(","))?;
                let cookies: Vec<_> = pairs.iter().map(|(k, v)| format!("{k}={v}")).collect();
                parts.headers.push(("cookie".to_owned(), cookies.join("; ")));
            }
            "body" => parts.body = Some(value),
            "formData" => {
                form.insert(name.to_owned(), value);
            }
            other => return Err(format!("parameters in `{other}` are not known")),
        }
    }
    if !form.is_empty() {
        let kind = "application/x-www-form-urlencoded".to_owned();
        parts.headers.push(("content-type".to_owned(), kind));
        parts.body = Some(Json::Object(form));
    }
    operation.body_from(document, given, &mut parts)?;
    parts.url = format!("{}{path}", base_url(document, document_url)?);
    Ok(parts)
}

fn text<'a>(value: &'a Json, key: &str) -> Option<&'a str> {
    value.get(key).and_then(Json::as_str)
}

/// Follows local references (`#/…`).
fn resolved<'a>(document: &'a Json, mut value: &'a Json) -> Result<&'a Json, String> {
    for _ in 0..REFERENCES_MAX {
        let Some(reference) = text(value, "$ref") else {
            return Ok(value);
        };
        let pointer = reference
            .strip_prefix('#')
            .ok_or_else(|| format!("the reference `{reference}` leads out of the document"))?;
        value = document
            .pointer(pointer)
            .ok_or_else(|| format!("the reference `{reference}` leads nowhere"))?;
    }
    Err("references of the document go in a circle".to_owned())
}

struct Operation<'a> {
    method: &'a str,
    path: &'a str,
    item: &'a Json,
    operation: &'a Json,
}

impl<'a> Operation<'a> {
    fn find(document: &'a Json, id: &str) -> Result<Self, String> {
        let paths = document.get("paths").and_then(Json::as_object);
        let paths = paths.ok_or("this is no OpenAPI document: it has no paths")?;
        for (path, item) in paths {
            let item = resolved(document, item)?;
            for method in METHODS {
                let Some(operation) = item.get(method) else {
                    continue;
                };
                if text(operation, "operationId") == Some(id) {
                    return Ok(Self { method, path, item, operation });
                }
            }
        }
        Err(format!("the document has no operation `{id}`"))
    }

    /// Its parameters and those of its path that it does not name again.
    fn parameters(&self, document: &'a Json) -> Result<Vec<&'a Json>, String> {
        let list = |value: &'a Json| value.get("parameters").and_then(Json::as_array);
        let mut all: Vec<&Json> = Vec::new();
        for parameter in list(self.operation).into_iter().chain(list(self.item)).flatten() {
            let parameter = resolved(document, parameter)?;
            let same = |p: &&Json| {
                p.get("name") == parameter.get("name") && p.get("in") == parameter.get("in")
            };
            if !all.iter().any(same) {
                all.push(parameter);
            }
        }
        Ok(all)
    }

    /// What is no parameter is the body (OpenAPI 3): `body` as a whole, or property by property.
    fn body_from(
        &self,
        document: &'a Json,
        mut left: Map<String, Json>,
        parts: &mut Parts,
    ) -> Result<(), String> {
        let Some(body) = self.operation.get("requestBody") else {
            return match left.keys().next() {
                None => Ok(()),
                Some(name) => Err(format!("the operation has no parameter `{name}`")),
            };
        };
        let body = resolved(document, body)?;
        let value = match left.remove("body") {
            Some(value) if left.is_empty() => value,
            Some(value) => {
                left.insert("body".to_owned(), value);
                Json::Object(left)
            }
            None if left.is_empty() => {
                let required = body.get("required").and_then(Json::as_bool) == Some(true);
                let missing = "the operation's `body` is missing".to_owned();
                return if required { Err(missing) } else { Ok(()) };
            }
            None => Json::Object(left),
        };
        let kinds = body.get("content").and_then(Json::as_object);
        let kind = kinds.and_then(|kinds| {
            kinds.keys().find(|k| k.contains("json")).or_else(|| kinds.keys().next())
        });
        if let Some(kind) = kind {
            parts.headers.push(("content-type".to_owned(), kind.clone()));
        }
        parts.body = Some(value);
        Ok(())
    }
}

/// Where the operations are: `servers` (OpenAPI 3) or `schemes`, `host` and `basePath`.
fn base_url(document: &Json, document_url: &str) -> Result<String, String> {
    let from = Url::parse(document_url).map_err(|e| format!("the document's address: {e}"))?;
    let url = if document.get("swagger").is_some() {
        let scheme = document.pointer("/schemes/0").and_then(Json::as_str);
        let host =
            text(document, "host").map_or_else(|| from.authority().to_owned(), str::to_owned);
        let base = text(document, "basePath").unwrap_or_default();
        format!("{}://{host}{base}", scheme.unwrap_or(from.scheme()))
    } else {
        let server = document.pointer("/servers/0");
        let mut url = server.and_then(|s| text(s, "url")).unwrap_or("/").to_owned();
        let variables = server.and_then(|s| s.get("variables")).and_then(Json::as_object);
        for (name, variable) in variables.into_iter().flatten() {
            let default = text(variable, "default").unwrap_or_default();
            url = url.replace(&format!("{{{name}}}"), default);
        }
        let joined = from.join(&url).map_err(|e| format!("the document's server: {e}"))?;
        joined.to_string()
    };
    Ok(url.trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn swagger() -> Json {
        json!({
            "swagger": "2.0", "host": "pets.example", "basePath": "/v2", "schemes": ["https"],
            "paths": {
                "/pet/findByStatus": {"get": {"operationId": "find", "parameters": [
                    {"name": "status", "in": "query", "required": true, "type": "array",
                     "collectionFormat": "multi"}]}},
                "/pet/{petId}": {
                    "parameters": [{"name": "petId", "in": "path", "required": true, "type": "integer"}],
                    "get": {"operationId": "get"},
                    "post": {"operationId": "update", "parameters": [
                        {"name": "name", "in": "formData", "type": "string"}]}},
                "/pet": {"post": {"operationId": "add", "parameters": [
                    {"$ref": "#/parameters/pet"}]}}},
            "parameters": {"pet": {"name": "pet", "in": "body", "required": true}}
        })
    }

    fn openapi() -> Json {
        json!({
            "openapi": "3.0.3",
            "servers": [{"url": "/api/{v}", "variables": {"v": {"default": "v1"}}}],
            "paths": {"/orders/{id}": {"put": {"operationId": "put", "parameters": [
                    {"name": "id", "in": "path", "required": true, "schema": {}},
                    {"name": "x-trace", "in": "header", "schema": {}}],
                "requestBody": {"required": true, "content": {"application/json": {}}}}}}
        })
    }

    fn ask(document: &Json, id: &str, arguments: Json) -> Result<Parts, String> {
        request(document, "http://docs.example/openapi.json", id, &arguments)
    }

    #[test]
    fn swagger_operations() {
        let find = ask(&swagger(), "find", json!({"status": ["a", "b"]})).unwrap();
        assert_eq!(
            (&*find.method, find.url.as_str()),
            ("GET", "https://pets.example/v2/pet/findByStatus")
        );
        assert_eq!(find.query, [("status".into(), "a".into()), ("status".into(), "b".into())]);
        let get = ask(&swagger(), "get", json!({"petId": 7})).unwrap();
        assert_eq!(get.url, "https://pets.example/v2/pet/7");
        let add = ask(&swagger(), "add", json!({"pet": {"name": "Rex"}})).unwrap();
        assert_eq!(add.body, Some(json!({"name": "Rex"})));
        let update = ask(&swagger(), "update", json!({"petId": 1, "name": "Rex"})).unwrap();
        assert_eq!(update.body, Some(json!({"name": "Rex"})));
    }

    #[test]
    fn openapi_operations() {
        let put = ask(&openapi(), "put", json!({"id": "a/b", "x-trace": "t", "total": 3})).unwrap();
        assert_eq!(put.url, "http://docs.example/api/v1/orders/a%2Fb");
        assert_eq!(put.body, Some(json!({"total": 3})));
        assert!(put.headers.contains(&("x-trace".into(), "t".into())));
        let whole = ask(&openapi(), "put", json!({"id": 1, "body": [1]})).unwrap();
        assert_eq!(whole.body, Some(json!([1])));
    }

    #[test]
    fn faults_are_named() {
        let check = |result: Result<Parts, String>, expected: &str| {
            assert!(result.as_ref().is_err_and(|e| e.contains(expected)), "{result:?}");
        };
        check(ask(&swagger(), "nope", json!({})), "no operation `nope`");
        check(ask(&swagger(), "find", json!({})), "`status`");
        check(ask(&swagger(), "get", json!({"petId": 1, "x": 2})), "no parameter `x`");
        check(ask(&openapi(), "put", json!({"id": 1})), "`body` is missing");
        check(ask(&json!({}), "put", json!({})), "no paths");
        let circle = json!({"paths": {"/a": {"$ref": "#/paths/~1a"}}});
        check(ask(&circle, "x", json!({})), "circle");
    }
}
