//! `caseworker services`, `isolate`, `release`

use clap::Args;
use serde_json::{Value as Json, json};

use super::Exit;
use super::client::{Connection, run};
use super::output;
use crate::clock::Clock;
use crate::config::values::Span;

/// Show services and their breakers.
#[derive(Args)]
pub struct Services {
    /// One of them
    name: Option<String>,
    #[command(flatten)]
    connection: Connection,
}

impl Services {
    pub fn run(self) -> Exit {
        run(async move {
            let remote = self.connection.remote()?;
            let items = match &self.name {
                Some(name) => vec![remote.get(&format!("/v1/services/{name}")).await?],
                None => {
                    let page = remote.get("/v1/services").await?;
                    page["items"].as_array().cloned().unwrap_or_default()
                }
            };
            if remote.output.is_json() {
                items.iter().for_each(|item| println!("{item}"));
            } else {
                print(&items);
            }
            Ok(Exit::Ok)
        })
    }
}

fn print(items: &[Json]) {
    let rows = items.iter().map(|service| {
        let cause = match (&service["reason"], &service["cause"]["detail"]) {
            (Json::Null, cause) => output::cell(cause),
            (reason, _) => output::cell(reason),
        };
        let next = match (&service["until"], &service["nextProbeAt"]) {
            (Json::Null, next) => output::cell(next),
            (until, _) => output::cell(until),
        };
        let names = ["name", "state", "since", "waiting", "inFlight"];
        let mut row: Vec<String> = names.iter().map(|name| output::cell(&service[*name])).collect();
        row.extend([cause, next]);
        row
    });
    let head = ["name", "state", "since", "waiting", "in flight", "cause", "next"];
    output::table(&head, rows.collect());
}

/// Hold a service: its cases wait, until the hold ends by itself.
#[derive(Args)]
pub struct Isolate {
    name: String,
    /// Why
    #[arg(long)]
    reason: String,
    /// For how long: `30m`, `2h`, `1d`
    #[arg(long = "for", default_value = "1h")]
    span: Span,
    #[command(flatten)]
    connection: Connection,
}

impl Isolate {
    pub fn run(self) -> Exit {
        let until = Clock::engine().now().plus(self.span.0).to_string();
        let body = json!({"reason": self.reason, "until": until});
        change(&self.connection, &format!("/v1/services/{}/isolate", self.name), &body)
    }
}

/// End a hold.
#[derive(Args)]
pub struct Release {
    name: String,
    /// Why
    #[arg(long, default_value = "")]
    reason: String,
    #[command(flatten)]
    connection: Connection,
}

impl Release {
    pub fn run(self) -> Exit {
        let body = json!({"reason": self.reason});
        change(&self.connection, &format!("/v1/services/{}/release", self.name), &body)
    }
}

fn change(connection: &Connection, path: &str, body: &Json) -> Exit {
    run(async move {
        let remote = connection.remote()?;
        let service = remote.post(path, body).await?;
        if remote.output.is_json() {
            println!("{service}");
        } else {
            print(&[service]);
        }
        Ok(Exit::Ok)
    })
}
