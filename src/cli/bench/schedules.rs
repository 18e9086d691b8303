//! What begins by itself, and what is rendered: many schedules that are due in the same second, and an invoice.

use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

use super::Bench;
use super::load::percentile;
use super::report::Report;
use super::world::World;
use crate::domain::time::Timestamp;

/// Schedules that are due in the same second.
const SCHEDULES: usize = 1000;

/// Seconds between two instants at which they are.
const EVERY: i64 = 20;

/// Invoices that are rendered, and those before them that warm it up.
const INVOICES: usize = 200;
const WARM: usize = 20;

/// How late the last of many schedules' cases begins.
pub async fn schedules(
    bench: &Bench,
    world: &mut World,
    report: &mut Report,
) -> Result<(), String> {
    world.forget()?;
    world.start().await?;
    for number in 0..SCHEDULES {
        define(world, &format!(
            "document: {{ dsl: '1.0.3', namespace: bench, name: tick{number}, version: '1.0.0' }}\n\
             schedule: {{ cron: '*/{EVERY} * * * * *' }}\ndo: [ {{ a: {{ set: {{ b: 1 }} }} }} ]\n"
        ))
        .await?;
    }
    let mut late = Vec::new();
    for _ in 0..bench.runs {
        let now = crate::clock::Clock::engine().now().seconds();
        let due = Timestamp((now / EVERY + 1) * EVERY * 1000);
        let wait = due.0 - crate::clock::Clock::engine().now().0 + 5000;
        tokio::time::sleep(Duration::from_millis(wait.unsigned_abs())).await;
        let begun = created_since(world, due).await?;
        if begun.len() != SCHEDULES {
            return Err(format!("{} of {SCHEDULES} cases have begun", begun.len()));
        }
        let last = begun.iter().max().copied().unwrap_or_default();
        late.push(last.since(due) as f64 / 1000.0);
    }
    let name = format!("{SCHEDULES} schedules due in the same second: the last case started after");
    report.at_most(&name, "s", &late, 2.0);
    Ok(())
}

async fn define(world: &World, text: &str) -> Result<(), String> {
    let request = world.client.post(world.url("/v1/workflows")).body(text.to_owned());
    let answer = request.header("content-type", "application/yaml").send().await;
    let answer = answer.map_err(|error| error.to_string())?;
    match answer.status().is_success() {
        true => Ok(()),
        false => Err(answer.text().await.unwrap_or_default()),
    }
}

async fn read(world: &World, path: &str) -> Result<Json, String> {
    let answer = world.client.get(world.url(path)).send().await.map_err(|e| e.to_string())?;
    let text = answer.text().await.map_err(|error| error.to_string())?;
    serde_json::from_str(&text).map_err(|error| error.to_string())
}

/// When each case was created that is not older than an instant.
async fn created_since(world: &World, since: Timestamp) -> Result<Vec<Timestamp>, String> {
    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = read(world, &format!("/v1/cases?limit=500{cursor}")).await?;
        for case in page["items"].as_array().into_iter().flatten() {
            let at = case["createdAt"].as_str().and_then(|at| at.parse::<Timestamp>().ok());
            match at {
                Some(at) if at >= since => found.push(at),
                _ => return Ok(found),
            }
        }
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return Ok(found),
        }
    }
}

/// An invoice, from its submission to the stored PDF.
pub async fn documents(world: &mut World, report: &mut Report) -> Result<(), String> {
    world.forget()?;
    world.start().await?;
    define(world, "document: { dsl: '1.0.3', namespace: bench, name: invoice, version: '1.0.0' }\n\
        do: [ { a: { call: pdf, with: { template: invoice, name: '${ .number }', data: '${ . }' } } } ]\n")
    .await?;
    let line = |n: usize| {
        json!({"name": format!("Item {n}"), "quantity": 2, "unitPrice": 899, "taxPermille": 190,
            "net": 1798})
    };
    let lines: Vec<Json> = (0..10).map(line).collect();
    let mut times = Vec::new();
    for number in 0..WARM + INVOICES {
        let input = json!({
            "number": format!("RE-2026-{number:05}"), "date": "2026-11-28", "order": "4711",
            "currency": "EUR", "lines": lines, "net": 17980, "gross": 21396,
            "customer": {"name": "Ada", "address": "Weg 1\nBerlin", "language": "de"},
            "taxes": [{"permille": 190, "net": 17980, "tax": 3416}],
        });
        let begun = Instant::now();
        let body = json!({"workflow": "bench/invoice", "input": input}).to_string();
        let url = world.url("/v1/cases");
        let request = world.client.post(url).header("content-type", "application/json");
        let request = request.header("prefer", "wait=30").body(body);
        let answer = request.send().await.map_err(|error| error.to_string())?;
        let case: Json = answer.json().await.map_err(|error| error.to_string())?;
        let took = begun.elapsed();
        if case["phase"] != "completed" {
            return Err(format!("an invoice was not rendered: {case}"));
        }
        if number >= WARM {
            times.push(took.as_secs_f64() * 1000.0);
        }
    }
    times.sort_by(f64::total_cmp);
    let p50 = percentile(&times, 50.0);
    report.at_most("an invoice's PDF, from submission to its end, p50", "ms", &[p50], 80.0);
    report.note("the same p99", "ms", &[percentile(&times, 99.0)]);
    Ok(())
}
