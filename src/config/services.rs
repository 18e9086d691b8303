//! `services.toml`: the external parties, their addresses and limits.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde::de::Error as _;
use toml::Spanned;

use super::ConfigError;
use super::place::{line_and_column, read};
use super::values::{Count, Flag, Name, PerTime, Span, WebAddress};
use crate::domain::service::settings::{Probe, Settings, Trip};

/// All services, and what holds for hosts that none of them names.
#[derive(Debug, Clone, PartialEq)]
pub struct Services {
    pub named: Vec<Settings>,
    pub allow_unknown_hosts: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct File {
    defaults: Defaults,
    services: BTreeMap<Spanned<String>, Section>,
}

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Defaults {
    allow_unknown_hosts: Flag,
}

impl Default for Defaults {
    fn default() -> Self {
        Self { allow_unknown_hosts: Flag(true) }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Section {
    hosts: Option<Vec<Spanned<String>>>,
    url: Option<WebAddress>,
    timeout: Option<Span>,
    max_concurrent: Option<Count>,
    rate: Option<PerTime>,
    honours_key: Option<Flag>,
    patience: Option<Span>,
    breaker: Breaker,
    probe: Option<Request>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Breaker {
    failures: Option<Count>,
    window: Option<Span>,
    probe_after: Option<Span>,
    probe_after_max: Option<Span>,
}

/// `GET /health`
#[derive(Debug)]
struct Request(Probe);

impl<'de> Deserialize<'de> for Request {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.split_once(' ') {
            Some((method @ ("GET" | "HEAD"), path)) if path.starts_with('/') => {
                Ok(Self(Probe { method: method.to_owned(), path: path.to_owned() }))
            }
            _ => Err(D::Error::custom(format!("`{text}` is not a probe, such as \"GET /health\""))),
        }
    }
}

impl Services {
    /// Reads a file; without one there are no services but `mail`.
    ///
    /// # Errors
    /// What is wrong, each with its key, file and line.
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        let Some(file) = file else { return Self::parse("", "defaults") };
        let text = std::fs::read_to_string(file)
            .map_err(|error| ConfigError::new(file.display(), error))?;
        Self::parse(&text, &file.display().to_string())
    }

    /// Reads a file's text.
    ///
    /// # Errors
    /// What is wrong, each with its key, file and line.
    pub fn parse(text: &str, file: &str) -> Result<Self, ConfigError> {
        let read: File = read(text, file)?;
        let mut named: Vec<Settings> = Vec::new();
        for (name, section) in read.services {
            let fault = |byte: usize, detail: String| {
                let (line, column) = line_and_column(text, byte);
                ConfigError::new(format!("{file}:{line}:{column}"), detail)
            };
            let place = name.span().start;
            let name: Name = name.into_inner().parse().map_err(|detail| fault(place, detail))?;
            for host in section.hosts.iter().flatten() {
                let other = named.iter().find(|s| s.hosts.contains(&host.get_ref().to_lowercase()));
                if let Some(other) = other {
                    let detail = format!(
                        "services.{}.hosts: the host `{}` belongs to services.{} already",
                        name.0,
                        host.get_ref(),
                        other.name
                    );
                    return Err(fault(host.span().start, detail));
                }
                if host.get_ref().contains(['/', ':', ' ']) || host.get_ref().is_empty() {
                    let detail = format!(
                        "services.{}.hosts: `{}` is not a host, such as \"bobs-post\"",
                        name.0,
                        host.get_ref()
                    );
                    return Err(fault(host.span().start, detail));
                }
            }
            let settings = section.settings(&name.0).map_err(|detail| fault(place, detail))?;
            named.push(settings);
        }
        if !named.iter().any(|settings| &*settings.name == "mail") {
            named.push(Settings::named("mail"));
        }
        Ok(Self { named, allow_unknown_hosts: read.defaults.allow_unknown_hosts.0 })
    }
}

impl Section {
    fn settings(self, name: &str) -> Result<Settings, String> {
        let default = Settings::named(name);
        let hosts = match self.hosts {
            Some(hosts) => hosts.into_iter().map(|h| h.into_inner().to_lowercase()).collect(),
            None if name == "mail" => Vec::new(),
            None => vec![name.to_owned()],
        };
        let max_concurrent = match self.max_concurrent {
            Some(Count(0)) => return Err(format!("services.{name}.max_concurrent: at least 1")),
            Some(Count(most)) => u32::try_from(most).unwrap_or(u32::MAX),
            None => default.max_concurrent,
        };
        let Breaker { failures, window, probe_after, probe_after_max } = self.breaker;
        let trip = Trip::default();
        let failures = match failures {
            Some(Count(0)) => return Err(format!("services.{name}.breaker.failures: at least 1")),
            Some(Count(failures)) => u32::try_from(failures).unwrap_or(u32::MAX),
            None => trip.failures,
        };
        let span = |given: Option<Span>, default: i64| given.map_or(default, |span| span.0);
        let breaker = Trip {
            failures,
            window: span(window, trip.window).max(1),
            probe_after: span(probe_after, trip.probe_after).max(1),
            probe_after_max: span(probe_after_max, trip.probe_after_max).max(1),
        };
        Ok(Settings {
            hosts,
            url: self.url.map(|url| url.0),
            timeout: span(self.timeout, default.timeout).max(1),
            max_concurrent,
            rate: self.rate.map(|rate| rate.0),
            honours_key: self.honours_key.is_some_and(|flag| flag.0),
            patience: span(self.patience, default.patience),
            breaker,
            probe: self.probe.map(|probe| probe.0),
            ..default
        })
    }
}
