//! Jobs: how fast workers get and end them, how soon one that waits hears of one, what a queue costs.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use reqwest::Client;
use serde_json::{Value as Json, json};

use super::Bench;
use super::load::{completed, percentile, submit};
use super::report::Report;
use super::runs::settle;
use super::world::World;

/// A job, and nothing else.
pub const DEFINITION: &str = "
document: { dsl: '1.0.3', namespace: bench, name: work, version: '1.0.0' }
do:
  - score: { call: work, with: { queue: bench, input: { number: '${ .number }' } } }
";

/// Connections of workers.
const WORKERS: usize = 8;

/// Jobs that are submitted while many are queued.
const LATE: usize = 2000;

/// All figures of jobs.
pub async fn work(bench: &Bench, world: &mut World, report: &mut Report) -> Result<(), String> {
    for (at_once, name, least) in [
        (1, "jobs leased and completed, one a request", 1500.0),
        (32, "jobs leased and completed, 32 a request", 4000.0),
    ] {
        let mut rates = Vec::new();
        for _ in 0..bench.runs {
            world.forget()?;
            world.start().await?;
            submit(world, "work", bench.cases, bench.connections).await?;
            settle().await;
            let took = drain(world, at_once, bench.cases).await?;
            rates.push(bench.cases as f64 / took.as_secs_f64());
            completed(world, bench.cases).await?;
            world.kill().await;
        }
        report.at_least(name, "jobs/s", &rates, least);
    }
    world.forget()?;
    world.start().await?;
    let heard = heard(world).await?;
    report.at_most(
        "submission to a waiting worker's job p50",
        "ms",
        &[percentile(&heard, 50.0)],
        6.0,
    );
    report.note("the same p99", "ms", &[percentile(&heard, 99.0)]);
    world.kill().await;
    world.forget()?;
    world.start().await?;
    submit(world, "work", 1000, bench.connections).await?;
    settle().await;
    let before = world.own_memory()?;
    let half = bench.parked / 2;
    submit(world, "work", half, bench.connections).await?;
    let late = submit(world, "work", LATE, bench.connections * 10).await?;
    let name = format!("acknowledgement p99 at ten times the load, {half} jobs queued");
    report.at_most(&name, "ms", &[percentile(&late.acknowledged, 99.0)], 200.0);
    submit(world, "work", half - LATE, bench.connections).await?;
    settle().await;
    settle().await;
    let each = (world.own_memory()? - before) * 1e6 / (2 * half) as f64;
    report.at_most("own memory for each queued job", "B", &[each], 300.0);
    Ok(())
}

async fn post(client: &Client, url: &str, body: &Json) -> Result<Json, String> {
    let request = client.post(url).header("content-type", "application/json");
    let answer = request.body(body.to_string()).send().await.map_err(|e| e.to_string())?;
    let status = answer.status();
    let text = answer.text().await.map_err(|error| error.to_string())?;
    match status.is_success() {
        true => serde_json::from_str(&text).map_err(|error| error.to_string()),
        false => Err(format!("{url} was answered {status}: {text}")),
    }
}

/// Workers take and complete jobs until so many are done. How long it took.
async fn drain(world: &World, at_once: usize, jobs: usize) -> Result<Duration, String> {
    let begun = Instant::now();
    let done = Arc::new(AtomicUsize::new(0));
    let mut workers = tokio::task::JoinSet::new();
    for number in 0..WORKERS {
        let client = Client::builder().no_proxy().tcp_nodelay(true).build();
        let client = client.map_err(|error| error.to_string())?;
        let (lease, end) =
            (world.url("/v1/queues/bench/jobs/lease"), world.url("/v1/jobs/results"));
        let (one, done) = (world.url("/v1/jobs"), done.clone());
        workers.spawn(async move {
            let ask = json!({"worker": format!("w{number}"), "max": at_once, "waitSeconds": 2});
            let mut last = Duration::ZERO;
            while done.load(Ordering::Relaxed) < jobs {
                let leased = post(&client, &lease, &ask).await?;
                let items = leased["items"].as_array().cloned().unwrap_or_default();
                match &items[..] {
                    [] => continue,
                    [job] if at_once == 1 => {
                        let body = json!({"lease": job["lease"], "output": job["input"]});
                        let id = job["id"].as_str().unwrap_or_default();
                        post(&client, &format!("{one}/{id}/complete"), &body).await?;
                    }
                    jobs => {
                        let result = |job: &Json| {
                            json!({"id": job["id"], "lease": job["lease"], "output": job["input"]})
                        };
                        let results: Vec<Json> = jobs.iter().map(result).collect();
                        let told = post(&client, &end, &json!({"items": results})).await?;
                        let all = told["items"].as_array().is_some_and(|items| {
                            items.iter().all(|item| item["status"] == 200)
                        });
                        if !all {
                            return Err(format!("a result was refused: {told}"));
                        }
                    }
                }
                done.fetch_add(items.len(), Ordering::Relaxed);
                last = begun.elapsed();
            }
            Ok::<Duration, String>(last)
        });
    }
    let mut took = Duration::ZERO;
    while let Some(worker) = workers.join_next().await {
        took = took.max(worker.map_err(|error| error.to_string())??);
    }
    match done.load(Ordering::Relaxed) {
        done if done == jobs => Ok(took),
        done => Err(format!("{done} of {jobs} jobs were done")),
    }
}

/// One submission at a time, each to a worker that waits already: until that has the job, in milliseconds.
async fn heard(world: &World) -> Result<Vec<f64>, String> {
    let mut times = Vec::new();
    let (lease, one) = (world.url("/v1/queues/bench/jobs/lease"), world.url("/v1/jobs"));
    for number in 0..500 {
        let (client, lease) = (world.client.clone(), lease.clone());
        let waiting = tokio::spawn(async move {
            let ask = json!({"worker": "w", "waitSeconds": 10});
            let leased = post(&client, &lease, &ask).await;
            leased.map(|leased| (leased, Instant::now()))
        });
        tokio::time::sleep(Duration::from_millis(5)).await;
        let begun = Instant::now();
        let body = json!({"workflow": "bench/work", "input": {"number": number}});
        post(&world.client, &world.url("/v1/cases"), &body).await?;
        let (leased, at) = waiting.await.map_err(|error| error.to_string())??;
        times.push(at.duration_since(begun).as_secs_f64() * 1000.0);
        let job = &leased["items"][0];
        let body = json!({"lease": job["lease"], "output": null});
        let id = job["id"].as_str().unwrap_or_default();
        post(&world.client, &format!("{one}/{id}/complete"), &body).await?;
    }
    times.sort_by(f64::total_cmp);
    Ok(times)
}
