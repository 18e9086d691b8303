//! Whose requests these are: a page of another site, or a name that is not ours, reaches nothing.

use axum::extract::{Request, State};
use axum::http::header::{HOST, ORIGIN};
use axum::http::{HeaderMap, Method, StatusCode, Version};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Api;
use super::problem::Problem;

/// Refuses requests to other hosts, and requests from other sites that change something.
pub async fn guard(State(api): State<Api>, request: Request, next: Next) -> Response {
    match check(&api, &request) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

fn check(api: &Api, request: &Request) -> Result<(), Problem> {
    if matches!(request.uri().path(), "/healthz" | "/readyz") {
        return Ok(());
    }
    let headers = request.headers();
    let named = headers.get_all(HOST).iter().map(|host| host.to_str().unwrap_or("?"));
    let hosts: Vec<&str> = named.chain(request.uri().authority().map(|a| a.as_str())).collect();
    if hosts.is_empty() && request.version() != Version::HTTP_10 {
        return Err(Problem::new(StatusCode::BAD_REQUEST, "the request names no Host"));
    }
    // whichever of them somebody before us went by
    if !hosts.iter().all(|host| api.hosts.contains(&name_of(host))) {
        let detail = "the Host is not one of `[server] hosts`";
        return Err(Problem::new(StatusCode::FORBIDDEN, detail));
    }
    let reads = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    if !reads && is_of_another_site(api, headers) {
        let detail = "a page of another site may not change anything here";
        return Err(Problem::new(StatusCode::FORBIDDEN, detail));
    }
    Ok(())
}

/// Whether a page of another site asks.
pub fn is_of_another_site(api: &Api, headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?").to_owned());
    if text("sec-fetch-site").is_some_and(|site| !matches!(&*site, "same-origin" | "none")) {
        return true;
    }
    let Some(origin) = text(ORIGIN.as_str()) else { return false };
    let host = origin.split_once("://").map(|(_, host)| name_of(host));
    !host.is_some_and(|host| api.hosts.contains(&host))
}

/// A host without its port, in lower case.
pub fn name_of(host: &str) -> String {
    let host = host.trim().to_ascii_lowercase();
    let end = match host.rfind(']') {
        Some(bracket) => bracket + 1,
        None => host.find(':').unwrap_or(host.len()),
    };
    host[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use super::name_of;

    #[test]
    fn a_host_is_known_without_its_port() {
        assert_eq!(name_of("LocalHost:7700"), "localhost");
        assert_eq!(name_of("[::1]:7700"), "[::1]");
        assert_eq!(name_of("127.0.0.1"), "127.0.0.1");
    }
}
