//! Where in a file something is wrong.

use serde::de::DeserializeOwned;

use super::ConfigError;

/// Errors of one file that are told at once.
const ERRORS_MAX: usize = 20;

/// Reads a TOML text. What is wrong does not hide what else is: each faulty line is blanked and
/// the rest is read again.
///
/// # Errors
/// Everything that is wrong, in the order in which it is found.
pub fn read<T: DeserializeOwned>(text: &str, file: &str) -> Result<T, ConfigError> {
    let mut errors: Vec<ConfigError> = Vec::new();
    let mut left = text.to_owned();
    while errors.len() < ERRORS_MAX {
        let error = match toml::from_str(&left) {
            Ok(read) if errors.is_empty() => return Ok(read),
            Ok(_) => break,
            Err(error) => error,
        };
        errors.push(located(&error, text, file));
        let Some(rest) = error.span().and_then(|span| without_line(&left, span.start)) else {
            break;
        };
        left = rest;
    }
    let mut errors = errors.into_iter();
    let first = errors.next().expect("the loop ends with an error");
    Err(ConfigError { others: errors.collect(), ..first })
}

/// The text without the line of this byte, a section's head without the whole section; every
/// other byte keeps its place. `None` when there is nothing to take away.
fn without_line(text: &str, byte: usize) -> Option<String> {
    let start = text[..byte.min(text.len())].rfind('\n').map_or(0, |at| at + 1);
    let mut end = text[start..].find('\n').map_or(text.len(), |at| start + at);
    if text[start..end].trim().is_empty() {
        return None;
    }
    if text[start..end].trim_start().starts_with('[') {
        end = text[end..].find("\n[").map_or(text.len(), |at| end + at);
    }
    let blank = |c: char| if c == '\n' { "\n".to_owned() } else { " ".repeat(c.len_utf8()) };
    let blanked: String = text[start..end].chars().map(blank).collect();
    Some(format!("{}{blanked}{}", &text[..start], &text[end..]))
}

/// An error of a TOML text with its file, line and column.
fn located(error: &toml::de::Error, text: &str, file: &str) -> ConfigError {
    let place = match error.span() {
        Some(span) => {
            let (line, column) = line_and_column(text, span.start);
            format!("{file}:{line}:{column}")
        }
        None => file.to_owned(),
    };
    let key = error.span().and_then(|span| key_at(text, span.start));
    let detail = match key {
        Some(key) if !error.message().contains(&format!("`{key}`")) => {
            format!("{key}: {}", error.message())
        }
        _ => error.message().to_owned(),
    };
    ConfigError::new(place, detail)
}

/// Line and column of a byte, counted from 1.
pub fn line_and_column(text: &str, byte: usize) -> (usize, usize) {
    let before = &text[..byte.min(text.len())];
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
    (line, column)
}

/// The key that the line of a byte assigns.
fn key_at(text: &str, byte: usize) -> Option<String> {
    let start = text[..byte.min(text.len())].rfind('\n').map_or(0, |at| at + 1);
    let line = text[start..].lines().next()?;
    let (key, _) = line.split_once('=')?;
    Some(key.trim().to_owned()).filter(|key| !key.is_empty())
}
