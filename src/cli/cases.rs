//! `caseworker cases`

use clap::Args;

use super::Exit;
use super::client::{Connection, run};
use super::output;

/// List cases.
#[derive(Args)]
pub struct Cases {
    /// `namespace/name`, and a version if you like; a comma means any of
    #[arg(long)]
    workflow: Option<String>,
    /// pending, running, waiting, suspended, cancelled, faulted, completed
    #[arg(long)]
    phase: Option<String>,
    /// Business status
    #[arg(long)]
    status: Option<String>,
    /// Business key
    #[arg(long)]
    subject: Option<String>,
    /// Services behind which a call is parked
    #[arg(long)]
    service: Option<String>,
    /// What it waits for: `service`, `service:bobs-post`, `person` …
    #[arg(long)]
    wait: Option<String>,
    /// Created at or after: a time, or how long ago (`1h`, `3d`)
    #[arg(long)]
    since: Option<String>,
    /// Created before
    #[arg(long)]
    until: Option<String>,
    /// At most so many
    #[arg(long, default_value_t = 50)]
    limit: usize,
    #[command(flatten)]
    connection: Connection,
}

impl Cases {
    pub fn run(self) -> Exit {
        run(async move {
            let remote = self.connection.remote()?;
            let mut query = url::form_urlencoded::Serializer::new(String::new());
            for (name, value) in [
                ("workflow", &self.workflow),
                ("phase", &self.phase),
                ("status", &self.status),
                ("subject", &self.subject),
                ("service", &self.service),
                ("wait", &self.wait),
                ("since", &self.since),
                ("until", &self.until),
            ] {
                if let Some(value) = value {
                    let is_time = matches!(name, "since" | "until");
                    let value = if is_time { output::instant(value) } else { value.clone() };
                    query.append_pair(name, &value);
                }
            }
            let query = query.finish();
            let path = format!("/v1/cases?{query}");
            let (items, more) = remote.some(&path, self.limit.max(1)).await?;
            if remote.output.is_json() {
                items.iter().for_each(|item| println!("{item}"));
                return Ok(Exit::Ok);
            }
            let rows = items.iter().map(|case| {
                let names = ["id", "workflow", "phase", "status"];
                let mut row: Vec<String> =
                    names.iter().map(|name| output::cell(&case[*name])).collect();
                row.push(output::ago(&case["createdAt"]));
                row.push(output::wait(&case["wait"]));
                row
            });
            let head = ["id", "workflow", "phase", "status", "created", "waits for"];
            output::table(&head, rows.collect());
            output::tell_of_more(more);
            Ok(Exit::Ok)
        })
    }
}
