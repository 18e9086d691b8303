//! Talking to a server, and what its answers mean for scripts.

use clap::Args;
use reqwest::{Client, Method, RequestBuilder};
use serde_json::Value as Json;

use super::Exit;
use super::output::Format;

/// How to reach the server, and how to print.
#[derive(Args, Clone)]
pub struct Connection {
    /// Address of the server
    #[arg(long, env = "CASEWORKER_SERVER", default_value = "http://127.0.0.1:7700", global = true)]
    server: String,
    /// API key, where the server wants one
    #[arg(long, env = "CASEWORKER_API_KEY", hide_env_values = true, global = true)]
    api_key: Option<String>,
    /// How to print
    #[arg(long, value_enum, default_value = "text", global = true)]
    pub output: Format,
}

/// A server.
#[derive(Clone)]
pub struct Remote {
    client: Client,
    base: String,
    key: Option<String>,
    pub output: Format,
}

/// Why something did not work, told already or to be told.
#[derive(Debug)]
pub struct Failure {
    pub exit: Exit,
    pub message: String,
}

impl Failure {
    /// A failure of this kind.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into() }
    }
}

impl Connection {
    /// The server that it names.
    ///
    /// # Errors
    /// When its address is none.
    pub fn remote(&self) -> Result<Remote, Failure> {
        let client = Client::builder().no_proxy().build();
        let client = client.map_err(|e| Failure::new(Exit::Failed, e.to_string()))?;
        let base = self.server.trim_end_matches('/').to_owned();
        if url::Url::parse(&base).is_err() {
            return Err(Failure::new(Exit::Usage, format!("--server: `{base}` is no address")));
        }
        Ok(Remote { client, base, key: self.api_key.clone(), output: self.output })
    }
}

impl Remote {
    /// A request to a path.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.client.request(method, format!("{}{path}", self.base));
        match &self.key {
            Some(key) => request.bearer_auth(key),
            None => request,
        }
    }

    /// Sends a request and reads its JSON.
    ///
    /// # Errors
    /// With the exit code that its answer stands for.
    pub async fn send(&self, request: RequestBuilder) -> Result<Json, Failure> {
        let answer = request.send().await.map_err(|error| self.unreachable(&error))?;
        let status = answer.status().as_u16();
        let text = answer.text().await.map_err(|error| self.unreachable(&error))?;
        let json: Json = serde_json::from_str(&text).unwrap_or(Json::String(text));
        if (200..300).contains(&status) {
            return Ok(json);
        }
        Err(refused(status, &json))
    }

    /// Reads the bytes at a path.
    ///
    /// # Errors
    /// As [`Remote::send`].
    pub async fn bytes(&self, path: &str) -> Result<Vec<u8>, Failure> {
        let answer = self.request(Method::GET, path).send().await;
        let answer = answer.map_err(|error| self.unreachable(&error))?;
        let status = answer.status().as_u16();
        let bytes = answer.bytes().await.map_err(|error| self.unreachable(&error))?;
        if (200..300).contains(&status) {
            return Ok(bytes.to_vec());
        }
        Err(refused(status, &serde_json::from_slice(&bytes).unwrap_or_default()))
    }

    /// Reads a path.
    ///
    /// # Errors
    /// As [`Remote::send`].
    pub async fn get(&self, path: &str) -> Result<Json, Failure> {
        self.send(self.request(Method::GET, path)).await
    }

    /// At most so many items of a list, and whether there are more. `path` holds a `?`.
    ///
    /// # Errors
    /// As [`Remote::send`].
    pub async fn some(&self, path: &str, most: usize) -> Result<(Vec<Json>, bool), Failure> {
        let (mut items, mut cursor) = (Vec::new(), String::new());
        loop {
            let limit = (most - items.len()).clamp(1, 500);
            let page = self.get(&format!("{path}&limit={limit}{cursor}")).await?;
            items.extend(page["items"].as_array().cloned().unwrap_or_default());
            match page["next"].as_str() {
                Some(_) if items.len() >= most => return Ok((items, true)),
                Some(next) => cursor = format!("&cursor={next}"),
                None => return Ok((items, false)),
            }
        }
    }

    /// All items of a list.
    ///
    /// # Errors
    /// As [`Remote::send`].
    pub async fn all(&self, path: &str) -> Result<Vec<Json>, Failure> {
        Ok(self.some(path, usize::MAX).await?.0)
    }

    /// Posts JSON to a path.
    ///
    /// # Errors
    /// As [`Remote::send`].
    pub async fn post(&self, path: &str, body: &Json) -> Result<Json, Failure> {
        self.send(self.request(Method::POST, path).json(body)).await
    }

    /// What a connection that failed means.
    pub fn unreachable(&self, error: &reqwest::Error) -> Failure {
        let mut cause: &dyn std::error::Error = error;
        while let Some(deeper) = cause.source() {
            cause = deeper;
        }
        Failure::new(Exit::Unreachable, format!("{}: {cause}", self.base))
    }
}

/// What the exit code of an answer is.
fn refused(status: u16, problem: &Json) -> Failure {
    let exit = match status {
        401 | 403 => Exit::NotAllowed,
        404 => Exit::NotFound,
        409 | 412 => Exit::Conflict,
        _ => Exit::Failed,
    };
    Failure::new(exit, explain(status, problem))
}

/// A problem's detail with its errors.
fn explain(status: u16, problem: &Json) -> String {
    let detail = problem["detail"].as_str().unwrap_or("the server answered with an error");
    let mut lines = vec![format!("{detail} ({status})")];
    for error in problem["errors"].as_array().into_iter().flatten() {
        let place = match (error["line"].as_u64(), error["column"].as_u64()) {
            (Some(line), Some(column)) => format!("{line}:{column}"),
            _ => error["pointer"].as_str().unwrap_or_default().to_owned(),
        };
        lines.push(format!("  {place}: {}", error["detail"].as_str().unwrap_or_default()));
    }
    if let Some(allowed) = problem["allowed"].as_array().filter(|allowed| !allowed.is_empty()) {
        let allowed: Vec<&str> = allowed.iter().filter_map(Json::as_str).collect();
        lines.push(format!("  allowed: {}", allowed.join(", ")));
    }
    lines.join("\n")
}

/// Runs what talks to a server, and tells what went wrong.
pub fn run(work: impl Future<Output = Result<Exit, Failure>>) -> Exit {
    super::block_on(async {
        match work.await {
            Ok(exit) => exit,
            Err(Failure { exit, message }) => {
                eprintln!("{message}");
                exit
            }
        }
    })
}
