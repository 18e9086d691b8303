//! Where in a file something is wrong.

use super::ConfigError;

/// An error of a TOML text with its file, line and column.
pub fn located(error: &toml::de::Error, text: &str, file: &str) -> ConfigError {
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
    ConfigError { place, detail }
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
