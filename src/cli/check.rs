//! `caseworker check FILE…`

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use serde_json::json;

use super::Exit;
use crate::actors::definitions::compile_apart;
use crate::app::format_of;
use crate::config::services::Services;
use crate::domain::workflow::fault::Fault;
use crate::domain::workflow::location::Location;
use crate::domain::workflow::model::Definition;
use crate::domain::workflow::read::Compiled;

/// Check definitions.
#[derive(Args)]
pub struct Check {
    /// Definitions, YAML or JSON
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Services that endpoints are compared with
    #[arg(long, env = "CASEWORKER_SERVICES")]
    services: Option<PathBuf>,
    /// How to print
    #[arg(long, default_value = "text")]
    output: super::output::Format,
}

impl Check {
    pub fn run(self) -> Exit {
        let services = match self.services.as_deref().map(|file| Services::load(Some(file))) {
            None => None,
            Some(Ok(services)) => Some(services),
            Some(Err(error)) => {
                eprintln!("{error}");
                return Exit::Usage;
            }
        };
        let serves = |host: &str| {
            let named = |s: &Services| s.named.iter().any(|s| s.hosts.iter().any(|h| h == host));
            services.as_ref().is_none_or(named)
        };
        let mut exit = Exit::Ok;
        let mut all = Vec::new();
        let mut seen: Vec<(Arc<Definition>, String)> = Vec::new();
        for file in &self.files {
            let name = file.display().to_string();
            let compiled = std::fs::read_to_string(file)
                .and_then(|text| compile_apart(&text, format_of(file), &serves, &|_| true));
            let (faults, warnings) = match compiled {
                Ok(compiled) => match compiled.and_then(Compiled::registered_now) {
                    Ok(compiled) => {
                        let twice = twice(&compiled.definition, &seen);
                        seen.push((compiled.definition, name.clone()));
                        (twice, compiled.warnings)
                    }
                    Err(faults) => (faults, Vec::new()),
                },
                Err(error) => {
                    eprintln!("{name}: {error}");
                    exit = Exit::Failed;
                    continue;
                }
            };
            if !faults.is_empty() {
                exit = Exit::Failed;
            }
            if self.output.is_json() {
                all.push(json!({"file": name, "errors": faults, "warnings": warnings}));
            } else {
                print(&name, "error", &faults);
                print(&name, "warning", &warnings);
                if faults.is_empty() {
                    println!("{name}: ok");
                }
            }
        }
        if self.output.is_json() {
            println!("{}", json!(all));
        }
        exit
    }
}

/// A definition of the same name and version in an earlier file, with another content.
fn twice(definition: &Definition, seen: &[(Arc<Definition>, String)]) -> Vec<Fault> {
    let same = seen
        .iter()
        .find(|(other, _)| other.id == definition.id && other.source != definition.source);
    let fault = |(_, file): &(Arc<Definition>, String)| {
        let detail = format!("{} stands in {file} already, with another content", definition.id);
        let place = Location { line: 1, column: 1 };
        Fault::at(place, "/document/version", detail, "raise the version of one of them")
    };
    same.map(fault).into_iter().collect()
}

fn print(file: &str, what: &str, faults: &[Fault]) {
    for fault in faults {
        let at =
            if fault.pointer.is_empty() { String::new() } else { format!(" ({})", fault.pointer) };
        println!("{file}:{}:{}: {what}: {}{at}", fault.line, fault.column, fault.detail);
        if !fault.fix.is_empty() {
            println!("    {}", fault.fix);
        }
    }
}
