//! HTTP: requests as they go out, answers as they come in.

use std::time::Duration;

use reqwest::header::{HeaderName, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Client, Method, Proxy, Url};

use super::SendBy;
use crate::domain::call::http::Answer;
use crate::domain::case::effect::{HttpBody, HttpRequest};

/// How long a connection may take; what was not connected by then was not sent.
const CONNECT: Duration = Duration::from_secs(2);

/// How long an unused connection is kept.
const IDLE: Duration = Duration::from_secs(30);

/// Redirects followed at the most.
const REDIRECTS: usize = 10;

/// Sends requests.
#[derive(Clone)]
pub struct Http {
    plain: Client,
    following: Client,
}

/// What came of a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Sent {
    Answer(Answer),
    /// It cannot be sent at all, at any time.
    Unsendable(String),
    /// It was not sent in time.
    TooLate,
    /// There is no connection, so nothing was acted on.
    NoConnection(String),
    /// It may have been acted on, but no answer came; `true`: the time was up.
    NoAnswer(String, bool),
}

impl Http {
    /// A sender; `proxy` is the address of an HTTP proxy for all requests.
    ///
    /// # Errors
    /// When the proxy's address is none.
    pub fn new(proxy: Option<&str>) -> Result<Self, String> {
        let client = |redirects: Policy| {
            let builder = Client::builder()
                .redirect(redirects)
                .connect_timeout(CONNECT)
                .pool_idle_timeout(IDLE)
                .tcp_nodelay(true)
                .user_agent(concat!("caseworker/", env!("CARGO_PKG_VERSION")))
                .no_proxy();
            let builder = match proxy {
                Some(proxy) => builder.proxy(Proxy::all(proxy)?),
                None => builder,
            };
            builder.build()
        };
        let both = client(Policy::none())
            .and_then(|plain| Ok(Self { plain, following: client(Policy::limited(REDIRECTS))? }));
        both.map_err(|error| plainly(&error))
    }

    /// Sends a request and waits for the answer. `base` takes the place of scheme and host; of the
    /// body no more is read than one byte beyond `most`.
    pub async fn send(
        &self,
        request: &HttpRequest,
        base: Option<&str>,
        timeout: Duration,
        most: usize,
        by: SendBy,
    ) -> Sent {
        let built = match self.build(request, base) {
            Ok(built) => built.timeout(timeout),
            Err(detail) => return Sent::Unsendable(detail),
        };
        if by.is_past() {
            return Sent::TooLate;
        }
        match built.send().await {
            Ok(response) => read(response, most).await,
            Err(error) if error.is_builder() => Sent::Unsendable(plainly(&error)),
            Err(error) if error.is_redirect() => Sent::Unsendable(plainly(&error)),
            Err(error) if error.is_connect() => Sent::NoConnection(plainly(&error)),
            Err(error) => Sent::NoAnswer(plainly(&error), error.is_timeout()),
        }
    }

    fn build(
        &self,
        request: &HttpRequest,
        base: Option<&str>,
    ) -> Result<reqwest::RequestBuilder, String> {
        let method = Method::from_bytes(request.method.as_bytes());
        let method = method.map_err(|_| format!("`{}` is no HTTP method", request.method))?;
        let url = address(&request.url, base)?;
        let client = if request.follow_redirects { &self.following } else { &self.plain };
        let mut built = client.request(method, url);
        for (name, value) in &request.headers {
            let name = HeaderName::try_from(name.as_str())
                .map_err(|_| "the name of a header is none".to_owned())?;
            let value = HeaderValue::try_from(value.as_str())
                .map_err(|_| format!("the header `{name}` has a value that cannot be sent"))?;
            built = built.header(name, value);
        }
        Ok(match &request.body {
            None => built,
            Some(HttpBody::Json(data)) => {
                built.body(serde_json::to_vec(&**data).map_err(|e| e.to_string())?)
            }
            Some(HttpBody::Text(text)) => built.body(text.clone()),
            Some(HttpBody::Form(pairs)) => {
                let mut form = url::form_urlencoded::Serializer::new(String::new());
                form.extend_pairs(pairs);
                built.body(form.finish())
            }
        })
    }
}

/// The address that a request really goes to: path and query of the endpoint, appended to the
/// service's own address.
fn address(endpoint: &str, base: Option<&str>) -> Result<Url, String> {
    let parsed = |text: &str| Url::parse(text).map_err(|e| format!("`{text}` is no address: {e}"));
    let endpoint = parsed(endpoint)?;
    let Some(base) = base else { return Ok(endpoint) };
    let mut url = parsed(base)?;
    let path = format!("{}{}", url.path().trim_end_matches('/'), endpoint.path());
    url.set_path(&path);
    url.set_query(endpoint.query());
    Ok(url)
}

async fn read(mut response: reqwest::Response, most: usize) -> Sent {
    let status = response.status().as_u16();
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let headers = response.headers().iter().map(|(n, v)| (n.to_string(), text(v))).collect();
    let mut body = Vec::new();
    // one byte more than allowed tells that it is too much
    while body.len() <= most {
        match response.chunk().await {
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => break,
            Err(error) => return Sent::NoAnswer(plainly(&error), error.is_timeout()),
        }
    }
    Sent::Answer(Answer { status, headers, body })
}

/// An error in a few words, without the address, which may hold what is private.
fn plainly(error: &reqwest::Error) -> String {
    let mut source = std::error::Error::source(error);
    let mut innermost = None;
    while let Some(error) = source {
        innermost = Some(error.to_string());
        source = error.source();
    }
    let what = match () {
        () if error.is_timeout() && !error.is_connect() => return "the time was up".to_owned(),
        () if error.is_connect() => "no connection",
        () if error.is_redirect() => "too many redirects",
        () if error.is_body() => "the body broke off",
        () => "the request broke off",
    };
    match innermost {
        Some(inner) => format!("{what}: {inner}"),
        None => what.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::address;

    #[test]
    fn the_services_address_takes_the_place_of_scheme_and_host() {
        let check = |endpoint: &str, base: Option<&str>, expected: &str| {
            assert_eq!(address(endpoint, base).unwrap().as_str(), expected);
        };
        check("http://crm/customers/7?a=b", None, "http://crm/customers/7?a=b");
        check("http://crm/customers/7?a=b", Some("https://x:8/"), "https://x:8/customers/7?a=b");
        check("http://crm/customers/a%2Fb", Some("http://x/api/"), "http://x/api/customers/a%2Fb");
        check("http://crm", Some("http://x"), "http://x/");
    }
}
