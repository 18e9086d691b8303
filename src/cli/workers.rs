//! `caseworker workers`: who does the jobs of queues.

use clap::Args;
use serde_json::Value as Json;

use super::Exit;
use super::client::{Connection, run};
use super::output;

/// Show workers: whether they are there, what they have, and what they did.
#[derive(Args)]
pub struct Workers {
    #[command(flatten)]
    connection: Connection,
}

impl Workers {
    pub fn run(self) -> Exit {
        run(async move {
            let remote = self.connection.remote()?;
            let items = remote.all("/v1/workers?").await?;
            match remote.output.is_json() {
                true => items.iter().for_each(|item| println!("{item}")),
                false => print(&items),
            }
            Ok(Exit::Ok)
        })
    }
}

fn print(items: &[Json]) {
    let rows = items.iter().map(|worker| {
        let queues = worker["queues"].as_array().into_iter().flatten();
        let queues: Vec<String> = queues.map(output::cell).collect();
        let mut row = vec![output::cell(&worker["name"]), output::cell(&worker["state"])];
        row.extend([output::ago(&worker["lastSeen"]), queues.join(", ")]);
        row.extend(["inHand", "done", "failed", "host"].map(|name| output::cell(&worker[name])));
        row
    });
    let head = ["name", "state", "last seen", "queues", "in hand", "done", "failed", "host"];
    output::table(&head, rows.collect());
}
