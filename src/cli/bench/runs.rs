//! The runs behind the figures.

use std::time::{Duration, Instant};

use serde_json::json;

use super::Bench;
use super::load::{completed, percentile, submit};
use super::report::Report;
use super::world::World;

/// Cases that warm everything up before something is measured.
const WARM: usize = 500;

/// Five HTTP calls one after the other.
pub async fn order5(bench: &Bench, world: &mut World, report: &mut Report) -> Result<(), String> {
    let (mut rates, mut p50, mut p99) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..bench.runs {
        let (rate, acknowledged) = throughput(bench, world, "order5").await?;
        rates.push(rate);
        p50.push(percentile(&acknowledged, 50.0));
        p99.push(percentile(&acknowledged, 99.0));
    }
    report.at_least("order5", "cases/s", &rates, 1500.0);
    report.at_most("acknowledgement p50", "ms", &p50, 15.0);
    report.at_most("acknowledgement p99", "ms", &p99, 40.0);
    Ok(())
}

/// The same without I/O.
pub async fn echo5(bench: &Bench, world: &mut World, report: &mut Report) -> Result<(), String> {
    let mut rates = Vec::new();
    for _ in 0..bench.runs {
        rates.push(throughput(bench, world, "echo5").await?.0);
    }
    report.at_least("echo5", "cases/s", &rates, 5000.0);
    Ok(())
}

async fn throughput(
    bench: &Bench,
    world: &mut World,
    workflow: &str,
) -> Result<(f64, Vec<f64>), String> {
    world.forget()?;
    world.start().await?;
    submit(world, workflow, WARM, bench.connections).await?;
    completed(world, WARM).await?;
    let begun = Instant::now();
    let loaded = submit(world, workflow, bench.cases, bench.connections).await?;
    completed(world, WARM + bench.cases).await?;
    let rate = bench.cases as f64 / begun.elapsed().as_secs_f64();
    world.kill().await;
    Ok((rate, loaded.acknowledged))
}

/// One at a time.
pub async fn single(world: &mut World, report: &mut Report) -> Result<(), String> {
    world.start().await?;
    submit(world, "order5", WARM, 4).await?;
    completed(world, WARM).await?;
    let loaded = submit(world, "parked", 1000, 1).await?;
    report.at_most(
        "acknowledgement, one at a time p50",
        "ms",
        &[percentile(&loaded.acknowledged, 50.0)],
        0.8,
    );
    let mut times = Vec::new();
    for number in 0..500 {
        let begun = Instant::now();
        let body = json!({"workflow": "bench/order5", "input": {"number": number}});
        let request = world.client.post(world.url("/v1/cases")).header("prefer", "wait=10");
        let request = request.header("content-type", "application/json").body(body.to_string());
        let answer = request.send().await.map_err(|error| error.to_string())?;
        let text = answer.text().await.map_err(|error| error.to_string())?;
        if !text.contains("\"completed\"") {
            return Err(format!("a case has not completed: {text}"));
        }
        times.push(begun.elapsed().as_secs_f64() * 1000.0);
    }
    times.sort_by(f64::total_cmp);
    report.at_most("order5 end to end, one at a time p50", "ms", &[percentile(&times, 50.0)], 4.0);
    Ok(())
}

/// Resident memory.
pub async fn memory(bench: &Bench, world: &mut World, report: &mut Report) -> Result<(), String> {
    world.start().await?;
    settle().await;
    report.at_most("memory idle", "MB", &[world.resident()?], 40.0);
    submit(world, "order5", bench.memory_cases, bench.connections).await?;
    completed(world, bench.memory_cases).await?;
    settle().await;
    let name = format!("memory after {} cases", bench.memory_cases);
    report.at_most(&name, "MB", &[world.resident()?], 200.0);
    Ok(())
}

/// Parked cases: the server's own memory, and beside it what it has mapped.
pub async fn parked(bench: &Bench, world: &mut World, report: &mut Report) -> Result<(), String> {
    world.start().await?;
    submit(world, "parked", 1000, bench.connections).await?;
    settle().await;
    let (before, own) = (world.resident()?, world.own_memory()?);
    submit(world, "parked", bench.parked, bench.connections).await?;
    parked_all(world).await?;
    let each = |now: f64, before: f64| (now - before) * 1e6 / bench.parked as f64;
    let own = each(world.own_memory()?, own);
    report.at_most("own memory for each parked case", "B", &[own], 200.0);
    let resident = each(world.resident()?, before);
    report.note("with mapped pages of the views", "B", &[resident]);
    let on_disk = world.views_on_disk()? / bench.parked as f64;
    report.at_most("views on disk for each parked case", "B", &[on_disk], 1024.0);
    for (name, path, most) in [
        ("GET /v1/services p99", "/v1/services", 5.0),
        ("a list that finds nothing p99", "/v1/cases?phase=faulted&workflow=bench/order5", 10.0),
    ] {
        let mut times = Vec::new();
        for _ in 0..500 {
            let begun = Instant::now();
            get(world, path).await?;
            times.push(begun.elapsed().as_secs_f64() * 1000.0);
        }
        times.sort_by(f64::total_cmp);
        report.at_most(name, "ms", &[percentile(&times, 99.0)], most);
    }
    world.stop().await?;
    let (mut ready, mut resident) = (Vec::new(), Vec::new());
    for _ in 0..bench.runs {
        ready.push(world.start().await?.as_secs_f64());
        settle().await;
        resident.push(world.resident()?);
        world.stop().await?;
    }
    let name = format!("start with {} parked cases", bench.parked);
    report.at_most(&name, "s", &ready, 2.0);
    report.note("memory after that start", "MB", &resident);
    Ok(())
}

/// A start without views.
pub async fn rebuild(bench: &Bench, world: &mut World, report: &mut Report) -> Result<(), String> {
    world.start().await?;
    // started, five times started and completed, completed
    let cases = bench.events.div_ceil(12);
    submit(world, "echo5", cases, bench.connections).await?;
    completed(world, cases).await?;
    world.stop().await?;
    let mut ready = Vec::new();
    for _ in 0..bench.runs {
        world.forget_views()?;
        ready.push(world.start().await?.as_secs_f64());
        world.stop().await?;
    }
    let name = format!("start with {} events, without views", bench.events);
    report.at_most(&name, "s", &ready, 30.0);
    Ok(())
}

/// kill -9 with cases in flight.
pub async fn kill(bench: &Bench, world: &mut World, report: &mut Report) -> Result<(), String> {
    let mut times = Vec::new();
    for _ in 0..bench.runs {
        world.forget()?;
        // slow enough that none is through when the process is killed
        world.start_echo(3000).await?;
        world.start().await?;
        submit(world, "order5", bench.killed, bench.connections).await?;
        world.kill().await;
        world.start_echo(0).await?;
        let begun = Instant::now();
        world.start().await?;
        completed(world, bench.killed).await?;
        times.push(begun.elapsed().as_secs_f64());
        all_listed(world, bench.killed).await?;
        check_each(world, bench.killed).await?;
        world.kill().await;
    }
    let name = format!("kill -9 with {} in flight, start to all done", bench.killed);
    report.at_most(&name, "s", &times, 8.0);
    Ok(())
}

/// Submissions, while somebody sends batches of events that nobody listens for.
pub async fn batches(bench: &Bench, world: &mut World, report: &mut Report) -> Result<(), String> {
    world.start().await?;
    let (client, url) = (world.client.clone(), world.url("/v1/events"));
    let sending = tokio::spawn(async move {
        for batch in 0.. {
            let event = |n| {
                json!({"specversion": "1.0", "id": format!("{batch}-{n}"), "source": "bench",
                       "type": "bench.tick", "subject": format!("s{n}"), "data": {"n": n}})
            };
            let events: Vec<_> = (0..1000).map(event).collect();
            let request = client.post(&url);
            let request = request.header("content-type", "application/cloudevents-batch+json");
            if let Ok(answer) = request.json(&events).send().await
                && !answer.status().is_success()
            {
                // the views lag behind
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    });
    let mut p99 = Vec::new();
    for _ in 0..bench.runs {
        let loaded = submit(world, "parked", 5000, 8).await?;
        p99.push(percentile(&loaded.acknowledged, 99.0));
    }
    sending.abort();
    report.at_most("acknowledgement while batches of 1,000 events come p99", "ms", &p99, 25.0);
    Ok(())
}

/// Waits until the lists show what has ended.
async fn all_listed(world: &World, cases: usize) -> Result<(), String> {
    let begun = Instant::now();
    loop {
        let (mut cursor, mut seen) = (String::new(), 0);
        loop {
            let page = get(world, &format!("/v1/cases?phase=completed&limit=500{cursor}")).await?;
            seen += page["items"].as_array().map_or(0, Vec::len);
            match page["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        if seen == cases {
            return Ok(());
        }
        if begun.elapsed() > Duration::from_secs(30) {
            return Err(format!("{seen} of {cases} cases are there"));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Every case is there, completed, and each of its tasks was done once.
async fn check_each(world: &World, cases: usize) -> Result<(), String> {
    let (mut cursor, mut seen) = (String::new(), 0);
    loop {
        let path = format!("/v1/cases?phase=completed&limit=500{cursor}");
        let page = get(world, &path).await?;
        for case in page["items"].as_array().into_iter().flatten() {
            seen += 1;
            if seen % 100 == 1 {
                let id = case["id"].as_str().unwrap_or_default();
                let history = get(world, &format!("/v1/cases/{id}/events?limit=500")).await?;
                let events = history["items"].as_array().cloned().unwrap_or_default();
                let done = events.iter().filter(|e| e["type"] == "task.completed").count();
                if done != 5 {
                    return Err(format!("{id}: {done} tasks were done instead of 5"));
                }
            }
        }
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None if seen == cases => return Ok(()),
            None => return Err(format!("{seen} of {cases} cases are there")),
        }
    }
}

async fn get(world: &World, path: &str) -> Result<serde_json::Value, String> {
    let answer = world.client.get(world.url(path)).send().await.map_err(|e| e.to_string())?;
    let text = answer.text().await.map_err(|e| e.to_string())?;
    serde_json::from_str(&text).map_err(|e| format!("{path}: {e}: {text}"))
}

/// All cases have left the memory.
async fn parked_all(world: &World) -> Result<(), String> {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(120) {
        if world.metric("caseworker_cases_live").await? == 0.0 {
            settle().await;
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Err("cases stay in memory".to_owned())
}

/// What is about to be given back is given back.
pub async fn settle() {
    tokio::time::sleep(Duration::from_secs(2)).await;
}
