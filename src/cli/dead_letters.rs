//! `caseworker dead-letters`

use std::collections::BTreeMap;

use clap::Args;
use serde_json::Value as Json;

use super::Exit;
use super::client::{Connection, Failure, Remote, run};
use super::output;

/// Show what cannot go on without a person, by cause; or one letter.
#[derive(Args)]
pub struct DeadLetters {
    /// `dead_…`: show this one
    id: Option<String>,
    /// open, redriven, archived
    #[arg(long, default_value = "open")]
    state: String,
    /// `namespace/name`
    #[arg(long)]
    workflow: Option<String>,
    /// List the letters of this group
    #[arg(long)]
    group: Option<String>,
    /// List the letters instead of their causes
    #[arg(long)]
    all: bool,
    /// At most so many letters
    #[arg(long, default_value_t = 50)]
    limit: usize,
    #[command(flatten)]
    connection: Connection,
}

impl DeadLetters {
    pub fn run(self) -> Exit {
        run(async move {
            let remote = self.connection.remote()?;
            if let Some(id) = &self.id {
                return one(&remote, id).await;
            }
            let mut query = url::form_urlencoded::Serializer::new(String::new());
            query.append_pair("state", &self.state);
            for (name, value) in [("workflow", &self.workflow), ("group", &self.group)] {
                if let Some(value) = value {
                    query.append_pair(name, value);
                }
            }
            let path = format!("/v1/dead-letters?{}", query.finish());
            let listed = self.all || self.group.is_some() || remote.output.is_json();
            if !listed {
                return causes(&remote.all(&path).await?);
            }
            let (items, more) = remote.some(&path, self.limit).await?;
            if remote.output.is_json() {
                items.iter().for_each(|item| println!("{item}"));
                return Ok(Exit::Ok);
            }
            let names = ["id", "case", "task", "cause", "since"];
            let row = |letter: &Json| {
                let mut row: Vec<String> =
                    names[..4].iter().map(|name| output::cell(&letter[*name])).collect();
                row.push(output::ago(&letter["since"]));
                row
            };
            output::table(&names, items.iter().map(row).collect());
            output::tell_of_more(more);
            Ok(Exit::Ok)
        })
    }
}

/// One line for each cause, the most frequent first.
fn causes(items: &[Json]) -> Result<Exit, Failure> {
    let mut groups: BTreeMap<String, Vec<&Json>> = BTreeMap::new();
    for item in items {
        groups.entry(output::cell(&item["group"])).or_default().push(item);
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_by_key(|(_, letters)| std::cmp::Reverse(letters.len()));
    let row = |(group, letters): &(String, Vec<&Json>)| {
        let oldest = letters.iter().min_by_key(|letter| letter["since"].as_str());
        let Some(oldest) = oldest else { return Vec::new() };
        vec![
            group.clone(),
            letters.len().to_string(),
            output::cell(&oldest["workflow"]),
            output::cell(&oldest["task"]),
            output::cell(&oldest["cause"]),
            output::ago(&oldest["since"]),
        ]
    };
    let head = ["group", "count", "workflow", "task", "cause", "oldest"];
    output::table(&head, groups.iter().map(row).collect());
    if !groups.is_empty() {
        eprintln!(
            "`dead-letters --group GROUP` lists the letters of one, `dead-letters ID` shows one"
        );
    }
    Ok(Exit::Ok)
}

async fn one(remote: &Remote, id: &str) -> Result<Exit, Failure> {
    let letter = remote.get(&format!("/v1/dead-letters/{id}")).await?;
    if remote.output.is_json() {
        println!("{letter}");
        return Ok(Exit::Ok);
    }
    for name in ["id", "state", "case", "workflow", "task", "cause", "group", "since"] {
        println!("{name:10} {}", output::cell(&letter[name]));
    }
    println!("{:10} {}", "input", letter["input"]);
    for attempt in letter["attempts"].as_array().into_iter().flatten() {
        let error = &attempt["error"];
        let what = error["detail"].as_str().or(error["title"].as_str()).unwrap_or("-");
        println!("{:10} {} {what}", "attempt", output::cell(&attempt["at"]));
    }
    println!("\n`redrive {id}` takes its case up again");
    Ok(Exit::Ok)
}
