//! The walls between the rooms, and what every file keeps to.

use std::fs;
use std::path::{Path, PathBuf};

/// Lines of a file at the most; what is longer has more than one job.
const LINES: usize = 480;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, extension));
        } else if path.extension().is_some_and(|e| e == extension) {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn name(path: &Path) -> String {
    path.strip_prefix(root()).unwrap().display().to_string()
}

/// The code of a file: no comments, and nothing behind its tests.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

/// What a room may name of the crate.
const ROOMS: [(&str, &[&str]); 10] = [
    ("domain", &["domain"]),
    ("store", &["store", "domain"]),
    ("effects", &["effects", "domain"]),
    ("actors", &["actors", "domain", "store", "effects", "clock"]),
    ("api", &["api", "domain", "actors::handles", "store::views"]),
    ("config", &["config", "domain", "clock"]),
    ("sim", &["sim"]),
    ("worker", &["worker", "telemetry"]),
    (
        "app.rs",
        &["app", "actors", "api", "clock", "config", "domain", "effects", "store", "telemetry"],
    ),
    ("telemetry.rs", &["telemetry", "config"]),
];

#[test]
fn rooms_name_only_what_they_may() {
    let mut breaches = Vec::new();
    for (room, allowed) in ROOMS {
        let place = root().join("src").join(room);
        let all = if place.is_dir() { files(&place, "rs") } else { vec![place] };
        for path in all {
            let code = code(&path);
            for part in code.split("crate::").skip(1) {
                let fits = allowed.iter().any(|allowed| {
                    part.strip_prefix(allowed).is_some_and(|rest| {
                        !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_')
                    })
                });
                if !fits {
                    let named: String = part.chars().take(40).collect();
                    breaches.push(format!("{}: crate::{named}", name(&path)));
                }
            }
        }
    }
    assert!(breaches.is_empty(), "{breaches:#?}");
}

/// Where a library may be named.
const LIBRARIES: [(&str, &[&str]); 15] = [
    ("sled", &["src/store/snapshots.rs"]),
    ("heed", &["src/store/views/engine.rs"]),
    ("fjall", &["src/store/embedded"]),
    ("bincode", &["src/store/codec.rs"]),
    ("ractor", &["src/actors/"]),
    ("axum", &["src/api/", "src/sim/", "src/worker/health.rs"]),
    ("reqwest", &["src/effects/http.rs", "src/cli/", "src/sim/", "src/worker/server.rs"]),
    ("lettre", &["src/effects/email.rs"]),
    ("mail_parser", &["src/sim/mailbox.rs"]),
    ("jaq_core", &["src/domain/workflow/expr/"]),
    ("jsonschema", &["src/domain/workflow/schema.rs"]),
    ("saphyr_parser", &["src/domain/workflow/source.rs"]),
    ("clap", &["src/cli/", "src/main.rs"]),
    ("clap_complete", &["src/cli/completions.rs"]),
    ("clap_mangen", &["src/cli/completions.rs"]),
];

#[test]
fn libraries_stay_in_their_rooms() {
    let mut breaches = Vec::new();
    for path in files(&root().join("src"), "rs") {
        let (file, code) = (name(&path), code(&path));
        for (library, places) in LIBRARIES {
            let named = code.contains(&format!("{library}::"));
            if named && !places.iter().any(|place| file.starts_with(place)) {
                breaches.push(format!("{file} names {library}"));
            }
        }
    }
    assert!(breaches.is_empty(), "{breaches:#?}");
}

#[test]
fn the_domain_is_pure() {
    let mut breaches = Vec::new();
    let is_test = |path: &PathBuf| path.components().any(|part| part.as_os_str() == "tests");
    for path in files(&root().join("src/domain"), "rs").into_iter().filter(|p| !is_test(p)) {
        let code = code(&path);
        for word in ["tokio::", "std::fs", "std::net", "std::env", "Instant::now", "SystemTime"] {
            if code.contains(word) {
                breaches.push(format!("{} names {word}", name(&path)));
            }
        }
    }
    assert!(breaches.is_empty(), "{breaches:#?}");
}

#[test]
fn files_are_small_and_say_what_they_are_for() {
    let mut breaches = Vec::new();
    for path in files(&root().join("src"), "rs") {
        let text = fs::read_to_string(&path).unwrap();
        let tests = path.file_name().is_some_and(|file| file == "tests.rs")
            || path.components().any(|part| part.as_os_str() == "tests");
        if !tests && !text.starts_with("//!") {
            breaches.push(format!("{} does not say what it is for", name(&path)));
        }
        if text.lines().count() > LINES {
            breaches.push(format!("{} has {} lines", name(&path), text.lines().count()));
        }
        for word in ["todo!", "unimplemented!", "dbg!(", "FIXME"] {
            if text.contains(word) {
                breaches.push(format!("{} holds {word}", name(&path)));
            }
        }
    }
    assert!(breaches.is_empty(), "{breaches:#?}");
}

#[test]
fn documents_lead_somewhere() {
    let mut breaches = Vec::new();
    let mut documents = vec![root().join("README.md"), root().join("ARCHITECTURE.md")];
    documents.extend(files(&root().join("docs"), "md"));
    for path in documents {
        let text = fs::read_to_string(&path).unwrap();
        for link in text.split("](").skip(1) {
            let target = link.split([')', '#']).next().unwrap_or_default();
            if target.is_empty() || target.contains("://") {
                continue;
            }
            if !path.parent().unwrap().join(target).exists() {
                breaches.push(format!("{}: {target}", name(&path)));
            }
        }
    }
    assert!(breaches.is_empty(), "{breaches:#?}");
}

#[test]
fn every_decision_is_numbered_once() {
    let mut numbers: Vec<String> = files(&root().join("docs/adr"), "md")
        .iter()
        .map(|path| path.file_name().unwrap().to_str().unwrap()[..4].to_owned())
        .collect();
    let all = numbers.len();
    numbers.dedup();
    assert_eq!(numbers.len(), all);
    assert_eq!(numbers.first().map(String::as_str), Some("0001"));
}
