//! Configuration: flags over environment over file over defaults. Whatever is wrong stops the start
//! with the key, its file and its line.

mod place;
pub mod queues;
pub mod services;
pub mod staff;
pub mod values;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use values::{Count, Hosts, Size, Span, Text};

/// The file's content; every key has a default.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub server: Server,
    pub api: Api,
    pub data: Data,
    pub cases: Cases,
    pub queues: queues::Queues,
    pub logs: Logs,
    pub documents: Documents,
    pub pdf: Pdf,
    pub http: Http,
    pub email: Email,
    pub secrets: Secrets,
    pub log: Log,
    pub nats: Nats,
}

/// `[server]`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// Where HTTP is served.
    pub listen: values::Listen,
    /// Bytes of a request's body.
    pub max_body: Size,
    /// Requests under way at the same time; more are answered 429.
    pub max_requests: Count,
    /// Requests of one client within a second; more are answered 429. 0: no limit.
    pub rate: Count,
    /// Connections open at the same time; idle ones make room.
    pub max_connections: Count,
    /// Names under which it may be asked, beside the address that it listens at.
    pub hosts: Hosts,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: values::Listen(SocketAddr::from(([127, 0, 0, 1], 7700))),
            max_body: Size(1 << 20),
            max_requests: Count(2048),
            rate: Count(0),
            max_connections: Count(4096),
            hosts: Hosts(["localhost", "127.0.0.1", "[::1]"].map(str::to_owned).to_vec()),
        }
    }
}

/// `[api]`
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Api {
    pub keys: Vec<ApiKey>,
}

/// `[[api.keys]]`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApiKey {
    /// Who has the key; part of the ids of keyed submissions, so never rename it.
    pub name: values::Name,
    /// SHA-256 of the key, in hex.
    pub sha256: values::Digest,
    /// A worker's key: it may do jobs of these queues, and nothing else.
    #[serde(default)]
    pub queues: Option<Vec<String>>,
}

/// `[data]`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Data {
    /// The folder with everything that lasts.
    pub dir: PathBuf,
    /// Bytes that have to be free on its disk; below, nothing is accepted.
    pub min_free: Size,
}

impl Default for Data {
    fn default() -> Self {
        Self { dir: PathBuf::from("data"), min_free: Size(1 << 30) }
    }
}

/// `[cases]`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cases {
    /// Cases in memory at the same time; more are accepted and wait.
    pub live_max: Count,
    /// Cases that wait to be started; more are answered 429.
    pub pending_max: Count,
}

impl Default for Cases {
    fn default() -> Self {
        Self { live_max: Count(5000), pending_max: Count(1_000_000) }
    }
}

/// `[logs]`: what workers write while they do a job.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Logs {
    /// How long it is kept.
    pub keep: Span,
    /// Bytes of all of it; the oldest goes first.
    pub max: Size,
}

impl Default for Logs {
    fn default() -> Self {
        Self { keep: Span(14 * 86_400_000), max: Size(1 << 30) }
    }
}

/// `[documents]`: files that workers make.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Documents {
    /// Bytes of one.
    pub max: Size,
    /// A folder with templates of your own, a folder for each.
    pub templates: Option<PathBuf>,
}

impl Default for Documents {
    fn default() -> Self {
        Self { max: Size(16 << 20), templates: None }
    }
}

/// `[pdf]`: who does the jobs of the queue `pdf`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Pdf {
    /// Documents rendered at the same time; 0: workers elsewhere do it.
    pub workers: Count,
    /// How long one may take.
    pub timeout: Span,
    /// Bytes of memory that it may take.
    pub memory: Size,
    /// The program; beside this one unless named.
    pub program: Option<PathBuf>,
}

impl Default for Pdf {
    fn default() -> Self {
        let (workers, timeout, memory) = (Count(1), Span(30_000), Size(512 << 20));
        Self { workers, timeout, memory, program: None }
    }
}

/// `[http]`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Http {
    /// Calls under way at the same time, over all services.
    pub max_concurrent: Count,
    /// Proxy of all calls; none unless named here.
    pub proxy: Option<values::WebAddress>,
}

impl Default for Http {
    fn default() -> Self {
        Self { max_concurrent: Count(512), proxy: None }
    }
}

/// `[email]`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Email {
    /// `smtp://host:port`, `smtps://user:password@host`; none: mails fail.
    pub url: Option<Text>,
    pub from: Text,
    /// Domain of the Message-ID.
    pub domain: Text,
    pub timeout: Span,
    /// A folder with templates of notices, in the place of the built-in ones.
    pub templates: Option<PathBuf>,
}

impl Default for Email {
    fn default() -> Self {
        Self {
            url: None,
            from: Text("Caseworker <caseworker@localhost>".to_owned()),
            domain: Text("caseworker.localhost".to_owned()),
            timeout: Span(30_000),
            templates: None,
        }
    }
}

/// `[secrets]`
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Secrets {
    /// The folder with one file for each secret.
    pub dir: Option<PathBuf>,
}

/// `[log]`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    pub format: LogFormat,
    /// As of tracing's EnvFilter: `info`, `caseworker=debug` …
    pub filter: Text,
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Text, filter: Text("info".to_owned()) }
    }
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Text,
    Json,
}

/// `[nats]`: many nodes are not supported yet; naming an address stops the start.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Nats {
    pub url: Option<Text>,
    pub credentials: Option<PathBuf>,
    pub prefix: Option<Text>,
}

/// What is wrong with the configuration: where, what, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {detail}{}", further(.others))]
pub struct ConfigError {
    /// File, line and column; or the variable or flag.
    pub place: String,
    pub detail: String,
    /// What else is wrong in the same file.
    pub others: Vec<ConfigError>,
}

impl ConfigError {
    fn new(place: impl ToString, detail: impl ToString) -> Self {
        Self { place: place.to_string(), detail: detail.to_string(), others: Vec::new() }
    }
}

/// The other errors, each on a line of its own.
fn further(others: &[ConfigError]) -> String {
    others.iter().map(|error| format!("\n{error}")).collect()
}

/// What flags say.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    pub data: Option<PathBuf>,
    pub listen: Option<SocketAddr>,
    pub nats: Option<String>,
}

/// Variables that are no keys of the file.
const OTHERS: [&str; 9] =
    ["CONFIG", "SERVICES", "STAFF", "WORKFLOWS", "SERVER", "API_KEY", "NATS", "DATA", "LISTEN"];

impl Config {
    /// Reads a file (none: the defaults) and lays environment and flags over it.
    ///
    /// # Errors
    /// What is wrong, each with its key, file and line.
    pub fn load(
        file: Option<&Path>,
        environment: impl Iterator<Item = (String, String)>,
        flags: Flags,
    ) -> Result<Self, ConfigError> {
        let text = match file {
            Some(file) => std::fs::read_to_string(file)
                .map_err(|error| ConfigError::new(file.display(), error))?,
            None => String::new(),
        };
        let name = file.map_or_else(|| "defaults".to_owned(), |file| file.display().to_string());
        let mut config = Self::parse(&text, &name)?;
        config.overlay(&text, environment)?;
        if let Some(data) = flags.data {
            config.data.dir = data;
        }
        if let Some(listen) = flags.listen {
            config.server.listen = values::Listen(listen);
        }
        if let Some(url) = flags.nats {
            config.nats.url = Some(Text(url));
        }
        config.check()?;
        Ok(config)
    }

    fn parse(text: &str, file: &str) -> Result<Self, ConfigError> {
        place::read(text, file)
    }

    /// Lays variables over what the file says, one at a time, so that a fault names its own.
    fn overlay(
        &mut self,
        text: &str,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<(), ConfigError> {
        let mut table: toml::Table = toml::from_str(text).unwrap_or_default();
        let mut variables: Vec<(String, String)> = environment.collect();
        variables.sort();
        for (name, value) in variables {
            let Some(key) = name.strip_prefix("CASEWORKER_") else { continue };
            if OTHERS.contains(&key) {
                continue;
            }
            let fault = |detail: String| ConfigError::new(&name, detail);
            let (section, key) = key.split_once('_').unwrap_or((key, ""));
            let (section, key) = (section.to_lowercase(), key.to_lowercase());
            let entry = table.entry(section).or_insert_with(|| toml::Table::new().into());
            let Some(section) = entry.as_table_mut() else {
                return Err(fault("the file has no section of this name".to_owned()));
            };
            section.insert(key, toml::Value::String(value));
            let parsed: Result<Self, _> = table.clone().try_into();
            *self = parsed.map_err(|error: toml::de::Error| fault(error.message().to_owned()))?;
        }
        Ok(())
    }

    /// What no key alone can tell.
    fn check(&self) -> Result<(), ConfigError> {
        let fault = |place: &str, detail: &str| Err(ConfigError::new(place, detail));
        if self.nats.url.is_some() {
            return fault("nats.url", "many nodes are not supported yet: leave it out");
        }
        if !self.server.listen.0.ip().is_loopback() && self.api.keys.is_empty() {
            return fault(
                "server.listen",
                "on an address that is not loopback API keys are needed: add [[api.keys]] with \
                 `name` and `sha256`, or listen on 127.0.0.1",
            );
        }
        let mut names: Vec<&str> = self.api.keys.iter().map(|key| &*key.name.0).collect();
        names.sort_unstable();
        for key in &self.api.keys {
            for queue in key.queues.iter().flatten() {
                if let Err(wrong) = crate::domain::work::queue::check_name(queue) {
                    return fault("api.keys", &format!("key `{}`: {wrong}", key.name.0));
                }
            }
        }
        if names.windows(2).any(|pair| pair[0] == pair[1]) {
            return fault("api.keys", "two keys have the same name: give each its own");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
