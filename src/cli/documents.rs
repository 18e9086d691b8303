//! `caseworker documents`: the files that a case refers to, and one of them.

use std::io::Write;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Exit;
use super::client::{Connection, Failure, run};
use super::output;

/// Show the documents of a case, or get one.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Documents {
    #[command(subcommand)]
    act: Option<Act>,
    /// The case whose documents these are
    #[arg(required = true)]
    case: Option<String>,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Subcommand)]
enum Act {
    /// Get a document
    Get {
        id: String,
        /// The file that it is written to; the standard output unless said
        #[arg(long = "file")]
        file: Option<PathBuf>,
        #[command(flatten)]
        connection: Connection,
    },
}

impl Documents {
    pub fn run(self) -> Exit {
        match self.act {
            None => show(self.case.unwrap_or_default(), self.connection),
            Some(Act::Get { id, file, connection }) => get(id, file, connection),
        }
    }
}

fn show(case: String, connection: Connection) -> Exit {
    run(async move {
        let remote = connection.remote()?;
        let page = remote.get(&format!("/v1/documents?case={case}")).await?;
        let items = page["items"].as_array().cloned().unwrap_or_default();
        if remote.output.is_json() {
            items.iter().for_each(|item| println!("{item}"));
            return Ok(Exit::Ok);
        }
        let names = ["id", "mediaType", "bytes", "createdAt"];
        let rows = items.iter().map(|item| names.iter().map(|name| output::cell(&item[*name])));
        output::table(&["id", "type", "bytes", "stored"], rows.map(Iterator::collect).collect());
        Ok(Exit::Ok)
    })
}

fn get(id: String, file: Option<PathBuf>, connection: Connection) -> Exit {
    run(async move {
        let remote = connection.remote()?;
        let bytes = remote.bytes(&format!("/v1/documents/{id}")).await?;
        let written = match &file {
            Some(file) => std::fs::write(file, &bytes),
            None => std::io::stdout().lock().write_all(&bytes),
        };
        written.map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
        if let Some(file) = file {
            eprintln!("{} bytes are in {}", bytes.len(), file.display());
        }
        Ok(Exit::Ok)
    })
}
