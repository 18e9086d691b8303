//! Load: so many connections that submit one case after the other.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use reqwest::Client;
use serde_json::json;

use super::world::World;

/// What a load came to.
pub struct Loaded {
    /// Time of each acknowledgement, in milliseconds, sorted.
    pub acknowledged: Vec<f64>,
}

/// Submits so many cases; everything has to be acknowledged in the end.
pub async fn submit(
    world: &World,
    workflow: &str,
    cases: usize,
    connections: usize,
) -> Result<Loaded, String> {
    let next = Arc::new(AtomicUsize::new(0));
    let bar = bar(cases, workflow);
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..connections {
        let client = Client::builder().no_proxy().tcp_nodelay(true).build();
        let client = client.map_err(|error| error.to_string())?;
        let (url, next, bar) = (world.url("/v1/cases"), next.clone(), bar.clone());
        let workflow = format!("bench/{workflow}");
        tasks.spawn(async move {
            let mut times = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= cases {
                    return Ok::<_, String>(times);
                }
                let body = json!({"workflow": workflow, "input": {"number": number, "sku": "A-1"}});
                let body = body.to_string();
                loop {
                    let begun = Instant::now();
                    let request = client.post(&url).header("content-type", "application/json");
                    let answer = request.body(body.clone()).send().await;
                    let answer = answer.map_err(|error| format!("not acknowledged: {error}"))?;
                    let status = answer.status();
                    let _ = answer.bytes().await;
                    if status.is_success() {
                        times.push(begun.elapsed().as_secs_f64() * 1000.0);
                        break;
                    }
                    if status.as_u16() != 429 {
                        return Err(format!("a submission was answered {status}"));
                    }
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                bar.inc(1);
            }
        });
    }
    let mut acknowledged = Vec::with_capacity(cases);
    while let Some(times) = tasks.join_next().await {
        acknowledged.extend(times.map_err(|error| error.to_string())??);
    }
    bar.finish_and_clear();
    acknowledged.sort_by(f64::total_cmp);
    Ok(Loaded { acknowledged })
}

/// Waits until so many cases have completed.
pub async fn completed(world: &World, cases: usize) -> Result<(), String> {
    let bar = bar(cases, "completed");
    let mut still = Instant::now();
    let mut last = 0.0;
    loop {
        let done = world.metric("caseworker_cases_ended_total").await?;
        bar.set_position(done as u64);
        if done >= cases as f64 {
            bar.finish_and_clear();
            return Ok(());
        }
        if done > last {
            (still, last) = (Instant::now(), done);
        }
        if still.elapsed() > Duration::from_secs(30) {
            return Err(format!("{done} of {cases} cases completed, and nothing moves"));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn bar(length: usize, what: &str) -> ProgressBar {
    let style = ProgressStyle::with_template("  {msg:12} {wide_bar} {pos}/{len} {per_sec}");
    let bar = ProgressBar::new(length as u64).with_message(what.to_owned());
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// The value below which so many of a hundred are.
pub fn percentile(sorted: &[f64], hundredth: f64) -> f64 {
    let place = (sorted.len() as f64 * hundredth / 100.0) as usize;
    sorted.get(place.min(sorted.len().saturating_sub(1))).copied().unwrap_or(0.0)
}
