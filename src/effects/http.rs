//! HTTP: requests as they go out, answers as they come in.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION};
use reqwest::redirect::Policy;
use reqwest::{Client, Method, Proxy, Request, Url};

use super::SendBy;
use super::names::Names;
use crate::domain::call::http::{Answer, repeatable};
use crate::domain::case::effect::{HttpBody, HttpRequest};

/// How long a connection may take; what was not connected by then was not sent.
const CONNECT: Duration = Duration::from_secs(2);

/// How long an unused connection is kept.
const IDLE: Duration = Duration::from_secs(30);

/// Clients kept, one for each time that connecting may take.
const CLIENTS: usize = 32;

/// Connections to one host that are kept for the next call: as many as calls that may be under way, or the
/// next ones connect anew.
const IDLE_MAX: usize = 512;

/// Redirects followed at the most.
const REDIRECTS: usize = 10;

/// Sends requests.
#[derive(Clone)]
pub struct Http {
    proxy: Option<Arc<str>>,
    names: Names,
    /// One for each time that connecting may take, in milliseconds; see [`Http::client`].
    clients: Arc<Mutex<HashMap<u64, Client>>>,
}

/// Where a request may go, and for how long.
pub struct Way<'a> {
    /// Takes the place of scheme and host.
    pub base: Option<&'a str>,
    pub timeout: Duration,
    /// Bytes of the body that are read at the most, but for one that tells of more.
    pub most: usize,
    pub by: SendBy,
    /// Whether a redirect may lead to this address.
    pub may_call: &'a (dyn Fn(&Url) -> bool + Sync),
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
    /// A sender; `proxy` is the address of an HTTP proxy for all requests, `names` finds hosts.
    ///
    /// # Errors
    /// When the proxy's address is none.
    pub fn new(proxy: Option<&str>, names: Names) -> Result<Self, String> {
        let http = Self { proxy: proxy.map(Into::into), names, clients: Arc::default() };
        http.client(CONNECT)?;
        Ok(http)
    }

    /// A client that gives up connecting before the whole call's time is up, so that "no connection"
    /// is told from "no answer".
    fn client(&self, timeout: Duration) -> Result<Client, String> {
        let connect = CONNECT.min(timeout);
        let key = u64::try_from(connect.as_millis()).unwrap_or(u64::MAX);
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(&key) {
            return Ok(client.clone());
        }
        if clients.len() >= CLIENTS {
            clients.clear();
        }
        let builder = Client::builder()
            .redirect(Policy::none())
            .connect_timeout(connect)
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(IDLE_MAX)
            .tcp_nodelay(true)
            .dns_resolver(self.names.clone())
            .user_agent(concat!("caseworker/", env!("CARGO_PKG_VERSION")))
            .no_proxy();
        let builder = match &self.proxy {
            Some(proxy) => builder.proxy(Proxy::all(&**proxy).map_err(|e| plainly(&e))?),
            None => builder,
        };
        let client = builder.build().map_err(|error| plainly(&error))?;
        clients.insert(key, client.clone());
        Ok(client)
    }

    /// Sends a request and waits for the answer, following redirects where the request says so.
    pub async fn send(&self, request: &HttpRequest, way: &Way<'_>) -> Sent {
        let built = self.client(way.timeout).and_then(|client| {
            let first = build(&client, request, way.base)?;
            Ok((client, first))
        });
        let (client, mut next) = match built {
            Ok(built) => built,
            Err(detail) => return Sent::Unsendable(detail),
        };
        let until = Instant::now() + way.timeout;
        let safe = repeatable(&request.method);
        for hop in 0..=REDIRECTS {
            // an unsafe call that was answered by a redirect may have been acted on
            let acted_on = hop > 0 && !safe;
            let left = match hop {
                // connecting has a time of its own, which ends first
                0 => way.timeout + CONNECT.min(way.timeout),
                _ => until.saturating_duration_since(Instant::now()),
            };
            let (method, url) = (next.method().clone(), next.url().clone());
            let headers = next.headers().clone();
            let body = next.body().and_then(|body| body.as_bytes()).map(<[u8]>::to_vec);
            *next.timeout_mut() = Some(left);
            if hop == 0 && way.by.is_past() {
                return Sent::TooLate;
            }
            let response = match client.execute(next).await {
                Ok(response) => response,
                Err(error) if error.is_builder() && !acted_on => {
                    return Sent::Unsendable(plainly(&error));
                }
                Err(error) if error.is_connect() && !acted_on && is_of_ours(&error) => {
                    tracing::warn!(error = plainly(&error), "no call can leave now");
                    return Sent::TooLate;
                }
                Err(error) if error.is_connect() && !acted_on => {
                    return Sent::NoConnection(plainly(&error));
                }
                Err(error) => return Sent::NoAnswer(plainly(&error), error.is_timeout()),
            };
            let target = target(&response, &url).filter(|_| request.follow_redirects);
            let Some(target) = target else {
                let status = response.status().as_u16();
                if acted_on && matches!(status, 429 | 502..=504) {
                    // whoever redirected it may have acted on it
                    return Sent::NoAnswer(format!("redirected, and answered {status}"), false);
                }
                return read(response, way.most).await;
            };
            let refused = |detail: String| match acted_on || !safe {
                true => Sent::NoAnswer(detail, false),
                false => Sent::Unsendable(detail),
            };
            let known = same_origin(&target, &url);
            if hop == REDIRECTS {
                return refused("too many redirects".to_owned());
            }
            if !known && !(way.may_call)(&target) {
                return refused("it was redirected to a host that may not be called".to_owned());
            }
            next = redirected(response.status().as_u16(), method, target, headers, body, known);
        }
        Sent::Unsendable("too many redirects".to_owned())
    }
}

/// Whether a connection came to nothing for want of something of ours: descriptors, ports, memory.
fn is_of_ours(error: &reqwest::Error) -> bool {
    use rustix::io::Errno;
    let ours = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM, Errno::ADDRNOTAVAIL];
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        if let Some(io) = error.downcast_ref::<std::io::Error>()
            && let Some(code) = io.raw_os_error()
        {
            return ours.iter().any(|errno| errno.raw_os_error() == code);
        }
        source = error.source();
    }
    false
}

/// Where a redirect leads, if the answer is one.
fn target(response: &reqwest::Response, from: &Url) -> Option<Url> {
    if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    let location = response.headers().get(LOCATION)?.to_str().ok()?;
    from.join(location).ok().filter(|url| matches!(url.scheme(), "http" | "https"))
}

fn same_origin(a: &Url, b: &Url) -> bool {
    a.origin() == b.origin()
}

/// The request that follows a redirect. At another origin credentials and everything that the author
/// added stay behind.
fn redirected(
    status: u16,
    method: Method,
    target: Url,
    headers: HeaderMap,
    body: Option<Vec<u8>>,
    same_origin: bool,
) -> Request {
    let becomes_get = match status {
        303 => method != Method::HEAD,
        301 | 302 => method == Method::POST,
        _ => false,
    };
    let mut next = Request::new(if becomes_get { Method::GET } else { method }, target);
    for (name, value) in &headers {
        let of_the_body = name == CONTENT_TYPE;
        if (of_the_body && !becomes_get) || (same_origin && !of_the_body) {
            next.headers_mut().append(name.clone(), value.clone());
        }
    }
    if let Some(body) = body.filter(|_| !becomes_get) {
        *next.body_mut() = Some(body.into());
    }
    next
}

fn build(client: &Client, request: &HttpRequest, base: Option<&str>) -> Result<Request, String> {
    let method = Method::from_bytes(request.method.as_bytes());
    let method = method.map_err(|_| format!("`{}` is no HTTP method", request.method))?;
    let url = address(&request.url, base)?;
    let mut built = client.request(method, url);
    for (name, value) in &request.headers {
        let name = HeaderName::try_from(name.as_str())
            .map_err(|_| "the name of a header is none".to_owned())?;
        let value = HeaderValue::try_from(value.as_str())
            .map_err(|_| format!("the header `{name}` has a value that cannot be sent"))?;
        built = built.header(name, value);
    }
    let built = match &request.body {
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
    };
    built.build().map_err(|error| plainly(&error))
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

impl Resolve for Names {
    fn resolve(&self, name: Name) -> Resolving {
        let names = self.clone();
        Box::pin(async move {
            let addresses = names.addresses(name.as_str()).await?;
            let found: Vec<_> = addresses.iter().copied().collect();
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
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
