//! How verbs print: tables for people, JSON for programs.

use clap::ValueEnum;
use comfy_table::{Table, presets};
use serde_json::Value as Json;

/// How to print.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Text,
    Json,
}

impl Format {
    /// Whether a program reads it.
    pub fn is_json(self) -> bool {
        self == Self::Json
    }
}

/// Prints a table.
pub fn table(head: &[&str], rows: Vec<Vec<String>>) {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(head.iter().map(|name| name.to_uppercase()));
    for row in rows {
        table.add_row(row);
    }
    println!("{table}");
}

/// A value as a cell.
pub fn cell(value: &Json) -> String {
    match value {
        Json::Null => "-".to_owned(),
        Json::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A wait in a few words: `service bobs-post until …`.
pub fn wait(wait: &Json) -> String {
    if wait.is_null() {
        return "-".to_owned();
    }
    let mut words = vec![cell(&wait["kind"])];
    for (name, word) in [("on", ""), ("since", "since "), ("until", "until ")] {
        if let Some(text) = wait[name].as_str() {
            words.push(format!("{word}{text}"));
        }
    }
    words.join(" ")
}
