//! People: how long planning takes, and what a booking costs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

use super::Bench;
use super::load::{percentile, submit};
use super::report::Report;
use super::runs::settle;
use super::world::{World, anonymous, free_port};
use crate::domain::ids::{Bits, BookingId, CaseId};
use crate::domain::staff::csr::event::Event;
use crate::domain::staff::csr::{RESERVATIONS_MAX, Reservation, Slot, Standing, begin, evolve};
use crate::domain::staff::profile::Profile;
use crate::domain::time::Timestamp;
use crate::sim::mailbox::Mailbox;

/// CSRs, in four time zones, of two of eight skills each.
const CSRS: usize = 50;

const ZONES: [&str; 4] = ["Europe/Berlin", "Europe/London", "America/New_York", "Asia/Tokyo"];

/// Onboardings that are submitted at once.
const AT_ONCE: usize = 500;

/// Tasks of one.
const TASKS: usize = 6;

/// Without another mail for so long, all are there.
const QUIET: Duration = Duration::from_secs(3);

/// Bookings in the calendars when a single one is measured.
const BOOKINGS: usize = 20_000;

/// A booking of six tasks, which then waits.
pub fn definition() -> String {
    let task = |n: usize| format!("{{skill: '${{ \"s\\((.number + {n}) % 8)\" }}', minutes: 30}}");
    let tasks: Vec<String> = (0..TASKS).map(task).collect();
    format!(
        "
document: {{ dsl: '1.0.3', namespace: bench, name: people, version: '1.0.0' }}
do:
  - plan:
      call: book
      with:
        tasks: [{}]
        customer: {{ name: Ada, email: ada@example.com, timeZone: Europe/Paris }}
      metadata: {{ status: Planned }}
  - keep: {{ wait: P300D }}
",
        tasks.join(", ")
    )
}

/// Onboardings for fifty CSRs.
pub async fn people(bench: &Bench, world: &mut World, report: &mut Report) -> Result<(), String> {
    let mut times = Vec::new();
    for _ in 0..bench.runs {
        let begun = plan_at_once(bench, world).await?;
        times.push(begun.elapsed().as_secs_f64());
        world.kill().await;
    }
    report.at_most("500 plans of 6 tasks, 50 CSRs", "s", &times, 10.0);
    with_mails(bench, world, report).await?;
    world.forget()?;
    world.start().await?;
    enroll(world).await?;
    world.stop().await?;
    world.start().await?;
    settle().await;
    let before = world.own_memory()?;
    let cases = BOOKINGS.div_ceil(TASKS);
    submit(world, "people", cases, bench.connections).await?;
    planned(world, cases).await?;
    let single = singles(world, cases).await?;
    report.at_most("a plan among 20,000 bookings p99", "ms", &[percentile(&single, 99.0)], 60.0);
    report.note("the same p50", "ms", &[percentile(&single, 50.0)]);
    world.stop().await?;
    world.start().await?;
    settle().await;
    let each = (world.own_memory()? - before) * 1e6 / BOOKINGS as f64;
    report.note("the process, restarted, for each booking", "B", &[each]);
    report.at_most("a booking in its CSR's state", "B", &[of_a_booking()?], 1024.0);
    let count = count(world, "/v1/assignments?csr=c00&phase=planned,ready").await?;
    let begun = Instant::now();
    let left = world.client.delete(world.url("/v1/csrs/c00")).send().await;
    left.map_err(|error| error.to_string())?;
    moved_away(world).await?;
    let name = format!("a CSR with {count} bookings leaves: all moved or shown");
    report.at_most(&name, "s", &[begun.elapsed().as_secs_f64()], 10.0);
    Ok(())
}

/// Plans many onboardings in an empty house; since when.
async fn plan_at_once(bench: &Bench, world: &mut World) -> Result<Instant, String> {
    world.forget()?;
    world.start().await?;
    enroll(world).await?;
    let begun = Instant::now();
    submit(world, "people", AT_ONCE, bench.connections).await?;
    planned(world, AT_ONCE).await?;
    Ok(begun)
}

/// The same, where customers and CSRs are told: until all is planned, and until the last mail is there.
async fn with_mails(bench: &Bench, world: &mut World, report: &mut Report) -> Result<(), String> {
    let (mailbox, port) = (Arc::new(Mailbox::default()), free_port()?);
    let _open = mailbox.open(port).await.map_err(|error| error.to_string())?;
    world.mail_port = Some(port);
    let (mut plans, mut mails) = (Vec::new(), Vec::new());
    let (mut counts, mut before) = (Vec::new(), 0);
    for _ in 0..bench.runs {
        let begun = plan_at_once(bench, world).await?;
        plans.push(begun.elapsed().as_secs_f64());
        let (mut count, mut last) = (before, begun.elapsed());
        while begun.elapsed() < last + QUIET {
            let now = mailbox.mails().len();
            if now > count {
                (count, last) = (now, begun.elapsed());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        counts.push((count - before) as f64);
        before = count;
        mails.push(last.as_secs_f64());
        world.kill().await;
    }
    report.at_most("500 plans with mails: planned", "s", &plans, 10.0);
    report.note("the same: all mails are there", "s", &mails);
    report.note("the same: mails", "", &counts);
    world.mail_port = None;
    Ok(())
}

/// What a booking takes in the state of a CSR, which the board, the actor and the planner share: bytes, of
/// this process, over many CSRs with as many bookings as one may have.
fn of_a_booking() -> Result<f64, String> {
    const STATES: u32 = 20;
    let profile = json!({"name": "Mia", "email": "mia@example.com", "timeZone": "Europe/Berlin",
        "skills": ["id"], "hours": [{"day": "mon", "start": "09:00", "end": "17:00"}]});
    let profile: Profile = serde_json::from_value(profile).map_err(|error| error.to_string())?;
    let profile = Arc::new(profile);
    let bits = |a: u32, b: u32| Bits::derived(&[&a.to_be_bytes(), &b.to_be_bytes()]);
    let before = anonymous("self")?;
    let mut all = Vec::new();
    for n in 0..STATES {
        let id = format!("c{n}").parse().map_err(|error| format!("{error}"))?;
        let added = Event::Added { id, profile: profile.clone() };
        let mut csr = begin(&added).map_err(|error| error.to_string())?;
        for k in 0..RESERVATIONS_MAX as u32 {
            let start = Timestamp(1_800_000_000_000 + i64::from(k) * 3_600_000);
            let end = start.plus(1_800_000);
            let reservation = Reservation {
                number: 1,
                case: CaseId(bits(n, k / 6)),
                customer: Some(format!("customer {k}").into()),
                title: format!("Step {} of the onboarding", k % 6).into(),
                slot: Some(Slot { start, end, buffer_end: end }),
                standing: Standing::Live,
                offset: Some(3600),
            };
            let booking = BookingId(bits(n, k + 1_000_000));
            let reserved = Event::Reserved { booking, reservation, by_person: false };
            evolve(&mut csr, &reserved, start.plus(-86_400_000)).map_err(|e| e.to_string())?;
        }
        all.push(csr);
    }
    let bookings = f64::from(STATES) * RESERVATIONS_MAX as f64;
    let each = (anonymous("self")? - before) * 1e6 / bookings;
    drop(all);
    Ok(each)
}

async fn enroll(world: &World) -> Result<(), String> {
    let days = ["mon", "tue", "wed", "thu", "fri"];
    let hours = days.map(|day| json!({"day": day, "start": "09:00", "end": "17:00"}));
    for n in 0..CSRS {
        let skills = [format!("s{}", n % 8), format!("s{}", (n + 1) % 8)];
        let profile = json!({
            "name": format!("CSR {n}"), "email": format!("c{n}@example.com"),
            "timeZone": ZONES[n % ZONES.len()], "skills": skills, "hours": hours,
        });
        let request = world.client.put(world.url(&format!("/v1/csrs/c{n:02}")));
        let request = request.header("content-type", "application/json").body(profile.to_string());
        let answer = request.send().await.map_err(|error| error.to_string())?;
        if !answer.status().is_success() {
            return Err(answer.text().await.unwrap_or_default());
        }
    }
    Ok(())
}

/// Waits until so many cases are planned.
async fn planned(world: &World, cases: usize) -> Result<(), String> {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(600) {
        if count(world, "/v1/cases?status=Planned").await? >= cases {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Err("not all are planned, after ten minutes".to_owned())
}

async fn count(world: &World, path: &str) -> Result<usize, String> {
    let (mut count, mut cursor) = (0, String::new());
    loop {
        let page = get(world, &format!("{path}&limit=500{cursor}")).await?;
        count += page["items"].as_array().map_or(0, Vec::len);
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return Ok(count),
        }
    }
}

async fn get(world: &World, path: &str) -> Result<Json, String> {
    let answer = world.client.get(world.url(path)).send().await.map_err(|e| e.to_string())?;
    let text = answer.text().await.map_err(|e| e.to_string())?;
    serde_json::from_str(&text).map_err(|_| text)
}

/// One plan at a time, from its submission until the case says that it is planned; in milliseconds.
async fn singles(world: &World, from: usize) -> Result<Vec<f64>, String> {
    let mut times = Vec::new();
    for number in from..from + 200 {
        let begun = Instant::now();
        let body = json!({"workflow": "bench/people", "input": {"number": number}}).to_string();
        let request = world.client.post(world.url("/v1/cases"));
        let request = request.header("content-type", "application/json").body(body);
        let answer = request.send().await.map_err(|error| error.to_string())?;
        let text = answer.text().await.map_err(|error| error.to_string())?;
        let told: Json = serde_json::from_str(&text).map_err(|_| text)?;
        let path = format!("/v1/cases/{}", told["id"].as_str().unwrap_or_default());
        while get(world, &path).await?["status"] != "Planned" {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        times.push(begun.elapsed().as_secs_f64() * 1000.0);
    }
    times.sort_by(f64::total_cmp);
    Ok(times)
}

/// Waits until who has left has nothing any more.
async fn moved_away(world: &World) -> Result<(), String> {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(600) {
        if count(world, "/v1/assignments?csr=c00&phase=planned,ready").await? == 0 {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Err("a CSR who left still has bookings, after ten minutes".to_owned())
}
