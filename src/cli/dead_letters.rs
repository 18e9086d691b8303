//! `caseworker dead-letters`

use clap::Args;

use super::Exit;
use super::client::{Connection, run};
use super::output;

/// List what cannot go on without a person.
#[derive(Args)]
pub struct DeadLetters {
    /// open, redriven, archived
    #[arg(long, default_value = "open")]
    state: String,
    /// `namespace/name`
    #[arg(long)]
    workflow: Option<String>,
    /// At most so many
    #[arg(long, default_value_t = 50)]
    limit: usize,
    #[command(flatten)]
    connection: Connection,
}

impl DeadLetters {
    pub fn run(self) -> Exit {
        run(async move {
            let remote = self.connection.remote()?;
            let mut query = url::form_urlencoded::Serializer::new(String::new());
            query.append_pair("state", &self.state);
            query.append_pair("limit", &self.limit.clamp(1, 500).to_string());
            if let Some(workflow) = &self.workflow {
                query.append_pair("workflow", workflow);
            }
            let page = remote.get(&format!("/v1/dead-letters?{}", query.finish())).await?;
            let items = page["items"].as_array().cloned().unwrap_or_default();
            if remote.output.is_json() {
                items.iter().for_each(|item| println!("{item}"));
                return Ok(Exit::Ok);
            }
            let names = ["id", "case", "task", "cause", "group", "since", "state"];
            let rows = items
                .iter()
                .map(|letter| names.iter().map(|name| output::cell(&letter[*name])).collect());
            output::table(&names, rows.collect());
            Ok(Exit::Ok)
        })
    }
}
