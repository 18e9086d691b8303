//! How verbs print: tables for people, JSON for programs.

use std::io::IsTerminal;

use clap::ValueEnum;
use comfy_table::{Attribute, Cell, ContentArrangement, Table, presets};
use serde_json::Value as Json;

use crate::clock::Clock;
use crate::domain::time::Timestamp;

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

/// Prints a table, one line a row. On a terminal the longest cells are cut so that rows fit.
pub fn table(head: &[&str], mut rows: Vec<Vec<String>>) {
    if rows.is_empty() {
        eprintln!("none");
        return;
    }
    let mut table = Table::new();
    if let Some(width) = table.width() {
        fit(head, &mut rows, usize::from(width));
    }
    table.load_style(presets::NOTHING);
    table.set_content_arrangement(ContentArrangement::Disabled);
    let bold = std::io::stdout().is_terminal();
    table.set_header(head.iter().map(|name| {
        let cell = Cell::new(name.to_uppercase());
        if bold { cell.add_attribute(Attribute::Bold) } else { cell }
    }));
    for row in rows {
        table.add_row(row.iter().map(|text| plain(text)));
    }
    for line in table.lines() {
        println!("{}", line.trim_end());
    }
}

/// Cuts cells of the widest columns, ids last of all, until rows are no wider than the terminal.
fn fit(head: &[&str], rows: &mut [Vec<String>], width: usize) {
    /// What every column keeps.
    const LEAST: usize = 5;
    let long = |text: &str| text.chars().count();
    let mut widths: Vec<usize> = (0..head.len())
        .map(|n| rows.iter().map(|row| long(&row[n])).max().unwrap_or(0).max(head[n].len()))
        .collect();
    // a column has a space on each side
    let room = width.saturating_sub(2 * head.len());
    while widths.iter().sum::<usize>() > room {
        let cuttable = |n: &usize| head[*n] != "id" && widths[*n] > LEAST.max(head[*n].len());
        let widest = (0..head.len()).filter(cuttable).max_by_key(|n| widths[*n]);
        let Some(n) = widest else { break };
        widths[n] -= 1;
    }
    for row in rows {
        for (cell, width) in row.iter_mut().zip(&widths) {
            if long(cell) > *width {
                *cell = cell.chars().take(width - 1).chain(['…']).collect();
            }
        }
    }
}

/// Says that a list goes on.
pub fn tell_of_more(more: bool) {
    if more {
        eprintln!("there are more: `--limit` shows them");
    }
}

/// How long ago an instant was: `5m`, `3d`. What is no instant is shown as it is.
pub fn ago(value: &Json) -> String {
    let Some(at) = value.as_str().and_then(|text| text.parse::<Timestamp>().ok()) else {
        return cell(value);
    };
    let seconds = Clock::engine().now().since(at) / 1000;
    match seconds {
        ..0 => cell(value),
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// A time as the server takes it, from such a time or from how long ago it was (`90s`, `1h`, `3d`).
pub fn instant(text: &str) -> String {
    let unit = |unit: char| match unit {
        's' => Some(1000),
        'm' => Some(60_000),
        'h' => Some(3_600_000),
        'd' => Some(86_400_000),
        _ => None,
    };
    let span = || {
        let last = text.chars().last()?;
        let number: i64 = text.strip_suffix(last)?.parse().ok()?;
        number.checked_mul(unit(last)?)
    };
    match span() {
        Some(millis) => Clock::engine().now().plus(-millis).to_string(),
        None => text.to_owned(),
    }
}

/// A text without what a terminal would act upon: whoever wrote it may be anybody.
fn plain(text: &str) -> String {
    let is_harmless = |c: char| {
        !c.is_control()
            && !matches!(c, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|c| if is_harmless(c) { c } else { '\u{fffd}' }).collect()
}

/// A value as a cell.
pub fn cell(value: &Json) -> String {
    match value {
        Json::Null => "-".to_owned(),
        Json::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A wait in a few words: `service bobs-post for 5m until …`.
pub fn wait(wait: &Json) -> String {
    if wait.is_null() {
        return "-".to_owned();
    }
    let mut words = vec![cell(&wait["kind"])];
    if let Some(on) = wait["on"].as_str() {
        words.push(on.to_owned());
    }
    if wait["since"].is_string() {
        words.push(format!("for {}", ago(&wait["since"])));
    }
    if let Some(until) = wait["until"].as_str() {
        words.push(format!("until {until}"));
    }
    words.join(" ")
}
