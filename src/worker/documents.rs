//! Files that a job has left in `$CASEWORKER_OUT`: stored at the server before the job counts as done.

use std::path::{Path, PathBuf};

use serde_json::{Value as Json, json};

use super::job::Outcome;
use super::server::{Server, Stored};

/// Bytes of one file, which is in memory as a whole; the server may take less.
const FILE_MAX: u64 = 64 << 20;

/// Files of one job.
const FILES_MAX: usize = 20;

/// What a file's ending says of it.
const KINDS: [(&str, &str); 12] = [
    ("pdf", "application/pdf"),
    ("png", "image/png"),
    ("jpg", "image/jpeg"),
    ("jpeg", "image/jpeg"),
    ("svg", "image/svg+xml"),
    ("csv", "text/csv"),
    ("txt", "text/plain"),
    ("html", "text/html"),
    ("json", "application/json"),
    ("xml", "application/xml"),
    ("zip", "application/zip"),
    ("xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
];

/// A job is done: what it has left is stored, and named in its output where that is an object or nothing.
pub async fn store(server: &Server, folder: &Path, output: Json) -> Outcome {
    let files = match files_of(folder) {
        Ok(files) if files.is_empty() => return Outcome::done(output),
        Ok(files) => files,
        Err(error) => return Outcome::failed(format!("its files cannot be read: {error}"), true),
    };
    if files.len() > FILES_MAX {
        return Outcome::failed(format!("it has left more than {FILES_MAX} files"), false);
    }
    let (mut ids, mut shown) = (Vec::new(), Vec::new());
    for file in files {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let large = tokio::fs::metadata(&file).await.is_ok_and(|about| about.len() > FILE_MAX);
        if large {
            return Outcome::failed(format!("{name} is larger than {} MiB", FILE_MAX >> 20), false);
        }
        let bytes = match tokio::fs::read(&file).await {
            Ok(bytes) => bytes,
            Err(error) => return Outcome::failed(format!("{name}: {error}"), true),
        };
        let (kind, length) = (kind_of(&file), bytes.len());
        match server.store(kind, bytes).await {
            Stored::As(id) => {
                shown.push(json!({
                    "document": id, "name": name, "mediaType": kind, "bytes": length,
                }));
                ids.push(id);
            }
            Stored::Never(why) => return Outcome::failed(format!("{name}: {why}"), false),
            Stored::NotNow(why) => return Outcome::failed(format!("{name}: {why}"), true),
        }
    }
    let output = match output {
        Json::Null => json!({"documents": shown}),
        Json::Object(mut fields) => {
            fields.entry("documents").or_insert(Json::Array(shown));
            Json::Object(fields)
        }
        other => other,
    };
    Outcome::Done { output, documents: ids }
}

/// The files of a folder by name; folders in it are the job's own.
fn files_of(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        // a link may lead anywhere
        if entry.file_type()?.is_file() {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}

fn kind_of(file: &Path) -> &'static str {
    let ending = file.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    let known = KINDS.iter().find(|(known, _)| ending.eq_ignore_ascii_case(known));
    known.map_or("application/octet-stream", |(_, kind)| kind)
}
