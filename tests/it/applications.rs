//! The shipped job application: its ways to end, and a seeded run with workers and a server that are killed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use caseworker::sim::Party;
use caseworker::sim::applications::Applications;
use caseworker::sim::mailbox::Mailbox;
use fastrand::Rng;

use reqwest::Client;
use serde_json::{Value, json};

use crate::jobs::lease;
use crate::server::{Server, free_port, until};

struct World {
    server: Server,
    applications: Arc<Applications>,
    mailbox: Arc<Mailbox>,
    _parties: [Party; 2],
}

async fn world() -> World {
    caseworker::prepare_process();
    let (store, mail) = (free_port(), free_port());
    let (applications, mailbox) = (Arc::new(Applications::default()), Arc::new(Mailbox::default()));
    let parties = [applications.open(store).await.unwrap(), mailbox.open(mail).await.unwrap()];
    let services = format!("[services.applications]\nurl = \"http://127.0.0.1:{store}\"\n");
    let mut server =
        Server::new(&services).env("CASEWORKER_EMAIL_URL", &format!("smtp://127.0.0.1:{mail}"));
    server.start().await;
    World { server, applications, mailbox, _parties: parties }
}

fn application(n: usize, tier: &str) -> Value {
    let email = format!("applicant{n}@example.com");
    json!({"applicant": {"name": "Ada", "email": email}, "position": "Engineer", "tier": tier})
}

const WORKFLOW: &str = "hiring/job-application";

async fn statuses(server: &Server, id: &str) -> Vec<String> {
    let history = server.history(id).await;
    let told = history.iter().filter(|event| event["type"] == "case.status");
    told.map(|event| event["data"]["status"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_application_is_scored_refused_or_expires() {
    let World { server, applications, mailbox, _parties } = world().await;
    let mut closed = application(1, "standard");
    closed["position"] = json!("Closed for now");
    let mut blank = application(2, "standard");
    blank["position"] = json!(" ");
    let mut late = application(3, "standard");
    late["ttl"] = json!("PT1S");
    for (input, status, reason) in [
        (closed, "Rejected", "The position is not open"),
        (blank, "Rejected", "It names no position, or nobody"),
        (late, "Expired", "no worker of the queue scoring took it in time"),
    ] {
        let id = server.submit(WORKFLOW, &input).await;
        let case = server.ended(&id).await;
        assert_eq!((&case["phase"], &case["status"]), (&json!("completed"), &json!(status)));
        assert_eq!(case["output"], json!({"reason": reason}));
        let to = input["applicant"]["email"].as_str().unwrap();
        assert!(mailbox.mails().iter().any(|mail| mail.to == [to]), "{to} was told");
    }
    // the dearer ones are first, whoever came first
    let mut ids = HashMap::new();
    for (n, tier, priority) in [(4, "standard", 5), (5, "premium", 7), (6, "urgent", 9)] {
        let id = server.submit(WORKFLOW, &application(n, tier)).await;
        server.case_when(&id, |case| case["wait"]["kind"] == "job").await;
        assert_eq!(server.case(&id).await["priority"], priority, "{tier}");
        ids.insert(tier, id);
    }
    let wrong = json!({"workflow": WORKFLOW, "input": application(7, "royal")});
    assert_eq!(server.post("/v1/cases", &wrong).await.status, 422);
    for tier in ["urgent", "premium", "standard"] {
        let jobs = lease(&server, "scoring", &json!({"worker": "w", "leaseSeconds": 30})).await;
        let (id, job) = (ids[tier].as_str(), &jobs[0]);
        assert_eq!(job["case"], id, "{tier}: {job:#}");
        let path = format!("/v1/jobs/{}/complete", job["id"].as_str().unwrap());
        let done = json!({"lease": job["lease"], "output": {"score": 80, "reasons": ["good"]}});
        assert_eq!(server.post(&path, &done).await.status, 200);
        let case = server.ended(id).await;
        assert_eq!(case["output"], json!({"score": 80, "reasons": ["good"]}), "{case:#}");
        assert_eq!(applications.kept()[id]["score"], 80);
        let told = statuses(&server, id).await;
        assert_eq!(told, ["Received", "Validated", "Stored", "Scored", "Notified"]);
    }
}

/// The results that the server has acknowledged, by case.
type Recorded = Arc<Mutex<HashMap<String, Vec<i64>>>>;

/// A worker that fails, dies over jobs, comes late, says things twice and gives back, by chance.
async fn unreliable(name: String, url: String, recorded: Recorded, seed: u64) {
    let client = Client::builder().no_proxy().timeout(Duration::from_secs(30)).build().unwrap();
    let mut chance = Rng::with_seed(seed);
    let post = async |path: &str, body: &Value| {
        until("the server answers", || async {
            let request =
                client.post(format!("{url}{path}")).header("content-type", "application/json");
            let answer = request.body(body.to_string()).send().await.ok()?;
            let status = answer.status().as_u16();
            let text = answer.text().await.ok()?;
            (status < 500).then(|| (status, serde_json::from_str(&text).unwrap_or(Value::Null)))
        })
        .await
    };
    loop {
        let max = chance.u32(1..8);
        let ask = json!({"worker": name, "max": max, "waitSeconds": 1, "leaseSeconds": 5});
        let (_, leased) = post("/v1/queues/scoring/jobs/lease", &ask).await;
        for job in leased["items"].as_array().into_iter().flatten() {
            let first = job["attempt"].as_i64() == Some(1);
            let (id, lease) = (job["id"].as_str().unwrap(), &job["lease"]);
            let path = |verb: &str| format!("/v1/jobs/{id}/{verb}");
            let what = chance.i64(0..100);
            let score = chance.i64(0..100);
            let done = json!({"lease": lease, "output": {"score": score, "reasons": []}});
            match what {
                0..20 if job["attempt"].as_i64().unwrap_or(9) < 4 => {
                    let error = json!({"title": "no luck", "status": 503});
                    let failed = json!({"lease": lease, "error": error, "retryable": true, "retryAfterSeconds": 0});
                    post(&path("fail"), &failed).await;
                }
                // it dies over it: nobody hears of it again
                20..23 if first => {}
                23..26 if first => {
                    post(&path("release"), &json!({"lease": lease})).await;
                }
                26..28 if first => {
                    let tasks = format!("{url}/v1/cases/{}/tasks", job["case"].as_str().unwrap());
                    until("whoever is late has lost it", || async {
                        let text = client.get(&tasks).send().await.ok()?.text().await.ok()?;
                        let told: Value = serde_json::from_str(&text).ok()?;
                        let lost = |task: &Value| task["lost"].as_u64().is_some_and(|n| n > 0);
                        told["items"].as_array()?.iter().any(lost).then_some(())
                    })
                    .await;
                    let (status, _) = post(&path("complete"), &done).await;
                    note(&recorded, job, score, status);
                }
                _ => {
                    let (status, _) = post(&path("complete"), &done).await;
                    note(&recorded, job, score, status);
                    if what % 5 == 0 {
                        let (again, _) = post(&path("complete"), &done).await;
                        assert_eq!(again, status, "what was said is known");
                        let other = json!({"lease": lease, "output": {"score": -1, "reasons": []}});
                        assert_eq!(post(&path("complete"), &other).await.0, 409);
                    }
                }
            }
        }
    }
}

fn note(recorded: &Recorded, job: &Value, score: i64, status: u16) {
    assert!(status == 200 || status == 409, "{status}");
    if status == 200 {
        let case = job["case"].as_str().unwrap().to_owned();
        recorded.lock().unwrap().entry(case).or_default().push(score);
    }
}

/// `APPLICATIONS=5000 SEED=7` makes it longer, and another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_application_is_scored_once_whatever_is_killed() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<usize>().ok());
    let (count, seed) = (number("APPLICATIONS").unwrap_or(200), number("SEED").unwrap_or(1) as u64);
    let World { mut server, applications, mailbox, _parties } = world().await;
    let mut chance = Rng::with_seed(seed);
    let recorded = Recorded::default();
    let work = |name: usize, seed: u64| {
        let (url, recorded) = (server.url(""), recorded.clone());
        tokio::spawn(unreliable(format!("w{name}"), url, recorded, seed))
    };
    let mut ids = Vec::new();
    for n in 0..5 {
        // nobody is there yet to take them in time
        let mut input = application(n, "standard");
        input["ttl"] = json!("PT1S");
        ids.push(server.submit(WORKFLOW, &input).await);
    }
    for id in &ids {
        assert_eq!(server.ended(id).await["status"], "Expired");
    }
    let mut workers: Vec<_> = (0..6).map(|n| work(n, chance.u64(..))).collect();
    let (url, kills) = (server.url(""), count / 60);
    for n in 5..count {
        let tier = ["standard", "premium", "urgent"][chance.usize(0..3)];
        let mut input = application(n, tier);
        if chance.u32(0..10) == 0 {
            input["ttl"] = json!("PT1S");
        }
        ids.push(server.submit_surely(WORKFLOW, &input, &format!("{n}")).await);
        if chance.u32(0..40) == 0 {
            let which = chance.usize(0..workers.len());
            workers[which].abort();
            let (url, recorded) = (url.clone(), recorded.clone());
            let again = unreliable(format!("w{which}"), url, recorded, chance.u64(..));
            workers[which] = tokio::spawn(again);
        }
        if n % (count / (kills + 1)) == count / (kills + 1) - 1 {
            server.kill().await;
            server.start().await;
        }
    }
    let mut expired = 0;
    for id in &ids {
        let case = server.ended(id).await;
        let recorded = recorded.lock().unwrap().get(id).cloned().unwrap_or_default();
        let to = case["input"]["applicant"]["email"].as_str().unwrap().to_owned();
        match case["status"].as_str().unwrap() {
            "Notified" => {
                // a worker that was killed may not have heard that its result was taken
                assert!(recorded.len() <= 1, "{id} has {recorded:?}");
                let score = case["output"]["score"].as_i64().unwrap();
                recorded.iter().for_each(|known| assert_eq!(score, *known, "{case:#}"));
                assert_eq!(applications.kept()[id]["score"], score);
            }
            "Expired" => {
                expired += 1;
                assert_eq!(recorded, Vec::<i64>::new(), "{case:#}");
            }
            other => panic!("{other}: {case:#}"),
        }
        until("the applicant is told", || async {
            mailbox.mails().iter().any(|mail| mail.to == [&*to]).then_some(())
        })
        .await;
    }
    for worker in &workers {
        assert!(!worker.is_finished(), "a worker has found something wrong");
        worker.abort();
    }
    eprintln!("{count} applications, {expired} expired, {kills} kills of the server");
}
