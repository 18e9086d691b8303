//! `caseworker schedules`: what begins cases by itself; paused, resumed, triggered.

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value as Json, json};

use super::Exit;
use super::client::{Connection, run};
use super::output;

/// Show schedules, and what they decided last.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Schedules {
    #[command(subcommand)]
    act: Option<Act>,
    /// One of them, as <namespace>.<name>
    id: Option<String>,
    #[command(flatten)]
    connection: Connection,
}

/// What an operator says of a schedule.
#[derive(Subcommand)]
enum Act {
    /// Begin nothing from now on
    Pause {
        id: String,
        /// Why
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        connection: Connection,
    },
    /// Begin cases again; what was missed meanwhile is decided by the schedule's `missed`
    Resume {
        id: String,
        /// Why
        #[arg(long, default_value = "")]
        reason: String,
        /// Decide again what is due after this time, such as 2026-11-01T00:00:00Z
        #[arg(long)]
        from: Option<String>,
        #[command(flatten)]
        connection: Connection,
    },
    /// Begin a case now
    Trigger {
        id: String,
        /// Why
        #[arg(long, default_value = "")]
        reason: String,
        /// Makes it safe to repeat
        #[arg(long)]
        key: Option<String>,
        #[command(flatten)]
        connection: Connection,
    },
}

impl Schedules {
    pub fn run(self) -> Exit {
        match self.act {
            None => show(self.id, self.connection),
            Some(Act::Pause { id, reason, connection }) => {
                change(connection, format!("/v1/schedules/{id}/pause"), json!({"reason": reason}))
            }
            Some(Act::Resume { id, reason, from, connection }) => {
                let body = json!({"reason": reason, "from": from});
                change(connection, format!("/v1/schedules/{id}/resume"), body)
            }
            Some(Act::Trigger { id, reason, key, connection }) => {
                trigger(connection, id, reason, key)
            }
        }
    }
}

fn show(id: Option<String>, connection: Connection) -> Exit {
    run(async move {
        let remote = connection.remote()?;
        let items = match &id {
            Some(id) => vec![remote.get(&format!("/v1/schedules/{id}")).await?],
            None => remote.all("/v1/schedules?").await?,
        };
        match remote.output.is_json() {
            true => items.iter().for_each(|item| println!("{item}")),
            false => {
                print(&items);
                if id.is_some() {
                    items.iter().for_each(print_last);
                }
            }
        }
        Ok(Exit::Ok)
    })
}

fn change(connection: Connection, path: String, body: Json) -> Exit {
    run(async move {
        let remote = connection.remote()?;
        let schedule = remote.post(&path, &body).await?;
        match remote.output.is_json() {
            true => println!("{schedule}"),
            false => print(&[schedule]),
        }
        Ok(Exit::Ok)
    })
}

fn trigger(connection: Connection, id: String, reason: String, key: Option<String>) -> Exit {
    run(async move {
        let remote = connection.remote()?;
        let path = format!("/v1/schedules/{id}/trigger");
        let mut request = remote.request(Method::POST, &path).json(&json!({"reason": reason}));
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        let begun = remote.send(request).await?;
        match remote.output.is_json() {
            true => println!("{begun}"),
            false => println!("{}", output::cell(&begun["case"])),
        }
        Ok(Exit::Ok)
    })
}

fn print(items: &[Json]) {
    let rows = items.iter().map(|schedule| {
        let state = match (&schedule["state"], &schedule["reason"]) {
            (state, Json::String(reason)) => format!("{}: {reason}", output::cell(state)),
            (state, _) => output::cell(state),
        };
        vec![
            output::cell(&schedule["id"]),
            format!("{} {}", output::cell(&schedule["kind"]), output::cell(&schedule["spec"])),
            output::cell(&schedule["timeZone"]),
            output::cell(&schedule["next"][0]),
            output::cell(&schedule["last"][0]["due"]),
            output::cell(&schedule["openCases"]),
            state,
        ]
    });
    let head = ["id", "when", "time zone", "next", "last", "open", "state"];
    output::table(&head, rows.collect());
}

fn print_last(schedule: &Json) {
    let rows = schedule["last"].as_array().into_iter().flatten().map(|decided| {
        let became = match (&decided["skipped"], &decided["outcome"]) {
            (Json::String(why), _) => format!("{} skipped: {why}", output::cell(&decided["count"])),
            (_, Json::String(outcome)) => match &decided["detail"] {
                Json::String(why) => format!("{outcome}: {why}"),
                _ => outcome.clone(),
            },
            _ => "under way".to_owned(),
        };
        vec![output::cell(&decided["due"]), output::cell(&decided["case"]), became]
    });
    output::table(&["due", "case", "became"], rows.collect());
}
