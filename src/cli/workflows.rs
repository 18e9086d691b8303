//! `caseworker workflows`, `caseworker register FILE…`

use std::path::PathBuf;

use clap::Args;
use reqwest::Method;

use super::Exit;
use super::client::{Connection, Failure, run};
use super::output;
use crate::app::format_of;
use crate::domain::workflow::source::Format;

/// List the definitions that are registered.
#[derive(Args)]
pub struct Workflows {
    #[command(flatten)]
    connection: Connection,
}

impl Workflows {
    pub fn run(self) -> Exit {
        run(async move {
            let remote = self.connection.remote()?;
            let items = remote.all("/v1/workflows?").await?;
            if remote.output.is_json() {
                items.iter().for_each(|item| println!("{item}"));
                return Ok(Exit::Ok);
            }
            let names = ["namespace", "name", "version"];
            let rows = items
                .iter()
                .map(|item| names.iter().map(|name| output::cell(&item[*name])).collect());
            output::table(&names, rows.collect());
            Ok(Exit::Ok)
        })
    }
}

/// Register definitions.
#[derive(Args)]
pub struct Register {
    /// YAML or JSON, one definition each
    #[arg(required = true)]
    files: Vec<PathBuf>,
    #[command(flatten)]
    connection: Connection,
}

impl Register {
    pub fn run(self) -> Exit {
        run(async move {
            let remote = self.connection.remote()?;
            let mut refused = 0;
            for file in &self.files {
                let name = file.display();
                let text = std::fs::read_to_string(file)
                    .map_err(|error| Failure::new(Exit::Usage, format!("{name}: {error}")))?;
                let media = match format_of(file) {
                    Format::Json => "application/json",
                    Format::Yaml => "application/yaml",
                };
                let request = remote.request(Method::POST, "/v1/workflows").body(text);
                match remote.send(request.header("content-type", media)).await {
                    Ok(answer) if remote.output.is_json() => println!("{answer}"),
                    Ok(answer) => {
                        let cell = |name: &str| output::cell(&answer[name]);
                        println!("{}/{}/{}", cell("namespace"), cell("name"), cell("version"));
                    }
                    Err(failure) if failure.exit == Exit::Unreachable => return Err(failure),
                    Err(failure) => {
                        refused += 1;
                        eprintln!("{name}: {}", failure.message);
                    }
                }
            }
            Ok(match refused {
                0 => Exit::Ok,
                n if n == self.files.len() => Exit::Failed,
                _ => Exit::PartlyDone,
            })
        })
    }
}
