//! Figures as a table and as JSON.

use comfy_table::{Table, presets};
use serde_json::{Value as Json, json};

/// What was measured.
#[derive(Default)]
pub struct Report {
    lines: Vec<Line>,
}

struct Line {
    name: String,
    unit: &'static str,
    median: f64,
    low: f64,
    high: f64,
    /// Which bound resolves the issue, and whether more is better.
    least: Option<f64>,
    more: bool,
}

impl Report {
    /// Adds a figure of which more is better.
    pub fn at_least(&mut self, name: &str, unit: &'static str, values: &[f64], least: f64) {
        self.add(name, unit, values, Some(least), true);
    }

    /// Adds a figure of which less is better.
    pub fn at_most(&mut self, name: &str, unit: &'static str, values: &[f64], most: f64) {
        self.add(name, unit, values, Some(most), false);
    }

    /// Adds a figure without a bound.
    pub fn note(&mut self, name: &str, unit: &'static str, values: &[f64]) {
        self.add(name, unit, values, None, false);
    }

    fn add(
        &mut self,
        name: &str,
        unit: &'static str,
        values: &[f64],
        least: Option<f64>,
        more: bool,
    ) {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (Some(&low), Some(&high)) = (sorted.first(), sorted.last()) else { return };
        let median = sorted[sorted.len() / 2];
        eprintln!("  {name}: {} {unit}", show(median));
        self.lines.push(Line { name: name.to_owned(), unit, median, low, high, least, more });
    }

    /// For people.
    pub fn table(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::UTF8_FULL_CONDENSED);
        table.set_header(["figure", "median", "low … high", "bound", ""]);
        for line in &self.lines {
            let bound = line.least.map_or_else(String::new, |least| {
                format!("{} {}", if line.more { "≥" } else { "≤" }, show(least))
            });
            table.add_row([
                format!("{} [{}]", line.name, line.unit),
                show(line.median),
                format!("{} … {}", show(line.low), show(line.high)),
                bound,
                match line.met() {
                    Some(true) => "met".to_owned(),
                    Some(false) => "short".to_owned(),
                    None => String::new(),
                },
            ]);
        }
        table.to_string()
    }

    /// For programs.
    pub fn json(&self) -> Json {
        let lines = self.lines.iter().map(|line| {
            json!({
                "figure": line.name, "unit": line.unit, "median": line.median,
                "low": line.low, "high": line.high, "bound": line.least, "met": line.met(),
            })
        });
        json!({"cores": std::thread::available_parallelism().map_or(0, usize::from),
               "version": env!("CARGO_PKG_VERSION"), "figures": lines.collect::<Vec<_>>()})
    }
}

impl Line {
    fn met(&self) -> Option<bool> {
        let least = self.least?;
        Some(if self.more { self.median >= least } else { self.median <= least })
    }
}

fn show(value: f64) -> String {
    match value.abs() {
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}
