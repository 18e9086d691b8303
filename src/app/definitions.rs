//! Definitions of a folder, registered at the start.

use std::path::{Path, PathBuf};

use crate::actors::definitions::Refused;
use crate::actors::handles::{By, Handle};
use crate::domain::workflow::fault::Fault;
use crate::domain::workflow::source::Format;

/// Registers every definition of a folder; what is wrong is told of all of them at once.
pub async fn register(handle: &Handle, folder: &Path) -> Result<(), String> {
    let mut wrong = Vec::new();
    for file in definitions_in(folder)? {
        if let Err(error) = register_file(handle, &file).await {
            wrong.push(error);
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
}

async fn register_file(handle: &Handle, file: &Path) -> Result<(), String> {
    let name = file.display();
    let text = std::fs::read_to_string(file).map_err(|error| format!("{name}: {error}"))?;
    let by = By { who: "local".to_owned(), from: "file".to_owned(), why: String::new() };
    let line = |fault: &Fault| {
        format!("{name}:{}:{}: {}; {}", fault.line, fault.column, fault.detail, fault.fix)
    };
    match handle.register(text, format_of(file), by).await {
        Ok(registration) => {
            for warning in &registration.warnings {
                tracing::warn!("{}", line(warning));
            }
            Ok(())
        }
        Err(Refused::Faults(faults)) => Err(faults.iter().map(line).collect::<Vec<_>>().join("\n")),
        Err(Refused::Other(id)) => {
            Err(format!("{name}: {id} is registered with another content: raise the version"))
        }
        // what is stored already goes on all the same
        Err(Refused::Failed(error)) if handle.not_ready().is_some() => {
            tracing::error!("{name}: not registered: {error}");
            Ok(())
        }
        Err(Refused::Failed(error)) => Err(format!("{name}: {error}")),
    }
}

/// The definitions of a folder, in the order of their names.
fn definitions_in(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
        if matches!(extension, "yaml" | "yml" | "json") && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// The format that a file's name stands for.
pub fn format_of(file: &Path) -> Format {
    match file.extension().and_then(|e| e.to_str()) {
        Some("json") => Format::Json,
        _ => Format::Yaml,
    }
}
