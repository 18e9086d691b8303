//! `caseworker csrs`, `assignments`, `plan`

use std::path::PathBuf;

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::Value as Json;

use super::Exit;
use super::client::{Connection, Failure, run};
use super::{output, roster};
use crate::domain::ids::CsrId;

/// Show CSRs, or carry the roster to and from a table.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Csrs {
    #[command(subcommand)]
    roster: Option<Roster>,
    /// One of them
    id: Option<String>,
    /// With any of these skills
    #[arg(long)]
    skill: Option<String>,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Subcommand)]
enum Roster {
    /// Write all CSRs as CSV to standard output
    Export,
    /// Add and change the CSRs of a CSV file; nothing is changed before all rows are right
    Import {
        file: PathBuf,
        /// Only say what would be added and changed
        #[arg(long)]
        dry_run: bool,
    },
    /// Give a CSR's calendar an address to subscribe to
    Feed {
        id: String,
        /// Take it back instead
        #[arg(long)]
        revoke: bool,
    },
}

impl Csrs {
    pub fn run(self) -> Exit {
        run(async move {
            let remote = self.connection.remote()?;
            match self.roster {
                None => {}
                Some(Roster::Export) => return roster::export(&remote).await,
                Some(Roster::Import { file, dry_run }) => {
                    return roster::import(&remote, &file, dry_run).await;
                }
                Some(Roster::Feed { id, revoke }) => {
                    let id: CsrId = id
                        .parse()
                        .map_err(|error| Failure::new(Exit::Usage, format!("{error}")))?;
                    let path = format!("/v1/csrs/{id}/feed");
                    let method = if revoke { Method::DELETE } else { Method::POST };
                    let feed = remote.send(remote.request(method, &path)).await?;
                    println!("{}", output::cell(&feed["url"]));
                    return Ok(Exit::Ok);
                }
            }
            let items = match &self.id {
                Some(id) => vec![remote.get(&format!("/v1/csrs/{id}")).await?],
                None => {
                    let query = query(&[("skill", &self.skill)]);
                    remote.some(&format!("/v1/csrs?{query}"), usize::MAX).await?.0
                }
            };
            if remote.output.is_json() {
                items.iter().for_each(|item| println!("{item}"));
                return Ok(Exit::Ok);
            }
            let rows = items.iter().map(|csr| {
                let skills = csr["skills"].as_array().into_iter().flatten();
                let skills: Vec<&str> = skills.filter_map(Json::as_str).collect();
                let load = &csr["load"];
                let share = match load["nominal28"].as_u64() {
                    Some(nominal) if nominal > 0 => {
                        let minutes = load["minutes28"].as_u64().unwrap_or(0);
                        format!("{} %", minutes * 100 / nominal)
                    }
                    _ => "-".to_owned(),
                };
                let names = ["id", "name", "state", "timeZone"];
                let mut row: Vec<String> =
                    names.iter().map(|name| output::cell(&csr[*name])).collect();
                row.extend([skills.join(", "), output::cell(&load["open"]), share]);
                row
            });
            let head = ["id", "name", "state", "time zone", "skills", "open", "load"];
            output::table(&head, rows.collect());
            Ok(Exit::Ok)
        })
    }
}

/// List human tasks.
#[derive(Args)]
pub struct Assignments {
    /// Of this CSR
    #[arg(long)]
    csr: Option<String>,
    /// unplaced, planned, ready, started, blocked, done, skipped, cancelled
    #[arg(long)]
    phase: Option<String>,
    /// Of this case
    #[arg(long)]
    case: Option<String>,
    /// Only those that stand out: absent, left, late, overdue, unplaced, zone
    #[arg(long)]
    attention: Option<String>,
    /// At most so many
    #[arg(long, default_value_t = 50)]
    limit: usize,
    #[command(flatten)]
    connection: Connection,
}

impl Assignments {
    pub fn run(self) -> Exit {
        run(async move {
            let remote = self.connection.remote()?;
            let query = query(&[
                ("csr", &self.csr),
                ("phase", &self.phase),
                ("case", &self.case),
                ("attention", &self.attention),
            ]);
            let path = format!("/v1/assignments?sort=start&{query}");
            let (items, more) = remote.some(&path, self.limit.max(1)).await?;
            if remote.output.is_json() {
                items.iter().for_each(|item| println!("{item}"));
                return Ok(Exit::Ok);
            }
            print(&items);
            output::tell_of_more(more);
            Ok(Exit::Ok)
        })
    }
}

/// Show the plan of a case.
#[derive(Args)]
pub struct Plan {
    /// The case
    case: String,
    /// Why each person, and how all others were judged
    #[arg(long)]
    explain: bool,
    #[command(flatten)]
    connection: Connection,
}

impl Plan {
    pub fn run(self) -> Exit {
        run(async move {
            let remote = self.connection.remote()?;
            let plans = remote.get(&format!("/v1/cases/{}/plan", self.case)).await?;
            if remote.output.is_json() {
                println!("{plans}");
                return Ok(Exit::Ok);
            }
            for plan in plans["plans"].as_array().into_iter().flatten() {
                let tasks = plan["tasks"].as_array().cloned().unwrap_or_default();
                print(&tasks);
                for task in tasks.iter().filter(|_| self.explain) {
                    let id = task["id"].as_str().unwrap_or_default();
                    let one = remote.get(&format!("/v1/assignments/{id}")).await?;
                    explain(&one);
                }
            }
            Ok(Exit::Ok)
        })
    }
}

fn explain(one: &Json) {
    println!("\n{}: {}", output::cell(&one["title"]), output::cell(&one["why"]));
    let rows = one["verdicts"].as_array().into_iter().flatten().map(|verdict| {
        let load = verdict["load"].as_u64();
        let load = load.map_or("-".to_owned(), |load| format!("{}.{} %", load / 10, load % 10));
        let names = ["csr", "verdict", "start"];
        let mut row: Vec<String> = names.iter().map(|name| output::cell(&verdict[*name])).collect();
        row.push(load);
        row
    });
    output::table(&["csr", "verdict", "could begin", "load"], rows.collect());
}

fn print(items: &[Json]) {
    let rows = items.iter().map(|one| {
        let names = ["id", "title", "phase", "csr", "start", "due", "attention"];
        names.iter().map(|name| output::cell(&one[*name])).collect()
    });
    let head = ["id", "title", "phase", "csr", "start", "due", "attention"];
    output::table(&head, rows.collect());
}

fn query(pairs: &[(&str, &Option<String>)]) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    for (name, value) in pairs {
        if let Some(value) = value {
            query.append_pair(name, value);
        }
    }
    query.finish()
}
