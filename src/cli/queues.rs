//! `caseworker queues`: how the queues of workers outside stand; paused, resumed, purged.

use clap::{Args, Subcommand};
use serde_json::{Value as Json, json};

use super::Exit;
use super::client::{Connection, run};
use super::output;

/// Show queues, and what workers have of them.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Queues {
    #[command(subcommand)]
    act: Option<Act>,
    /// One of them
    name: Option<String>,
    #[command(flatten)]
    connection: Connection,
}

/// What an operator says of a queue.
#[derive(Subcommand)]
enum Act {
    /// Lease nothing more from a queue; what workers have goes on
    Pause(Said),
    /// Lease from a queue again
    Resume {
        name: String,
        /// Why
        #[arg(long, default_value = "")]
        reason: String,
        #[command(flatten)]
        connection: Connection,
    },
    /// Make dead letters of all that is queued now; what workers have goes on
    Purge(Said),
}

/// A queue, and why.
#[derive(Args)]
struct Said {
    name: String,
    /// Why
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    connection: Connection,
}

impl Queues {
    pub fn run(self) -> Exit {
        match self.act {
            None => show(self.name, self.connection),
            Some(Act::Pause(said)) => change(said, "pause"),
            Some(Act::Resume { name, reason, connection }) => {
                change(Said { name, reason, connection }, "resume")
            }
            Some(Act::Purge(said)) => purge(said),
        }
    }
}

fn show(name: Option<String>, connection: Connection) -> Exit {
    run(async move {
        let remote = connection.remote()?;
        let items = match &name {
            Some(name) => vec![remote.get(&format!("/v1/queues/{name}")).await?],
            None => remote.all("/v1/queues?").await?,
        };
        match remote.output.is_json() {
            true => items.iter().for_each(|item| println!("{item}")),
            false => print(&items),
        }
        Ok(Exit::Ok)
    })
}

fn change(said: Said, verb: &'static str) -> Exit {
    run(async move {
        let remote = said.connection.remote()?;
        let path = format!("/v1/queues/{}/{verb}", said.name);
        let queue = remote.post(&path, &json!({"reason": said.reason})).await?;
        match remote.output.is_json() {
            true => println!("{queue}"),
            false => print(&[queue]),
        }
        Ok(Exit::Ok)
    })
}

fn purge(said: Said) -> Exit {
    run(async move {
        let remote = said.connection.remote()?;
        let path = format!("/v1/queues/{}/purge", said.name);
        let purged = remote.post(&path, &json!({"reason": said.reason})).await?;
        match remote.output.is_json() {
            true => println!("{purged}"),
            false => eprintln!("{} jobs become dead letters", output::cell(&purged["purging"])),
        }
        Ok(Exit::Ok)
    })
}

fn print(items: &[Json]) {
    let rows = items.iter().map(|queue| {
        let names = ["name", "depth", "leased", "waitingBeforeRepeat", "workers", "out1m"];
        let mut row: Vec<String> = names.iter().map(|name| output::cell(&queue[*name])).collect();
        row.insert(2, output::ago(&queue["oldestSince"]));
        row.push(match (&queue["paused"], &queue["reason"]) {
            (Json::Bool(true), reason) => format!("paused: {}", output::cell(reason)),
            _ => String::new(),
        });
        row
    });
    let head =
        ["name", "queued", "oldest", "leased", "repeating", "workers", "done in 1 m", "state"];
    output::table(&head, rows.collect());
}
