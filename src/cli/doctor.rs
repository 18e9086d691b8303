//! `caseworker doctor`: what stands in the way, and what to do about it.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value as Json, json};

use super::Exit;
use super::client::{Connection, Remote, run};
use crate::actors::disk::free_bytes;
use crate::config::services::Services;
use crate::config::{Config, Flags};
use crate::store::documents::Documents;

/// Look at configuration, disk and server.
#[derive(Args)]
pub struct Doctor {
    /// Configuration; without it, built-in defaults
    #[arg(long, env = "CASEWORKER_CONFIG")]
    config: Option<PathBuf>,
    /// The data folder
    #[arg(long, env = "CASEWORKER_DATA")]
    data: Option<PathBuf>,
    /// The external parties
    #[arg(long, env = "CASEWORKER_SERVICES")]
    services: Option<PathBuf>,
    #[command(flatten)]
    connection: Connection,
}

/// Bookings that are listed at the most.
const SHOWN: usize = 100;

/// One thing that was looked at.
struct Finding {
    what: &'static str,
    good: bool,
    detail: String,
}

impl Doctor {
    pub fn run(self) -> Exit {
        run(async move {
            let mut findings = Vec::new();
            let flags = Flags { data: self.data.clone(), ..Flags::default() };
            match Config::load(self.config.as_deref(), std::env::vars(), flags) {
                Ok(config) => {
                    findings.push(good("configuration", "it can be read"));
                    if config.email.url.is_none() {
                        let detail = "[email] url is missing: mails and notices wait for it";
                        findings.push(good("mail", detail));
                    }
                    findings.push(disk(&config));
                    findings.extend(documents(&config));
                }
                Err(error) => findings.push(bad("configuration", error.to_string())),
            }
            if let Some(file) = &self.services {
                findings.push(match Services::load(Some(file)) {
                    Ok(services) => {
                        good("services file", format!("{} are named", services.named.len()))
                    }
                    Err(error) => bad("services file", error.to_string()),
                });
            }
            let remote = self.connection.remote()?;
            server(&remote, &mut findings).await;
            let sick = findings.iter().any(|finding| !finding.good);
            if remote.output.is_json() {
                let all = findings.iter().map(|finding| {
                    json!({"what": finding.what, "good": finding.good, "detail": finding.detail})
                });
                println!("{}", Json::Array(all.collect()));
            } else {
                for Finding { what, good, detail } in &findings {
                    println!("{} {what:14} {detail}", if *good { "ok  " } else { "LOOK" });
                }
            }
            Ok(if sick { Exit::Failed } else { Exit::Ok })
        })
    }
}

fn good(what: &'static str, detail: impl Into<String>) -> Finding {
    Finding { what, good: true, detail: detail.into() }
}

fn bad(what: &'static str, detail: impl Into<String>) -> Finding {
    Finding { what, good: false, detail: detail.into() }
}

/// Documents whose files are not whole; nothing where there are none.
fn documents(config: &Config) -> Option<Finding> {
    let folder = config.data.dir.join("documents");
    if !folder.is_dir() {
        return None;
    }
    Some(match Documents::look_at(&folder).damaged() {
        Ok(damaged) if damaged.is_empty() => good("documents", "all of them are whole"),
        Ok(damaged) => {
            let named: Vec<String> = damaged.iter().take(SHOWN).map(ToString::to_string).collect();
            bad("documents", format!("{} are damaged: {}", damaged.len(), named.join(", ")))
        }
        Err(error) => bad("documents", format!("{}: {error}", folder.display())),
    })
}

fn disk(config: &Config) -> Finding {
    let folder = &config.data.dir;
    let looked_at = folder.ancestors().find(|folder| folder.exists()).unwrap_or(folder);
    let looked_at = if looked_at.as_os_str().is_empty() { ".".as_ref() } else { looked_at };
    match free_bytes(looked_at) {
        Ok(free) if free < config.data.min_free.0 => {
            let (free, least) = (free >> 20, config.data.min_free.0 >> 20);
            let folder = folder.display();
            bad("disk", format!("{free} MiB free for {folder}, [data] min_free wants {least} MiB"))
        }
        Ok(free) => good("disk", format!("{} MiB free for {}", free >> 20, folder.display())),
        Err(error) => bad("disk", format!("{}: {error}", folder.display())),
    }
}

/// The time zone data that the server goes by, and bookings whose time of day it has changed.
async fn time_zones(remote: &Remote, findings: &mut Vec<Finding>) {
    let version = match remote.get("/healthz").await {
        Ok(health) => health["timeZones"].as_str().unwrap_or("unknown").to_owned(),
        Err(failure) => return findings.push(bad("time zones", failure.message)),
    };
    let moved = match remote.some("/v1/assignments?attention=zone", SHOWN).await {
        Ok((moved, _)) => moved,
        Err(failure) => return findings.push(bad("time zones", failure.message)),
    };
    findings.push(good("time zones", format!("data of {version}")));
    for one in &moved {
        let (title, csr, start) = (&one["title"], &one["csr"], &one["start"]);
        let detail = format!(
            "{title} of {csr} at {start} is at another time of day since the rules of the zone have \
             changed: `move` it, or leave it"
        );
        findings.push(bad("booking", detail.replace('"', "")));
    }
}

async fn server(remote: &Remote, findings: &mut Vec<Finding>) {
    match remote.get("/readyz").await {
        Ok(_) => findings.push(good("server", "it is ready")),
        Err(failure) => {
            findings.push(bad("server", failure.message));
            return;
        }
    }
    time_zones(remote, findings).await;
    match remote.get("/v1/services").await {
        Ok(page) => {
            let services = page["items"].as_array().cloned().unwrap_or_default();
            findings.push(good("services", format!("the server has {}", services.len())));
            for service in &services {
                // one that is about to be tried again and that nobody waits for is nothing to look at
                let idle = service["state"] == "half-open" && service["waiting"] == 0;
                if service["state"] != "closed" && !idle {
                    let (name, state) = (&service["name"], &service["state"]);
                    let waiting = &service["waiting"];
                    let detail = format!("{name} is {state}, {waiting} cases wait for it");
                    findings.push(bad("service", detail.replace('"', "")));
                }
            }
        }
        Err(failure) => findings.push(bad("services", failure.message)),
    }
    match remote.get("/v1/dead-letters?state=open&limit=500").await {
        Ok(page) => {
            let count = page["items"].as_array().map_or(0, Vec::len);
            if count > 0 {
                let detail = format!("{count} wait for a person: `caseworker dead-letters`");
                findings.push(bad("dead letters", detail));
            } else {
                findings.push(good("dead letters", "none"));
            }
        }
        Err(failure) => findings.push(bad("dead letters", failure.message)),
    }
}
